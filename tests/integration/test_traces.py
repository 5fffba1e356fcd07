"""Traces of a real engine on a real broker, as an OTLP collector gets them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.engine import LISTED, Deployment, records

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP/HTTP collector: its address, and the spans that came."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def sent(here: Deployment, values: dict[bytes, list[tuple[str, bytes]]]) -> None:
    """Put records with headers on the calls topic."""
    async with AIOKafkaProducer(bootstrap_servers=here.bootstrap, acks="all") as producer:
        for value, headers in values.items():
            await producer.send(here.calls, value, headers=headers)


async def headers_of(here: Deployment, count: int) -> dict[str, dict[str, bytes]]:
    """The headers of `count` decisions by their calls."""
    decided = await here.decided(count)
    async with AIOKafkaConsumer(
        bootstrap_servers=here.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([TopicPartition(here.decisions, number) for number in range(4)])
        by_id: dict[str, dict[str, bytes]] = {}
        while len(by_id) < count:
            for found in (await consumer.getmany(timeout_ms=200)).values():
                by_id |= {dict(one.headers)["ce_id"].decode(): dict(one.headers) for one in found}
    return {one["call_id"]: by_id[one["decision_id"]] for one in decided}


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes as plain values."""
    values = ((one.key, one.value) for one in span.attributes)
    return {key: getattr(value, value.WhichOneof("value")) for key, value in values}


async def test_a_trace_goes_on_in_the_decision(tmp_path: Path, kafka: Any, redis_url: str) -> None:
    """A record's context is its decision's; its batch's span links to it and holds its steps; a
    malformed one is ignored, and rejects nothing; lists that change are named; no number is.
    """
    with collector() as (address, spans):
        more = f'ops.traces = "{address}"\nops.traces_ratio = 1.0'
        here = Deployment(tmp_path, kafka, redis_url, more).made("TH/national")
        first, second, third = records(3, every=1)
        state = ("tracestate", b"vendor=1")
        with here.engine() as engine:
            engine.until_ready()
            await sent(
                here,
                {
                    first: [("other", b"x"), ("traceparent", PARENT), state],
                    second: [("traceparent", b"not one")],
                    third: [],
                },
            )
            found = await headers_of(here, 3)
            assert engine.metric("ringfence_records_rejected_total") == 0
            assert engine.stop() == 0
    assert found["a-0"]["traceparent"] == PARENT
    assert found["a-0"]["tracestate"] == b"vendor=1"
    assert found["a-0"]["ce_type"] == b"io.ringfence.decision.v1"
    assert not any("traceparent" in found[call] for call in ("a-1", "a-2"))
    batches = [span for span in spans if span.name == "process calls"]
    linked = [(span, link) for span in batches for link in span.links]
    ((batch, link),) = linked
    assert (link.trace_id.hex(), link.span_id.hex()) == (TRACE, SPAN)
    assert sum(attributes(span)["ringfence.decisions"] for span in batches) == 3
    assert sum(attributes(span)["messaging.batch.message_count"] for span in batches) == 3
    steps = {span.name for span in spans if span.parent_span_id == batch.span_id}
    assert steps == {"decode", "decide", "send decisions"}
    swaps = [attributes(span) for span in spans if span.name == "list swap"]
    assert {one["ringfence.list"] for one in swaps} == {"TH/national"}
    assert all(one["ringfence.generation"] >= 1 for one in swaps)
    assert LISTED.removeprefix("+") not in str(spans)

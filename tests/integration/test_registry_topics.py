"""Topics of a schema registry through a real engine: an outage, an unknown id, a blocked call."""

import io
from pathlib import Path
from uuid import UUID

import fastavro
import pytest
from aiokafka import AIOKafkaProducer

from stream.calls.encodings.schema_ids import HEADER
from tests.support.engine import LISTED, Deployment
from tests.support.schema_registry import AVRO_SCHEMA, MAPPING, ScriptedRegistry, scripted_registry
from tests.support.topics import read

PASSWORD = "four words of tests"
MORE = """
[schema_registry]
url = "{0}"
username = "ringfence"
timeout_s = 5.0
"""


def record(number: int, caller: str) -> bytes:
    """A call in Avro, under schema 1."""
    file = io.BytesIO()
    call = {
        "id": f"9f2c0000-0000-4000-8000-{number:012d}",
        "from": caller,
        "to": {"number": "+6621234567"},
        "started": 1_795_593_723_000 + number,
        "seconds": 1.5,
    }
    fastavro.schemaless_writer(file, fastavro.parse_schema(AVRO_SCHEMA), call)
    return b"\0\0\0\0\x01" + file.getvalue()


async def test_calls_wait_for_a_registry_and_are_decided(
    tmp_path: Path, kafka, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the registry is away nothing is lost, /ready says why, and a stop is orderly; then the
    listed number is blocked. A record of an unknown schema is kept as it came, with its reason.
    """
    monkeypatch.setenv("RINGFENCE_SCHEMA_REGISTRY_PASSWORD", PASSWORD)
    with scripted_registry() as registry:
        more = MORE.format(registry.url) + MAPPING
        here = Deployment(tmp_path, kafka, redis_url, more, {"": "registry:mapping:acme"})
        here.made("TH/national")
        registry.status = 503
        unknown = b"\0\0\0\0\x63data"
        await here.send([record(1, LISTED), unknown, record(2, "+66890000001")])
        with here.engine() as first:
            _waits(first, registry)
            assert first.stop() == 0
        with here.engine() as second:
            _waits(second, registry)
            registry.status = 200
            (decision,) = await here.decided(1)
            second.until_ready()
            second.until(lambda: second.metric("ringfence_records_rejected_total") == 1)
            assert second.stop() == 0
            assert PASSWORD not in second.log()
    assert (decision["number"], decision["verdict"]) == (LISTED, "block")
    (kept,) = await read(here.bootstrap, here.calls.replace("calls", "rejected"))
    assert kept.value == unknown
    assert dict(kept.headers)["reason"] == b"unknown_schema"


async def test_ids_in_headers_are_read_by_the_fetcher(
    tmp_path: Path, kafka, redis_url: str
) -> None:
    """A newer client writes the schema's GUID into a header; its calls are decided as any other,
    and the requests to the registry are counted.
    """
    guid = UUID("4bb5ed0a-2e3b-4c1f-9d9c-3b3a4dfd1d1e")
    with scripted_registry() as registry:
        registry.guids[str(guid)] = 1
        more = MORE.format(registry.url) + MAPPING
        here = Deployment(tmp_path, kafka, redis_url, more, {"": "registry:mapping:acme"})
        here.made("TH/national")
        with here.engine() as engine:
            engine.until_ready()
            async with AIOKafkaProducer(bootstrap_servers=here.bootstrap) as producer:
                for number, caller in enumerate((LISTED, "+66890000001")):
                    value = record(number, caller)[5:]
                    headers = [(HEADER, b"\1" + guid.bytes)]
                    await producer.send_and_wait(here.calls, value, headers=headers)
            (decision,) = await here.decided(1)
            answered = "ringfence_schema_registry_requests_total"
            engine.until(lambda: engine.metric(answered, outcome="found") == 1)
            assert engine.metric("ringfence_records_rejected_total") == 0
            assert engine.stop() == 0
    assert (decision["number"], decision["verdict"]) == (LISTED, "block")
    assert registry.asked == [f"/schemas/guids/{guid}"]


def _waits(engine, registry: ScriptedRegistry) -> None:
    """Wait until the engine says that it waits for the registry."""
    engine.until(lambda: "wait for a schema" in engine.page("/ready")[1])
    assert registry.asked

"""Hold many HTTP connections open, each of which hands call records to Kafka.

    python -m tests.campaigns.load_http                             100,000 connections
    python -m tests.campaigns.load_http --connections 2000 --most 1500

`serve` allows `--most` connections (0: all). Each of the others is answered 503 and closed. Every
open connection posts a record, waits until all are open, and posts another. Then Kafka is stopped:
records are answered 503 and lookups 200. All of it has to be seen in /metrics, and /ready answers
all the time.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaigns.place import HOST, TOKEN, Place, open_files, played, resident_mb, servers
from tests.campaigns.soak_traffic import INNOCENT, numbers
from tests.support.engine import Engine
from tests.support.figures import WHOLE, record
from tests.support.waiting import until

EACH_ADDRESS = 20_000
"""Connections from one address of 127/8, which has 28,000 ports."""
AT_ONCE = 200
"""Connections that are opened at the same time."""
CALLERS = numbers(INNOCENT)
KAFKA_S = 60.0
"""Wait for Kafka: the broker of a busy machine takes more than the default, and is no failure."""
SAMPLE = 500
"""Questions while Kafka is away."""


@dataclass(frozen=True, slots=True)
class Size:
    """Figures of the campaign; `most` 0: as many as come."""

    connections: int = 100_000
    most: int = 0


def posted(index: int) -> bytes:
    """A request with one call record."""
    caller = CALLERS[index % len(CALLERS)]
    body = b'{"call_id":"h-%d","caller":"%b","callee":"+447700900123","trunk":"intl-1"}' % (
        index,
        caller.encode(),
    )
    head = (
        f"POST /v1/calls/ringfence HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


ASK = (
    "GET /v1/decision?caller=+447700900105&callee=+447700900123 HTTP/1.1\r\nHost: x\r\n"
    f"Authorization: Bearer {TOKEN}\r\n\r\n"
).encode()


class Caller(asyncio.Protocol):
    """One connection. Answers are read by their Content-Length; `closed` is set at its end."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.closed = asyncio.Event()
        self._held = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take an answer that is whole."""
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) >= int(size or 0):
            self._held = b""
            self._told(int(head.split(b" ", 2)[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end: a question that waits is answered 0."""
        del exc
        self.closed.set()
        self._told(0)

    def _told(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    async def ask(self, request: bytes) -> int:
        """Return the status of an answer; 0: the connection ended."""
        self._answer = asyncio.get_running_loop().create_future()
        if self.closed.is_set():
            return 0
        self.transport.write(request)
        return await self._answer


@dataclass(slots=True)
class Round:
    """Statuses of requests, and how long their answers took."""

    statuses: Counter[int]
    ms: list[float]

    @property
    def figures(self) -> dict[str, Any]:
        """The round as figures."""
        p50, p99 = np.percentile(self.ms, (50, 99)) if self.ms else (0.0, 0.0)
        told = {str(status): count for status, count in sorted(self.statuses.items())}
        return {"statuses": told, "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


async def asked(callers: list[Caller], request: Callable[[int], bytes], at_once: int) -> Round:
    """Let each connection ask, `at_once` at the same time."""
    made = Round(Counter(), [])
    left = iter(enumerate(callers))

    async def some() -> None:
        for index, caller in left:
            began_s = time.monotonic()
            made.statuses[await caller.ask(request(index))] += 1
            made.ms.append(1000 * (time.monotonic() - began_s))

    await asyncio.gather(*(some() for _ in range(at_once)))
    return made


async def opened(port: int, count: int) -> tuple[list[Caller], Round]:
    """Open `count` connections, each of which posts a record at once; those that stay open."""
    loop = asyncio.get_running_loop()
    made, left, kept = Round(Counter(), []), iter(range(count)), []

    async def some() -> None:
        for index in left:
            source = f"127.0.1.{1 + index // EACH_ADDRESS}"
            began_s = time.monotonic()
            try:
                _, caller = await loop.create_connection(Caller, HOST, port, local_addr=(source, 0))
            except OSError:
                made.statuses[-1] += 1
                continue
            status = await caller.ask(posted(index))
            made.statuses[status] += 1
            made.ms.append(1000 * (time.monotonic() - began_s))
            if status == 202:
                kept.append(caller)
            else:
                caller.transport.close()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return kept, made


async def until_taken(port: int, index: int) -> None:
    """Wait until a record is taken: a process that does not know Kafka yet answers 503 too."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(Caller, HOST, port)
    while True:
        if await caller.ask(posted(index)) == 202:
            break
        await asyncio.sleep(0.1)
    caller.transport.close()


async def watched(engine: Engine, stop: asyncio.Event) -> Counter[int]:
    """Statuses of /ready, asked once a second until it is to stop."""
    found: Counter[int] = Counter()
    while not stop.is_set():
        status, _ = await asyncio.to_thread(engine.page, "/ready")
        found[status] += 1
        await asyncio.sleep(1.0)
    return found


async def run(size: Size, folder: Path, part: str = WHOLE) -> dict[str, Any]:
    """Run the campaign, and record its figures."""
    most = size.most or size.connections
    assert open_files(size.connections) >= size.connections, "too few files: see ulimit -n"
    more = (
        f"serve.connections_max = {most}\nserve.idle_s_max = 3600\nserve.header_s_max = 600\n"
        f"serve.kafka_s_max = {KAFKA_S}\n"
    )
    with servers() as (broker, redis):
        place = Place(folder, broker, redis.url(), more)
        place.site.made("TH/national")
        with place.running("serve", health="http-health") as engine:
            stop = asyncio.Event()
            figures: dict[str, Any] = {"connections": size.connections, "most": most}
            ready = asyncio.create_task(watched(engine, stop))
            figures |= await _loaded(place, engine, size, broker.stop)
            stop.set()
            figures["ready"] = {str(status): n for status, n in (await ready).items()}
            assert engine.process.poll() is None, engine.last_words()
    record("load-http", figures, part)
    return figures


async def _loaded(
    place: Place, engine: Engine, size: Size, kafka_stops: Callable[[], None]
) -> dict[str, Any]:
    """Load the process, and read what it says of it."""

    def metric(name: str, **labels: str) -> float:
        return engine.metric(f"ringfence_http_{name}", **labels)

    await until_taken(place.ports["http"], 2 * size.connections)
    before_mb = resident_mb(engine)
    began_s = time.monotonic()
    callers, first = await opened(place.ports["http"], size.connections)
    figures: dict[str, Any] = {
        "open": len(callers),
        "opened": first.figures,
        "opened_per_s": round(size.connections / (time.monotonic() - began_s)),
        "refused": metric("problems_total", kind="too-many-connections"),
        "gauge": metric("connections"),
        "kb_each": round(1024 * (resident_mb(engine) - before_mb) / max(len(callers), 1), 1),
    }
    began_s = time.monotonic()
    second = await asked(callers, lambda index: posted(size.connections + index), AT_ONCE)
    figures["again"] = second.figures
    figures["again_per_s"] = round(len(callers) / (time.monotonic() - began_s))
    figures["appended"] = await place.appended(place.site.calls)
    figures["taken"] = 1 + first.statuses[202] + second.statuses[202]
    kafka_stops()
    few = callers[:SAMPLE]
    figures["kafka_away"] = (await asked(few, posted, len(few))).figures
    figures["lookups_meanwhile"] = (await asked(few, lambda _: ASK, len(few))).figures
    figures["kafka_problems"] = metric("problems_total", kind="kafka-down")
    for caller in callers:
        caller.transport.close()
    await until(lambda: asyncio.to_thread(lambda: metric("connections") == 0), "all are closed")
    figures["mb"] = [before_mb, resident_mb(engine)]
    return figures


def right(figures: dict[str, Any]) -> list[str]:
    """Return what is not as it has to be."""
    wrong = []
    refused = figures["connections"] - figures["open"]
    checks = {
        "connections that stay open": figures["open"] == figures["most"],
        "others are told 503": figures["opened"]["statuses"].get("503", 0) == refused,
        "refusals are counted": figures["refused"] == refused,
        "open ones are counted": figures["gauge"] == figures["open"],
        "each record that was taken is in Kafka": figures["appended"] == figures["taken"],
        "each open connection is served again": figures["again"]["statuses"]
        == {"202": figures["open"]},
        "without Kafka records are told 503": set(figures["kafka_away"]["statuses"]) == {"503"},
        "without Kafka lookups go on": set(figures["lookups_meanwhile"]["statuses"]) == {"200"},
        "/ready answers": "0" not in figures["ready"],
    }
    wrong += [what for what, holds in checks.items() if not holds]
    return wrong


def main() -> int:
    """Run the campaign of the options; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=Size().connections)
    parser.add_argument("--most", type=int, default=0, help="serve.connections_max")
    return played(partial(run, Size(**vars(parser.parse_args()))), right)


if __name__ == "__main__":
    raise SystemExit(main())

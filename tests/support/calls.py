"""Topics, traffic and workers for the integration tests of a call's way."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from stream.calls.call_batch import CallBatch, Outcome
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.loop import CallsLoop
from stream.calls.publish import Publisher, TransactionalPublisher
from stream.calls.settings import DecodeSettings, LoopSettings, PublishSettings, TransactSettings
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.kafka.call_events import CallEvent
from stream.kafka.consumer import KafkaSource
from stream.kafka.settings import KafkaSettings, SourceSettings, TopicsSettings
from stream.kafka.topics import check_topics, ensure_topics
from tests.support.topics import read, written
from tests.support.waiting import HANGS_S, Patience

_names = count()
GARBAGE = (b"not a call", b"[]", b"{}", b'{"call_id":1}', b"\xff\xfe", b"[" * 50_000, b"")


def id_of(partition: int, offset: int) -> bytes:
    """The stub's id of the decision about one record."""
    return b"P%03dR%08d" % (partition, offset)


def decide_all(batch: CallBatch) -> Outcome:
    """A decision for every call."""
    origins = [batch.raw.origin(row) for row in batch.rows.tolist()]
    return Outcome(
        ids=np.array([id_of(origin.partition, origin.offset) for origin in origins], "S16"),
        keys=batch.callers.e164,
        values=Texts.of(json.dumps({"origin": str(origin)}).encode() for origin in origins),
        rejected=batch.rejected,
    )


@dataclass
class Lab:
    """One test's topics on the session's broker."""

    bootstrap: str
    apache: bool
    topics: TopicsSettings
    group_id: str
    events: Counter[CallEvent] = field(default_factory=Counter)

    @property
    def kafka(self) -> KafkaSettings:
        """The addresses by which workers reach the broker."""
        return KafkaSettings(self.bootstrap, "ringfence-test")

    def observe(self, event: CallEvent) -> None:
        """Count what happens."""
        self.events[event] += 1

    async def produce(self, values: Sequence[bytes | None]) -> list[str]:
        """Write records, spread over all partitions; where each lies."""
        sent = await written(self.bootstrap, self.topics.calls[0], values, self.topics.partitions)
        return [f"{one.topic}/{one.partition}/{one.offset}" for one in sent]

    async def read(self, topic: str) -> list[Any]:
        """All records of a topic that a reader of committed records sees."""
        return await read(self.bootstrap, topic, self.topics.partitions)

    async def outcome(self) -> tuple[Counter[str], Counter[str]]:
        """Count the decisions and rejects of each record, by its place."""
        decisions = await self.read(self.topics.decisions)
        rejects = await self.read(self.topics.rejected)
        return (
            Counter(json.loads(record.value)["origin"] for record in decisions),
            Counter(dict(record.headers)["origin"].decode() for record in rejects),
        )

    async def until_decided(self, records: int) -> None:
        """Wait until that many different records have a decision."""
        patience = Patience(f"decisions of {records} records")
        while (found := len((await self.outcome())[0])) < records:
            patience.check(found)
            await asyncio.sleep(0.3)

    @asynccontextmanager
    async def worker(
        self, *, exactly_once: bool = False, name: str = "0", **changes: Any
    ) -> AsyncIterator["Worker"]:
        """A worker that runs until the block ends, and then settles."""
        worker = await self.started(exactly_once=exactly_once, name=name, **changes)
        try:
            yield worker
        finally:
            worker.loop.stop()
            try:
                async with asyncio.timeout(HANGS_S):
                    await worker.task
            finally:
                await worker.close()

    async def started(
        self,
        *,
        exactly_once: bool = False,
        name: str = "0",
        decide: Callable[[CallBatch], Outcome] = decide_all,
        hold_s_max: float = float("inf"),
        **changes: Any,
    ) -> "Worker":
        """A running worker; `changes` are of its source's settings."""
        limits = await check_topics(self.kafka, self.topics, 1, self.observe)
        chosen = {"session_timeout_ms": 30_000, "rebalance_timeout_ms": 30_000, **changes}
        source = KafkaSource(
            self.kafka,
            SourceSettings(
                topics=self.topics.calls,
                group_id=self.group_id,
                **{"instance_id": "", "start_at": "earliest", **chosen},
            ),
            self.observe,
        )
        publish = PublishSettings(
            decisions_topic=self.topics.decisions,
            rejected_topic=self.topics.rejected,
            cloudevents_source="/ringfence/test",
            rejected_bytes_max=limits.rejected_bytes_max,
            idempotent=self.apache,
        )
        sink: Publisher | TransactionalPublisher
        if exactly_once:
            transact = TransactSettings(
                self.group_id, f"{self.group_id}-{name}", chosen["session_timeout_ms"]
            )
            sink = TransactionalPublisher(
                self.kafka, publish, transact, self.observe, source.told_of
            )
            hold_s_max = min(hold_s_max, transact.hold_s_max)
        else:
            sink = Publisher(self.kafka, publish, self.observe)
        dialects = {topic: dialect_named("ringfence", {}) for topic in self.topics.calls}
        decoding = DecodeSettings(record_bytes_max=100_000, check_callee=False)
        seen: list[int] = []
        loop = CallsLoop(
            source,
            lambda raw: decode(raw, dialects, Trunks("TH"), decoding),
            decide,
            sink,
            LoopSettings(50, 20, 50, hold_s_max=hold_s_max),
            time.monotonic,
            lambda done: seen.append(len(done.timestamps_ms)),
        )
        await sink.start()
        await source.start()
        return Worker(source, sink, loop, asyncio.create_task(loop.run()), seen)


@dataclass
class Worker:
    """One member of the group, at work."""

    source: KafkaSource
    sink: Publisher | TransactionalPublisher
    loop: CallsLoop
    task: "asyncio.Task[None]"
    seen: list[int]

    async def until(self, records: int, *others: "Worker") -> None:
        """Wait until this worker and `others` have done `records` records together."""
        patience = Patience(f"{records} records to be done")
        while (done := sum(sum(worker.seen) for worker in (self, *others))) < records:
            for worker in (self, *others):
                if worker.task.done():
                    worker.task.result()
            patience.check(done)
            await asyncio.sleep(0.02)

    async def killed(self) -> None:
        """Vanish without settling or committing anything.

        The group knows, though, so that a test need not wait for a session to end.
        """
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self.source.stop()
        await self.sink.stop()


async def lab(broker: Any, partitions: int = 4) -> Lab:
    """Fresh topics for one test."""
    name = f"t{next(_names)}-{time.time_ns()}"
    topics = TopicsSettings(
        (f"{name}.calls",), f"{name}.decisions", f"{name}.rejected", partitions, 1
    )
    made = Lab(broker.bootstrap, "Apache" in broker.title, topics, f"{name}-group")
    await ensure_topics(made.kafka, topics, made.observe)
    return made


def calls(number: int, start: int = 0) -> list[bytes]:
    """Good records."""
    return [
        json.dumps(
            {"call_id": f"c{row}", "caller": f"+4477009{row % 100_000:05d}", "callee": None}
        ).encode()
        for row in range(start, start + number)
    ]

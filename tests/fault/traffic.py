"""Calls with known truth, and the judge: what must have come of each record, by decision id.

The truth is what lies in the topic of calls (offsets and timestamps) and what its sender knows of
each record. Ids are computed here from that, not taken from the engine.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.core.model.decision import decision_ids, seed_of
from tests.fault.engine import Engine
from tests.fault.site import INNOCENT, LISTED, Site
from tests.support.topics import written
from tests.support.waiting import HANGS_S, until

TICK_S = 0.02


def call(call_id: str, caller: str | None) -> bytes:
    """One record of about 300 bytes, as a switch writes it."""
    fields = {
        "call_id": call_id,
        "caller": caller,
        "callee": "+447700900123",
        "started_at": "2026-03-01T12:00:00Z",
        "stage": "attempt",
        "ingress": "international",
        "carrier": "a carrier with a rather long name, so that records are of the usual size",
        "note": "x" * 60,
    }
    return json.dumps(fields).encode()


async def produce(site: Site, values: Sequence[bytes | None]) -> list[Any]:
    """Write records, spread over all partitions; their metadata."""
    return await written(site.bootstrap, site.topics.calls[0], values, site.partitions)


async def decided(site: Site, engine: Engine, *callers: str) -> list[str]:
    """Let the engine decide one call of each caller; the verdicts, in that order."""
    ids = [f"{caller} {time.monotonic_ns()}" for caller in callers]
    await produce(site, [call(one, caller) for one, caller in zip(ids, callers, strict=True)])
    await site.drained(engine)
    told = [json.loads(record.value) for record in await site.records(site.topics.decisions)]
    verdicts = {one["call_id"]: str(one["verdict"]) for one in told}
    return [verdicts.get(one, "none") for one in ids]


def flowing(engine: Engine) -> bool:
    """True if it has decided something since its start."""
    return engine.metric("ringfence_batch_duration_seconds_count", step="publish") > 0


async def decides(engine: Engine, batches: int) -> None:
    """Wait until it has decided that many more batches."""
    count = "ringfence_batch_duration_seconds_count"
    before = engine.metric(count, step="publish")
    await engine.until(
        lambda: engine.metric(count, step="publish") >= before + batches, "to decide calls"
    )


class Load:
    """Steady traffic while the context lasts: a fifth listed callers, two percent garbage."""

    def __init__(self, site: Site, per_s: int) -> None:
        self._site = site
        self._per_tick = max(1, round(per_s * TICK_S))
        self._producer: Any = None
        self._task: asyncio.Task[None] | None = None
        self._acks: list[asyncio.Future[Any]] = []
        self._ending = False
        self.sent = 0

    def value(self, row: int) -> bytes:
        """Record `row`: what it is follows from its number alone."""
        if row % 50 == 49:
            return b"garbage %d" % row
        numbers = LISTED if row % 5 == 0 else INNOCENT
        return call(f"c{row}", numbers[row % len(numbers)])

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._site.bootstrap,
            enable_idempotence=True,
            # A broker of a busy machine takes a minute to come back.
            request_timeout_ms=int(1000 * HANGS_S),
            retry_backoff_ms=100,
        )
        await self._producer.start()
        self._task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        turn = 0
        due = asyncio.get_running_loop().time()
        while not self._ending:
            batch = self._producer.create_batch()
            for row in range(self.sent, self.sent + self._per_tick):
                batch.append(key=None, value=self.value(row), timestamp=None)
            self.sent += self._per_tick
            turn += 1
            topic = self._site.topics.calls[0]
            partition = turn % self._site.partitions
            self._acks.append(await self._producer.send_batch(batch, topic, partition=partition))
            due += TICK_S
            await asyncio.sleep(max(due - asyncio.get_running_loop().time(), 0))

    async def end(self) -> None:
        """Send no more, and wait until Kafka has everything that was sent."""
        assert self._task is not None
        self._ending = True
        await self._task
        await asyncio.gather(*self._acks)

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._producer.stop()


class Watcher:
    """The newest verdict on each changing number in each partition of calls, while it lasts.

    `turns` counts how often a verdict changed: a number that is listed once turns once.
    """

    def __init__(self, site: Site, numbers: Collection[str]) -> None:
        self._site = site
        self._numbers = frozenset(numbers)
        self._task: asyncio.Task[None] | None = None
        self.newest: dict[tuple[str, int], str] = {}
        self.turns: Counter[tuple[str, int]] = Counter()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        """Read committed decisions until cancelled."""
        async with AIOKafkaConsumer(
            bootstrap_servers=self._site.bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_auto_commit=False,
        ) as consumer:
            topic = self._site.topics.decisions
            consumer.assign([TopicPartition(topic, one) for one in range(self._site.partitions)])
            while True:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for one in records:
                        self._take(json.loads(one.value))

    def _take(self, told: dict[str, Any]) -> None:
        if told["caller"] not in self._numbers:
            return
        place = (told["caller"], int(told["origin"].split("/")[1]))
        if self.newest.get(place, told["verdict"]) != told["verdict"]:
            self.turns[place] += 1
        self.newest[place] = told["verdict"]

    async def shows(self, engine: Engine, wanted: Mapping[str, str]) -> None:
        """Wait until the newest verdicts of each partition are `wanted`, by number."""
        places = {
            (number, one): verdict
            for number, verdict in wanted.items()
            for one in range(self._site.partitions)
        }

        def all_do() -> bool:
            assert self._task is not None
            assert not self._task.done(), self._task.exception()
            code = engine.process.poll()
            assert code is None, f"it ended with {code}: {engine.last_words()}"
            return places.items() <= self.newest.items()

        try:
            await until(all_do, f"decisions that say {wanted}")
        except AssertionError as error:
            error.add_note(f"they said {self.newest}\n{engine.last_words()}")
            raise


class ChangingLoad(Load):
    """Traffic of which a tenth comes from the numbers in `changing`."""

    changing: Sequence[str] = INNOCENT[:1]

    def value(self, row: int) -> bytes:
        """Record `row`; one of a changing number says so by its caller alone."""
        if row % 10 == 3:
            # Ticks go to partitions in turn. A number stays for some, so that each one has it.
            return call(f"c{row}", self.changing[row // 40 % len(self.changing)])
        return super().value(row)


@dataclass
class Verdict:
    """The outcomes of all records, compared with the expected ones."""

    records: int = 0
    lost: list[str] = field(default_factory=list)
    made_up: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    repeats: int = 0

    def __str__(self) -> str:
        return (
            f"{self.records:,} records: {len(self.lost)} lost, {len(self.made_up)} made up, "
            f"{len(self.wrong)} wrong, {self.repeats:,} repeats of the same id"
        )

    def figures(self) -> dict[str, int]:
        """The counts that a campaign records."""
        return {
            "records": self.records,
            "lost": len(self.lost),
            "made_up": len(self.made_up),
            "wrong": len(self.wrong),
            "repeats": self.repeats,
        }

    @property
    def nothing_lost(self) -> bool:
        """Check that every record ended as it must, and that there are no other outcomes."""
        return self.records > 0 and not (self.lost or self.made_up or self.wrong)


EACH = 20


def runs_of(rounds: int) -> tuple[int, int]:
    """Return the rounds of a run, and the runs that give `rounds` at least.

    A run's records are read and compared in memory at its end, so it has twenty rounds at most.
    """
    return min(rounds, EACH), -(-rounds // EACH)


async def judge(
    site: Site, sent: int | None = None, changing: Collection[str] = frozenset()
) -> Verdict:
    """Compare both output topics with the topic of calls; all of `sent` rows must lie there.

    The verdict on a caller in `changing` depends on when, and is the test's to judge.
    """
    calls = await site.records(site.topics.calls[0])
    expected, garbage, rows = _expected(calls, changing)
    verdict = Verdict(records=len(calls))
    if sent is not None:
        verdict.lost += [f"row {row} never reached Kafka" for row in set(range(sent)) - rows]
    seen: Counter[str] = Counter()
    for record in await site.records(site.topics.decisions):
        told = json.loads(record.value)
        seen[told["decision_id"]] += 1
        wanted = expected.get(told["decision_id"])
        said = "" if told["caller"] in changing else told["verdict"]
        if wanted is not None and wanted != (told["call_id"], said, told["origin"]):
            verdict.wrong.append(str((wanted, told)))
    rejected: Counter[str] = Counter()
    for record in await site.records(site.topics.rejected):
        origin = dict(record.headers)["origin"].decode()
        rejected[origin] += 1
        if origin in garbage and garbage[origin] != record.value:
            verdict.wrong.append(f"{origin} holds other bytes")
    verdict.lost += [*(expected.keys() - seen.keys()), *(garbage.keys() - rejected.keys())]
    verdict.made_up += [*(seen.keys() - expected.keys()), *(rejected.keys() - garbage.keys())]
    both = [*seen.values(), *rejected.values()]
    verdict.repeats = sum(both) - len(both)
    return verdict


async def aborted_copies(site: Site) -> int:
    """Count the records that only a reader of uncommitted records sees.

    Each of them is a copy: what it says was published once again, and committed.
    """
    copies = 0
    for topic in (site.topics.decisions, site.topics.rejected):
        committed = await site.records(topic)
        every = await site.records(topic, "read_uncommitted")
        places = {(one.partition, one.offset) for one in committed}
        only = [one for one in every if (one.partition, one.offset) not in places]
        assert len(every) == len(committed) + len(only)
        told = {_told_of(one) for one in committed}
        assert all(_told_of(one) in told for one in only)
        copies += len(only)
    return copies


def _told_of(record: Any) -> bytes:
    """Return what names the record that a decision or a rejected record came of."""
    headers = dict(record.headers)
    named: bytes | None = headers.get("origin")
    return named if named is not None else json.loads(record.value)["decision_id"].encode()


def _expected(
    calls: Sequence[Any], changing: Collection[str]
) -> tuple[dict[str, tuple[str, str, str]], dict[str, bytes], set[int]]:
    """By id what each call's decision must say; by origin each garbage record; rows seen."""
    verdicts = dict.fromkeys(LISTED, "block") | dict.fromkeys(changing, "")
    garbage: dict[str, bytes] = {}
    good, rows = [], set()
    for record in calls:
        if record.value.startswith(b"garbage "):
            garbage[f"{record.topic}/{record.partition}/{record.offset}"] = record.value
            rows.add(int(record.value.split()[1]))
        else:
            told = json.loads(record.value)
            good.append((record, told))
            rows.add(int(told["call_id"][1:]))
    ids = decision_ids(
        np.array([seed_of(record.topic, record.partition) for record, _ in good], np.uint64),
        np.array([record.offset for record, _ in good], np.int64),
        np.array([record.timestamp for record, _ in good], np.int64),
        np.array([told["caller"] for _, told in good], "S16"),
    )
    expected = {
        one: (
            told["call_id"],
            verdicts.get(told["caller"], "allow"),
            f"{record.topic}/{record.partition}/{record.offset}",
        )
        for one, (record, told) in zip(ids.astype(str).tolist(), good, strict=True)
    }
    return expected, garbage, rows

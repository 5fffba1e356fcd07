"""Where a worker's time goes: CPU nanoseconds per CDR in each step of its loop, in this process.

No peer and no target: this is the profile that DECISIONS.md quotes, to be made again when a step
changes. The engine's own functions work on the preloaded topic in batches of 2,000 with 64 lists
of 1M numbers: `KafkaSource.next_batch`, `decode`, `Blocklists.match`, `decide`, `Publisher.send`,
in this order as the loop does; the steps inside of them are timed again by themselves on the same
batches, so inner rows (indented) need not add up to the outer one exactly.

Times are CPU of the process, so waiting for the broker does not count, but aiokafka's background
work does, in whichever step it happens to run. Metrics, commits and the loop's own turns are not in
it: compare the sum with the CPU that the throughput bench saw for the whole process.
"""

import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stream.calls.batch import CallBatch, RawBatch
from stream.calls.decide import Outcome, Rules, decide
from stream.calls.decode import DecodeSettings, decode
from stream.calls.dialects import dialect_named
from stream.calls.kafka import KafkaSettings
from stream.calls.publish import Publisher, PublishSettings
from stream.calls.source import KafkaSource, SourceSettings
from stream.calls.trunks import Trunks
from stream.core.allowlist import NOBODY
from stream.core.blocklists import Blocklists, fresh
from stream.core.bloom import Digests, elements
from stream.core.decision import SipSettings
from stream.core.emergency import EmergencyNumbers
from stream.core.number import parse_many
from stream.core.policy import PolicySettings, compile_policy
from stream.core.table import probe_table
from stream.lists.shelf import last_good, table_for
from tests.bench import snapshots
from tests.bench.lab import CALLS, Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row

BATCH = 2_000
RECORDS_MAX = 200_000
NOW_S = snapshots.REPORTED_AT_S + 86_400
TRUNKS = Trunks("TH")
DIALECT = dialect_named("ringfence", {})
DECODING = DecodeSettings(record_bytes_max=262_144, check_callee=False)


class Stages:
    """CPU seconds by the name of the step, of one round over all batches."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """What happens inside belongs to `name`."""
        start = time.process_time()
        try:
            yield
        finally:
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + time.process_time() - start


async def run(lab: Lab) -> list[Report]:
    """Rounds of all steps, callers only (the throughput bench's main row)."""
    made = await lab.calls()
    blocklists = _blocklists(snapshots.state_dir(lab))
    rounds: list[dict[str, float]] = []
    with on_core(lab.cores.engine):
        for _ in range(lab.scale.rounds):
            stages = Stages()
            batches = await _fetched(lab, stages, min(len(made), RECORDS_MAX))
            records = sum(map(len, batches))
            await _round(lab, stages, batches, blocklists)
            rounds.append(_steps({name: cpu_s / records for name, cpu_s in stages.cpu_s.items()}))
    report = Report("stages")
    report.rows = [
        Row(name, {"CPU ns per CDR": [each[name] * 1e9 for each in rounds]}) for name in rounds[0]
    ]
    return [report]


def _steps(cpu_s: dict[str, float]) -> dict[str, float]:
    """The rows, with what `decide` does besides matching, and the sums."""
    rows = {}
    for name, value in cpu_s.items():
        rows[name] = value
        if name.startswith("decide"):
            rows[name] -= cpu_s["match"]
    shared = cpu_s["source"] + cpu_s["decode"] + cpu_s["match"]
    for kind in ("blocks", "every CDR"):
        rows[f"sum, {kind}"] = shared + rows[f"decide, {kind}"] + rows[f"publish, {kind}"]
    return rows


async def _round(
    lab: Lab, stages: Stages, batches: Sequence[RawBatch], blocklists: Blocklists
) -> None:
    with stages.timed("decode"):
        calls = [decode(raw, {CALLS: DIALECT}, TRUNKS, DECODING) for raw in batches]
    with stages.timed("  msgspec, five fields"):
        glances = [[*map(DIALECT.glance, raw.values)] for raw in batches]  # type: ignore[arg-type]
    with stages.timed("  numbers to E.164"):
        for each in glances:
            parse_many([glance.caller for glance in each], lambda _: "TH")
    with stages.timed("match"):
        for batch in calls:
            blocklists.match(batch.callers, NOW_S)
    _match_parts(stages, calls, blocklists)
    for emit_all, kind in ((False, "blocks"), (True, "every CDR")):
        rules = _rules(blocklists, emit_all=emit_all)
        with stages.timed(f"decide, {kind}"):
            outcomes = [decide(batch, blocklists, rules, NOW_S * 1000) for batch in calls]
        await _published(lab, stages, outcomes, f"publish, {kind}")


def _match_parts(stages: Stages, calls: Sequence[CallBatch], blocklists: Blocklists) -> None:
    (circle,) = blocklists.circles
    (group,) = circle.groups
    digests = [Digests(elements(batch.callers.e164, circle.key)) for batch in calls]
    with stages.timed("  SHA-512"):
        words = [each.words(group.plan) for each in digests]
    with stages.timed("  probe of all lists"):
        for each in words:
            probe_table(group.table, each, group.bits_per_slice)


async def _fetched(lab: Lab, stages: Stages, count: int) -> list[RawBatch]:
    """At least `count` records of the preloaded topic, as the engine takes them."""
    settings = SourceSettings(
        topics=[CALLS],
        group_id=lab.new_name("stages"),
        instance_id="",
        start_at="earliest",
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
    )
    source = KafkaSource(KafkaSettings(lab.broker.bootstrap, "bench"), settings, lambda _: None)
    await source.start()
    batches: list[RawBatch] = []
    try:
        while not batches:  # until the group has given us the partitions
            batches = [raw for raw in [await source.next_batch(BATCH, 100)] if len(raw)]
        batches.clear()
        with stages.timed("source"):
            while sum(map(len, batches)) < count - BATCH:
                batches.append(await source.next_batch(BATCH, 100))
    finally:
        await source.stop()
    return [raw for raw in batches if len(raw)]


async def _published(lab: Lab, stages: Stages, outcomes: Sequence[Outcome], name: str) -> None:
    """Publish as the loop does, up to four batches on their way."""
    topic = lab.new_name("decisions")
    await lab.topics.create(topic, f"{topic}.rejected")
    publisher = Publisher(
        KafkaSettings(lab.broker.bootstrap, "bench"),
        PublishSettings(topic, f"{topic}.rejected", "bench", 1_000_000),
        lambda _: None,
    )
    await publisher.start()
    try:
        with stages.timed(name):
            under_way: list[Awaitable[None]] = []
            for outcome in outcomes:
                under_way.append(await publisher.send(outcome, {}, lambda: True))
                if len(under_way) == 4:
                    await under_way.pop(0)
            for each in under_way:
                await each
    finally:
        await publisher.stop()
        await lab.topics.delete(topic, f"{topic}.rejected")


def _blocklists(state: Path) -> Blocklists:
    snapshots_held = last_good(state).snapshots
    lists = [fresh(name, b"", snapshot, NOW_S) for name, snapshot in snapshots_held.items()]
    return Blocklists.of(lists, NOBODY, partial(table_for, state))


def _rules(blocklists: Blocklists, *, emit_all: bool) -> Rules:
    return Rules(
        policy=compile_policy(PolicySettings(), blocklists.names),
        emergency=EmergencyNumbers({}),
        trunks=TRUNKS,
        sip=SipSettings("https://redress.example/d/{decision_id}", "TN"),
        emit_all=emit_all,
    )

"""Where a worker's time goes: CPU nanoseconds per CDR in each step of its loop, in this process.

No peer and no target: this is the profile that DECISIONS.md quotes, to be made again when a step
changes. The engine's own functions work on the preloaded topic in batches of 2,000 with 64 lists
of 1M numbers, as the loop does: `KafkaSource.next_batch`, then `decode`, `decide`, `Publisher.send`
batch by batch. What these consist of is timed again by itself on the same batches (indented), so
it need not add up exactly. Beside it, on the same records, the two dearest calls of the plain loop.

Times are CPU of the process, so waiting for the broker does not count, but aiokafka's background
work does, in whichever step it happens to run. Metrics, commits and the loop's own turns are not in
it: compare the sum with the CPU that the throughput bench saw for the whole process.
"""

import gc
import json
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pybloom_live.pybloom import BloomFilter

from stream.calls.batch import RawBatch
from stream.calls.decide import Rules, decide
from stream.calls.decode import DecodeSettings, decode
from stream.calls.dialects import dialect_named
from stream.calls.kafka import KafkaSettings
from stream.calls.publish import Publisher, PublishSettings
from stream.calls.source import KafkaSource, SourceSettings
from stream.calls.trunks import Trunks
from stream.core.allowlist import NOBODY
from stream.core.blocklists import Blocklists, fresh
from stream.core.decision import SipSettings
from stream.core.digests import Digests, elements
from stream.core.emergency import EmergencyNumbers
from stream.core.number import parse_many
from stream.core.policy import PolicySettings, compile_policy
from stream.core.table import probe_table
from stream.lists.shelf import last_good, table_for
from tests.bench import snapshots
from tests.bench.lab import SHORT, Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row

BATCH = 2_000
UNDER_WAY_MAX = 4
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
    made = await lab.calls(SHORT)
    state, bloom = snapshots.state_dir(lab), snapshots.bloom_file(lab)
    blocklists = _blocklists(state)
    with bloom.open("rb") as file:
        plain = BloomFilter.fromfile(file)
    rounds: list[dict[str, float]] = []
    with on_core(lab.cores.engine):
        for _ in range(lab.scale.rounds):
            stages = Stages()
            gc.collect()
            gc.freeze()  # as the engine does once its lists are loaded
            batches = await _fetched(lab, stages, min(len(made), RECORDS_MAX))
            records = sum(map(len, batches))
            for kind in ("blocks", "every CDR"):
                await _loop(lab, stages, batches, blocklists, kind)
            for raw in batches:
                _inside(stages, raw, blocklists, plain)
            rounds.append(_steps({name: cpu_s / records for name, cpu_s in stages.cpu_s.items()}))
    report = Report("stages")
    report.rows = [
        Row(name, {"CPU ns per CDR": [each[name] * 1e9 for each in rounds]}) for name in rounds[0]
    ]
    return [report]


def _steps(cpu_s: dict[str, float]) -> dict[str, float]:
    """The rows: sums, and steps without what is timed by itself."""
    rows = dict(cpu_s)
    for kind in ("blocks", "every CDR"):
        steps = ("source", f"decode, {kind}", f"decide, {kind}", f"publish, {kind}")
        rows[f"sum, {kind}"] = sum(cpu_s[step] for step in steps)
    return rows


async def _loop(
    lab: Lab, stages: Stages, batches: Sequence[RawBatch], blocklists: Blocklists, kind: str
) -> None:
    """The engine's loop over `batches`, with up to four on their way to the broker."""
    topic = lab.new_name("decisions")
    await lab.topics.create(topic, f"{topic}.rejected")
    publisher = Publisher(
        KafkaSettings(lab.broker.bootstrap, "bench"),
        PublishSettings(topic, f"{topic}.rejected", "bench", 1_000_000),
        lambda _: None,
    )
    rules = _rules(blocklists, emit_all=kind == "every CDR")
    under_way: list[Awaitable[None]] = []
    await publisher.start()
    try:
        for raw in batches:
            with stages.timed(f"decode, {kind}"):
                batch = decode(raw, {SHORT: DIALECT}, TRUNKS, DECODING)
            with stages.timed(f"decide, {kind}"):
                outcome = decide(batch, blocklists, rules, NOW_S * 1000)
            with stages.timed(f"publish, {kind}"):
                under_way.append(await publisher.send(outcome, {}, lambda: True))
                if len(under_way) == UNDER_WAY_MAX:
                    await under_way.pop(0)
        with stages.timed(f"publish, {kind}"):
            for each in under_way:
                await each
    finally:
        await publisher.stop()
        await lab.topics.delete(topic, f"{topic}.rejected")


def _inside(stages: Stages, raw: RawBatch, blocklists: Blocklists, plain: BloomFilter) -> None:
    """What the steps of `_loop` consist of, and what the plain loop does instead."""
    with stages.timed("  of decode: msgspec, five fields"):
        glances = [DIALECT.glance(value) for value in raw.values if value is not None]
    with stages.timed("  of decode: numbers to E.164"):
        callers = parse_many([glance.caller for glance in glances], lambda _: TRUNKS.home_country)
    with stages.timed("  of decide: match"):
        blocklists.match(callers, NOW_S)
    (circle,) = blocklists.circles
    (group,) = circle.groups
    with stages.timed("    of match: SHA-512"):
        words = Digests(elements(callers.e164, circle.key)).words(group.plan)
    with stages.timed("    of match: probe of all lists"):
        probe_table(group.table, words, group.bits_per_slice)
    with stages.timed("plain loop: json.loads"):
        read = [json.loads(value) for value in raw.values if isinstance(value, bytes)]
    with stages.timed("plain loop: pybloom-live in, one list"):
        for call in read:
            call["caller"] in plain  # noqa: B015 - as the plain loop asks


async def _fetched(lab: Lab, stages: Stages, count: int) -> list[RawBatch]:
    """At least `count` records of the preloaded topic, as the engine takes them."""
    settings = SourceSettings(
        topics=[SHORT],
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

"""The cost of agreements: nanoseconds a call in the worker's `Decider`, with 0, 1 and 200.

No peer: it is the engine's own step (match, judge, write decisions) with the same lists and the
same decoded calls, one thread's CPU time, in interleaved rounds; 2 % of the callers are on a list.
Each agreement has a clause on every list, with the terms of [policy], so that the same is decided:
verdicts are compared. Large batches are what a loaded worker decides, small ones what one with a
call every few milliseconds does; innocent ones have no listed caller at all.

Targets: 1 agreement at most 1.1 times none, 200 at most 1.1 times 1, for each kind of batch.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stream.calls.call_batch import CallBatch, Outcome
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.config.settings import load
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import (
    FOREVER,
    Agreement,
    AgreementKind,
    Agreements,
    Clause,
    Shared,
    Terms,
)
from stream.core.model.byte_strings import Texts
from stream.core.model.decision import Action
from stream.engine.decider import Decider
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.bench import snapshots
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.snapshots import NOW_S
from tests.bench.traffic import Traffic, traffic

LISTS = 8
ROUNDS = 15
COUNTS = (0, 1, 200)
SMALL = 8


async def run(lab: Lab) -> list[Report]:
    """Measure all numbers of agreements in interleaved rounds."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    lists = snapshots.blocklists(lab, LISTS)
    calls = traffic(lab.scale.keys, lab.scale.numbers, seed=5)
    innocent = np.flatnonzero(~calls.listed)
    without = replace(
        calls, **{name: getattr(calls, name)[innocent] for name in ("callers", "callees", "listed")}
    )
    kinds = {
        "batches of 2,000": _batches(calls, 2_000, len(calls)),
        f"batches of {SMALL}": _batches(calls, SMALL, min(len(calls), 500 * SMALL)),
        f"innocent, batches of {SMALL}": _batches(without, SMALL, min(len(without), 500 * SMALL)),
    }
    deciders = {count: _decider(lists, count) for count in COUNTS}
    rounds: dict[int, dict[str, list[float]]] = {
        count: {kind: [] for kind in kinds} for count in COUNTS
    }
    for batches in kinds.values():
        said = [[_verdicts(decide(batch)) for batch in batches] for decide in deciders.values()]
        assert all(one == said[0] for one in said), "agreements changed what is decided"
    for turn in range(ROUNDS):
        order = [*deciders.items()]
        order = order[turn % 3 :] + order[: turn % 3]  # nobody is always the first
        for kind, batches in kinds.items():
            number = sum(map(len, batches))
            for count, decide in order:
                start = time.process_time()
                for batch in batches:
                    decide(batch)
                rounds[count][kind].append((time.process_time() - start) / number * 1e9)
    report = Report("agreements", notes=[f"Ringfence {lab.kernels}; figures are ns a call"])
    report.rows = [Row(f"{count} agreements", found) for count, found in rounds.items()]
    report.targets = [
        Target(
            f"{more} agreements / {fewer}, {kind}",
            ratio(rounds[more][kind], rounds[fewer][kind]),
            *("x", 1.1, 1.03),
            less=True,
        )
        for fewer, more in ((0, 1), (1, 200))
        for kind in kinds
    ]
    return report


def _decider(lists: Blocklists, count: int) -> Decider:
    clauses = tuple(
        Clause(name, frozenset({"TH"}), Terms(Action.BLOCK), Shared.NUMBERS, "")
        for name in lists.names
    )
    agreement = Agreement(
        id="",
        title="bench",
        kind=AgreementKind.MEMORANDUM,
        parties={},
        clauses=clauses,
        circle="plain",
        valid_from_s=0,
        valid_until_s=FOREVER,
        confirmed_s=FOREVER,
        response_target_s=0,
        reporting=None,
        texts=(),
    )
    held = Agreements(tuple(replace(agreement, id=f"bench-{n:03d}") for n in range(count)))
    return Decider(load([], {}), lambda: lists, lambda: held, lambda: NOW_S * 1000)


def _batches(calls: Traffic, size: int, count: int) -> list[CallBatch]:
    """The first `count` calls, decoded, in batches."""
    settings = load([], {})
    made = []
    for start in range(0, count - size + 1, size):
        raw = RawBatch(
            values=Texts.of(calls.records(start, start + size)),
            offsets=np.arange(start, start + size),
            timestamps_ms=np.full(size, NOW_S * 1000),
            segments=(Segment(Partition("calls", 0), 0, size),),
            epoch=1,
        )
        limits = DecodeSettings(1 << 20, check_callee=True)
        made.append(decode(raw, {"calls": RINGFENCE}, settings.trunks_by_name(), limits))
    return made


def _verdicts(outcome: Outcome) -> Sequence[tuple[str, int]]:
    return sorted((counted.verdict, times) for counted, times in outcome.tally.decisions.items())

"""The cost of prefix entries: nanoseconds a number in `Blocklists.match`, with and without 1,000.

No peer: it is the engine's own function with the same lists and the same numbers, one thread's CPU
time, batches of 2,000, in interleaved rounds; 2 % of the numbers are on a list. Every prefix has 9
digits, and so stands for 100 Thai mobile numbers, but for the flood's.

- no prefixes: what every call pays where no list has any;
- elsewhere: 1,000 prefixes of another country's numbers;
- beside: 1,000 prefixes that no number begins like, one for each six digits that callers have: each
  number has to be looked up;
- on: 1,000 prefixes that hold a caller each, and so 2 % of the numbers;
- flood: the same, and one more holds a tenth of all numbers, as in an attack from one block.

Targets: 1,000 prefixes beside the callers at most 1.75 times none, aim 1.25; with callers on them,
each a match more that has to be told, at most 3 times, aim 2. (All the other steps of a call
together cost six times as much as its match.)
"""

import time
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.blocklists import Blocklists
from stream.core.filters.digests import Digests, elements
from stream.core.filters.prefixes import ListPrefixes, PrefixTable
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.numbers.codes import texts_of
from stream.core.numbers.number import Kind, Numbers
from tests.bench import snapshots
from tests.bench.bench_membership import BATCH
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.snapshots import NOW_S, REPORTED_AT_S
from tests.bench.traffic import traffic

LISTS = 8
PREFIXES = 1_000
ROUNDS = 9


async def run(lab: Lab) -> list[Report]:
    """Measure all kinds in interleaved rounds."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    plain = snapshots.blocklists(lab, LISTS)
    calls = traffic(lab.scale.keys, lab.scale.numbers, seed=5)
    callers = texts_of(calls.callers)
    batches = [
        Numbers(callers[start : start + BATCH], _all_e164(callers[start : start + BATCH]))
        for start in range(0, len(callers), BATCH)
    ]
    kinds = {
        name: replace(plain, prefixes=_table(plain, prefixes))
        for name, prefixes in _prefixes(calls.callers).items()
    }
    rounds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, lists in kinds.items():
            start = time.process_time()
            found = sum(len(lists.match(batch, NOW_S)) for batch in batches)
            rounds[name].append((time.process_time() - start) / len(callers) * 1e9)
            assert found >= int(calls.listed.sum()), f"{name}: {found} found"
    report = Report("prefixes", notes=[f"Ringfence {lab.kernels}"])
    report.rows = [Row(name, {"ns per number": values}) for name, values in rounds.items()]
    report.targets = [
        Target(
            f"1,000 prefixes, callers {where} / no prefixes",
            ratio(rounds[where], rounds["no prefixes"]),
            *("x", floor, aim),
            less=True,
        )
        for where, floor, aim in (("beside", 1.75, 1.25), ("on", 3.0, 2.0))
    ]
    return report


def _prefixes(callers: NDArray[np.uint64]) -> dict[str, list[str]]:
    """The prefixes of each kind."""
    called = {int(caller) // 100 for caller in callers.tolist()}
    heads = sorted({one // 1000 for one in called})
    beside = (head * 1000 + last for last in range(1000) for head in heads)
    free = list(islice((one for one in beside if one not in called), PREFIXES))
    on = [f"+{one}*" for one in sorted(called)[:: max(len(called) // PREFIXES, 1)][:PREFIXES]]
    return {
        "no prefixes": [],
        "elsewhere": [f"+85523{n:04}*" for n in range(PREFIXES)],
        "beside": [f"+{one}*" for one in free],
        "on": on,
        "flood": [*on, "+6691*"],
    }


def _table(plain: Blocklists, prefixes: list[str]) -> PrefixTable:
    """The table of `prefixes`, spread over the lists."""
    column = np.array([text.encode() for text in prefixes], "S16")
    prints = Digests(elements(column, b"")).fingerprints().tolist() if prefixes else []
    held: list[dict[int, tuple[Entry, ...]]] = [{} for _ in plain.lists]
    for place, (text, fingerprint) in enumerate(zip(prefixes, prints, strict=True)):
        report = Entry(text, fingerprint, Category.SPAM, "bench", REPORTED_AT_S, NEVER, 90)
        held[place % len(held)][fingerprint] = (report,)
    return PrefixTable.of(ListPrefixes(changed=changed) for changed in held)


def _all_e164(numbers: NDArray[np.bytes_]) -> NDArray[np.uint8]:
    return np.full(len(numbers), Kind.E164, np.uint8)

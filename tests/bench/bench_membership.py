"""The cost of a membership test, per number, one thread.

Compared: Ringfence's way (elements, one SHA-512 a number, bit-sliced probe of all lists; the very
functions of the engine, in batches of 2,000) with pybloom-live's `in` (the format's own library),
64 of those one after the other (what checking 64 shared files takes without Ringfence), and
rbloom's `in` (the fastest common Bloom package: Rust, its own hash, files that no partner reads).

Not the same: pybloom-live and rbloom answer for one list, Ringfence for all of them at once.
pybloom-live probes the very files that Ringfence probes (capacity class 2^21 for 1M, 2^24 for 10M);
rbloom's filters have exactly the capacity needed, so they are smaller. All at 1e-4; 2 % of the
numbers are listed; every peer is handed its keys in the form it likes best. Confirming hits in the
exact entries is not part of it here (it is of the throughput figures), and the peers have nothing
to confirm with. 64 x `in` stops at no hit, as one wants to know which countries list the number.

RedisBloom is not measured: it needs a module that the machine's Redis does not have. Measured once
and published in performance.md, section 1 (RedisBloom 8.0.8, one list of 1M at 1e-3, loopback):
BF.MEXISTS of 4,096 numbers 490 ns a number, 227 of them in the client; BF.EXISTS one by one 28,000
to 36,000 ns.

Target: at least 30 times as fast as 64 pybloom-live `in`.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pybloom_live.pybloom import BloomFilter
from rbloom import Bloom

from stream.core.filters.bloom import (
    STANDARD_RATE,
    Filter,
    build_filter,
    map_filter,
    shape_for,
    write_filter,
)
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import TableSpec, compile_table, probe_table
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import LISTED_SHARE, innocent_numbers, list_numbers

BATCH = 2_000
BUILD_CHUNK = 100_000
SLOW_KEYS = 2_000
"""For 64 pybloom-live `in`: 0.2 s a round is enough."""

Probe = Callable[[], int]
"""Asks about numbers that were handed to it beforehand; how many were found."""


async def run(lab: Lab) -> list[Report]:
    """Measure all peers in interleaved rounds; every answer is checked against the truth."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    scale = lab.scale
    keys, listed = _keys(scale.keys, scale.numbers)
    lab.say("Making filters for the membership bench (once; cached)")
    report = Report("membership", notes=[f"Ringfence {lab.kernels}"])
    ours, all_by_pybloom, peers = _peers(lab, keys)
    rounds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(max(scale.rounds, 2)):
        for name, (probe, count) in peers.items():
            start = time.perf_counter()
            found = probe()
            rounds[name].append((time.perf_counter() - start) / count * 1e9)
            _check(name, found, int(listed[:count].sum()), count * scale.lists)
    report.rows = [Row(name, {"ns per number": values}) for name, values in rounds.items()]
    report.targets.append(
        Target(
            f"{scale.lists} x pybloom-live in / Ringfence, all {scale.lists} lists",
            ratio(rounds[all_by_pybloom], rounds[ours]),
            "x",
            30,
        )
    )
    report.notes.append(
        "RedisBloom, from performance.md section 1, not measured here: BF.MEXISTS of 4,096 numbers "
        "490 ns a number and list; BF.EXISTS one by one 28,000 to 36,000"
    )
    return report


def _peers(lab: Lab, keys: NDArray[np.bytes_]) -> tuple[str, str, dict[str, tuple[Probe, int]]]:
    """Our row with all lists, pybloom-live's with all lists, and every probe with its key count."""
    scale = lab.scale
    million, large = f"{scale.numbers:,}", f"{scale.large:,}"
    texts = [key.decode() for key in keys.tolist()]
    few = texts[:SLOW_KEYS]
    filters = [_filter(lab, index, scale.numbers) for index in range(scale.lists)]
    peers: dict[str, tuple[Probe, int]] = {
        f"Ringfence, {count} x {million}": (_sliced(filters[:count], keys), len(keys))
        for count in sorted({1, min(8, scale.lists), scale.lists})
    }
    ours = next(reversed(peers))
    peers[f"Ringfence, 1 x {large}"] = (_sliced([_filter(lab, 0, scale.large)], keys), len(keys))
    for count in (scale.numbers, scale.large):
        bloom = _pybloom(lab.folder / _file(0, count))
        peers[f"pybloom-live in, 1 x {count:,}"] = (_one_by_one(bloom, few), len(few))
    many = [_pybloom(lab.folder / _file(index, scale.numbers)) for index in range(scale.lists)]
    all_by_pybloom = f"pybloom-live in, {scale.lists} x {million}, one after the other"
    peers[all_by_pybloom] = (_each(many, few), len(few))
    for count in (scale.numbers, scale.large):
        rust = Bloom(count, STANDARD_RATE)
        rust.update(text.decode() for text in _e164(list_numbers(0, count)).tolist())
        peers[f"rbloom in, 1 x {count:,}"] = (_one_by_one(rust, texts), len(texts))
    return ours, all_by_pybloom, peers


def _keys(count: int, list_size: int) -> tuple[NDArray[np.bytes_], NDArray[np.bool_]]:
    """Numbers (S16), 2 % of them on list 0, and which."""
    rng = np.random.default_rng(11)
    numbers = innocent_numbers(count, 12)
    listed = rng.random(count) < LISTED_SHARE
    numbers[listed] = list_numbers(0, list_size)[rng.integers(0, list_size, int(listed.sum()))]
    return _e164(numbers), listed


def _e164(numbers: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    return np.array([b"+%d" % digits for digits in numbers.tolist()], "S16")


def _file(index: int, count: int) -> str:
    return f"list-{index:02d}-{count}.bloom"


def _filter(lab: Lab, index: int, count: int) -> Filter:
    def make() -> bytes:
        numbers = list_numbers(index, count)
        chunks = (
            Digests(elements(_e164(numbers[start : start + BUILD_CHUNK]), b""))
            for start in range(0, count, BUILD_CHUNK)
        )
        return write_filter(build_filter(chunks, shape_for(count), count))

    return map_filter(lab.cached(_file(index, count), make))


def _sliced(filters: Sequence[Filter], keys: NDArray[np.bytes_]) -> Probe:
    """The engine's way: hash each number once, probe every list at once."""
    shape, plan = filters[0].shape, filters[0].plan
    spec = TableSpec(plan, shape.bits_per_slice, len(filters))
    table = np.empty(spec.rows, spec.dtype)
    compile_table(filters, table)

    def probe() -> int:
        found = 0
        for start in range(0, len(keys), BATCH):
            words = Digests(elements(keys[start : start + BATCH], b"")).words(plan)
            found += len(probe_table(table, words, shape.bits_per_slice)[0])
        return found

    return probe


def _pybloom(path: Path) -> BloomFilter:
    with path.open("rb") as file:
        bloom: BloomFilter = BloomFilter.fromfile(file)
    return bloom


def _one_by_one(bloom: Any, texts: Sequence[str]) -> Probe:
    return lambda: sum([text in bloom for text in texts])


def _each(blooms: Sequence[BloomFilter], texts: Sequence[str]) -> Probe:
    return lambda: sum([max([text in bloom for bloom in blooms]) for text in texts])


def _check(name: str, found: int, listed: int, asked: int) -> None:
    """No member may be missed, and no more strangers be found than the error rate explains."""
    spare = asked * STANDARD_RATE
    assert listed <= found <= listed + 3 + spare + 6 * spare**0.5, (
        f"{name} found {found}, {listed} are listed"
    )

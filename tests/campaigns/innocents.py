"""Match numbers of nobody with lists of members: none may be found, and no member may be missed.

    python -m tests.campaigns.innocents                                     a billion, and 10^8
    python -m tests.campaigns.innocents --innocents 1e8 --members 1e7       a tenth

By `Blocklists.match`, as a worker matches a batch: digests, the bit-sliced tables, and the exact
entries that confirm each hit. Some lists are in a circle with a hashing key. A number that no list
holds exactly has no match, and what has no match is not blocked by a list.

Numbers are +999 and twelve digits, which no numbering plan gives out. Number i is `i * MIXED`
modulo 2^39: one to one, so members (the first places) and innocents (the places behind them) never
meet. A tenth of the innocents are neighbours: members with another last digit.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.filters.digests import Digests, elements
from stream.core.filters.sliced_table import probe_table
from stream.core.filters.snapshot import read_snapshot
from stream.core.model.allowlist import NOBODY
from stream.core.numbers.number import Kind, Numbers
from stream.lists.snapshot.build import Version, build_snapshot
from stream.ops.kernels import warm_up
from tests.support.builders import NOW_S, columns_of, table_of
from tests.support.engine import KERNELS_DIR
from tests.support.figures import WHOLE, record

BATCH = 8_192
"""Numbers of a batch, as many as a worker's largest has."""
PLACES = 1 << 39
"""Below 10^12, so each has its own twelve digits."""
MIXED = 0x9E37_79B9_7F4A_7C15
"""Odd, so that multiplication modulo a power of two can be undone."""
UNMIXED = pow(MIXED, -1, 1 << 64)
CIRCLE_KEY = bytes(range(32))
NEIGHBOURS_EVERY = 10
_FOUR = np.array([b"%04d" % n for n in range(10_000)], "S4").view("<u4")
_HEAD = np.array([b"+999"], "S4").view("<u4")


@dataclass(frozen=True, slots=True)
class Size:
    """Figures of a campaign: `keyed` of the `lists` are in a circle with a key."""

    innocents: int = 10**9
    members: int = 10**8
    lists: int = 64
    keyed: int = 16
    entries: int = 10**6


@dataclass(slots=True)
class Found:
    """Result of a campaign: `blocked` innocents, `missed` members, `wrong` matches of members.

    `hits` of the last `sampled` innocents are in a filter by chance: exact entries refuted them.
    Seconds are of CPU.
    """

    innocents: int = 0
    neighbours: int = 0
    blocked: int = 0
    members: int = 0
    missed: int = 0
    wrong: int = 0
    sampled: int = 0
    hits: int = 0
    build_s: float = 0.0
    innocents_s: float = 0.0
    members_s: float = 0.0

    @property
    def right(self) -> bool:
        """Nobody was blocked, nobody missed."""
        return not (self.blocked or self.missed or self.wrong)


def digits_at(places: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The twelve digits of the numbers at these places."""
    mixed: NDArray[np.uint64] = places * np.uint64(MIXED) & np.uint64(PLACES - 1)
    return mixed


def places_of(digits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """`digits_at` undone. Digits from 2^39 on have a place that is not theirs."""
    places: NDArray[np.uint64] = digits * np.uint64(UNMIXED) & np.uint64(PLACES - 1)
    return places


def texts_of(digits: NDArray[np.uint64]) -> NDArray[np.bytes_]:
    """Numbers (S16) of these digits: four at a time from a table."""
    words = np.empty((len(digits), 4), "<u4")
    words[:, 0] = _HEAD
    high, rest = digits // np.uint64(10**8), digits % np.uint64(10**8)
    words[:, 1] = _FOUR[high]
    words[:, 2] = _FOUR[rest // np.uint64(10**4)]
    words[:, 3] = _FOUR[rest % np.uint64(10**4)]
    return words.view("S16").ravel()


def build(size: Size) -> Blocklists:
    """All lists, list l with the members at places `l * entries` on."""
    lives = []
    for index in range(size.lists):
        key = CIRCLE_KEY if index >= size.lists - size.keyed else b""
        first = index * size.entries
        texts = texts_of(digits_at(np.arange(first, first + size.entries, dtype=np.uint64)))
        version = Version("XA", f"{index:02d}", 1, "test" if key else "plain", key, "k1")
        parts = build_snapshot(version, columns_of(texts, key, reported_at=NOW_S - 60), NOW_S)
        lives.append(fresh(f"XA/{index:02d}", key, read_snapshot(parts, key=key), NOW_S))
    return Blocklists.of(lives, NOBODY, table_of)


def batches(first: int, count: int) -> Iterator[NDArray[np.uint64]]:
    """The places from `first` on, in batches."""
    for at in range(first, first + count, BATCH):
        yield np.arange(at, min(at + BATCH, first + count), dtype=np.uint64)


def neighbours(members: NDArray[np.uint64], listed: int) -> NDArray[np.uint64]:
    """Digits of `members` with another last digit, without those that are members themselves."""
    digits = digits_at(members)
    last = digits % np.uint64(10)
    near = digits - last + (last + np.uint64(1) + members % np.uint64(9)) % np.uint64(10)
    kept: NDArray[np.uint64] = near[(near >= PLACES) | (places_of(near) >= listed)]
    return kept


def _numbers(digits: NDArray[np.uint64]) -> Numbers:
    return Numbers(texts_of(digits), np.full(len(digits), Kind.E164, np.uint8))


def ask_innocents(lists: Blocklists, size: Size, found: Found) -> None:
    """Match numbers that no list holds, every tenth batch with neighbours of members."""
    listed = size.lists * size.entries
    began_s = time.process_time()
    for turn, places in enumerate(batches(listed, size.innocents)):
        digits = digits_at(places)
        if turn % NEIGHBOURS_EVERY == NEIGHBOURS_EVERY - 1:
            digits = neighbours(places % np.uint64(listed), listed)
            found.neighbours += len(digits)
        matches = lists.match(_numbers(digits), NOW_S)
        found.blocked += len(np.unique(matches.rows))
        found.innocents += len(digits)
    found.innocents_s = time.process_time() - began_s


def count_hits(lists: Blocklists, size: Size, found: Found) -> None:
    """Count the hits of the filters alone among the last innocents, a hundredth of them."""
    sample = max(size.innocents // 100, 1)
    last = size.lists * size.entries + size.innocents - sample
    for places in batches(last, sample):
        texts = texts_of(digits_at(places))
        hit = np.zeros(len(texts), np.bool_)
        for circle in lists.circles:
            digests = Digests(elements(texts, circle.key))
            for group in circle.groups:
                words = digests.words(group.plan)
                hit[probe_table(group.table, words, group.bits_per_slice)[0]] = True
        found.sampled += len(texts)
        found.hits += int(hit.sum())


def ask_members(lists: Blocklists, size: Size, found: Found) -> None:
    """Match members, all of them again and again: each is on its list, and on no other."""
    listed = size.lists * size.entries
    began_s = time.process_time()
    for asked in batches(0, size.members):
        places = asked % np.uint64(listed)
        matches = lists.match(_numbers(digits_at(places)), NOW_S)
        own = matches.confirmed & (places[matches.rows] // np.uint64(size.entries) == matches.lists)
        found.members += len(places)
        found.missed += len(places) - len(np.unique(matches.rows[own]))
        found.wrong += len(matches) - int(own.sum())
    found.members_s = time.process_time() - began_s


def run(size: Size, part: str = WHOLE) -> Found:
    """Build the lists, ask them, and record what was found as a part of the campaign."""
    found = Found()
    began_s = time.process_time()
    lists = build(size)
    found.build_s = time.process_time() - began_s
    ask_innocents(lists, size, found)
    count_hits(lists, size, found)
    ask_members(lists, size, found)
    figures = {name: round(figure, 1) for name, figure in asdict(found).items()}
    record("innocents", {**figures, "lists": size.lists, "entries": size.entries}, part)
    return found


def main() -> int:
    """Run the campaign of the options; 1 if a number was blocked or missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in asdict(Size()).items():
        parser.add_argument(f"--{name}", type=lambda text: int(float(text)), default=default)
    size = Size(**vars(parser.parse_args()))
    warm_up(KERNELS_DIR)
    found = run(size)
    sys.stdout.write(f"{size}\n{found}\n")
    return int(not found.right)


if __name__ == "__main__":
    raise SystemExit(main())

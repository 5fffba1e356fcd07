"""The benches' numbers and call records: seeded, the same in every run, with known truth.

Lists hold numbers +668xxxxxxxx, innocent callers are +669xxxxxxxx, called numbers +6625xxxxxx, so
an innocent caller is on no list. No number occurs on two lists.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LISTED_FROM = 66_800_000_000
INNOCENT_FROM = 66_900_000_000
CALLEE_FROM = 6_625_000_000
MOBILE_NUMBERS = 100_000_000
LISTED_SHARE = 0.02
BLOCK = 400
PARTITIONS = 4

_CDR = (
    b'{"call_id":"c%010d-4b1d7c0f93ae528866d1","caller":"+%d","callee":"+%d",'
    b'"started_at":"2026-11-25T01:02:03.123Z","stage":"attempt","ingress":"international",'
    b'"trunk":"intl-bkk-01","carrier":"carrier-7","duration_s":0,'
    b'"sip":{"from_tag":"a6f1c20b","code":200,"ua":"SBC-16"},"cell":"520-03-12345-678"}'
)
_CALL_ID = re.compile(rb'"call_id": ?"c(\d{10})-')


def list_numbers(index: int, count: int) -> NDArray[np.uint64]:
    """The numbers of list `index`, E.164 digits; uint64[count]. Lists of one count are disjoint."""
    assert (index + 1) * count <= MOBILE_NUMBERS, "there are no more numbers"
    place = np.arange(index * count, (index + 1) * count, dtype=np.uint64)
    # Odd and no multiple of 5, so a bijection of 0 .. 10^8 - 1 that leaves no order to the eye.
    mixed = (place * np.uint64(61_803_397) + np.uint64(31_415_927)) % np.uint64(MOBILE_NUMBERS)
    return mixed + np.uint64(LISTED_FROM)


def innocent_numbers(count: int, seed: int) -> NDArray[np.uint64]:
    """Numbers that are on no list; uint64[count], some perhaps twice."""
    drawn = np.random.default_rng(seed).integers(0, MOBILE_NUMBERS, count, np.uint64)
    return drawn + np.uint64(INNOCENT_FROM)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Call records in order: who calls, whom, and which of them are on list 0."""

    callers: NDArray[np.uint64]
    callees: NDArray[np.uint64]
    listed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.callers)

    def records(self, start: int, stop: int) -> list[bytes]:
        """The records `start` to `stop`, about 300 bytes each."""
        callers = self.callers[start:stop].tolist()
        callees = self.callees[start:stop].tolist()
        return [
            _CDR % (index, caller, callee)
            for index, caller, callee in zip(
                range(start, start + len(callers)), callers, callees, strict=True
            )
        ]


def traffic(count: int, list_size: int, seed: int) -> Traffic:
    """`count` calls, 2 % by callers on list 0 (which has `list_size` numbers)."""
    rng = np.random.default_rng(seed)
    callers = innocent_numbers(count, seed + 1)
    listed = rng.random(count) < LISTED_SHARE
    drawn = rng.integers(0, list_size, int(listed.sum()))
    callers[listed] = list_numbers(0, list_size)[drawn]
    callees = rng.integers(0, 1_000_000, count, np.uint64) + np.uint64(CALLEE_FROM)
    return Traffic(callers, callees, listed)


def place(indexes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Partition and position in it of records that were preloaded in blocks of `BLOCK`."""
    block = indexes // BLOCK
    return block % PARTITIONS, block // PARTITIONS * BLOCK + indexes % BLOCK


def call_index(value: bytes) -> int:
    """The record that a record or decision is about, from its call id, for any writer."""
    found = _CALL_ID.search(value)
    assert found is not None, f"no call id of ours in {value[:200]!r}"
    return int(found[1])

"""Build a snapshot from a list's entries, and prove it before anybody uses it.

Pure: bytes in, bytes out. `build_snapshot` makes the parts, `verify_parts` reads them back as a
stranger would: every byte, every member, and the false positives as they are, not as promised.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from stream.core.bloom import (
    COUNT_MAX,
    PROBES,
    Filter,
    build_filter,
    check_members,
    check_probes,
    read_filter,
    shape_for,
    write_filter,
)
from stream.core.digests import Digests, elements
from stream.core.entry import Columns
from stream.core.faults import SnapshotUnreadable
from stream.core.overlay import Change
from stream.core.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    Manifest,
    Part,
    Snapshot,
    encode_manifest,
    read_snapshot,
)

Parts = dict[str, bytes]
Progress = Callable[[int, int], None]
"""Called with (numbers done, numbers in all)."""

CHUNK = 1 << 16
"""Numbers hashed at a time: 16 MB of digests and their Python objects."""
TRIED = 1 << 17
"""Random numbers asked to measure false positives: at 1e-4, 13 are expected."""


@dataclass(frozen=True, slots=True)
class Version:
    """Which list at which generation, and in which circle; `key` is b"" in `plain`."""

    owner: str
    name: str
    generation: int
    circle: str
    key: bytes = field(repr=False)
    key_id: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What `verify_parts` saw. `verified` entries have a number and were found in the filter.

    `tried` random numbers of nobody were asked, `false_positives` of them were in the filter.
    """

    entries: int
    verified: int
    tried: int
    false_positives: int

    @property
    def false_positive_rate(self) -> float:
        """The share of false positives, as measured."""
        return self.false_positives / self.tried


def nobody(_done: int, _total: int) -> None:
    """A `Progress` that nobody watches."""


def build_snapshot(
    version: Version,
    columns: Columns,
    now_s: int,
    progress: Progress = nobody,
    filter_data: bytes | None = None,
) -> Parts:
    """The parts of a snapshot of `columns`, `manifest.json` among them.

    Entries that are only fingerprints can not be put into a filter, since it holds hashes of
    another kind: such a list needs `filter_data`, its owner's filter, which is taken as it is.

    Raises `SnapshotUnreadable` when it can not be built, and `FilterUnreadable` for `filter_data`.
    """
    if len(columns) > COUNT_MAX:
        raise SnapshotUnreadable(f"{len(columns)} entries, one list holds at most {COUNT_MAX}")
    bare = int(np.count_nonzero(columns.number == 0))
    if filter_data is not None:
        made = read_filter(filter_data)
        check_probes(made, version.key)
    elif bare:
        raise SnapshotUnreadable(
            f"{bare} of {len(columns)} entries are fingerprints without a number: the filter can "
            "only be built by who has the numbers; give the owner's filter file with the entries"
        )
    else:
        count = len(columns) + len(PROBES)
        made = build_filter(_to_add(columns, version.key, progress), shape_for(len(columns)), count)
    parts = {FILTER_PART: write_filter(made)}
    for column in COLUMNS:
        values = getattr(columns, column.name)
        parts[column.name] = values.astype(column.dtype, copy=False).tobytes()
    return _with_manifest(version, made, len(columns), columns.sources, parts, now_s)


def bare_snapshot(
    version: Version, filter_data: bytes, now_s: int, samples: NDArray[np.bytes_] | None = None
) -> Parts:
    """The parts of a list that is shared as a bare filter: its matches stay unconfirmed.

    `samples` (S16) are numbers known to be on it; without them a file of pybloom-live 3 or of
    another circle can not be told from a good one. Raises `FilterUnreadable`.
    """
    held = read_filter(filter_data)
    if samples is not None:
        check_members(held, version.key, samples)
    return _with_manifest(version, held, held.count, (), {FILTER_PART: filter_data}, now_s)


def verify_parts(parts: Parts, key: bytes, progress: Progress = nobody) -> BuildReport:
    """Read the parts back and prove them; raises `SnapshotUnreadable` with what is wrong.

    Every entry with a number must be in the filter and have the fingerprint of that number. The
    false positives, measured on numbers that nobody has, may be twice what the filter promises and
    six standard deviations more.
    """
    snapshot = read_snapshot(parts, key=key)
    return verify_snapshot(snapshot, key, progress)


def verify_snapshot(snapshot: Snapshot, key: bytes, progress: Progress = nobody) -> BuildReport:
    """`verify_parts` for a snapshot that was opened, its bytes already checked."""
    held, columns = snapshot.filter, snapshot.columns
    verified = 0
    for digests in _digests(columns, key, progress) if columns is not None else ():
        absent = len(digests) - int(held.may_hold(digests).sum())
        if absent:
            raise SnapshotUnreadable(f"{FILTER_PART}: {absent} of its own members are not found")
        verified += len(digests)
    found = 0
    for seed in range(0, TRIED, CHUNK):
        found += int(held.may_hold(Digests(elements(_numbers_of_nobody(seed), key))).sum())
    expected = TRIED * held.shape.error_rate
    if found > 2 * expected + 6 * math.sqrt(expected) + 6:
        raise SnapshotUnreadable(
            f"{FILTER_PART}: {found} false positives of {TRIED} numbers, {expected:.1f} expected"
        )
    return BuildReport(snapshot.manifest.count, verified, TRIED, found)


def columns_of(
    numbers: NDArray[np.bytes_],
    key: bytes,
    *,
    reported_at: NDArray[np.uint32],
    expires_at: NDArray[np.uint32],
    category: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    source: NDArray[np.uint16],
    sources: tuple[str, ...],
    progress: Progress = nobody,
) -> Columns:
    """The columns of `numbers` (E.164, S16) in the circle with `key`.

    The other arguments are as in `Columns`, a row a number. Of a number given twice the last row
    counts.
    """
    digits = _digits_of(numbers)
    fingerprint = np.empty(len(numbers), np.uint64)
    for at in range(0, len(numbers), CHUNK):
        chunk = numbers[at : at + CHUNK]
        fingerprint[at : at + len(chunk)] = Digests(elements(chunk, key)).fingerprints()
        progress(at + len(chunk), len(numbers))
    # A stable sort keeps the order in which equal fingerprints came: the last of each run wins.
    order = np.argsort(fingerprint, kind="stable")
    ordered = fingerprint[order]
    last = np.ones(len(ordered), np.bool_)
    last[:-1] = ordered[1:] != ordered[:-1]
    rows = order[last]
    return Columns(
        fingerprint[rows],
        digits[rows],
        reported_at[rows],
        expires_at[rows],
        category[rows],
        confidence[rows],
        source[rows],
        sources,
    )


def with_changes(columns: Columns, changes: Iterable[Change]) -> Columns:
    """`columns` after `changes`, in their order: entries added or replaced, or taken out."""
    last = {change.fingerprint: change.entry for change in changes}
    touched = np.array(sorted(last), np.uint64)
    kept = ~np.isin(columns.fingerprint, touched, assume_unique=True)
    added = [last[fp] for fp in sorted(last)]
    entries = [entry for entry in added if entry is not None]
    names = {name: index for index, name in enumerate(columns.sources)}
    for entry in entries:
        names.setdefault(entry.source, len(names))
    new = {
        "fingerprint": [entry.fingerprint for entry in entries],
        "number": [int((entry.number or "+0")[1:]) for entry in entries],
        "reported_at": [entry.reported_at_s for entry in entries],
        "expires_at": [entry.expires_at_s for entry in entries],
        "category": [int(entry.category) for entry in entries],
        "confidence": [entry.confidence for entry in entries],
        "source": [names[entry.source] for entry in entries],
    }
    fingerprint = np.concatenate([columns.fingerprint[kept], np.array(new["fingerprint"], "<u8")])
    order = np.argsort(fingerprint, kind="stable")
    arrays = {
        c.name: np.concatenate([getattr(columns, c.name)[kept], np.array(new[c.name], c.dtype)])[
            order
        ]
        for c in COLUMNS
    }
    return Columns(**arrays, sources=tuple(names))


def _with_manifest(
    version: Version, made: Filter, count: int, sources: tuple[str, ...], parts: Parts, now_s: int
) -> Parts:
    manifest = Manifest(
        owner=version.owner,
        name=version.name,
        generation=version.generation,
        circle=version.circle,
        key_id=version.key_id,
        algorithm=made.plan.algorithm,
        slices=made.shape.slices,
        bits_per_slice=made.shape.bits_per_slice,
        capacity=made.shape.capacity,
        count=count,
        built_at_s=now_s,
        has_entries=len(parts) > 1,
        sources=sources,
        parts={name: Part(len(data), sha256(data).hexdigest()) for name, data in parts.items()},
    )
    return {**parts, MANIFEST_PART: encode_manifest(manifest)}


def _to_add(columns: Columns, key: bytes, progress: Progress) -> Iterator[Digests]:
    yield Digests(elements(np.array(PROBES, "S16"), key))
    yield from _digests(columns, key, progress)


def _digests(columns: Columns, key: bytes, progress: Progress) -> Iterator[Digests]:
    """The digests of all entries with a number, in chunks; their fingerprints are compared."""
    total = len(columns)
    for at in range(0, total, CHUNK):
        digits = columns.number[at : at + CHUNK]
        known = digits != 0
        numbers = np.array([b"+%d" % value for value in digits[known].tolist()], "S16")
        digests = Digests(elements(numbers, key))
        wrong = digests.fingerprints() != columns.fingerprint[at : at + CHUNK][known]
        if wrong.any():
            raise SnapshotUnreadable(
                f"{int(wrong.sum())} of {len(numbers)} entries have the fingerprint of another "
                "number: hashed with another circle's key?"
            )
        yield digests
        progress(min(at + CHUNK, total), total)


def _digits_of(numbers: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    return np.array([int(number) for number in numbers.tolist()], np.uint64)


def _numbers_of_nobody(seed: int) -> NDArray[np.bytes_]:
    """`CHUNK` random numbers of +999, which is assigned to nobody; longer than the probes."""
    random = np.random.default_rng(seed)
    tails = random.integers(10**11, 10**12, CHUNK).tolist()
    return np.array([b"+999%d" % tail for tail in tails], "S16")

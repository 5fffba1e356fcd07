"""Build a snapshot from a list's entries, and verify it before use.

Pure: bytes in, bytes out. `build_snapshot` makes the parts. `verify_parts` reads them back without
trusting them: every byte, every member, and the false positives as measured, not as promised.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.bloom import (
    BARE_RATE,
    COUNT_MAX,
    PROBES,
    RATE_MAX,
    Filter,
    build_filter,
    check_members,
    check_probes,
    read_filter,
    shape_for,
    write_filter,
)
from stream.core.filters.digests import Digests, elements
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    Manifest,
    SnapshotPart,
    encode_manifest,
    read_snapshot,
)
from stream.core.model.entry import PREFIX_MARK, Columns, Entry, code_of
from stream.core.model.errors import FilterTooCoarse, SnapshotUnreadable
from stream.core.numbers.codes import texts_of
from stream.core.numbers.numbering import tables
from stream.lists.snapshot.merge import in_order, merged, without

Parts = dict[str, bytes]
Progress = Callable[[int, int], None]
"""Called with (numbers done, numbers in all)."""

CHUNK = 1 << 16
"""Numbers hashed at a time: bounds digests and their Python objects to 16 MB."""
TRIED = 1 << 17
"""Random numbers asked to measure false positives: at 1e-4, 13 are expected."""
OF_EACH = 256
"""Random numbers probed for each country code and length. A filter may match 18 of them at 1 %, so
one that holds a seventh of a country's numbers of one length is found."""
_ROOM_DIGITS = 8
"""Digits after the country code: see `_numbers_of_countries`."""


@dataclass(frozen=True, slots=True)
class Version:
    """A list, its generation and its circle; `key` is b"" in `plain`."""

    owner: str
    name: str
    generation: int
    circle: str
    key: bytes = field(repr=False)
    key_id: str


def nobody(_done: int, _total: int) -> None:
    """Report no progress."""


def build_snapshot(
    version: Version,
    columns: Columns,
    now_s: int,
    progress: Progress = nobody,
    filter_data: bytes | None = None,
) -> Parts:
    """Return the parts of a snapshot of `columns`, `manifest.json` among them.

    Entries that are only fingerprints cannot be put into a filter, since it holds hashes of another
    kind. Such a list needs `filter_data`, its owner's filter, which is taken unchanged.

    Raises `SnapshotUnreadable` when it cannot be built, and `FilterUnreadable` for `filter_data`.
    """
    if len(columns) > COUNT_MAX:
        raise SnapshotUnreadable(f"{len(columns)} entries, one list holds at most {COUNT_MAX}")
    numbers = columns.numbers
    bare = int(np.count_nonzero(columns.number == 0))
    if filter_data is not None:
        made = read_filter(filter_data)
        check_probes(made, version.key)
    elif bare:
        raise SnapshotUnreadable(
            f"{bare} of {len(columns)} entries are fingerprints without a number: the filter can "
            "only be built by their owner; give the owner's filter file with the entries"
        )
    else:
        count = numbers + len(PROBES)
        made = build_filter(_to_add(columns, version.key, progress), shape_for(numbers), count)
    parts = {FILTER_PART: write_filter(made)}
    for column in COLUMNS:
        values = getattr(columns, column.name)
        parts[column.name] = values.astype(column.dtype, copy=False).tobytes()
    return _with_manifest(version, made, columns, parts, now_s)


def bare_snapshot(
    version: Version, filter_data: bytes, now_s: int, samples: NDArray[np.bytes_] | None = None
) -> Parts:
    """Return the parts of a list that is shared as a bare filter: its matches stay unconfirmed.

    `samples` (S16) are numbers known to be on it. Without them, a file of pybloom-live 3 or of
    another circle cannot be distinguished from a good one. Raises `FilterUnreadable`.
    """
    held = read_filter(filter_data)
    if samples is not None:
        check_members(held, version.key, samples)
    return _with_manifest(version, held, None, {FILTER_PART: filter_data}, now_s)


def bare_filter(columns: Columns, key: bytes, now_s: int) -> bytes:
    """Build a filter without entries to confirm its matches: one false positive in a million.

    It says of a number only that it is there. So it has those that are blamed at `now_s`: none of
    which all reports have ended, or say that it is legitimate.
    """
    codes = np.unique(columns.number[columns.named(columns.fingerprint, now_s)])
    texts = np.concatenate([np.array(PROBES, "S16"), texts_of(codes[codes != 0])])
    chunks = (digests for _, digests in digested(texts, key))
    return write_filter(build_filter(chunks, shape_for(len(texts), BARE_RATE), len(texts)))


def verify_parts(parts: Parts, key: bytes, progress: Progress = nobody) -> int:
    """Read the parts back and prove them; return how many numbers were found in the filter.

    Every entry with a number must be in the filter and have the fingerprint of that number. The
    false positives, measured on unassigned numbers, may be twice what the filter promises and
    six standard deviations more. Raises SnapshotUnreadable with what is wrong.
    """
    snapshot = read_snapshot(parts, key=key)
    held, columns = snapshot.filter, snapshot.columns
    verified = 0
    for digests in _digests(columns, key, progress) if columns is not None else ():
        absent = len(digests) - int(held.may_hold(digests).sum())
        if absent:
            raise SnapshotUnreadable(f"{FILTER_PART}: {absent} of its own members are not found")
        verified += len(digests)
    found = _false_positives(held, key)
    # Not a plain limit of twice the rate: chance alone would have good filters refused.
    if found > _at_most(TRIED, 2 * held.shape.error_rate):
        expected = TRIED * held.shape.error_rate
        raise SnapshotUnreadable(
            f"{FILTER_PART}: {found} false positives of {TRIED} numbers, {expected:.1f} expected"
        )
    if columns is None:
        try:
            check_measured(held, key)
        except FilterTooCoarse as error:
            raise SnapshotUnreadable(f"{FILTER_PART}: {error}") from error
    return verified


def check_measured(held: Filter, key: bytes, rate_max: float = RATE_MAX) -> None:
    """Refuse a filter without entries that matches more than `rate_max` of numbers at random.

    There are three measures, since a filter can pass each alone by a lie. They are its header's
    claim, the fill of its bits, and its hits on random numbers (of nobody, and of each country).
    The last finds bits that were set for a whole country. Raises FilterTooCoarse.
    """
    said = {"its header claims": held.shape.error_rate, "its bits match": held.match_rate}
    for what, rate in said.items():
        if rate > rate_max:
            raise FilterTooCoarse(f"{what} {rate:.3g} of all numbers, at most {rate_max:g} may")
    found = _false_positives(held, key)
    if found > _at_most(TRIED, rate_max):
        raise FilterTooCoarse(f"it matches {found} of {TRIED} numbers of nobody: too many")
    # The filter chooses the numbers, so its maker cannot leave out those that will be asked.
    seed = int.from_bytes(sha256(held.bits.data).digest())
    for code, digits, texts in _numbers_of_countries(seed):
        found = int(held.may_hold(Digests(elements(texts, key))).sum())
        if found > _at_most(len(texts), rate_max):
            raise FilterTooCoarse(
                f"it matches {found} of {len(texts)} random numbers of +{code} with {digits} "
                f"digits: at most {rate_max:g} of a country's numbers may match"
            )


def _false_positives(held: Filter, key: bytes) -> int:
    """Count the matches among `TRIED` unassigned numbers."""
    return sum(
        int(held.may_hold(Digests(elements(_numbers_of_nobody(seed), key))).sum())
        for seed in range(0, TRIED, CHUNK)
    )


def _at_most(tried: int, rate: float) -> float:
    """Return the hits allowed in a sample at that rate: six standard deviations more."""
    return tried * rate + 6 * math.sqrt(tried * rate) + 6


def with_changes(columns: Columns, changes: Iterable[Change]) -> Columns:
    """`columns` after `changes`, in their order: each number with the reports it then has."""
    last = {change.fingerprint: change.entries for change in changes}
    if not last:
        return columns
    left = without(columns, np.array(sorted(last), np.uint64))
    return merged(left, columns_from([entry for entries in last.values() for entry in entries]))


def columns_from(entries: Sequence[Entry]) -> Columns:
    """Return the columns of `entries`; of a number and source given twice the last one counts."""
    names: dict[str, int] = {}
    for entry in entries:
        names.setdefault(entry.source, len(names))
    values: dict[str, list[int]] = {
        "fingerprint": [entry.fingerprint for entry in entries],
        "number": [0 if entry.number is None else code_of(entry.number) for entry in entries],
        "reported_at": [entry.reported_at_s for entry in entries],
        "expires_at": [entry.expires_at_s for entry in entries],
        "category": [int(entry.category) for entry in entries],
        "confidence": [entry.confidence for entry in entries],
        "source": [names[entry.source] for entry in entries],
    }
    # Wide: more sources than a column can number must reach `in_order`, which refuses them.
    arrays: dict[str, NDArray[Any]] = {
        c.name: np.array(values[c.name], np.int64 if c.name == "source" else c.dtype)
        for c in COLUMNS
    }
    return in_order(arrays, tuple(names))


def _with_manifest(
    version: Version, made: Filter, columns: Columns | None, parts: Parts, now_s: int
) -> Parts:
    """Return the parts with their manifest; `columns` None: a bare filter."""
    prefixes = 0 if columns is None else np.count_nonzero(columns.number >= PREFIX_MARK)
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
        count=made.count if columns is None else len(columns),
        numbers=made.count if columns is None else columns.numbers,
        prefixes=int(prefixes),
        built_at_s=now_s,
        has_entries=columns is not None,
        sources=() if columns is None else columns.sources,
        parts={
            name: SnapshotPart(len(data), sha256(data).hexdigest()) for name, data in parts.items()
        },
    )
    return {**parts, MANIFEST_PART: encode_manifest(manifest)}


def completed(filter_data: bytes, columns: Columns, key: bytes) -> bytes:
    """Return an owner's filter with the numbers in `columns` that it lacks: other sources'.

    Raises FilterUnreadable.
    """
    theirs = read_filter(filter_data)
    check_probes(theirs, key)
    codes = np.unique(columns.number)
    texts, more, count = texts_of(codes[codes != 0]), [], 0
    for part, digests in digested(texts, key):
        absent = texts[part][~theirs.may_hold(digests)]
        if len(absent):
            more.append(Digests(elements(absent, key)))
            count += len(absent)
    if not more:
        return filter_data
    added = build_filter(more, theirs.shape, count)
    return write_filter(Filter(theirs.shape, theirs.count + count, theirs.bits | added.bits))


def digested(texts: NDArray[np.bytes_], key: bytes) -> Iterator[tuple[slice, Digests]]:
    """Yield the digests of `texts` (S16), `CHUNK` at a time, each with its places in `texts`."""
    for at in range(0, len(texts), CHUNK):
        part = slice(at, at + CHUNK)
        yield part, Digests(elements(texts[part], key))


def _to_add(columns: Columns, key: bytes, progress: Progress) -> Iterator[Digests]:
    yield Digests(elements(np.array(PROBES, "S16"), key))
    yield from _digests(columns, key, progress)


def _digests(columns: Columns, key: bytes, progress: Progress) -> Iterator[Digests]:
    """Yield the digests of all numbers that are known, in chunks; their fingerprints are compared.

    A number with several reports is digested once; were another number beside its fingerprint,
    that one would be too.
    """
    other = np.ones(len(columns), np.bool_)
    np.not_equal(columns.number[1:], columns.number[:-1], out=other[1:])
    rows = np.flatnonzero((columns.begins | other) & (columns.number != 0))
    for at in range(0, len(rows), CHUNK):
        chunk = rows[at : at + CHUNK]
        digests = Digests(elements(texts_of(columns.number[chunk]), key))
        wrong = digests.fingerprints() != columns.fingerprint[chunk]
        if wrong.any():
            raise SnapshotUnreadable(
                f"{int(wrong.sum())} of {len(chunk)} entries have the fingerprint of another "
                "number: hashed with another circle's key?"
            )
        yield digests
        progress(min(at + CHUNK, len(rows)), len(rows))


def _numbers_of_countries(seed: int) -> Iterator[tuple[int, int, NDArray[np.bytes_]]]:
    """Yield each country's code, a length in digits, and random numbers of it (S16).

    Only of plans with room for 10^8 numbers: a list may well hold a good part of a small island's.
    """
    random = np.random.default_rng(seed)
    for code, lengths, _ in tables().plans:
        for digits in lengths:
            rest = digits - len(str(code))
            if rest >= _ROOM_DIGITS:
                low, high = code * 10**rest + 10 ** (rest - 1), (code + 1) * 10**rest
                yield code, digits, texts_of(random.integers(low, high, OF_EACH, np.uint64))


def _numbers_of_nobody(seed: int) -> NDArray[np.bytes_]:
    """Return `CHUNK` random numbers of +999, which is unassigned; longer than the probes."""
    random = np.random.default_rng(seed)
    return texts_of(random.integers(999 * 10**12 + 10**11, 10**15, CHUNK, np.uint64))

"""A snapshot: one list at one generation. Manifest, filter, and (if shared) its exact entries.

The files are `manifest.json`, `filter.bloom` (a pybloom-live file) and one raw little-endian file
per column. The columns are mapped read-only and touched only on a Bloom hit. So workers share them
and use memory for almost none of their pages.

All parts are checked before use: the manifest has each part's size and SHA-256, and its own SHA-256
in its last field. One flipped bit anywhere raises `SnapshotUnreadable`, which names the part.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from stream.core.filters.bloom import PROBES, Filter, check_probes, check_rate, map_filter
from stream.core.model.entry import DIGITS_END, PREFIX_MARK, Category, Columns
from stream.core.model.errors import UNREADABLE, FilterUnreadable, SnapshotUnreadable
from stream.core.model.names import READABLE_PART

FORMAT = 2
FORMATS = (1, 2)
"""Formats that are read. Format 1 had one entry a number and no prefix entries."""
MANIFEST_PART = "manifest.json"
FILTER_PART = "filter.bloom"
MANIFEST_SIZE_MAX = 8 << 20
"""Largest size of a manifest that is read at all: all sources, at 100 bytes each."""
MAPPED_MIN = 16 << 10
"""Smaller columns are read instead of mapped. A map takes a descriptor and one of the 65,530 maps
of a process (vm.max_map_count). Thousands of small lists, of seven columns, would take all."""
SOURCES_MAX = 1 << 16
"""A row's source is a uint16."""

_CHUNK = 1 << 20  # bytes read together; a multiple of every column's width


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """Format of the column of that name. `largest` is the largest value with a meaning."""

    name: str
    dtype: np.dtype[np.unsignedinteger[Any]]
    largest: int


COLUMNS = (
    StoredColumn("fingerprint", np.dtype("<u8"), 2**64 - 1),
    StoredColumn("number", np.dtype("<u8"), PREFIX_MARK + DIGITS_END // 10 - 1),
    StoredColumn("reported_at", np.dtype("<u4"), 2**32 - 1),
    StoredColumn("expires_at", np.dtype("<u4"), 2**32 - 1),
    StoredColumn("category", np.dtype("u1"), max(Category)),
    StoredColumn("confidence", np.dtype("u1"), 100),
    StoredColumn("source", np.dtype("<u2"), SOURCES_MAX - 1),
)
"""The fields of `Columns` that are arrays; each is a part, and a file, of that name."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
Word = Annotated[str, Meta(pattern=READABLE_PART)]
"""Owners and names become folders: no value may lead out of a folder."""
Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class SnapshotPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measures of a part: `size` in bytes, SHA-256 in hex."""

    size: Count
    sha256: Hex


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Header of a snapshot: the JSON in `manifest.json`, fields in this order.

    `count` is the number of rows, one per entry. `numbers` counts distinct numbers (without the
    probes), `prefixes` the rows of prefix entries. Without entries, the first two are those of the
    filter's header. `sha256` is that of this JSON with the field empty.

    Format 1 has no `numbers` and `prefixes`: every row is a number's only one.
    """

    format: Count = FORMAT
    owner: Word
    name: Word
    generation: Count
    circle: str
    key_id: str
    algorithm: str
    slices: Count
    bits_per_slice: Count
    capacity: Count
    count: Count
    numbers: Count = 0
    prefixes: Count = 0
    built_at_s: Count
    has_entries: bool
    sources: Annotated[tuple[str, ...], Meta(max_length=SOURCES_MAX)]
    parts: dict[str, SnapshotPart]
    sha256: str = ""

    @property
    def list_name(self) -> str:
        """The list's name as everywhere else: `TH/national`."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """One list at one generation. Without `columns` nothing can confirm the filter's hits.

    `prefixes` are the rows of `columns` with prefix entries; None: there are none.
    """

    manifest: Manifest
    filter: Filter
    columns: Columns | None
    prefixes: Columns | None = None

    @property
    def is_empty(self) -> bool:
        """Report that no number can match; without columns the filter alone may."""
        return self.columns is not None and not len(self.columns)

    def find(self, fingerprints: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the row of each fingerprint in `columns`, or -1 if it is not listed."""
        if self.columns is None:
            return np.full(len(fingerprints), -1, np.int64)
        return self.columns.find(fingerprints)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `manifest.json`, with its own checksum."""
    fields = msgspec.to_builtins(manifest)
    if manifest.format == 1:
        del fields["numbers"], fields["prefixes"]
    bare = msgspec.json.encode(fields | {"sha256": ""})
    whole = fields | {"sha256": sha256(bare).hexdigest()}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)


def decode_manifest(data: bytes, where: str = MANIFEST_PART) -> Manifest:
    """Read a manifest. Raises `SnapshotUnreadable` with the wrong field."""
    try:
        manifest = _decode(data)
    except UNREADABLE as error:
        raise SnapshotUnreadable(f"{where}: {error}") from error
    if manifest.format not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        raise SnapshotUnreadable(f"{where}: format {manifest.format}, this version reads {known}")
    if encode_manifest(manifest) != data:
        raise SnapshotUnreadable(f"{where}: field sha256 is not that of the manifest: altered")
    wanted = {FILTER_PART, *(c.name for c in COLUMNS if manifest.has_entries)}
    if set(manifest.parts) != wanted:
        odd = sorted(set(manifest.parts) ^ wanted)
        raise SnapshotUnreadable(f"{where}: field parts lacks or has too many: {', '.join(odd)}")
    if manifest.format == 1:
        manifest = msgspec.structs.replace(manifest, numbers=manifest.count)
    for column in COLUMNS if manifest.has_entries else ():
        size = manifest.count * column.dtype.itemsize
        if manifest.parts[column.name].size != size:
            raise SnapshotUnreadable(
                f"{where}: field parts: {column.name} has {manifest.parts[column.name].size} bytes,"
                f" {manifest.count} entries have {size}"
            )
    return manifest


def open_snapshot(
    directory: Path, *, check: bool = True, keys: Mapping[str, bytes] | None = None
) -> Snapshot:
    """Open the snapshot in `directory`; filter and columns are mapped read-only, or read if small.

    With `check`, every byte is compared: sizes, checksums, the columns' order and ranges, and the
    filter's match rate. Bytes are read through a small buffer, not through the maps, so that the
    check leaves no pages in the process. Without it, only the manifest, all sizes and the filter's
    header are checked. `keys` are the circles' (b"" for `plain`): if the list's circle is among
    them, the probe numbers are looked up.

    The price of a full check at every start: 33 MB a list of 1M, read at the speed of SHA-256 (1.3
    GB/s here). So 64 lists take 1.7 s of one core; `lists/follower` uses all cores.

    Raises `SnapshotUnreadable` with the part named.
    """
    path = directory / MANIFEST_PART
    if _size(path) > MANIFEST_SIZE_MAX:
        raise SnapshotUnreadable(f"{path}: more than {MANIFEST_SIZE_MAX} bytes")
    manifest = decode_manifest(b"".join(_chunks_of_file(path)), str(path))
    for name, part in manifest.parts.items():
        size = _size(directory / name)
        if size != part.size:
            raise SnapshotUnreadable(
                f"{directory / name}: {size} bytes, the manifest says {part.size}"
            )
    if check:
        _check_parts(manifest, lambda name: _chunks_of_file(directory / name), f"{directory}/")
    key = (keys or {}).get(manifest.circle)
    # Checked through a separate map: the one that stays then has no pages in memory yet.
    held = _filter(directory / FILTER_PART)
    _check_filter(manifest, held, key, f"{directory}/")
    if check:
        # The bound also applies to a filter that went live before the bound existed.
        with _as_snapshot():
            check_rate(held, f"{directory}/{FILTER_PART}")

    def column(name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        if not manifest.count:  # a file of no bytes cannot be mapped
            return np.empty(0, dtype)
        path = directory / name
        try:
            if manifest.parts[name].size < MAPPED_MIN:
                return np.frombuffer(path.read_bytes(), dtype)
            # A plain array over the map: indexing a np.memmap costs a Python call each time. The
            # path as text: of a Path, np.memmap asks for each folder whether it is a link.
            return np.asarray(np.memmap(str(path), dtype, "r"))
        except OSError as error:  # another worker takes the snapshot away
            raise SnapshotUnreadable(f"{path}: {error.strerror}") from error

    return _snapshot(manifest, _filter(directory / FILTER_PART), _columns(manifest, column))


def read_snapshot(parts: Mapping[str, bytes], *, key: bytes | None = None) -> Snapshot:
    """Return the snapshot of parts in memory, `manifest.json` among them; all parts are checked."""
    if MANIFEST_PART not in parts:
        raise SnapshotUnreadable(f"{MANIFEST_PART}: missing")
    manifest = decode_manifest(parts[MANIFEST_PART])
    for name, part in manifest.parts.items():
        size = len(parts[name]) if name in parts else -1
        if size != part.size:
            found = "missing" if size < 0 else f"{size} bytes, the manifest says {part.size}"
            raise SnapshotUnreadable(f"{name}: {found}")
    _check_parts(manifest, lambda name: _chunks_of(parts[name]), "")
    held = _filter(parts[FILTER_PART])
    _check_filter(manifest, held, key, "")
    with _as_snapshot():
        check_rate(held, FILTER_PART)
    return _snapshot(
        manifest, held, _columns(manifest, lambda name, dtype: np.frombuffer(parts[name], dtype))
    )


_decode = msgspec.json.Decoder(Manifest).decode


def _snapshot(manifest: Manifest, held: Filter, columns: Columns | None) -> Snapshot:
    """Find prefixes only if there are some: this reads a whole column."""
    if columns is None or not manifest.prefixes:
        return Snapshot(manifest, held, columns)
    return Snapshot(manifest, held, columns, columns.prefixes())


def _columns(
    manifest: Manifest, column: Callable[[str, np.dtype[Any]], NDArray[Any]]
) -> Columns | None:
    if not manifest.has_entries:
        return None
    arrays = {c.name: column(c.name, c.dtype) for c in COLUMNS}
    return Columns(**arrays, sources=manifest.sources)


def _filter(source: bytes | Path) -> Filter:
    with _as_snapshot("" if isinstance(source, Path) else f"{FILTER_PART}: "):
        return map_filter(source)


def _check_filter(manifest: Manifest, held: Filter, key: bytes | None, where: str) -> None:
    """Compare the filter's header with the manifest and, with `key`, look up the probes."""
    said = {
        "algorithm": (manifest.algorithm, held.plan.algorithm),
        "slices": (manifest.slices, held.shape.slices),
        "bits_per_slice": (manifest.bits_per_slice, held.shape.bits_per_slice),
        "capacity": (manifest.capacity, held.shape.capacity),
    }
    for field, (wanted, got) in said.items():
        if wanted != got:
            raise SnapshotUnreadable(
                f"{where}{MANIFEST_PART}: field {field} asks for {wanted}, {FILTER_PART} has {got}"
            )
    # A partner's filter may hold more members than entries are left, never fewer.
    least = manifest.numbers + len(PROBES) if manifest.has_entries else manifest.count
    if held.count < least or (held.count != least and not manifest.has_entries):
        raise SnapshotUnreadable(
            f"{where}{MANIFEST_PART}: field numbers is {manifest.numbers}, {FILTER_PART} counts"
            f" {held.count}"
        )
    if key is not None and manifest.has_entries:
        with _as_snapshot():
            check_probes(held, key, f"{where}{FILTER_PART}")


@contextmanager
def _as_snapshot(where: str = "") -> Iterator[None]:
    """Raise SnapshotUnreadable for a refused filter, so that callers handle one exception."""
    try:
        yield
    except FilterUnreadable as error:
        raise SnapshotUnreadable(f"{where}{error}") from error


def _check_parts(
    manifest: Manifest, chunks_of: Callable[[str], Iterator[bytes]], where: str
) -> None:
    """Compare each part's checksum and, in the same pass, the columns' order, ranges and counts."""
    check = ColumnsCheck(manifest.count, where)
    for column in COLUMNS if manifest.has_entries else ():
        for chunk in _compared(manifest, column.name, chunks_of, where):
            if len(chunk) % column.dtype.itemsize == 0:
                values = np.frombuffer(chunk, column.dtype)
                check.range_of(column.name, values, _largest(column, manifest))
                check.take(column.name, values)
    for _ in _compared(manifest, FILTER_PART, chunks_of, where):
        pass
    found = check.numbers, check.prefixes
    if manifest.has_entries and found != (manifest.numbers, manifest.prefixes):
        raise SnapshotUnreadable(
            f"{where}{MANIFEST_PART}: fields numbers and prefixes are {manifest.numbers} and "
            f"{manifest.prefixes}, the columns have {found[0]} and {found[1]}"
        )


def _compared(
    manifest: Manifest, name: str, chunks_of: Callable[[str], Iterator[bytes]], where: str
) -> Iterator[bytes]:
    """Yield the pieces of a part; after the last one, compare its checksum."""
    digest = sha256()
    for chunk in chunks_of(name):
        digest.update(chunk)
        yield chunk
    if digest.hexdigest() != manifest.parts[name].sha256:
        raise SnapshotUnreadable(f"{where}{name}: SHA-256 is not the manifest's: damaged")


def _largest(column: StoredColumn, manifest: Manifest) -> int:
    return len(manifest.sources) - 1 if column.name == "source" else column.largest


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise SnapshotUnreadable(f"{path}: {error.strerror}") from error


def _chunks_of_file(path: Path) -> Iterator[bytes]:
    try:
        # Unbuffered, because it reads a mebibyte at a time.
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise SnapshotUnreadable(f"{path}: {error.strerror}") from error


def _chunks_of(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _CHUNK):
        yield data[at : at + _CHUNK]


Values = NDArray[np.unsignedinteger[Any]]


class ColumnsCheck:
    """A check of the columns in pieces, one column after the other, fingerprints before sources.

    It keeps one bit a row: the row has the fingerprint of the row before, and so must have a larger
    source. `numbers` and `prefixes` count distinct numbers and rows of prefix entries so far.
    `where` begins the messages. Every method raises `SnapshotUnreadable`.
    """

    def __init__(self, rows: int, where: str) -> None:
        self.numbers = 0
        self.prefixes = 0
        self._where = where
        self._again = np.zeros((rows + 7) // 8, np.uint8)
        self._rows = {"fingerprint": 0, "source": 0}
        self._last = {"fingerprint": -1, "source": -1}

    def range_of(self, name: str, values: Values, largest: int) -> None:
        """Refuse a value above the largest with a meaning."""
        found = int(values.max())
        if found > largest and name == "source":
            self._refuse(name, f"source {found} is not in the manifest")
        if found > largest:
            self._refuse(name, f"{found}, the largest that means something is {largest}")

    def take(self, name: str, values: Values) -> None:
        """Check the next piece of column `name`; all but the last have a multiple of eight rows."""
        if name == "fingerprint":
            self._take_fingerprints(values)
        elif name == "number":
            self._take_codes(values)
        elif name == "source":
            self._take_sources(values)

    def _take_fingerprints(self, values: Values) -> None:
        start, last = self._rows["fingerprint"], self._last["fingerprint"]
        if int(values[0]) < last or not bool(np.all(values[1:] >= values[:-1])):
            self._refuse("fingerprint", "fingerprints are not in order")
        again = np.empty(len(values), np.bool_)
        again[0] = int(values[0]) == last
        np.equal(values[1:], values[:-1], out=again[1:])
        bits = np.packbits(again, bitorder="little")
        self._again[start // 8 : start // 8 + len(bits)] = bits
        self.numbers += len(values) - int(np.count_nonzero(again))
        self._rows["fingerprint"], self._last["fingerprint"] = start + len(values), int(values[-1])

    def _take_codes(self, values: Values) -> None:
        marked = values >= PREFIX_MARK
        self.prefixes += int(np.count_nonzero(marked))
        wrong = ~marked & (values >= DIGITS_END) | (values == PREFIX_MARK)
        if wrong.any():
            self._refuse("number", f"{int(values[wrong][0])} is neither a number nor a prefix")

    def _take_sources(self, values: Values) -> None:
        start, last = self._rows["source"], self._last["source"]
        bits = self._again[start // 8 : (start + len(values) + 7) // 8]
        again = np.flatnonzero(np.unpackbits(bits, count=len(values), bitorder="little"))
        before = values[again - 1].astype(np.int64)
        before[again == 0] = last
        if bool(np.any(values[again] <= before)):
            self._refuse("source", "a number has a source twice, or its sources are out of order")
        self._rows["source"], self._last["source"] = start + len(values), int(values[-1])

    def _refuse(self, name: str, why: str) -> None:
        raise SnapshotUnreadable(f"{self._where}{name}: {why}")

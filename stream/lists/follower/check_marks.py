"""Marks of snapshots that were checked on this machine, so that the next start checks them sooner.

A snapshot is checked wholly once: SHA-256 of each part, order and ranges of its columns, its
filter. Then `checked.json` beside its parts notes the CRC-32C of each. As long as every part still
has it, the bytes are those that were checked. All are read again at each start, at ten times the
speed. What differs in any bit, or has no mark, is checked wholly. A mark is no more trusted than
the manifest beside it: both detect damage only: an attacker who may write here could write either.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
from crc32c import crc32c

from stream.core.filters.snapshot import Manifest, Snapshot, open_snapshot
from stream.core.model.errors import UNREADABLE, SnapshotUnreadable

_MARK = "checked.json"
_CHECKS = 1
"""Number of the checks that `open_snapshot` makes: a higher one makes all marks old."""
_CHUNK = 1 << 20


class _Mark(msgspec.Struct, frozen=True):
    """`manifest`: the manifest's own SHA-256. `crc32c`: of each part, by its name."""

    checks: int
    manifest: str
    crc32c: dict[str, int]


def open_checked(folder: Path, keys: Mapping[str, bytes] | None = None) -> Snapshot:
    """Open a snapshot whose every byte is checked; see `open_snapshot`.

    Raises SnapshotUnreadable. Blocks.
    """
    opened = open_snapshot(folder, check=False, keys=keys)
    sums = _sums(folder, opened.manifest)
    if _read(folder / _MARK) == sums:
        return opened
    # The sums were taken before the check: a mark never says more than what was checked.
    opened = open_snapshot(folder, keys=keys)
    with suppress(OSError):  # without a mark the next start takes longer
        _write(folder / _MARK, sums)
    return opened


def crc_of(path: Path) -> int:
    """Return the CRC-32C of a file. Blocks."""
    found, buffer = 0, memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            found = crc32c(buffer[:size], found)
    return found


def _sums(folder: Path, manifest: Manifest) -> _Mark:
    try:
        found = {name: crc_of(folder / name) for name in sorted(manifest.parts)}
    except OSError as error:
        raise SnapshotUnreadable(f"{folder}: {error.strerror}") from error
    return _Mark(_CHECKS, manifest.sha256, found)


def _read(path: Path) -> _Mark | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Mark)
    except (OSError, *UNREADABLE):
        return None


def _write(path: Path, mark: _Mark) -> None:
    # Not synced: one that is lost or torn is no mark. Renamed: another worker may read it now.
    aside = path.with_name(f".{path.name}")
    aside.write_bytes(msgspec.json.encode(mark))
    aside.rename(path)

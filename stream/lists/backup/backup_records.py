"""Records of a backup: pieces of keys as plain values, so that any Redis or Valkey takes them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from stream.core.model.errors import UNREADABLE, BackupUnreadable

PIECE_BYTES: Final = 1 << 20
"""A larger value is written in pieces: neither side holds more at once."""


class KeyPiece(msgspec.Struct, frozen=True, array_like=True, tag="key"):
    """A piece of one key; `first` replaces what came before of the key.

    `items` by `kind`: of a string its bytes; of a hash fields and values; of a zset members and
    scores; of a set or list its members. Of a stream there is one list for each item: id, fields
    and values. `expires_at_ms`: since the epoch, 0: never.
    """

    key: bytes
    kind: str
    first: bool
    expires_at_ms: int
    items: list[bytes | list[bytes]]


class GoneKey(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """A key that was written before, and is not part of the backup after all."""

    key: bytes


class BackupList(msgspec.Struct, frozen=True):
    """A list at the moment of a backup."""

    generation: int
    count: int


class BackupSummary(msgspec.Struct, frozen=True, tag="end"):
    """The last record: the moment that the backup shows, and counts to check it by.

    `moment_ms` is of Redis' clock. `audit`: number and hash of the last audit entry.
    """

    list_store: str
    moment_ms: int
    lists: dict[str, BackupList]
    allow_generation: int
    trials_generation: int
    audit_count: int
    audit_hash: str
    keys: int
    format: str


_decode_piece: Callable[[bytes], KeyPiece | GoneKey] = msgspec.msgpack.Decoder(
    KeyPiece | GoneKey
).decode
_decode_end = msgspec.msgpack.Decoder(BackupSummary).decode


def piece_of(data: bytes) -> KeyPiece | GoneKey:
    """Decode a record that is not the last. Raises BackupUnreadable."""
    try:
        return _decode_piece(data)
    except UNREADABLE as error:
        raise BackupUnreadable(f"a record of the backup cannot be read: {error}") from error


def summary_of(data: bytes) -> BackupSummary:
    """Decode the last record. Raises BackupUnreadable."""
    try:
        return _decode_end(data)
    except UNREADABLE as error:
        raise BackupUnreadable(f"the last record cannot be read: {error}") from error


def pieces(
    key: bytes,
    kind: str,
    items: Sequence[bytes | list[bytes]],
    expires_at_ms: int = 0,
    *,
    first: bool = True,
) -> Iterator[KeyPiece]:
    """Cut a key's items into pieces of about `PIECE_BYTES`; pairs stay together."""
    if kind == "string":
        (whole,) = items
        assert isinstance(whole, bytes), "a string is one value"
        for at in range(0, max(len(whole), 1), PIECE_BYTES):
            part = whole[at : at + PIECE_BYTES]
            yield KeyPiece(key, kind, first and at == 0, expires_at_ms, [part])
        return
    step = 2 if kind in {"hash", "zset"} else 1
    held: list[bytes | list[bytes]] = []
    size = 0
    for at in range(0, len(items), step):
        unit = items[at : at + step]
        held += unit
        size += sum(map(_size, unit))
        if size >= PIECE_BYTES:
            yield KeyPiece(key, kind, first, expires_at_ms, held)
            held, size, first = [], 0, False
    if held:
        yield KeyPiece(key, kind, first, expires_at_ms, held)


def _size(item: bytes | list[bytes]) -> int:
    return len(item) if isinstance(item, bytes) else sum(map(len, item))

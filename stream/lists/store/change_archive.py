"""Steps that are about to leave the change stream, packed small, so that a list's past stays.

Pure. The stream is for workers, keeps a few hundred thousand steps of all lists together and takes
some 400 bytes each. `CHUNK` steps are packed into one piece of about 30 bytes a step: in columns,
and without their chains, which are hashes and do not compress, but can be computed again where a
step follows the one before.
"""

import struct
from collections.abc import Iterator, Sequence

import cramjam
import msgspec

from stream.core.model.errors import UNREADABLE, SnapshotUnreadable
from stream.lists.store.entry_codec import Step, chain_after
from stream.lists.store.packing import decompress

CHUNK = 5000
CHUNKS_MAX = 400
"""Two million steps, about 60 MB."""
_BYTES_MAX = 64 << 20
_ZSTD_LEVEL = 9
_SIZE = struct.Struct("<I")


class _Columns(msgspec.Struct, frozen=True, array_like=True):
    """Steps in columns; `chains` is "" where a step follows the one of its list before it."""

    names: list[str]
    places: list[int]
    ids: list[str]
    generations: list[int]
    ops: list[str]
    payloads: list[bytes]
    chains: list[str]


def packed(steps: Sequence[Step]) -> bytes:
    """Steps of any lists, in the stream's order, as one piece."""
    names = sorted({step.name for step in steps})
    places = {name: place for place, name in enumerate(names)}
    last: dict[str, str] = {}
    chains = []
    for step in steps:
        before = last.get(step.name)
        chains.append("" if before is not None and step.follows(before) else step.chain)
        last[step.name] = step.chain
    columns = _Columns(
        names,
        [places[step.name] for step in steps],
        [step.id for step in steps],
        [step.generation for step in steps],
        [step.op for step in steps],
        [step.payload for step in steps],
        chains,
    )
    raw = msgspec.msgpack.encode(columns)
    return _SIZE.pack(len(raw)) + bytes(cramjam.zstd.compress(raw, level=_ZSTD_LEVEL))


def unpacked(piece: bytes, name: str | None = None) -> Iterator[Step]:
    """The steps of one list in a piece; None: of all. Raises SnapshotUnreadable."""
    try:
        size = min(_SIZE.unpack_from(piece)[0], _BYTES_MAX)
        raw = decompress(piece[_SIZE.size :], size, "a piece of the archive")
        columns = msgspec.msgpack.decode(raw, type=_Columns)
    except (*UNREADABLE, struct.error) as error:
        raise SnapshotUnreadable(f"a piece of the archive: {error}") from error
    if name is not None and name not in columns.names:
        return
    chains = [""] * len(columns.names)
    for row, place in enumerate(columns.places):
        if name is None or columns.names[place] == name:
            generation, op = columns.generations[row], columns.ops[row]
            payload = columns.payloads[row]
            chain = columns.chains[row] or chain_after(chains[place], generation, op, payload)
            chains[place] = chain
            yield Step(columns.ids[row], columns.names[place], generation, op, payload, chain)

"""The file of a support bundle: written piece by piece, private, bounded, with a manifest."""

import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from stream.doctor.bundle.contents import PIECE_BYTES_MAX, Piece
from stream.doctor.bundle.scrub import Scrubber

BUNDLE_BYTES_MAX = 100 * 1024 * 1024
"""Of all pieces together, before they are compressed; later ones are left out, and named."""
_FOLDER = "ringfence-support"


async def write(
    path: Path, pieces: AsyncIterator[Piece], scrubber: Scrubber, now_s: int
) -> list[dict[str, object]]:
    """Write the bundle; its manifest: name, bytes and why of each piece. Raises OSError.

    The file is new, and only its owner can read it.
    """
    manifest: list[dict[str, object]] = []
    left = BUNDLE_BYTES_MAX
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as bundle:
        async for piece in pieces:
            data = scrubber.text(piece.text[:PIECE_BYTES_MAX], runs=piece.runs).encode()
            name = scrubber.text(piece.name, runs=False)  # a log may be named after a number
            said: dict[str, object] = {"name": name, "bytes": len(data), "why": piece.why}
            if len(data) > left:
                manifest.append(said | {"left_out": "the bundle is as large as it may be"})
                continue
            left -= len(data)
            _add(bundle, name, data, now_s)
            manifest.append(said)
        _add(bundle, "MANIFEST.json", msgspec.json.format(msgspec.json.encode(manifest)), now_s)
    return manifest


def _add(bundle: tarfile.TarFile, name: str, data: bytes, now_s: int) -> None:
    entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
    entry.size, entry.mtime, entry.mode = len(data), now_s, 0o600
    bundle.addfile(entry, io.BytesIO(data))

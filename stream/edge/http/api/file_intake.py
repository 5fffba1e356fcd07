"""Files that come as the body of a request: written to a private folder, hashed, then deleted.

Nothing reads them here. A command of ours does so in processes of its own, within their limits.
"""

import asyncio
import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fastapi import Request

from stream.edge.http.problems import ProblemError, ProblemKind
from stream.ops.clock import now_s

PIECE: Final = 1 << 20
"""Bytes that are written at once, in a thread: a slow disk must not hold up lookups."""
FIELDS_BYTES_MAX: Final = 32 * 1024
_RETRY_S: Final = 5
_FOLDER: Final = "handed-in"
_LEFT_S: Final = 6 * 3600
"""No request runs so long: an older file is left over from a crash."""


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file of a request, its size, and the SHA-256 of its bytes. `fields` came before it."""

    path: Path
    size: int
    sha256: bytes
    fields: bytes = b""


@dataclass(slots=True)
class FileIntake:
    """Receives files into `state_dir`; at most `at_once` are there at a time."""

    state_dir: Path
    at_once: int
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.at_once)

    @contextlib.asynccontextmanager
    async def received(
        self, request: Request, *, with_fields: bool = False
    ) -> AsyncIterator[ReceivedFile]:
        """Write the body into a file that is there within the block. Raises ProblemError.

        `with_fields`: the first line of the body is no part of the file.
        """
        if self._places.locked():
            text = f"{self.at_once} files are worked on, which is the most; come again"
            raise ProblemError(ProblemKind.BUSY, text, retry_after_s=_RETRY_S)
        async with self._places:
            folder = await asyncio.to_thread(self._made)
            try:
                yield await _written(request, folder / "file", with_fields=with_fields)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _made(self) -> Path:
        above = self.state_dir / _FOLDER
        try:
            above.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in above.iterdir():  # by a process that was killed
                with contextlib.suppress(FileNotFoundError):  # another request ended
                    if now_s() - left.stat().st_mtime > _LEFT_S:
                        shutil.rmtree(left, ignore_errors=True)
            return Path(tempfile.mkdtemp(dir=above))
        except OSError as error:
            text = f"[lists] state_dir takes no files: {error.strerror}"
            raise ProblemError(ProblemKind.NOT_READY, text, retry_after_s=_RETRY_S) from error


async def _written(request: Request, path: Path, *, with_fields: bool) -> ReceivedFile:
    digest, held, fields = hashlib.sha256(), bytearray(), b""
    with path.open("xb") as file:

        def write(data: bytes) -> None:
            digest.update(data)
            file.write(data)

        try:
            async for piece in request.stream():
                held += piece
                if with_fields:
                    fields, found, _ = bytes(held).partition(b"\n")
                    if len(fields) > FIELDS_BYTES_MAX:
                        text = f"the fields may have {FIELDS_BYTES_MAX} bytes"
                        raise ProblemError(ProblemKind.TOO_LARGE, text)
                    if not found:
                        continue
                    del held[: len(fields) + 1]
                    with_fields = False
                if len(held) >= PIECE:
                    await asyncio.to_thread(write, bytes(held))
                    held.clear()
            await asyncio.to_thread(write, bytes(held))
        except OSError as error:
            text = f"[lists] state_dir takes no more: {error.strerror}"
            raise ProblemError(ProblemKind.NOT_READY, text, retry_after_s=_RETRY_S) from error
        size = file.tell()
    if with_fields:
        raise ProblemError(ProblemKind.MALFORMED, "the body has no line with the form's fields")
    if not size:
        raise ProblemError(ProblemKind.MALFORMED, "the body is empty: it has to be the file")
    return ReceivedFile(path, size, digest.digest(), fields)

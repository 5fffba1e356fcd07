"""Watch the file of tokens: a token that is removed from it ends in every process."""

import asyncio
import fcntl
import logging
import os
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.core.model.errors import SecretUnsafe
from stream.edge.http.tokens import Tokens, read_tokens
from stream.ops.private_files import FileStamp, file_stamp, sync_folder

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""Interval of the looks: a revoked token ends within two of them."""
_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a file of tokens: 100,000 clients. A larger file is not one of tokens."""


@dataclass(slots=True)
class TokenFile:
    """Watcher of a file that hands changed tokens to `take_up`. `held` are the current ones.

    `path` None: they come from the environment, which changes with a restart only.
    """

    path: Path | None
    held: Tokens
    take_up: Callable[[Tokens], None]
    _seen: FileStamp | None = field(init=False, default=None)
    _read: FileStamp | None = field(init=False, default=None)

    async def run(self, told: Callable[[], None] | None = None) -> None:
        """Poll the file until cancelled. SIGHUP calls `told`; None: it reads the file at once."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told or self.read)
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Read it after a change, once two looks find it the same.

        Otherwise an editor that writes in place could show us half of it, and switches would be
        refused.
        """
        if self.path is None:
            return
        found = file_stamp(self.path)
        if found != self._read and found == self._seen:
            self.read()
        self._seen = found

    def read(self) -> None:
        """Read it now. A line that cannot be used is logged and left out; the others count.

        A file that cannot be read changes nothing: it is more likely being replaced than meant to
        lock everybody out. An empty file does that.
        """
        if self.path is None:
            log.warning(
                "tokens come from the environment: restart `ringfence serve` to change them"
            )
            return
        self._read = file_stamp(self.path)
        try:
            text = _text(self.path)
        except SecretUnsafe as fault:
            log.warning("tokens stay as they were: %s", fault)
            return
        wrong: list[str] = []
        tokens = read_tokens(text, wrong)
        for error in wrong:
            log.error("tokens: %s %s; this client is refused", self.path, error)
        if tokens == self.held:
            return
        before, after = (
            {client.name: (digest, client) for digest, client in each.held}
            for each in (self.held, tokens)
        )
        self.held = tokens
        self.take_up(tokens)
        log.info(
            "tokens were read again",
            extra={
                "clients": len(after),
                "added": sorted(after.keys() - before),
                "gone": sorted(before.keys() - after),
                "changed": sorted(
                    name for name in after.keys() & before if after[name] != before[name]
                ),
            },
        )


def rewrite(path: Path, change: Callable[[str], str | None]) -> bool:
    """Replace a file's text by `change` of it, atomically, with the same owner and mode.

    Waits for others that do the same. Return False if `change` gives None. Raises SecretUnsafe.
    """
    path = path.resolve()  # a link stays one
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be read: {error.strerror}") from error
    try:
        # Two revocations at once: the second would write the first one's token back.
        fcntl.flock(folder, fcntl.LOCK_EX)
        return _rewritten(path, change)
    finally:
        os.close(folder)


def _rewritten(path: Path, change: Callable[[str], str | None]) -> bool:
    text = change(_text(path))
    if text is None:
        return False
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        found = path.stat()
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(handle, stat.S_IMODE(found.st_mode))
                if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                    # Otherwise the server, as another user, could not read it any more.
                    os.fchown(handle, found.st_uid, found.st_gid)
                file.write(text)
                file.flush()
                os.fsync(handle)
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be written: {error.strerror}") from error
    return True


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
        if len(data) > _BYTES_MAX:
            raise SecretUnsafe(f"{path} has more than {_BYTES_MAX} bytes: it is no file of tokens")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SecretUnsafe(f"{path} cannot be read: {reason}") from error

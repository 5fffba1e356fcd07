"""Files that hold a secret: only their owner may read them, and they are never overwritten."""

import os
import stat
from pathlib import Path

from stream.core.model.errors import SecretUnsafe


def read_private(path: Path) -> bytes:
    """A secret's file. Raises SecretUnsafe where others may read it, or it cannot be read."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SecretUnsafe(f"{path} is no file")
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                text = (
                    f"{path} has mode {mode:04o}: others may read this secret; `chmod 600 {path}`"
                )
                raise SecretUnsafe(f"{text}, and change it if anybody else uses this machine")
            return file.read()
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be read: {error.strerror}") from error


def write_private(path: Path, data: bytes) -> None:
    """A new secret's file, lasting. Raises SecretUnsafe; what is there is never overwritten."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o600)
                file.write(data)
                file.flush()
                os.fsync(handle)
        except OSError:
            path.unlink(missing_ok=True)  # half a secret would stand in the way of a whole one
            raise
    except FileExistsError as error:
        raise SecretUnsafe(f"{path} is there already and is not overwritten") from error
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be written: {error.strerror}") from error

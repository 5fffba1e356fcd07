"""Owners of files, and files that hold a secret: nobody else may read or make them.

`feeds pull` as root, beside a unit that runs as `ringfence`, leaves locks and versions that the
unit may neither open nor remove. So only the folder's owner makes files there, and an error names
the owner of a foreign one.
"""

import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from stream.core.model.errors import SecretUnsafe

ROOT = 0
FileStamp = tuple[int, int, int]
"""Time of the last write, size, and time of the last change of anything: see `file_stamp`."""


def user_of(uid: int) -> str:
    """Return the user's name; its number where it has none, as a DynamicUser that stopped."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"  # as sudo takes it


def stranger_to(folder: Path) -> str:
    """Return the owner of `folder` if our files there would not be the owner's; else "".

    A folder that we may write to as its group does is ours to use: volumes of Kubernetes belong to
    root. Root may write anywhere, and what it makes is root's. Raises OSError.
    """
    try:
        found = folder.stat()
    except FileNotFoundError:
        return ""
    me = os.geteuid()
    if found.st_uid == me or (me != ROOT and os.access(folder, os.W_OK | os.X_OK)):
        return ""
    return user_of(found.st_uid)


def foreign(paths: Iterable[Path], uid: int) -> tuple[Path, str] | None:
    """Return the first of `paths` that another user than `uid` made, and its owner; else None."""
    for path in paths:
        try:
            found = path.lstat().st_uid
        except FileNotFoundError:
            continue
        if found != uid:
            return path, user_of(found)
    return None


def run_as(owner: str, command: str) -> str:
    """Return how a command is run as a folder's owner."""
    user = f"'{owner}'" if owner.startswith("#") else owner
    return f"sudo -u {user} {command}"


def file_stamp(path: Path) -> FileStamp:
    """Return what changes when a file is written, or its owner or mode; zeros: no such file.

    `chmod` of a file that could not be read changes its mode alone, and must be seen too.
    """
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ctime_ns


def read_private(path: Path) -> bytes:
    """Read a secret's file. Raises SecretUnsafe where others may read it, or it cannot be read."""
    try:
        with path.open("rb") as file:
            # Of the open file, not of the path: somebody could exchange it between two looks.
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SecretUnsafe(f"{path} is no file")
            if found.st_mode & 0o077:
                text = f"{path} has mode {stat.S_IMODE(found.st_mode):04o}"
                fix = f"`chmod 600 {path}`, and change it if anybody else uses this machine"
                raise SecretUnsafe(f"{text}: others may read this secret; {fix}")
            return file.read()
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be read: {error.strerror}") from error


def write_private(path: Path, data: bytes) -> None:
    """Write a new secret's file, on the disk when this returns: what names the secret comes next.

    Raises SecretUnsafe. An existing file is never overwritten.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o600)
                file.write(data)
                file.flush()
                os.fsync(handle)
            sync_folder(path.parent)
        except OSError:
            path.unlink(missing_ok=True)  # half a secret would stand in the way of a whole one
            raise
    except FileExistsError as error:
        raise SecretUnsafe(f"{path} is there already and is not overwritten") from error
    except OSError as error:
        raise SecretUnsafe(f"{path} cannot be written: {error.strerror}") from error


def sync_folder(path: Path) -> None:
    """Wait until the disk has the names in a folder: a rename is lasting only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        error.filename = str(path)  # the system names none for an open folder
        raise
    finally:
        os.close(handle)

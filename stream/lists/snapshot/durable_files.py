"""Files that several processes write: locks, and writes that survive a power cut. Blocks.

All of them are private to their owner: they hold whole numbers. No link is followed.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream.core.model.errors import SnapshotUnreadable, StateDirRefuses
from stream.ops.private_files import sync_folder, user_of
from stream.ops.untrusted_folders import PRIVATE, open_plain


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, made if need be; false when not `wait` and another holds it."""
    # flock, not a file that is there or not: the kernel lets go of it when the process dies.
    handle = open_plain(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


@contextmanager
def named_faults(doing: str) -> Iterator[None]:
    """Give what the disk refuses our own name: `StateDirRefuses`, with the file and why."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise StateDirRefuses(f"{doing}: {where}{error.strerror}{_why(error)}") from error


def _why(error: OSError) -> str:
    """Return what a person can do about a disk that takes no file; "" for other errors."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return ". Free some room there: until then what is enforced is in memory alone"
    if error.errno not in {errno.EACCES, errno.EPERM} or not error.filename:
        return ""
    folder = Path(error.filename)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    whose, me = user_of(folder.stat().st_uid), user_of(os.geteuid())
    return f": {folder} belongs to {whose}, and this is {me}"


@contextmanager
def of_file(path: Path) -> Iterator[None]:
    """Have an error of a write name the file: the system names none for an open file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a file and wait until the disk has it."""
    with of_file(path), os.fdopen(written(path), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_synced(path: Path, data: bytes) -> None:
    """Put `data` in the place of a file, on the disk when this returns.

    A reader sees the old file or the new one, whole. Hold the folder's lock: the name of the file
    that is written beside it is the same for everybody.
    """
    aside = path.with_name(f".writing-{path.name}")
    # In this order: a rename that reaches the disk before the data would leave an empty file.
    write_synced(aside, data)
    aside.rename(path)
    sync_folder(path.parent)


def replace_unless_newer(
    path: Path, data: bytes, is_newer: Callable[[], bool], lock: str = ""
) -> None:
    """Put `data` in the place of a file that all workers of a machine write.

    It stays if `is_newer` says that what stands there is; a damaged one (SnapshotUnreadable) is
    not. `lock` names the lock file beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Held over both: between comparing and writing, another worker could write a newer one.
    with locked(path.with_name(lock or f".{path.name}.lock")):
        with suppress(SnapshotUnreadable):
            if is_newer():
                return
        replace_synced(path, data)


def written(path: Path) -> int:
    """Return a descriptor of an empty file to write, private to its owner."""
    handle = open_plain(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    found = os.fstat(handle)
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        os.fchmod(handle, PRIVATE)  # an older version of ours made it
    return handle

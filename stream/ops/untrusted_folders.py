"""Files in folders that others may write to: only regular files, no link followed, no endless wait.

A user who may write to a folder may put a symbolic link where we read or write. A file of ours
would then be read, or one elsewhere written. Or a FIFO: who opens it waits for ever. So a file is
opened without following its name (O_NOFOLLOW) and without waiting (O_NONBLOCK), and checked once it
is open. A file below a folder is opened from the open folder, whatever the folder's path leads to
by then. All of it blocks, and raises OSError with the whole path.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Self

PRIVATE: Final = 0o600
"""Of files that we make: they hold whole numbers, or where they come from."""
UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")
"""Endings of names that programs give to files that they are still writing."""
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NotPlain(OSError):
    """A link, a FIFO, a device or a folder is where a regular file belongs."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EINVAL, f"is {what}", str(path))


def open_plain(path: Path, flags: int = os.O_RDONLY, *, links: bool = False) -> int:
    """Return a descriptor of the regular file `path`; `links`: its name may be a symbolic link.

    With O_CREAT a new file is private to its owner. Raises NotPlain and other OSErrors.
    """
    return _opened(None, path, str(path), flags, links=links)


def _opened(
    folder: int | None, path: Path, name: str, flags: int, *, links: bool, mode: int = PRIVATE
) -> int:
    safe = _SAFE & ~os.O_NOFOLLOW if links else _SAFE
    try:
        handle = os.open(name, flags | safe, mode, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP and not links:
            raise NotPlain(path, "a symbolic link, and none is followed here") from error
        # A FIFO that nobody reads or a socket; a folder.
        if error.errno in {errno.ENXIO, errno.EISDIR}:
            raise NotPlain(path, "no regular file") from error
        error.filename = str(path)
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise NotPlain(path, "no regular file")
    return handle


class FolderEntry(NamedTuple):
    """A name in a folder, and the file's own status: of a link, the link's."""

    name: str
    about: os.stat_result

    @property
    def is_plain(self) -> bool:
        """Return whether it is a regular file."""
        return stat.S_ISREG(self.about.st_mode)


class Folder:
    """An open folder. Close it, or use `folder_at`."""

    def __init__(self, path: Path, handle: int) -> None:
        """`handle` is the open folder's descriptor, and this one's to close."""
        self.path = path
        self.handle = handle

    @classmethod
    def at(cls, path: Path) -> Self:
        """Open the folder that a setting names; its own path may be a link. Raises OSError."""
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)

    def made(self, name: str) -> "Folder":
        """Open the folder `name` in this one, made if need be, never through a link. OSError."""
        path = self.path / name
        with _told(path):
            try:
                os.mkdir(name, dir_fd=self.handle)
            except FileExistsError:
                found = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
                if not stat.S_ISDIR(found.st_mode):
                    raise NotPlain(path, "no folder, and no link to one is followed") from None
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
            return Folder(path, os.open(name, flags, dir_fd=self.handle))

    def found(self) -> list[FolderEntry]:
        """Return all that is in it now, without names that are gone before they were looked at."""
        whole = []
        with _told(self.path), os.scandir(self.handle) as entries:
            for entry in entries:
                about = self.about(entry.name)
                if about is not None:
                    whole.append(FolderEntry(entry.name, about))
        return whole

    def about(self, name: str) -> os.stat_result | None:
        """Return the status of `name`, of a link its own; None: it is not there."""
        try:
            return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            error.filename = str(self.path / name)
            raise

    def open(self, name: str, flags: int = os.O_RDONLY) -> int:
        """Return a descriptor of the regular file `name`. Raises NotPlain and other OSErrors."""
        return _opened(self.handle, self.path / name, name, flags, links=False)

    def read(self, name: str, bytes_max: int) -> bytes:
        """Read at most `bytes_max` bytes of a regular file."""
        with os.fdopen(self.open(name), "rb") as file:
            return file.read(bytes_max)

    def write(self, name: str, data: bytes, aside: str) -> None:
        """Write a file for others, whole or not at all: as `aside` first, with the umask's mode."""
        self.remove(aside)
        flags, path = os.O_WRONLY | os.O_CREAT | os.O_EXCL, self.path / aside
        handle = _opened(self.handle, path, aside, flags, links=False, mode=0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        self.move(aside, self, name)

    def move(self, name: str, to: "Folder", new: str) -> None:
        """Give `name` its place: a link itself is moved, not what it leads to."""
        with _told(self.path / name):
            os.rename(name, new, src_dir_fd=self.handle, dst_dir_fd=to.handle)

    def remove(self, name: str) -> None:
        """Remove a file or a link, if it is there."""
        with _told(self.path / name):
            try:
                os.unlink(name, dir_fd=self.handle)
            except FileNotFoundError:
                return

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock file `name`, made if need be; wait for a process that holds it."""
        handle = self.open(name, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


@contextmanager
def folder_at(path: Path) -> Iterator[Folder]:
    """Hold the folder at `path` open for as long as the block runs. Raises OSError."""
    folder = Folder.at(path)
    try:
        yield folder
    finally:
        folder.close()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Give an OSError about a name in a folder the whole path."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, NotPlain):
            error.filename = str(path)
            error.filename2 = None
        raise

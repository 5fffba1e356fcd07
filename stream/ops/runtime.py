"""The runtime of our processes: garbage collector, open files, and where sockets lie."""

import asyncio
import ctypes
import gc
import itertools
import os
import resource
import tempfile
from collections.abc import Callable
from multiprocessing import util
from typing import Final

from stream.core.model.errors import ConfigInvalid

_YOUNG: Final = 50_000


def tune_garbage_collector() -> None:
    """Freeze what is loaded by now: the collector need not look at it again and again.

    A batch makes thousands of records that die together. At Python's threshold of 700 it would
    search them while they live (measured: 0.4 of 2.4 us a record in batches of 8,000). Sometimes it
    would search half a million objects of libraries too, for 0.3 s in which nothing is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)


_M_ARENA_MAX: Final = -8
"""Of glibc's malloc.h."""
_YOUNG_S: Final = 30.0
"""Seconds between two collections of young objects: few are made in the time."""
_OLDER: Final = 20
_ALL: Final = 120
"""Of so many collections of young objects, one is of older ones, and one of all."""


def share_one_arena() -> None:
    """Let all threads of this process share glibc's main arena. Call it before the first thread.

    By default each thread has an arena, and keeps the peak of its work there, such as a list's
    rebuild. `malloc_trim` shortens only the main one. A worker's eleven held 10 to 25 MB more.
    Python's lock lets one thread allocate at a time, so they hardly wait for each other.
    """
    if (mallopt := _of_libc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, 1)


async def give_memory_back() -> None:
    """Collect garbage by the clock, and return free pages to the kernel, until cancelled.

    By number of objects alone, a quiet process collects once in half an hour. Closed connections
    and caught errors are cycles, and hold buffers meanwhile: processes grew by 8 to 14 % in an hour
    of soak. A turn takes 2 to 7 ms.
    """
    trim = _of_libc("malloc_trim")
    for turn in itertools.count(1):
        await asyncio.sleep(_YOUNG_S)
        gc.collect(2 if turn % _ALL == 0 else int(turn % _OLDER == 0))
        if trim is not None:
            trim(0)


def _of_libc(name: str) -> Callable[..., int] | None:
    """Return a function of glibc's own, or None with another C library."""
    return getattr(ctypes.CDLL(None), name, None)


OTHER_FILES: Final = 512
"""Files that a process opens besides its clients' connections: lists, tables, Kafka, Redis."""


def make_room(setting: str, most: int, kinds: int = 1) -> None:
    """Raise the limit of open files for `most` connections of each kind. Raises ConfigInvalid.

    Without it `setting` would promise answers on connections that the kernel refuses.
    """
    wanted = kinds * most + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard < wanted and hard != resource.RLIM_INFINITY:
        text = (
            f"{setting}: {most} need {wanted} open files, and this process may open {hard}: "
            f"raise LimitNOFILE= of its unit (or ulimit -n), or lower {setting.rpartition('.')[2]}"
        )
        raise ConfigInvalid((text,))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


_LONGEST: Final = 107 - len("/pymp-12345678/listener-12345678")
"""Bytes of a folder's name that leave room for the socket's own (107 in all, unix(7))."""
_SHORT: Final = "/tmp"  # noqa: S108 - multiprocessing makes a folder of its own in it, mode 0700


def shorten_socket_paths() -> None:
    """Move multiprocessing's folder to a short path, before the first process is forked.

    With a long TMPDIR no process would start: "AF_UNIX path too long".
    """
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST:
        return
    folder, tempfile.tempdir = tempfile.tempdir, _SHORT
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = folder

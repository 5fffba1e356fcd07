"""A seal between a simulation and the real world: its clock, chance, sockets, threads, processes.

Clocks show virtual time and chance comes from the seed. A process may bind a socket, in memory.
What cannot be simulated is refused, and kept: product code may swallow the error, but the history
fails all the same.
"""

import errno
import fcntl
import gc
import os
import random
import socket
import subprocess
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from random import Random
from typing import Any, NoReturn
from unittest.mock import patch

import anyio.to_thread
import numpy.random  # noqa: F401 - else the first history imports it, which draws a seed
import redis.utils
from redis.asyncio.connection import AbstractConnection

from tests.simulation.loop import PROCESS, Process, VirtualLoop
from tests.simulation.sockets import BoundSocket

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_ORIGINALS = {name: getattr(time, name) for name in (*_CLOCKS, "sleep")} | {
    "urandom": os.urandom,
    "posix_fallocate": os.posix_fallocate,
    "socket": socket.socket,
}
_FLOCK = fcntl.flock
_LIBRARY = cache(redis.utils.get_lib_version)
_OURS = ("stream", "aiokafka")
"""Packages whose modules may hold none of the originals by name: such a name is not replaced."""
_IMPORTS = "<frozen importlib._bootstrap>"
_CLEAN: set[types.ModuleType] = set()
"""Modules that hold none."""


class RealWorld(Exception):
    """Code in a simulation reached for the real world."""


class Seal:
    """Uses of the real world that one simulation refused."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def refuse(self, what: str) -> NoReturn:
        """Keep and raise it."""
        self.broken.append(what)
        raise RealWorld(what)


@contextmanager
def sealed(loop: VirtualLoop) -> Iterator[Seal]:
    """Run the block with the loop's time and chance. Raises RealWorld at its end if it was broken.

    No garbage is collected meanwhile: no finalizer runs at a moment of its own.
    """
    seal = Seal()
    seal.broken += originals_held()
    chance = Random(loop.seed)
    state = random.getstate()
    gc.disable()
    random.seed(loop.seed)
    try:
        with (
            patch.multiple(time, **_clocks(loop, seal)),
            _closed(loop, seal, chance),
            _inline(loop),
        ):
            yield seal
    finally:
        random.setstate(state)
        gc.enable()
    if seal.broken:
        raise RealWorld("; ".join(dict.fromkeys(seal.broken)))


def originals_held() -> list[str]:
    """Return which modules of ours hold a function of the real world under a name of their own.

    One that held none is looked at once: all of them cost a tenth of a history.
    """
    known = {id(one): name for name, one in _ORIGINALS.items()}
    ours = [
        module
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").partition(".")[0] in _OURS and module not in _CLEAN
    ]
    found = []
    for module in ours:
        held = [(name, known[id(value)]) for name, value in _held_by(module) if id(value) in known]
        found += [
            f"{module.__name__} holds {what} as {name}: import the module instead"
            for name, what in held
        ]
        if not held:
            _CLEAN.add(module)
    return found


def _held_by(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a module holds by name; of ours also by default arguments of its functions."""
    ours = module.__name__.startswith("stream")
    for name, value in list(vars(module).items()):
        yield name, value
        if ours and getattr(value, "__module__", "") == module.__name__:
            inner = vars(value) if isinstance(value, type) else {name: value}
            for one in inner.values():
                if isinstance(one, types.FunctionType):
                    given = (*(one.__defaults__ or ()), *(one.__kwdefaults__ or {}).values())
                    yield from ((f"a default of {one.__qualname__}", each) for each in given)


def _clocks(loop: VirtualLoop, seal: Seal) -> dict[str, Any]:
    def seconds() -> float:
        return loop.wall_s

    def since() -> float:
        return loop.time()

    def sleep(_: float) -> None:
        seal.refuse("time.sleep would stop the world")

    clocks: dict[str, Any] = {"sleep": sleep}
    for name in _CLOCKS:
        read = seconds if name.startswith("time") else since
        clocks[name] = (lambda read=read: int(read() * 1e9)) if name.endswith("_ns") else read
    return clocks


def _drawing(seal: Seal, chance: Random) -> Callable[[int], bytes]:
    def urandom(size: int) -> bytes:
        """Draw bytes, but for no import: it would shift the first history of a process alone."""
        frame: types.FrameType | None = sys._getframe(1)
        module = ""
        while frame is not None and frame.f_code.co_filename != _IMPORTS:
            module, frame = frame.f_globals["__name__"], frame.f_back
        if frame is not None:
            seal.refuse(f"the import of {module} drew chance")
        return chance.randbytes(size)

    return urandom


@contextmanager
def _closed(loop: VirtualLoop, seal: Seal, chance: Random) -> Iterator[None]:
    """Take chance from `chance`; refuse sockets, threads and processes."""

    class Forbidden(socket.socket):
        def __new__(cls, _: int = -1, kind: int = -1, *__: object, **___: object) -> Any:
            """Return a simulated one to a process, which may bind it."""
            process = PROCESS.get()
            if process is None:
                return super().__new__(cls)
            kinds = socket.SocketKind
            return BoundSocket(loop.network, process, kinds(kind), seal.refuse)

        def __init__(self, *_: object, **__: object) -> None:
            seal.refuse("a real socket was opened")

    def thread(_: threading.Thread) -> None:
        seal.refuse("a real thread was started")

    def process(*_: object, **__: object) -> None:
        seal.refuse("a real process was started")

    def allocate(*place: Any) -> None:
        _have_room()
        _ORIGINALS["posix_fallocate"](*place)

    urandom, numbers = _drawing(seal, chance), count()

    def made(connection: AbstractConnection) -> int:
        """Return its number: addresses differ between processes."""
        number: int = connection.__dict__.setdefault("_number", next(numbers))
        return number

    locks: dict[Process, dict[int, int]] = {}

    def flock(handle: int, how: int) -> None:
        """Take a lock for the process that runs now: its kernel lets go of it when it dies."""
        _FLOCK(handle, how)
        process = PROCESS.get()
        if process is None:
            return
        if process not in locks:
            process.ends[lambda _: _let_go(locks.pop(process))] = None
        locks.setdefault(process, {})[handle] = os.fstat(handle).st_ino

    with (
        patch.object(fcntl, "flock", flock),
        patch.object(os, "urandom", urandom),
        patch.object(random, "_urandom", urandom),
        patch.object(socket, "socket", Forbidden),
        patch.object(threading.Thread, "start", thread),
        # It parses its own package's metadata for each client, 2 ms each: a fifth of a history.
        patch.object(redis.utils, "get_lib_version", _LIBRARY),
        # A pool has its connections in a set: their order is that of their making.
        patch.object(AbstractConnection, "__hash__", made),
        # A process that is killed leaves what it wrote: nothing here is lost with the power.
        patch.object(os, "fsync", lambda _: _have_room()),
        patch.object(os, "posix_fallocate", allocate),
        # It asks the machine for its address, and a library for the time.
        patch.object(uuid, "uuid1", uuid.uuid4),
        patch.object(subprocess.Popen, "__init__", process),
    ):
        yield


@contextmanager
def _inline(loop: VirtualLoop) -> Iterator[None]:
    """Run jobs of pools of threads here and now."""

    async def run_sync(job: Any, *args: Any, **_: Any) -> Any:
        return await loop.run_in_executor(None, job, *args)

    def submit(_: ThreadPoolExecutor, job: Any, *args: Any, **more: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(job(*args, **more))
        except Exception as error:  # noqa: BLE001 - as a thread hands it on
            future.set_exception(error)
        return future

    with (
        patch.object(ThreadPoolExecutor, "submit", submit),
        # Web frameworks have their threads from anyio.
        patch.object(anyio.to_thread, "run_sync", run_sync),
    ):
        yield


def _let_go(locks: dict[int, int]) -> None:
    """Let go of the locks of a process that died, in files that it had not closed."""
    for handle, inode in locks.items():
        with suppress(OSError):
            if os.fstat(handle).st_ino == inode:
                _FLOCK(handle, fcntl.LOCK_UN)


def _have_room() -> None:
    """Raise what a full disk raises, where the process that runs now has one."""
    process = PROCESS.get()
    if process is not None and process.disk_full:
        raise OSError(errno.ENOSPC, "No space left on device")

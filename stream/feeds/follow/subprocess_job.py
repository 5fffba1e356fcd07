"""Run work on foreign bytes in a subprocess with limits of memory, CPU and time.

A parser that needs memory without end, or that never returns, costs its own process and its own
feed. In our process `re` and C code would hold the interpreter: no other feed and no signal would
have a turn. A fork server has everything imported, so a process starts in some ten milliseconds.
"""

import asyncio
import math
import multiprocessing
import os
import pickle
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from stream.core.model.errors import Fault
from stream.feeds.apply import Applier
from stream.feeds.assess import Arrival
from stream.feeds.feed import Feed, VersionRecord
from stream.feeds.row_checks import Surroundings
from stream.feeds.state_store import FeedStateStore
from stream.feeds.version_files import VersionFiles
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_s
from stream.ops.kernels import warm_up
from stream.ops.runtime import shorten_socket_paths

# A plain fork would copy our threads' locks in whatever state they are, and our event loop. A new
# interpreter takes a second for its imports; a fork of the server takes 15 ms.
_CONTEXT: Final = multiprocessing.get_context("forkserver")
_DONE, _FAULT, _MEMORY, _GONE = 0, 1, 2, 3
_EXIT_S_MAX: Final = 5.0
"""A killed process can hang in the kernel (a dead mount). Waiting longer would stop the feed."""
NICE: Final = 10
"""Deciding calls on the same machine has priority."""
Work = Callable[[bytes], bytes]


class WorkFault(StrEnum):
    """Reasons why work failed: a closed list, so that each is a metric label."""

    MEMORY = "memory"
    """It took more than [feeds] memory_mb_max."""
    CPU = "cpu"
    """It took more than [feeds] cpu_s_max of CPU: its parser may have no end."""
    DEADLINE = "deadline"
    """It took longer than [feeds] version_s_max."""
    DIED = "died"
    """Its process was killed, or has a bug: its log lines say more."""
    STORE = "store"
    """The list store, or its list, could not be read or written."""


class WorkFailed(Fault):
    """Work on a version ended early. What was done by then stays, and is repeated the next time."""

    def __init__(self, reason: WorkFault, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def of(self, what: str) -> "WorkFailed":
        """Return the same fault with the name of the work."""
        return WorkFailed(self.reason, f"{what}: {self.detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """Limits of one job: bytes of address space, seconds of CPU of all threads."""

    memory_max: int
    cpu_s_max: float


def prepare(modules: list[str]) -> None:
    """Have the fork server import `modules` before it forks the first process."""
    shorten_socket_paths()
    _CONTEXT.set_forkserver_preload(["__main__", *modules])


class Helper:
    """A process that runs one job after the other, each within `limits`.

    It calls `begin` (a function of a module, or a partial of one) to make its work. The caller that
    makes a helper ends it.
    """

    def __init__(self, begin: Callable[[], Work], limits: JobLimits) -> None:
        self._limits = limits
        self._ours, theirs = _CONTEXT.Pipe()
        # Nothing is sent by it: it is readable there once we are gone, even killed.
        life, self._life = _CONTEXT.Pipe(duplex=False)
        self._theirs = (theirs, life)
        self._is_begun = False
        self.ended = False
        self._process = _CONTEXT.Process(
            target=_main, args=(theirs, life, begin, limits), daemon=True, name="feed"
        )

    async def start(self) -> None:
        """Start the process."""
        await asyncio.to_thread(self._process.start)
        self._is_begun = True
        for theirs in self._theirs:
            theirs.close()

    @property
    def is_alive(self) -> bool:
        """True if the process is there, also after `end`, if it hangs in the kernel."""
        return self._is_begun and self._process.is_alive()

    async def do(self, job: bytes) -> bytes:
        """Run the work on `job`. After WorkFailed or a cancellation, end the helper."""
        # In a thread: a job of megabytes fills the pipe, and the process may be slow to read it.
        await asyncio.to_thread(self._send, job)
        await _readable(self._ours)
        kind, answer = _answer(self._ours)
        if kind == _DONE:
            return answer
        if kind == _FAULT:
            raise WorkFailed(WorkFault.STORE, answer.decode(errors="replace"))
        raise await self._failed(kind)

    async def end(self) -> None:
        """Kill the process. May be called again if it hung in the kernel."""
        self.ended = True
        if self.is_alive:
            self._process.kill()
        self._ours.close()
        self._life.close()
        if self._is_begun:  # join() in a thread: it blocks, and a process amid a dead mount stays
            await asyncio.to_thread(self._process.join, _EXIT_S_MAX)

    def _send(self, job: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the answer is that it is gone
            self._ours.send_bytes(job)

    async def _failed(self, kind: int) -> WorkFailed:
        await asyncio.to_thread(self._process.join, _EXIT_S_MAX)
        if kind == _MEMORY:
            text = f"it took more than {self._limits.memory_max >> 20} MB: raise [feeds]"
            text += " memory_mb_max, or bytes_max is larger than it should be"
            return WorkFailed(WorkFault.MEMORY, text)
        if self._process.exitcode == -signal.SIGXCPU:
            text = f"it took more than {self._limits.cpu_s_max:g} s of CPU: raise [feeds] cpu_s_max"
            text += " if its list is that large; else keep the file, and ask who sends it"
            return WorkFailed(WorkFault.CPU, text)
        return WorkFailed(WorkFault.DIED, f"its process ended with {self._process.exitcode}")


async def apart(work: Work, job: bytes, limits: JobLimits, *, within_s: float) -> bytes:
    """Run `work` (a function of a module) on `job` in a process of its own.

    Raises WorkFailed. Cancelled, it ends the process.
    """
    helper = Helper(partial(_same, work), limits)
    try:
        await helper.start()
        async with asyncio.timeout(within_s):
            return await helper.do(job)
    except TimeoutError as error:
        raise WorkFailed(WorkFault.DEADLINE, f"it took longer than {within_s:g} s") from error
    finally:
        await helper.end()


def _same(work: Work) -> Work:
    return work


def _answer(ours: Connection) -> tuple[int, bytes]:
    try:
        kind, answer = ours.recv()
    except (EOFError, OSError):
        return _GONE, b""
    return kind, answer


async def _readable(ours: Connection) -> None:
    """Wait until there is something to read, or the process is gone."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(ours.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(ours.fileno())


def _main(
    theirs: Connection, life: Connection, begin: Callable[[], Work], limits: JobLimits
) -> None:
    """Run the process: work and answer until the pipe closes; end when the parent is gone."""
    # Address space, since Linux enforces no limit of resident memory. It also counts mapped
    # libraries that are never touched, so the shipped limit is generous.
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_max, limits.memory_max))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold whole numbers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the parent
    os.nice(NICE)
    # A thread, since the work may hold the main one for minutes after our parent was killed.
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    _allow_cpu(limits.cpu_s_max)
    try:
        work = begin()
        while (job := _job(theirs)) is not None:
            _allow_cpu(limits.cpu_s_max)
            theirs.send((_DONE, work(job)))
    except Fault as fault:
        theirs.send((_FAULT, f"{type(fault).__name__}: {fault}".encode()))
    except MemoryError:
        theirs.send((_MEMORY, b""))


def _job(theirs: Connection) -> bytes | None:
    try:
        return theirs.recv_bytes()
    except EOFError:
        return None


def _allow_cpu(cpu_s: float) -> None:
    """Allow so much CPU from now on. Beyond it the kernel kills the process.

    The hard limit stays: without privileges it could not be raised again for the next job.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + cpu_s)  # the limit is of whole seconds, used ones too
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _end_with(life: Connection) -> None:
    # Nothing is ever sent this way: it becomes readable when the other end is closed.
    life.poll(None)
    os._exit(1)  # not sys.exit: it would end this thread alone


LARGE_BYTES = 8 << 20
"""Smaller versions do without the compiled kernels: loading those takes 0.6 s. A larger version
uses them if a worker on this machine has compiled them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedJob:
    """A version and all that deciding on it needs, to be sent to another process."""

    list_store: ListStoreSettings
    state_dir: Path
    kernels: Path
    feed: Feed
    arrival: Arrival
    around: Surroundings


async def done_apart(job: FeedJob, limits: JobLimits, *, within_s: float) -> VersionRecord:
    """Apply the version in a process of its own. Raises WorkFailed, which names the version."""
    # Both ends are this program; nothing from outside is ever unpickled.
    try:
        answer = await apart(_work, pickle.dumps(job), limits, within_s=within_s)
    except WorkFailed as failed:
        fetched = job.arrival.fetched
        origin = f" of {fetched.origin}" if fetched.origin else ""
        what = f"version {job.arrival.id}{origin}, {fetched.size:,} bytes"
        raise failed.of(what) from failed
    record: VersionRecord = pickle.loads(answer)  # noqa: S301
    return record


def _work(packed: bytes) -> bytes:
    job: FeedJob = pickle.loads(packed)  # noqa: S301
    if job.arrival.fetched.size >= LARGE_BYTES:
        warm_up(job.kernels, may_compile=False)
    return pickle.dumps(asyncio.run(_take_in(job)))


async def _take_in(job: FeedJob) -> VersionRecord:
    versions = VersionFiles(job.state_dir, job.feed.name)
    async with (
        await ListStore.connect(job.list_store) as list_store,
        FeedStateStore.open(job.list_store) as states,
    ):
        with versions.deciding():
            applier = Applier(
                list_store=list_store,
                states=states,
                versions=versions,
                feed=job.feed,
                around=job.around,
                now_s=now_s(),
            )
            return await applier.take_in(job.arrival)

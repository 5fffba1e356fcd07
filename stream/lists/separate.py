"""Work in a process of its own: with an end to its memory and its time, and nobody waits with it.

A file that can not be parsed in bounded memory, or a parser that never comes back, costs its own
process and its own feed. Processes are forked from a server that has everything imported, so one
takes some ten milliseconds to begin.
"""

import asyncio
import multiprocessing
import os
import resource
import threading
from collections.abc import Callable
from enum import StrEnum
from multiprocessing.connection import Connection
from typing import Final

from stream.core.faults import Fault
from stream.ops.forks import make_room

_CONTEXT: Final = multiprocessing.get_context("forkserver")
_DONE, _FAULT, _MEMORY = 0, 1, 2
_EXIT_S_MAX: Final = 5.0
NICE: Final = 10
"""Calls that are decided on the same machine go first."""
Work = Callable[[bytes], bytes]


class WorkFault(StrEnum):
    """Why a version was not worked on to its end: a closed list, so that each is a metric label."""

    MEMORY = "memory"
    """It took more than [feeds] memory_mb_max."""
    DEADLINE = "deadline"
    """It took longer than [feeds] version_s_max."""
    DIED = "died"
    """Its process was killed, or has a bug: its log lines say more."""
    STORE = "store"
    """The register, or its list, could not be read or written."""


class WorkFailed(Fault):
    """A version was not worked on to its end; what was done by then stays, and is done again."""

    def __init__(self, reason: WorkFault, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


def prepare(modules: list[str]) -> None:
    """Have `modules` imported once, before the first process begins."""
    make_room()
    _CONTEXT.set_forkserver_preload(["__main__", *modules])


async def apart(work: Work, job: bytes, *, memory_max: int, within_s: float) -> bytes:
    """What `work` (a function of a module) makes of `job`, in a process of its own.

    Raises WorkFailed. Cancelled, it ends the process.
    """
    ours, theirs = _CONTEXT.Pipe()
    process = _CONTEXT.Process(
        target=_main, args=(theirs, work, job, memory_max), daemon=True, name="feed version"
    )
    await asyncio.to_thread(process.start)
    theirs.close()
    try:
        async with asyncio.timeout(within_s):
            await _readable(ours)
        kind, answer = _answer(ours)
    except TimeoutError as error:
        raise WorkFailed(WorkFault.DEADLINE, f"it took longer than {within_s:g} s") from error
    finally:
        if process.is_alive():
            process.kill()
        ours.close()
        await asyncio.to_thread(process.join, _EXIT_S_MAX)
    if kind == _DONE:
        return answer
    if kind == _FAULT:
        raise WorkFailed(WorkFault.STORE, answer.decode(errors="replace"))
    if kind == _MEMORY:
        text = f"it took more than {memory_max >> 20} MB: raise [feeds] memory_mb_max"
        raise WorkFailed(WorkFault.MEMORY, f"{text}, or bytes_max is larger than it should be")
    raise WorkFailed(WorkFault.DIED, f"its process ended with {process.exitcode}")


def _answer(ours: Connection) -> tuple[int, bytes]:
    try:
        kind, answer = ours.recv()
    except (EOFError, OSError):
        return -1, b""
    return kind, answer


async def _readable(ours: Connection) -> None:
    """Until there is something to read, or the process is gone."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(ours.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(ours.fileno())


def _main(theirs: Connection, work: Work, job: bytes, memory_max: int) -> None:
    """The process: works, answers, ends; and ends as well when whoever waits for it is gone."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_max, memory_max))
    os.nice(NICE)
    threading.Thread(target=_end_with, args=(theirs,), daemon=True).start()
    try:
        answer = _DONE, work(job)
    except Fault as fault:
        answer = _FAULT, f"{type(fault).__name__}: {fault}".encode()
    except MemoryError:
        answer = _MEMORY, b""
    theirs.send(answer)


def _end_with(theirs: Connection) -> None:
    # Nothing is ever sent this way: it becomes readable when the other end is closed.
    theirs.poll(None)
    os._exit(1)

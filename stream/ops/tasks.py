"""Ending tasks for sure, and whose failure is told to whom."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any


async def cancelled(*tasks: "asyncio.Task[Any]", again_s: float = 5.0) -> None:
    """Cancel `tasks` until they have ended; whoever wants to know what they raised asks them.

    Once is not enough: up to Python 3.11 `asyncio.wait_for` swallows a cancellation that comes as
    its inner future ends (cpython issue 37658), and redis-py sends every command through it. A task
    that reads from Redis in a loop would then go on for ever, and we with it. `again_s` is how
    long a task's own clean-up may take before it is interrupted too.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_s)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # else asyncio logs that nobody asked


@asynccontextmanager
async def running(job: Awaitable[None], name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """`job` as a task that ends with the block; its failure is whoever's that waits for it."""

    async def waiting() -> None:
        await job

    task = asyncio.create_task(waiting(), name=name)
    try:
        yield task
    finally:
        await cancelled(task)


async def every(seconds: float, look: Callable[[], object]) -> None:
    """Call `look`, which may block, in a thread every so many seconds, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(look)


async def first(job: Awaitable[None], *others: "asyncio.Task[None]") -> None:
    """Wait for `job`, or for one of `others`, which end only by failing: then raise what it did."""
    async with running(job, "job") as task:
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            if other.done():
                other.result()
                raise AssertionError(f"{other.get_name()} ended by itself")
        task.result()


async def until(told: asyncio.Event, jobs: "Sequence[asyncio.Task[None]]") -> None:
    """Wait for the word to stop; a job that failed before ends the waiting: raise what it did."""
    word = asyncio.create_task(told.wait())
    waiting: set[asyncio.Task[Any]] = {word, *jobs}
    try:
        while not word.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
    finally:
        await cancelled(word)

"""Tasks that end for sure, and whose failure reaches the code that waits for them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from stream.core.model.errors import Fault

log = logging.getLogger(__name__)

_T = TypeVar("_T")


async def cancelled(*tasks: "asyncio.Task[Any]", again_s: float = 5.0) -> None:
    """Cancel `tasks` until they have ended; their results stay with them.

    Once is not enough. Up to Python 3.11 `asyncio.wait_for` swallows a cancellation that comes as
    its inner future ends (cpython issue 37658), and redis-py sends every command through it. A task
    that reads from Redis in a loop would then run for ever, and so would the wait for it. After
    `again_s` a task's own clean-up is interrupted too.

    Cancelled itself, it cancels them at once again, and leaves once they have ended: who waits for
    it may be such a task too, and a task group around it cancels them once only.
    """
    pending = {task for task in tasks if not task.done()}
    interrupted: asyncio.CancelledError | None = None
    while pending:
        for task in pending:
            task.cancel()
        try:
            await asyncio.wait(pending, timeout=again_s)
        except asyncio.CancelledError as error:
            interrupted = error
        pending = {task for task in pending if not task.done()}
    for task in tasks:
        if not task.cancelled():
            task.exception()  # else asyncio logs that it was never retrieved
    if interrupted is not None:
        raise interrupted


@asynccontextmanager
async def running(job: Awaitable[object], name: str) -> AsyncIterator["asyncio.Task[None]"]:
    """Run `job` as a task that ends with the block; only a wait for it raises its failure.

    A bug in it is logged at once: the block may never wait for it.
    """

    async def waiting() -> None:
        await job

    # No TaskGroup: it would cancel the block when the job fails; here the block decides.
    task = asyncio.create_task(waiting(), name=name)
    task.add_done_callback(_tell_bug)
    try:
        yield task
    finally:
        await cancelled(task)


def _tell_bug(task: "asyncio.Task[None]") -> None:
    if task.cancelled() or (error := task.exception()) is None or isinstance(error, Fault):
        return
    log.critical("%s crashed: unhandled exception", task.get_name(), exc_info=error)


async def every(seconds: float, look: Callable[[], object]) -> None:
    """Call `look`, which may block, in a thread every so many seconds, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(look)


async def supervised(job: Coroutine[Any, Any, _T], **helpers: Coroutine[Any, Any, None]) -> _T:
    """Run `job` while `helpers` run beside it; return its result.

    A helper has no end of its own. If one fails, all are cancelled, and its failure is raised as it
    is, without a group around it. Cancelled from outside, the job ends before its helpers: it may
    need them to wind up.
    """
    try:
        async with asyncio.TaskGroup() as group:
            main = group.create_task(job, name="job")
            tasks = [
                group.create_task(_endless(one, name), name=name) for name, one in helpers.items()
            ]
            try:
                await asyncio.wait({main})
            finally:
                # The group cancels a task once, which is not enough: see `cancelled`.
                await cancelled(main)
                await cancelled(*tasks)
    except BaseExceptionGroup as failures:
        raise _cause(failures) from None
    return main.result()


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run `jobs` until all end. A failure of one cancels the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in jobs]
            try:
                await asyncio.wait(tasks)
            finally:
                await cancelled(*tasks)  # the group cancels them once, which is not enough
    except BaseExceptionGroup as failures:
        raise _cause(failures) from None


async def _endless(helper: Coroutine[Any, Any, None], name: str) -> None:
    await helper
    raise AssertionError(f"{name} ended by itself")


def _cause(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure to report: a bug before a fault, else the first."""
    leaves = [
        _cause(one) if isinstance(one, BaseExceptionGroup) else one for one in failures.exceptions
    ]
    cause = next((one for one in leaves if not isinstance(one, Fault)), leaves[0])
    for other in leaves:
        if other is not cause:
            cause.add_note(f"and {type(other).__name__}: {other}")
    return cause

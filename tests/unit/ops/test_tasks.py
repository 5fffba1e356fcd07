"""Tasks end on request."""

import asyncio
import threading

import pytest

from stream.core.model.errors import ListStoreDown, SourceDown
from stream.ops.tasks import cancelled, every, running, supervised, together
from tests.support.waiting import HANGS_S


class Stubborn:
    """A job that ends at the cancellation of number `last`, and swallows those before it."""

    def __init__(self, last: int) -> None:
        self.cancelled, self._last = 0, last

    async def run(self) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled += 1
                if self.cancelled == self._last:
                    raise


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    """The effect of Python 3.11's wait_for on a cancellation keeps no worker from stopping."""
    job = Stubborn(3)
    task = asyncio.create_task(job.run())
    await asyncio.sleep(0)
    await cancelled(task, again_s=0.01)
    assert task.cancelled()
    assert job.cancelled == 3


async def test_a_job_within_a_job_ends_though_it_swallows_cancellations() -> None:
    """The outer wait interrupted the inner one, and nobody cancelled the job a third time."""
    job = Stubborn(4)

    async def helper() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(supervised(job.run(), helper=helper()))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(HANGS_S):
        await cancelled(task, again_s=0.01)
    assert task.cancelled()
    assert job.cancelled == 4


async def test_clean_up_is_not_interrupted() -> None:
    """A task may take its time to close what it opened."""
    closed = False

    async def orderly() -> None:
        nonlocal closed
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            closed = True

    task = asyncio.create_task(orderly())
    await asyncio.sleep(0)
    await cancelled(task)
    assert closed


async def test_a_look_is_taken_again_and_again_and_its_failure_is_told() -> None:
    """Every so often, in a thread; what it raises ends the task."""
    looks: list[int] = []
    main = threading.get_ident()

    def look() -> None:
        looks.append(threading.get_ident())
        if len(looks) == 3:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await every(0.001, look)
    assert len(looks) == 3
    assert main not in looks


async def test_a_failure_stays_with_its_task() -> None:
    """Cancelling one that has failed raises nothing; its error can still be asked for."""

    async def failing() -> None:
        raise ValueError("mine")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await cancelled(task)
    assert isinstance(task.exception(), ValueError)


@pytest.mark.expects_errors("looks crashed: unhandled exception")
async def test_a_bug_of_a_task_that_nobody_waits_for_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At once, with its traceback, and only where it is a bug."""
    ended: list[asyncio.Task[None]] = []
    for error in (ZeroDivisionError("mine"), SourceDown("away")):

        async def failing(error: Exception = error) -> None:
            raise error

        async with running(failing(), "looks") as task:
            await asyncio.wait({task})
            ended.append(task)
    assert [type(one.exception()) for one in ended] == [ZeroDivisionError, SourceDown]
    (told,) = caplog.records
    assert told.getMessage() == "looks crashed: unhandled exception"
    assert told.exc_info is not None


async def test_a_job_ends_its_helpers() -> None:
    """Its result is what comes of it all."""
    ended = []

    async def helper() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("helper")

    async def job() -> int:
        await asyncio.sleep(0)
        return 7

    assert await supervised(job(), one=helper()) == 7
    assert ended == ["helper"]


async def test_a_helper_that_dies_ends_the_job_and_is_told_as_it_is() -> None:
    """The job winds up while the other helpers still run; the failure has no group around it."""
    order = []

    async def dies() -> None:
        await asyncio.sleep(0)
        raise ListStoreDown("refused")

    async def helper() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("helper")

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("job")

    with pytest.raises(ListStoreDown, match="refused"):
        await supervised(job(), one=dies(), other=helper())
    assert sorted(order) == ["helper", "job"]


async def test_a_helper_that_ends_by_itself_is_a_bug() -> None:
    """Else nobody would notice that lists are followed no more."""

    async def ends() -> None:
        await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="lists ended by itself"):
        await supervised(asyncio.Event().wait(), lists=ends())


async def test_a_bug_is_told_before_a_fault() -> None:
    """Of several failures, a bug is raised; the others are noted on it."""

    async def fault() -> None:
        raise ListStoreDown("away")

    async def bug() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        await supervised(fault(), other=bug())
    assert raised.value.__notes__ == ["and ListStoreDown: away"]


async def test_the_job_winds_up_before_its_helpers_end() -> None:
    """Cancelled from outside, it may still need them."""
    order = []

    async def helper() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("helper")

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            order.append("job")

    task = asyncio.create_task(supervised(job(), one=helper()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cancelled(task)
    assert order == ["job", "helper"]


async def test_jobs_together_end_together() -> None:
    """All end, or one fails and the others are cancelled; the failure comes without a group."""
    ended = []

    async def ends(name: str) -> None:
        await asyncio.sleep(0)
        ended.append(name)

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fails() -> None:
        await asyncio.sleep(0)
        raise ListStoreDown("away")

    await together(ends("one"), ends("other"))
    with pytest.raises(ListStoreDown, match="away"):
        await together(waits(), fails())
    assert ended == ["one", "other", "cancelled"]

"""Tasks end when they are told to."""

import asyncio
import threading

import pytest

from stream.ops.tasks import cancelled, every


async def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    """What Python 3.11's wait_for does to a cancellation keeps no worker from stopping."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await cancelled(task, again_s=0.01)
    assert task.cancelled()
    assert swallowed == 3


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

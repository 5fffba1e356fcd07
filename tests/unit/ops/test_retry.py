"""Waits grow, end growing, and differ from each other."""

import asyncio
import contextlib

from stream.ops.retry import Backoff


def test_waits_double_up_to_the_most() -> None:
    """A server that stays away is asked less and less often, but never rarely."""
    backoff = Backoff(1.0, 8.0)
    for expected in (1, 2, 4, 8, 8):
        assert expected * 0.8 <= backoff.next_s() <= expected * 1.2


def test_success_begins_anew() -> None:
    """After it worked once, the next failure waits shortly."""
    backoff = Backoff(1.0, 8.0)
    for _ in range(4):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.2


def test_many_do_not_come_back_at_once() -> None:
    """Workers that lost the same server spread out."""
    assert len({round(Backoff(1.0, 8.0).next_s(), 6) for _ in range(20)}) > 10


async def test_a_task_that_swallowed_its_end_tries_nothing_again() -> None:
    """A failure hid the cancellation, as Python 3.11's wait_for does; each pause is an end."""
    backoff, tries = Backoff(0.0, 0.0), 0

    async def stubborn() -> None:
        nonlocal tries
        while True:
            tries += 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await backoff.pause()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert tries == 1

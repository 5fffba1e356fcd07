"""Ending tasks for sure."""

import asyncio
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

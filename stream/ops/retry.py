"""Waits before something is tried again: growing, bounded, with jitter."""

import asyncio
import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits that double from `first_s` to `most_s`, each up to a fifth longer or shorter.

    The jitter keeps many workers that lost the same server from coming back in one moment.
    """

    first_s: float
    most_s: float
    _next_s: float = field(init=False, default=0.0)

    def next_s(self) -> float:
        """Return the wait after one more failure, in seconds."""
        wait_s = self._next_s or self.first_s
        self._next_s = min(wait_s * 2, self.most_s)
        return wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, no secret

    async def pause(self) -> None:
        """Sleep before the next try.

        A task that was cancelled ends here: the failed try may have swallowed it, see `cancelled`.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        """Begin with the first wait again at the next failure."""
        self._next_s = 0.0

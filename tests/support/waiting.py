"""Waiting for a state on a machine that may be busy.

A wait ends when its state is there. Its limit measures nothing: it turns a hang into a failure that
says what was waited for, and it begins again whenever something moved. So a slow machine is never
taken for a hang. No test passes or fails by how long something took.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

HANGS_S = 240.0
"""Without progress for so long it hangs: many times one step on the slowest machine."""


REDIS_S = 60.0
"""`[redis] timeout_s` of commands under test, as long as it may be: a busy disk holds Redis up for
more than the two seconds that are the default, and that is no failure.
"""


TRANSACTIONS_MS = 22_000
"""`session_timeout_ms` of workers that deliver exactly once: a transaction may then stay open for
10 s, the longest. With the shortest session, 13 s, it is 1 s: the broker of a busy machine aborts
one now and then, and the worker ends, as it should.
"""


class Patience:
    """The end of a loop that waits for `what`; `check` goes into the loop."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._seen: object = None
        self._until_s = time.monotonic() + HANGS_S

    def check(self, seen: object = None) -> None:
        """Fail once `seen` (how far it is) has been the same for HANGS_S."""
        now_s = time.monotonic()
        if seen != self._seen:
            self._seen, self._until_s = seen, now_s + HANGS_S
        told = "" if seen is None else f", at {seen}"
        assert now_s < self._until_s, f"nothing moved for {HANGS_S:g} s{told}: {self._what}"


async def until(
    holds: Callable[[], object | Awaitable[object]], what: str, every_s: float = 0.02
) -> None:
    """Wait until `holds`, which may await."""
    patience = Patience(what)
    while True:
        held = holds()
        if await held if isinstance(held, Awaitable) else held:
            return
        patience.check()
        await asyncio.sleep(every_s)


def until_now(holds: Callable[[], object], what: str, every_s: float = 0.05) -> None:
    """Wait until `holds`, where no loop runs."""
    patience = Patience(what)
    while not holds():
        patience.check()
        time.sleep(every_s)

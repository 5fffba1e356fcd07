"""The engine of a site, waited for by a test whose load goes on meanwhile; its settings as TOML."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tests.support.engine import POLL_S, WAIT_S, Watched, pause_s


class Engine(Watched):
    """`ringfence run`; started as often as wanted."""

    async def ready(self) -> Self:
        """Start it, and wait until it says that it is ready."""
        self.start()
        await self.until(lambda: self.readiness()[0] == 200, "to be ready")
        return self

    async def stop(self, within_s: float = WAIT_S) -> int:
        """End it by SIGTERM; its exit code."""
        self.process.terminate()
        return await self.exit_code(within_s)

    async def exit_code(self, within_s: float = WAIT_S) -> int:
        """Wait until it ends by itself."""
        deadline = time.monotonic() + within_s
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"it runs on: {self.last_words()}"
            await asyncio.sleep(POLL_S)
        return code

    async def until(
        self,
        condition: Callable[[], object | Awaitable[object]],
        what: str,
        within_s: float = WAIT_S,
    ) -> None:
        """Wait for a condition; fail with the engine's last words if it does not come."""
        began = time.monotonic()
        while True:
            holds = await asyncio.to_thread(condition)
            if isinstance(holds, Awaitable):
                holds = await holds
            if holds:
                return
            code = self.process.poll()
            assert code is None, f"waited for it {what}, it ended with {code}: {self.last_words()}"
            waited_s = time.monotonic() - began
            assert waited_s < within_s, f"waited for it {what}: {self.last_words()}"
            await asyncio.sleep(pause_s(waited_s))

    async def reads(self, partitions: int) -> None:
        """Wait until it knows from where it reads so many; ready it is a moment before."""
        await self.until(
            lambda: self.metric("ringfence_partitions") == partitions, f"to read {partitions}"
        )

    async def logged(self, pattern: str, within_s: float = WAIT_S) -> None:
        """Wait for a log line that matches."""
        await self.until(lambda: self.said(pattern), f"to say {pattern!r}", within_s)

    def errors(self) -> list[dict[str, Any]]:
        """Return its logged errors, except for a broker that makes its first group."""
        return [
            line
            for line in self.events()
            if line["level"] in ("error", "critical")
            and "GroupCoordinatorNotAvailableError" not in line["event"]
        ]

    def readiness(self) -> tuple[int, str]:
        """Status and text of /ready; 0 while nobody answers."""
        return self.page("/ready")

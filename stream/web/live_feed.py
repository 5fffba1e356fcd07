"""The overview's figures, live: one reader for all who watch, each event made once.

A viewer who takes events slower than they come gets the newest only, so none costs memory; one who
takes nothing is cut off by the connection's own limit ([serve] answer_s_max). After `STREAM_S` a
stream ends and the browser asks again, with the id of the last event it has: then the session is
looked at anew.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final

from stream.edge.http.problems import Kind, ProblemError
from stream.edge.http.rendering import fragment
from stream.ops.clock import monotonic_s
from stream.ops.monitor.collect import Watch
from stream.ops.monitor.dashboard import Picture
from stream.web import tiles

WATCHED_S: Final = 2.0
"""Between two looks while somebody watches."""
UNWATCHED_S: Final = 10.0
"""While nobody does: so that charts begin with a past."""
STREAM_S: Final = 300.0
RETRY_S: Final = 15
_RETRY_MS: Final = 3000


@dataclass(slots=True)
class Live:
    """The reader. `watchers_max` may watch at once."""

    watch: Watch
    watchers_max: int
    seen: Picture | None = field(init=False, default=None)
    watchers: int = field(init=False, default=0)
    _event: bytes = field(init=False, default=b"")
    _next: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _wanted: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _closed: bool = field(init=False, default=False)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            before_s = self.seen.at_s if self.seen is not None else 0.0
            seen = self.seen = await self.watch.look()
            html = fragment("figures.html", **self.given(seen))
            self._event = tiles.event(
                seen.at_s, html, tiles.points(self.watch.trail, after_s=before_s)
            )
            self._tell()
            self._wanted.clear()
            try:
                async with asyncio.timeout(WATCHED_S if self.watchers else UNWATCHED_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    def given(self, seen: Picture | None) -> dict[str, Any]:
        """What the templates of the figures take."""
        return {
            "seen": seen,
            "tiles": tiles.tiles(seen) if seen is not None else (),
            "behind": tiles.behind(seen.lists) if seen is not None else (),
            "busiest": tiles.busiest(seen.lists) if seen is not None else (),
            "told": tiles.told(self.watch.trail),
        }

    async def events(self, last_id: str) -> AsyncGenerator[bytes]:
        """The stream of one viewer who has all up to `last_id` ("": nothing).

        Raises ProblemError, before anything is sent, if too many watch.
        """
        if self.watchers >= self.watchers_max:
            text = f"{self.watchers_max} watch already ([serve] watchers_max); the page is not live"
            raise ProblemError(Kind.BUSY, text, retry_after_s=RETRY_S)
        self.watchers += 1
        try:
            async for part in self._events(_seconds(last_id)):
                yield part
        finally:
            self.watchers -= 1

    async def _events(self, after_s: float) -> AsyncGenerator[bytes]:
        until_s = monotonic_s() + STREAM_S
        yield b"retry: %d\n\n" % _RETRY_MS
        if self.seen is not None:
            html = fragment("figures.html", **self.given(self.seen))
            missing = tiles.points(self.watch.trail, after_s=after_s)
            yield tiles.event(self.seen.at_s, html, missing)
        self._wanted.set()  # the next look comes at once, not only when the last wait has ended
        while not self._closed and monotonic_s() < until_s:
            await self._next.wait()
            yield self._event

    def close(self) -> None:
        """End all streams: the server waits for what is being answered."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        told, self._next = self._next, asyncio.Event()
        told.set()


def _seconds(last_id: str) -> float:
    """The time that an event's id is; 0 if it is none of ours."""
    digits = last_id.replace(".", "", 1)
    return float(last_id) if digits.isascii() and digits.isdigit() and len(last_id) < 20 else 0.0

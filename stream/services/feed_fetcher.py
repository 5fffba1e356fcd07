"""A feed's fetches in a process of its own: what a partner sends is touched nowhere else.

It is unpacked there, looked at for a login page, its pages and metadata are decoded. So an input
that a decoder has no end with stops neither the other feeds nor SIGTERM: the kernel kills that
process at [feeds] cpu_s_max, and the feed has a fault with a name.
"""

import asyncio
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from stream.config.feed_sources import Source
from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.subprocess_job import Helper, Limits, Work, WorkFailed
from stream.feeds.transport import Fetched, Unchanged
from stream.feeds.transports.drop import Place

KEPT_S: Final = 10.0
"""A process is kept for a fetch that follows so soon: a drop folder is looked at several times a
second, and a fork for each would be most of the work. Else it ends, and its memory is free."""


@dataclass(frozen=True, slots=True)
class _Down:
    """A FeedDown on its way to us: an exception is pickled without what is in it."""

    reason: FeedFault
    detail: str
    retry_after_s: float | None


class Fetcher:
    """The transport of `source` in another process. Whoever makes one ends it with `end`."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source, self._limits = source, limits
        self._helper: Helper | None = None

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """As the transport's own. Raises WorkFailed too."""
        got: Fetched | Unchanged = await self._asked("fetch", dict(remembered), into)
        return got

    async def finish(
        self, fetched: Fetched, place: Place, report: Mapping[str, object], text: str
    ) -> None:
        """As that of a drop folder. Raises WorkFailed too."""
        await self._asked("finish", fetched, place, dict(report), text)

    async def end(self) -> None:
        """End the process; the next fetch begins another."""
        if self._helper is not None:
            await self._helper.end()
            if not self._helper.is_alive:
                self._helper = None

    async def _asked(self, name: str, *args: object) -> Any:
        try:
            helper = await self._begun()
            # Both ends are this program; nothing from outside is ever unpickled.
            answer = pickle.loads(await helper.do(pickle.dumps((name, args))))  # noqa: S301
        except WorkFailed as failed:
            await self.end()
            raise failed.of(f"fetching {self._source}") from failed
        except asyncio.CancelledError:
            await self.end()
            raise
        if isinstance(answer, _Down):
            raise FeedDown(answer.reason, answer.detail, answer.retry_after_s)
        return answer

    async def _begun(self) -> Helper:
        if self._helper is not None and self._helper.ended:
            await self.end()
            if self._helper is not None:
                text = f"{self._source} has an earlier fetch that hangs in the kernel: is its disk"
                raise FeedDown(FeedFault.TIMEOUT, f"{text} or network mount there?")
        if self._helper is None:
            self._helper = Helper(partial(_begin, self._source), self._limits)
            await self._helper.start()
        return self._helper


def _begin(source: Source) -> Work:
    """The work of the process: calls of its transport, one after the other in one event loop."""
    transport, runner = source.transport(), asyncio.Runner()

    def work(request: bytes) -> bytes:
        name, args = pickle.loads(request)  # noqa: S301
        try:
            answer = runner.run(getattr(transport, name)(*args))
        except FeedDown as down:
            answer = _Down(down.reason, down.detail, down.retry_after_s)
        return pickle.dumps(answer)

    return work

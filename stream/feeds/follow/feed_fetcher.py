"""Fetch a feed in a process of its own.

What a partner sends is unpacked and decoded nowhere else. An input that a decoder never finishes
stops neither the other feeds nor SIGTERM. The kernel kills that process at [feeds] cpu_s_max, and
the feed has a fault with a name.
"""

import asyncio
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.feed import VersionRecord, in_words
from stream.feeds.feed_sources import FeedSource, modules
from stream.feeds.follow.subprocess_job import Helper, JobLimits, Work, WorkFailed
from stream.feeds.gate import GateVerdict
from stream.feeds.transports.drop_folder import DropPlace
from stream.feeds.transports.folder import FolderTransport
from stream.feeds.transports.transport import Fetched, Unchanged

PRELOADED: Final = ["stream.feeds.apply", "stream.feeds.follow.feed_fetcher", *modules()]
"""Modules that the processes of followers need, for `prepare`."""


class FeedFetcher:
    """The transport of `source` in another process. The caller that makes one ends it."""

    def __init__(self, source: FeedSource, limits: JobLimits) -> None:
        self._source, self._limits = source, limits
        self._helper: Helper | None = None

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Fetch as the transport does. Raises WorkFailed too."""
        got: Fetched | Unchanged = await self._asked("fetch", dict(remembered), into)
        return got

    async def finish(
        self, fetched: Fetched, place: DropPlace, report: Mapping[str, object], text: str
    ) -> None:
        """Finish as a drop folder does. Raises WorkFailed too."""
        await self._asked("finish", fetched, place, dict(report), text)

    async def end(self) -> None:
        """End the process; the next fetch begins another."""
        if self._helper is not None:
            await self._helper.end()
            if not self._helper.is_alive:
                self._helper = None

    async def _asked(self, name: str, *args: object) -> Any:
        """Return the answer of a method of the transport, whatever its type."""
        try:
            helper = await self._begun()
            # Both ends are this program; nothing from outside is ever unpickled.
            answer = pickle.loads(await helper.do(pickle.dumps((name, args))))  # noqa: S301
        except WorkFailed as failed:
            await self.end()
            raise failed.of(f"fetching {self._source}") from failed
        except asyncio.CancelledError:
            # The process is amid a fetch whose result is not needed: only a kill stops it.
            await self.end()
            raise
        if isinstance(answer, FeedDown):
            raise answer
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


def _begin(source: FeedSource) -> Work:
    """Return the work of the process: calls of its transport, in one event loop."""
    # Both last as long as the process: a drop folder's transport remembers which files still grow.
    transport, runner = source.transport(), asyncio.Runner()

    def work(request: bytes) -> bytes:
        name, args = pickle.loads(request)  # noqa: S301
        try:
            return pickle.dumps(runner.run(getattr(transport, name)(*args)))
        except FeedDown as down:
            return pickle.dumps(down)

    return work


Drop = FolderTransport | FeedFetcher
"""Transports that can put a drop folder's file away."""


async def put_away(transport: Drop, fetched: Fetched, record: VersionRecord) -> None:
    """Move a drop folder's file to the place of its verdict, with its report. Raises FeedDown."""
    places = {GateVerdict.HELD.value: DropPlace.HELD, GateVerdict.REFUSED.value: DropPlace.REFUSED}
    report: dict[str, object] = msgspec.to_builtins(record)
    report.pop("remember", None)
    place = places.get(record.verdict, DropPlace.DONE)
    await transport.finish(fetched, place, report, f"{in_words(record)}\n")

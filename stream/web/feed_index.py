"""The feeds of the folder, as last looked at: which feed fills which list."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stream.config.feed_files import House, read_each
from stream.core.model.errors import ConfigInvalid
from stream.feeds.feed import FeedState
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import monotonic_s

LOOK_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Feeds:
    """The feeds that can be read, by name, and what is wrong with the files of the others.

    Each error in `wrong` names file and key; of the folder itself they stand under "".
    """

    setups: Mapping[str, FeedSetup] = field(default_factory=dict)
    wrong: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def of_list(self, name: str) -> list[FeedSetup]:
        """The feeds that fill a list."""
        return [setup for setup in self.setups.values() if setup.feed.list_name == name]


@dataclass(slots=True)
class FeedsKnown:
    """Reads the folder, at most each `LOOK_S` seconds."""

    folder: Path
    house: House
    register: ListStoreSettings
    _feeds: Feeds = field(init=False, default_factory=Feeds)
    _looked_s: float | None = field(init=False, default=None)

    async def now(self) -> Feeds:
        """What is there now."""
        now_s = monotonic_s()
        if self._looked_s is None or now_s - self._looked_s > LOOK_S:
            self._looked_s = now_s
            self._feeds = await asyncio.to_thread(_read, self.folder, self.house)
        return self._feeds

    async def states(self, names: Iterable[str]) -> dict[str, FeedState]:
        """What is remembered of feeds. Raises ListStoreDown, ListStoreLost."""
        async with FeedStateStore.open(self.register) as book:
            return await book.states(list(names))


def _read(folder: Path, house: House) -> Feeds:
    try:
        setups, wrong = read_each(folder, os.environ, house)
    except ConfigInvalid as error:
        return Feeds(wrong={"": error.errors})
    shown = {
        name: tuple(one.removeprefix(f"{folder}/") for one in errors)
        for name, errors in wrong.items()
    }
    return Feeds(setups, shown)

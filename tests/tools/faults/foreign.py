"""Scenes of what others bring: into our Redis, and in their lists."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import redis
from pybloom_live.pybloom import BloomFilter

from stream.core.policy.list_scope import Scope
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.support.builders import entry
from tests.tools.faults.place import BUSY, FEED, Place


@asynccontextmanager
async def another_program_writes(place: Place) -> AsyncIterator[None]:
    """A script puts what is no change into the change stream, until it is stopped."""

    async def write() -> None:
        while True:
            await asyncio.to_thread(client.xadd, "rf:changes", {"event": "deployed"})
            await asyncio.sleep(1)

    with redis.Redis.from_url(place.register.url()) as client:
        task = asyncio.create_task(write())
        yield
        task.cancel()


@asynccontextmanager
async def a_partner_names_others(place: Place) -> AsyncIterator[None]:
    """A partner's list of hashes holds the number behind a tenth of our calls; then it does not."""
    store = ListStoreSettings(place.register.url())
    by = By("feed:kh-hashes", "a whole list")
    scope = Scope("kh-hashes", frozenset({855}))
    async with await ListStore.connect(store) as register, FeedStateStore.open(store) as book:
        await register.create("KH/hashes", "plain", by)
        await book.bound("KH/hashes", scope, by)
        hashed = replace(entry(BUSY, source="kh-hashes"), number=None)
        await register.add("KH/hashes", [hashed], by)
        yield
        await register.remove("KH/hashes", [Removal(hashed.fingerprint, None)], by)


@asynccontextmanager
async def coarse_filters(place: Place) -> AsyncIterator[None]:
    """Three partners share filters at 0.5 % each; then one builds a finer one."""
    names = [f"kh-bare-{place_}" for place_ in range(3)]
    for name in names:
        _share(place, name, 0.005)
    yield
    for name in names:
        _share(place, name, 0.0001)


def _share(place: Place, name: str, rate: float) -> None:
    """A partner puts its filter where its feed looks."""
    made = BloomFilter(capacity=40_000, error_rate=rate)
    for number in range(300):
        made.add(f"+85531{number:07d}")
    path = place.folder / f"{name}.bloom"
    with path.with_suffix(".new").open("wb") as file:
        made.tofile(file)
    path.with_suffix(".new").rename(path)
    kind = '"pybloom"\nsamples = ["+855310000001"]'
    text = FEED.format(path=path).replace('"KH/scam"', f'"KH/{name}"').replace('"text"', kind)
    (place.folder / "feeds" / f"{name}.toml").write_text(text)

"""Builders for tests of feeds: a partner with a file, and a follower that pulls it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from prometheus_client import CollectorRegistry

from stream.config.feed_files import FeedContext, read_feed
from stream.config.settings import load
from stream.core.numbers.prefix_entries import STRICT
from stream.feeds.apply import Applier
from stream.feeds.assess import Arrival
from stream.feeds.feed import FeedState, VersionRecord
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.follow.feed_fetcher import PRELOADED
from stream.feeds.follow.subprocess_job import prepare
from stream.feeds.follow.workplace import Workplace
from stream.feeds.row_checks import Surroundings
from stream.feeds.state_store import FeedStateStore
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.feeds.version_files import VersionFiles
from stream.kafka.settings import KafkaSettings
from stream.lists.store.heads import By
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.feed_catalogue import FeedMetrics
from tests.support.builders import NOW_S

prepare(PRELOADED)
LIST = "KH/scam"
DAY_S = 86_400
CONTEXT = FeedContext(
    own=("+85523888*",),
    home="TH",
    prefixes=STRICT,
    kafka=lambda: KafkaSettings("127.0.0.1:9", "tests"),
)
AROUND = Surroundings(keys={"plain": b""}, emergency={})
OPERATOR = By("somchai", "looked at it")
HEAD = """
list = "KH/scam"
format = "{format}"
category = "call_centre"
{extra}
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "file"
path = "{path}"
{tail}
"""


def kh(*digits: int) -> list[str]:
    """Generated Cambodian numbers."""
    return [f"+85531{n:07d}" for n in digits]


class Partner:
    """A partner's feed from its file to the register, one pull at a time, on a clock of its own."""

    def __init__(
        self, folder: Path, url: str, extra: str = "", tail: str = "", form: str = "text"
    ) -> None:
        self.path = folder / "partner.txt"
        self.folder = folder
        self.now_s = NOW_S
        self.form = form
        self.settings = ListStoreSettings(url)
        self.around = AROUND
        self.versions = VersionFiles(folder / "state", "kh-scam")
        self.setup = self.configured(extra, tail)
        self._stack = AsyncExitStack()

    def configured(self, extra: str = "", tail: str = "", name: str = "kh-scam") -> FeedSetup:
        feeds = self.folder / "feeds"
        feeds.mkdir(exist_ok=True)
        file = feeds / f"{name}.toml"
        if self.form == "pybloom":  # a bare filter shows by samples how it hashes
            extra += f'\nsamples = ["{kh(0)[0]}"]'
        file.write_text(HEAD.format(format=self.form, extra=extra, path=self.path, tail=tail))
        self.setup = read_feed(file, {}, CONTEXT)
        return self.setup

    async def __aenter__(self) -> Self:
        self.register = await self._stack.enter_async_context(
            await ListStore.connect(self.settings)
        )
        self.states = await self._stack.enter_async_context(FeedStateStore.open(self.settings))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def says(self, lines: Sequence[str]) -> None:
        self.path.write_text("".join(f"{line}\n" for line in lines))

    async def pull(self, *, whole: bool = True, **said) -> VersionRecord:
        """One fetch, and what became of it. The clock moves on by a minute."""
        self.now_s += 60
        with self.versions.deciding():
            self.versions.clear_incoming()
            transport = self.setup.source.transport()
            fetched = await transport.fetch({}, self.versions.incoming)
            assert not isinstance(fetched, Unchanged)
            fetched = replace(fetched, whole=whole, as_of_s=said.pop("as_of_s", self.now_s))
            return await self.take(Arrival(fetched=fetched, at_s=self.now_s, **said))

    @property
    def applier(self) -> Applier:
        return Applier(
            list_store=self.register,
            states=self.states,
            versions=self.versions,
            feed=self.setup.feed,
            around=self.around,
            now_s=self.now_s,
        )

    async def take(self, arrival: Arrival) -> VersionRecord:
        return await self.applier.take_in(arrival)

    async def said(self, lines: Sequence[str], **options) -> VersionRecord:
        self.says(lines)
        return await self.pull(**options)

    def says_bytes(self, data: bytes) -> None:
        self.path.write_bytes(data)

    async def state(self) -> FeedState:
        return await self.states.state("kh-scam")

    async def release(self) -> VersionRecord:
        held = (await self.state()).held
        assert held is not None
        return await self.applier.release(held, OPERATOR)

    async def refuse(self) -> VersionRecord:
        held = (await self.state()).held
        assert held is not None
        return await self.applier.refuse(held, OPERATOR)


def fetched_again(path: Path, record: VersionRecord) -> Fetched:
    """The same version, as a fetch would bring it."""
    return Fetched(path, record.size, record.sha256, {}, record.whole)


@asynccontextmanager
async def workplace(
    state_dir: Path, url: str, registry: CollectorRegistry | None = None, **limits: Any
) -> AsyncIterator[Workplace]:
    """The needs of followers, with the shipped limits unless `limits` say otherwise."""
    settings = replace(load([], {}).feeds, **limits)
    register = ListStoreSettings(url)
    async with FeedStateStore.open(register) as states:
        yield Workplace(
            settings=settings,
            list_store=register,
            state_dir=state_dir,
            kernels=state_dir / "kernels",
            around=AROUND,
            states=states,
            metrics=FeedMetrics(registry or CollectorRegistry()),
            places=asyncio.Semaphore(settings.parallel),
        )

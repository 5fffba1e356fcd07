"""Foreign bytes that a decoder has no end with cost their own feed a fetch, and others nothing."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.feed_sources import FeedSetup, FeedSource
from stream.feeds.follow.feed_fetcher import FeedFetcher
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.subprocess_job import JobLimits, WorkFailed, WorkFault
from stream.feeds.follow.workplace import Workplace
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.ops.tasks import cancelled
from tests.support.feeds import Partner, kh, workplace
from tests.support.waiting import until

MUCH = JobLimits(memory_max=4 << 30, cpu_s_max=60)


class _Endless:
    """A transport with an expression that has no end for what its partner sends."""

    def __init__(self, beside: str) -> None:
        self._beside = Path(beside)

    async def fetch(self, _: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        into.with_name(f"{into.name}.part").touch()
        self._beside.write_text(str(os.getpid()))
        assert re.fullmatch("(a*)*b", "a" * 64) is None
        return Unchanged({})


class _Pids:
    """A transport that remembers which process it is in, and fails as ordered."""

    async def fetch(self, remembered: Mapping[str, str], _: Path) -> Fetched | Unchanged:
        if remembered.get("do") == "die":
            os._exit(9)
        if remembered.get("do") == "fail":
            raise FeedDown(FeedFault.TOO_SLOW, "a dripping server", retry_after_s=7.0)
        return Unchanged({"pid": str(os.getpid())})


class Endless(FeedSource):
    """Where an endless feed comes from."""

    def transport(self) -> _Endless:
        return _Endless(self.settings.path)


class Pids(FeedSource):
    """Where `_Pids` is."""

    def transport(self) -> _Pids:
        return _Pids()


@pytest.fixture
async def partner(tmp_path: Path, redis_url: str) -> AsyncIterator[Partner]:
    async with Partner(tmp_path, redis_url) as made:
        made.says(kh(1, 2))
        yield made


def endless(setup: FeedSetup, beside: Path) -> FeedSetup:
    """The same feed, whose partner now sends what has no end."""
    source = setup.source
    settings = replace(source.settings, path=str(beside))
    return replace(setup, source=Endless(source.kind, settings, source.secrets, source.kafka))


async def test_a_fetch_without_end_is_a_fault_of_its_feed(partner: Partner, redis_url: str):
    """The kernel ends it; the fault says where and what to do, is counted, and the list stays."""
    registry = CollectorRegistry()
    async with workplace(partner.folder / "state", redis_url, registry, cpu_s_max=1) as place:
        assert await Follower(partner.setup, place, quiet=True).pull()
        beside = partner.folder / "beside"
        with pytest.raises(WorkFailed) as caught:
            await Follower(endless(partner.setup, beside), place, quiet=True).pull()
        assert caught.value.reason is WorkFault.CPU
        assert f"fetching {beside}" in caught.value.detail
        assert "[feeds] cpu_s_max" in caught.value.detail
        state = await partner.state()
        assert (state.fault, state.failures) == ("cpu", 1)
        assert state.accepted is not None
        assert state.accepted.numbers == 2
        labels = {"feed": "kh-scam", "result": "cpu"}
        assert registry.get_sample_value("ringfence_feed_fetches_total", labels) == 1
        assert (await partner.register.heads()).lists["KH/scam"].count == 2
        # Its half a file is not in the way of the next version.
        partner.says(kh(1, 2, 3))
        assert await Follower(partner.setup, place, quiet=True).pull()


async def test_others_are_fetched_and_a_stop_is_heard_meanwhile(partner: Partner, redis_url: str):
    """Nobody waits for who has no end, not the other feeds and not who tells us to stop."""
    state_dir, beside = partner.folder / "state", partner.folder / "beside"
    async with workplace(state_dir, redis_url, cpu_s_max=3600) as place:
        task = await _spinning(endless(partner.setup, beside), place, beside)
        pid = int(beside.read_text())
        other = Follower(partner.configured(name="other"), place, quiet=True)
        assert await other.pull()
        assert not task.done()
        await cancelled(task)
        await until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the process")


async def _spinning(setup: FeedSetup, place: Workplace, beside: Path) -> "asyncio.Task[None]":
    """A follower in the middle of it."""
    task = asyncio.create_task(Follower(replace(setup, every_s=1), place, quiet=True).run())

    async def begun() -> bool:
        return beside.exists() and beside.read_text() != ""

    await until(begun, "the fetch that has no end")
    return task


async def test_a_process_is_kept_until_it_fails(partner: Partner, tmp_path: Path):
    """A folder is looked at several times a second: no fork each time; a dead one is replaced."""
    source = partner.setup.source
    fetcher = FeedFetcher(Pids(source.kind, source.settings, source.secrets, source.kafka), MUCH)
    into = tmp_path / "into"
    try:
        first = await fetcher.fetch({}, into)
        assert await fetcher.fetch({}, into) == first
        assert first.remember["pid"] != str(os.getpid())
        with pytest.raises(FeedDown) as slow:
            await fetcher.fetch({"do": "fail"}, into)
        down = slow.value
        assert (down.reason, down.detail) == (FeedFault.TOO_SLOW, "a dripping server")
        assert down.retry_after_s == 7.0
        assert await fetcher.fetch({}, into) == first
        with pytest.raises(WorkFailed) as caught:
            await fetcher.fetch({"do": "die"}, into)
        assert caught.value.reason is WorkFault.DIED
        assert await fetcher.fetch({}, into) != first
    finally:
        await fetcher.end()


async def test_each_fetch_has_the_cpu_of_one(partner: Partner, tmp_path: Path):
    """The cost of earlier fetches of a kept process does not count against the next one."""
    source = partner.setup.source
    fetcher = FeedFetcher(
        Busy(source.kind, source.settings, source.secrets, source.kafka), replace(MUCH, cpu_s_max=1)
    )
    try:
        used = [await fetcher.fetch({}, tmp_path / "into") for _ in range(4)]
    finally:
        await fetcher.end()
    assert float(used[-1].remember["cpu_s"]) > 1.5


class _Busy:
    """A transport that takes half a second of CPU each time."""

    async def fetch(self, _: Mapping[str, str], __: Path) -> Fetched | Unchanged:
        before = sum(os.times()[:2])
        while sum(os.times()[:2]) < before + 0.5:
            pass
        return Unchanged({"cpu_s": str(sum(os.times()[:2]))})


class Busy(FeedSource):
    """Where `_Busy` is."""

    def transport(self) -> _Busy:
        return _Busy()

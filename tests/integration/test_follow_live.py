"""Publishing and following as they run in production: by themselves, through hubs, at the gate."""

import asyncio
import time
from dataclasses import replace

import pytest

from stream.core.model.agreement import FOREVER, Agreements, Shared
from stream.core.model.errors import FeedDown, FeedFault
from stream.exchange import repository
from stream.exchange.mirror import Hub
from stream.exchange.publisher import PublishPace, keep_published
from stream.exchange.signing import Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.feed_follower import Follower
from stream.feeds.transports.tuf import TufTransport
from stream.feeds.tuf.tuf_client import TufLimits
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, numbers_of
from tests.support.exchange import LIST, Always, lab
from tests.support.feeds import kh, workplace
from tests.support.lists import Worker, running, until


async def test_what_is_listed_in_one_country_is_blocked_in_the_other(tmp_path, urls):
    """Added in KH, a worker in TH has it by itself; removed in KH, it is free in TH."""
    worker = Worker(urls[1], tmp_path / "worker")

    def listed(number: str) -> bool:
        found = worker.refresher.current.match(numbers_of([number]), NOW_S).by_row().get(0, [])
        return any(match.confirmed for match in found)

    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*kh(1))
        register = ListStoreSettings(urls[0])
        told: list[object] = []
        publishing = asyncio.create_task(
            keep_published(
                world.kh.outlet,
                Always(world.kh.offer),
                register,
                PublishPace(),
                lambda _, what: told.append(what),
            )
        )
        async with (
            workplace(world.th.folder / "state", urls[1]) as place,
            running(worker, loaded=False),
        ):
            following = asyncio.create_task(Follower(world.th.setup, place, quiet=True).run())
            await until(lambda: listed(kh(1)[0]))
            await world.kh.add(*kh(2))
            await until(lambda: listed(kh(2)[0]))
            await world.kh.remove(*kh(2))
            await until(lambda: not listed(kh(2)[0]))
            await cancelled(following)
        await cancelled(publishing)
    assert told


async def test_a_list_carried_by_a_hub(tmp_path, urls):
    """Through a hub comes what KH signed; what the hub alters is refused, the last good stays."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        folder = tmp_path / "hub"
        ring = KeyRing([folder / "keys", folder / "offline"])
        now_s = int(time.time())
        repository.init(folder / "r", ring, [folder / "offline"], 1, Validity(), now_s)
        hub = Hub(folder / "r", ring, folder / "state", Validity(), TufLimits())
        await asyncio.to_thread(hub.add, "KH", world.url, world.kh.root.read_bytes(), now_s)
        carried = folder / "r" / "countries" / "KH"
        far = world.country("far", f'path = "{carried}"')
        await far.accepts()
        assert await far.holds(*kh(1, 2))
        await world.kh.remove(*kh(1))
        await world.kh.publishes()
        await asyncio.to_thread(hub.sync, now_s)
        (changes,) = (carried / "targets" / LIST / "changes").glob("*.jsonl")
        data = changes.read_bytes()
        changes.write_bytes(data.replace(b"remove", b"retain"))
        with pytest.raises(FeedDown) as caught:
            await far.pulls()
        assert caught.value.reason in {FeedFault.CHECKSUM, FeedFault.MIXED}
        assert await far.holds(*kh(1, 2))
        changes.write_bytes(data)
        await far.accepts()
        assert not await far.holds(*kh(1))


async def test_a_poisoned_list_is_held(tmp_path, urls):
    """Growth beyond the limit waits for a person; what was live before stays."""
    gate = "[gate]\ngrow_few = 5\nshrink_few = 0\n"
    async with lab(tmp_path, urls) as world:
        th = world.country("th", f'url = "{world.url}"', gate)
        await world.kh.add(*kh(1, 2, 3))
        await world.kh.publishes()
        await th.accepts()
        await world.kh.add(*kh(*range(100, 140)))
        await world.kh.publishes()
        record = await th.pulls()
        assert record is not None
        assert record.verdict == "held"
        assert await th.fingerprints() != set()
        assert not await th.holds(*kh(100))


async def test_a_list_whose_agreement_is_over_is_held(tmp_path, urls):
    """From its end on new versions wait, and what waited is let in once it was extended."""
    past = agreement("th-kh", [LIST], ["TH"], valid_until_s=int(time.time()) - 60)
    held = Agreements((past, agreement("th-ph", ["PH/scam"], ["TH"])), needed=True)
    async with lab(tmp_path, urls) as world, workplace(tmp_path / "th-state", urls[1]) as here:
        place = replace(here, around=replace(here.around, home="TH"), agreements=lambda: held)
        th = Follower(world.th.setup, place, quiet=True)
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        for _ in range(2):
            record = await th.pull()
            assert record is not None
            assert (record.verdict, record.reason) == ("held", "agreement_expired")
            assert "th-kh ended at 20" in record.findings[0]
            assert "none shares KH/scam with TH any more" in record.findings[0]
        held = Agreements((replace(past, valid_until_s=FOREVER),), needed=True)
        record = await th.pull()
        assert record is not None
        assert record.verdict == "accepted"
        assert await world.th.holds(*kh(1))


async def test_a_whole_list_that_is_not_accepted_is_let_be_for_a_while(tmp_path, urls):
    """Who got a whole list and does not remember it is not brought it again each second."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        transport = world.th.setup.source.transport()
        assert isinstance(transport, TufTransport)
        first = await transport.fetch({}, tmp_path / "one")
        second = await transport.fetch({}, tmp_path / "two")
        assert first.wait_s_min == 0
        assert second.wait_s_min >= 30


async def test_a_disk_that_takes_nothing_is_told(tmp_path, urls):
    """What cannot be kept here is this machine's trouble, and the last good list stays."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        state = world.th.folder / "state" / "feeds" / "kh-scam" / "tuf"
        state.mkdir(parents=True)
        (state / "parts").touch()
        with pytest.raises(FeedDown) as caught:
            await world.th.pulls()
        assert caught.value.reason is FeedFault.DISK
        (state / "parts").unlink()
        await world.th.accepts()


async def test_a_root_that_is_not_there_is_told(tmp_path, urls):
    """A feed whose trusted root cannot be read says which file, and is tried each second."""
    async with lab(tmp_path, urls) as world:
        world.kh.root.unlink()
        with pytest.raises(FeedDown, match=r"root\.json cannot be read"):
            await world.th.pulls()
        assert world.th.setup.every_s == 1

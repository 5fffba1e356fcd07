"""A list from one country's register to another's, through a signed repository."""

import asyncio
import json
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import redis

from stream.core.filters.bloom import read_filter
from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.agreement import FOREVER, Agreements, Shared
from stream.core.model.entry import Category, Columns
from stream.core.model.errors import FeedDown, FeedFault, ListStoreBehind
from stream.exchange import edition as offers
from stream.exchange.edition import Edition
from stream.exchange.publisher import PublishPace, keep_published
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.transports.tuf import TufTransport
from stream.lists.snapshot.build import columns_from
from stream.lists.snapshot.repository_layout import part_target
from stream.lists.store.heads import Retraction
from stream.lists.store.list_content import entries_of
from stream.lists.store.rewrite import BaseOrigin, Draft, rebuild, rewrite, rollback
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_s
from stream.ops.tasks import cancelled
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, entry, fingerprint_of, numbers_of
from tests.support.exchange import BY, LIST, Always, Country, lab
from tests.support.feeds import AROUND, kh, workplace
from tests.support.lists import Worker, opened, running, until
from tests.support.repositories import hub_at


async def test_a_list_and_its_changes(tmp_path, urls):
    """The whole list first, then changes alone: what is added is there, what is removed is gone."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2, 3))
        first = await world.kh.publishes()
        assert first is not None
        assert first.whole
        record = await world.th.accepts()
        assert record.whole
        assert await world.th.holds(*kh(1, 2, 3))
        assert await world.th.pulls() is None
        await world.kh.add(*kh(4))
        await world.kh.remove(*kh(1))
        assert await world.kh.publishes() is not None
        assert await world.kh.publishes() is None
        world.asked.clear()
        record = await world.th.accepts()
        assert (record.whole, record.gained, record.lost, record.numbers) == (False, 1, 1, 3)
        assert not any("filter.bloom" in path for path, _ in world.asked)
        assert await world.th.holds(*kh(2, 3, 4))
        assert not await world.th.holds(*kh(1))
        async with opened(urls[1]) as register:
            _, columns = await entries_of(register, LIST, b"")
        assert set(columns.sources) == {"kh-scam/test"}


async def test_changes_that_were_missed_come_together(tmp_path, urls):
    """A follower that was away takes all changes in one step, only a number's last state."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        await world.th.accepts()
        for number in kh(2, 3, 4):
            await world.kh.add(number)
            await world.kh.publishes()
        await world.kh.remove(*kh(2))
        await world.kh.publishes()
        record = await world.th.accepts()
        assert (record.whole, record.gained, record.lost) == (False, 2, 0)
        assert await world.th.pulls() is None


async def test_many_change_files_become_few(tmp_path, urls, monkeypatch):
    """Change files are put together as they become many; who stood among them goes on."""
    monkeypatch.setattr(offers, "FILES_MAX", 4)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(0))
        await world.kh.publishes()
        await world.th.accepts()
        for number in kh(*range(1, 14)):
            await world.kh.add(number)
            await world.kh.publishes()
            if number == kh(2)[0]:
                await world.th.accepts()
        before = world.kh.outlet.before(LIST)
        assert before is not None
        assert len(before.changes) <= 4
        assert not (await world.th.accepts()).whole
        assert await world.th.holds(*kh(*range(14)))


async def test_a_gap_leads_to_the_whole_list(tmp_path, urls, monkeypatch):
    """A follower whose changes are no more there takes the whole list by itself."""
    monkeypatch.setattr(offers, "ROWS_FEW", 2)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        await world.th.accepts()
        await world.kh.add(*kh(*range(2, 9)))
        edition = await world.kh.publishes()
        assert edition is not None
        assert edition.whole
        record = await world.th.accepts()
        assert record.whole
        assert record.gained == 7


async def test_a_list_that_was_rolled_back_here_is_whole_again_when_asked(tmp_path, urls):
    """Changes come over what was rolled back, and do not bring it again. The whole list does."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        before = (await world.th.accepts()).generation
        await world.kh.add(*kh(2))
        await world.kh.publishes()
        await world.th.accepts()
        async with opened(urls[1]) as register:
            await rollback(register, LIST, before, b"", BY, NOW_S)
        await world.kh.add(*kh(3))
        await world.kh.publishes()
        assert not (await world.th.accepts()).whole
        assert not await world.th.holds(*kh(2))
        record = await world.th.pulls(whole=True)
        assert record is not None
        assert (record.verdict, record.whole) == ("accepted", True)
        assert await world.th.holds(*kh(1, 2, 3))
        assert await world.th.pulls() is None


async def test_a_filter_made_while_the_clock_was_ahead_delays_no_other(tmp_path, urls, monkeypatch):
    """A bare filter is made once a minute at most. Until a clock's wrong time none would be."""
    async with lab(tmp_path, urls, Shared.FILTER) as world:
        await world.kh.add(*kh(1))
        ahead_ms = (now_s() + 86_400) * 1000
        monkeypatch.setattr("stream.exchange.publisher.now_ms", lambda: ahead_ms)
        assert await world.kh.publishes() is not None
        monkeypatch.undo()
        await world.kh.add(*kh(2))
        assert await world.kh.publishes() is not None
        await world.kh.add(*kh(3))
        assert await world.kh.publishes() is None


async def test_a_kept_part_that_the_disk_damaged_is_fetched_again(tmp_path, urls):
    """The parts of a whole list are kept. One that is zeros after a power cut is not used again."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2, 3))
        await world.kh.publishes()
        await world.th.accepts()
        for part in (world.th.folder / "state/feeds/kh-scam/tuf/parts").iterdir():
            part.write_bytes(bytes(part.stat().st_size))
        with redis.Redis.from_url(urls[1]) as raw:
            raw.flushdb()  # so the whole list is needed again
        assert (await world.th.accepts()).whole
        assert await world.th.holds(*kh(1, 2, 3))


async def test_another_history_leads_to_the_whole_list(tmp_path, urls):
    """A list created again is published on its owner's word alone, and then taken whole."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        await world.th.accepts()
        with redis.Redis.from_url(urls[0]) as raw:
            raw.flushdb()
        await world.kh.register.create(LIST, "plain", BY)
        await world.kh.add(*kh(2, 3))
        with pytest.raises(ListStoreBehind, match="--anew"):
            await world.kh.publishes()
        edition = await world.kh.publishes(anew=True)
        assert edition is not None
        assert edition.whole
        record = await world.th.accepts()
        assert record.whole
        assert await world.th.holds(*kh(2, 3))
        assert not await world.th.holds(*kh(1))


async def test_a_rebuild_of_the_owners_is_nothing_new(tmp_path, urls):
    """A new base with the same content costs followers of numbers one small file."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        await world.th.accepts()
        await rebuild(world.kh.register, LIST, b"", BY, NOW_S)
        await world.kh.add(*kh(3))
        edition = await world.kh.publishes()
        assert edition is not None
        assert edition.whole
        record = await world.th.accepts()
        assert (record.whole, record.gained) == (False, 1)


@pytest.mark.parametrize("begun", [True, False], ids=["published before", "published first then"])
async def test_what_is_published_while_a_new_version_is_written(tmp_path, urls, begun):
    """A change comes, and is published, between a base's reservation and its publishing.

    The base is of the generation at which it was reserved, and the publication of a later one, with
    the content of before. It was taken for the base's, and its numbers never went out. Found by the
    simulation of partners, seed 1393.
    """
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        if begun:
            await world.kh.publishes()
            await world.th.accepts()

        async def made(_: Draft) -> Columns:
            await world.kh.add(*kh(3))
            assert await world.kh.publishes() is not None
            await world.th.accepts()
            return columns_from([entry(number) for number in kh(4, 5)])

        await rewrite(world.kh.register, LIST, b"", BaseOrigin("import", BY), made, NOW_S)
        assert await world.kh.publishes() is not None
        await world.th.accepts()
        assert await world.th.fingerprints() == {fingerprint_of(one) for one in kh(3, 4, 5)}
        assert await world.kh.publishes() is None


async def test_hashes_alone_go_live_with_the_owners_filter(tmp_path, urls):
    """Without numbers the owner's own filter is what the follower's base has, bit for bit.

    Changes and removals come by hash; a list of them can be rebuilt and rolled back.
    """
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*kh(1, 2, 3))
        edition = await world.kh.publishes()
        assert edition is not None
        await world.th.accepts()
        theirs = next(data for name, data in edition.parts.items() if name.endswith(".bloom"))
        async with opened(urls[1]) as register:
            base = (await register.state(LIST)).head.base
            parts = await register.read_base(LIST, base)
            assert parts["filter.bloom"] == theirs
            _, columns = await entries_of(register, LIST, b"")
            assert not columns.number.any()
            before = (await register.state(LIST)).head.generation
            await world.kh.add(*kh(4))
            await world.kh.remove(*kh(1))
            await world.kh.publishes()
            record = await world.th.accepts()
            assert (record.whole, record.gained, record.lost) == (False, 1, 1)
            assert await world.th.holds(*kh(2, 3, 4))
            await rollback(register, LIST, before, b"", BY, NOW_S)
            assert await world.th.holds(*kh(1, 2, 3))
            await rebuild(register, LIST, b"", BY, NOW_S)
            assert await world.th.holds(*kh(1, 2, 3))


async def test_a_new_filter_of_the_owners_is_taken(tmp_path, urls):
    """When the owner's list has a new base, who has hashes alone takes it whole, changes too."""
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        await world.th.accepts()
        await world.kh.add(*kh(3))
        await world.kh.publishes()
        await world.th.accepts()
        await rebuild(world.kh.register, LIST, b"", BY, NOW_S)
        await world.kh.publishes()
        await world.kh.add(*kh(4))
        await world.kh.publishes()
        assert not (await world.th.accepts()).whole
        assert (await world.th.accepts()).whole
        assert await world.th.holds(*kh(1, 2, 3, 4))
        async with opened(urls[1]) as register:
            state = await register.state(LIST)
            assert state.head.base
            assert {len(one.change.entries) for one in state.changes} == {1}


async def test_a_list_shared_as_a_filter(tmp_path, urls):
    """A bare filter is all that comes, made for one false positive in a million."""
    async with lab(tmp_path, urls, Shared.FILTER) as world:
        await world.kh.add(*kh(1, 2, 3))
        edition = await world.kh.publishes()
        assert edition is not None
        assert len(edition.parts) == 3
        record = await world.th.accepts()
        assert record.numbers >= 3
        async with opened(urls[1]) as register:
            state = await register.state(LIST)
            manifest = json.loads(await register.manifest(LIST, state.head.base))
        assert manifest["slices"] == 20
        assert not manifest["has_entries"]


async def test_a_filter_has_who_is_blamed_now(tmp_path, urls, monkeypatch):
    """It has neither dates nor categories: a number that was put right would be listed by it.

    A list that nobody changes goes out again each day, without the numbers whose reports ended.
    """

    def held(edition: Edition) -> list[bool]:
        data = edition.parts[part_target(LIST, edition.latest.whole, FILTER_PART)]
        digests = Digests(elements(np.array(kh(1, 2, 3, 4), "S16"), b""))
        return [bool(one) for one in read_filter(data).may_hold(digests)]

    async with lab(tmp_path, urls, Shared.FILTER) as world:
        await world.kh.add(*kh(1))
        await world.kh.add(*kh(2), expires_at_s=now_s() + 3600)
        await world.kh.add(*kh(3), category=Category.LEGITIMATE)
        await world.kh.add(*kh(4), expires_at_s=1_500_000_000)
        first = await world.kh.publishes()
        assert first is not None
        assert held(first) == [True, True, False, False]
        await world.th.accepts()
        assert await world.kh.publishes() is None
        next_day_ms = (now_s() + 86_400) * 1000
        monkeypatch.setattr("stream.exchange.publisher.now_ms", lambda: next_day_ms)
        second = await world.kh.publishes()
        assert second is not None
        assert second.latest.generation == first.latest.generation
        assert held(second) == [True, False, False, False]
        assert await world.kh.publishes() is None
        await world.th.accepts()


async def test_an_objection_that_is_withdrawn_goes(tmp_path, urls):
    """A report that a number is legitimate is separate, and ends with the owner's list."""
    async with lab(tmp_path, urls) as world:
        feed = world.th.folder / "kh-scam.toml"
        feed.write_text(feed.read_text().replace('sources = "both"', 'sources = "feed"'))
        th = Country(world.th.folder, urls[1], feed)
        await world.kh.add(*kh(1), source="police")
        await world.kh.add(*kh(1), source="its owner", category=Category.LEGITIMATE)
        await world.kh.publishes()
        await th.accepts()
        async with opened(urls[1]) as register:
            _, columns = await entries_of(register, LIST, b"")
            assert set(columns.sources) == {"kh-scam", "kh-scam/its owner"}
            number = entry(kh(1)[0])
            back = Retraction(number.fingerprint, number.number, "its owner")
            await world.kh.register.retract(LIST, [back], BY)
            await world.kh.publishes()
            await th.accepts()
            _, columns = await entries_of(register, LIST, b"")
        assert set(columns.sources) == {"kh-scam"}


async def test_an_expired_report_is_not_taken(tmp_path, urls):
    """An entry that is expired on arrival is counted as expired, and is on no list here."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.add(*kh(2), expires_at_s=1_500_000_000)
        await world.kh.publishes()
        record = await world.th.accepts()
        assert record.expired == 1
        assert not await world.th.holds(*kh(2))


async def test_an_interrupted_download_goes_on(tmp_path, urls):
    """After an interrupted download only the rest is requested."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(*range(40)))
        await world.kh.publishes()
        world.breaks_after(40_000)
        with pytest.raises(FeedDown) as caught:
            await world.th.pulls()
        assert caught.value.reason is FeedFault.DOWN
        world.breaks_after(0)
        world.asked.clear()
        await world.th.accepts()
        resumed = [(path, span) for path, span in world.asked if span]
        assert resumed
        assert all(path.endswith("filter.bloom") for path, _ in resumed)
        assert await world.th.holds(*kh(*range(40)))


async def test_a_copy_on_a_disk(tmp_path, urls):
    """A repository that was carried on a disk is followed as one on a web server is."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1, 2))
        await world.kh.publishes()
        disk = tmp_path / "disk"
        shutil.copytree(world.kh.folder, disk)
        island = world.country("island", f'path = "{disk}"')
        await island.accepts()
        assert await island.holds(*kh(1, 2))


async def test_another_circles_list_is_refused(tmp_path, urls):
    """Hashes of a circle whose key is not here would match nobody: nothing goes live."""
    async with lab(tmp_path, urls, Shared.FINGERPRINTS) as world:
        world.kh.offer = offers.Offer(LIST, Shared.FINGERPRINTS, b"k" * 32)
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        record = await world.th.pulls()
        assert record is not None
        assert record.verdict == "refused"
        assert "circle" in record.findings[0]


async def test_a_list_is_judged_again_once_its_circles_key_is_right(tmp_path, urls):
    """With another key of the circle it is refused. Corrected, the same bytes go live."""
    key = b"k" * 32
    async with lab(tmp_path, urls, Shared.NUMBERS, "asean", key) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        verdicts = []
        for held in (b"w" * 32, b"w" * 32, key):
            around = replace(AROUND, keys={"asean": held})
            async with workplace(world.th.folder / "state", urls[1]) as place:
                here = replace(place, around=around)
                record = await Follower(world.th.setup, here, quiet=True).pull()
                verdicts.append((record.verdict, record.reason) if record is not None else None)
        assert verdicts == [("refused", "not_the_format")] * 2 + [("accepted", "")]
        assert await world.th.holds(*kh(1))


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
        now_s = int(time.time())
        hub, _ = hub_at(tmp_path / "hub", now_s, marked=False)
        await asyncio.to_thread(hub.add, "KH", world.url, world.kh.root.read_bytes(), now_s)
        carried = hub.folder / "countries" / "KH"
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
    """A follower with a whole list and no memory of it does not get it again each second."""
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
    """A failure to store is this machine's fault, and the last good list stays."""
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

"""A circle's next epoch: an owner moves its list, and partners follow with the key, or wait."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.appeals.actions import AppealContext, number_of, receive, redress
from stream.appeals.appeal_store import AppealStore
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.appeal import Received
from stream.core.model.errors import ChangeConflict, SnapshotUnreadable, VersionGone
from stream.exchange.edition import Offer
from stream.feeds.diff import difference
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.row_checks import VersionRead
from stream.feeds.store import ListWriter
from stream.lists.snapshot.circle_keys import CircleKeys, new_key
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store import edits, rewrite
from stream.lists.store.heads import By
from stream.lists.store.list_content import hashed_now, past_of
from stream.lists.store.rewrite import Move, rebuild, rekey, rollback
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import Op, base_of
from tests.support.builders import NOW_S, columns_of, entry, numbers_of
from tests.support.exchange import BY, LIST, Lab, lab
from tests.support.feeds import kh, workplace
from tests.support.lists import Worker, opened, running, until

OLD, NEW = b"o" * 32, b"n" * 32
MOVE = Move("asean@2", NEW, OLD)
LOCAL = By("somchai", "a complaint")


class Scene:
    """KH with a list of the circle asean, which TH follows and enforces, and TH's keys."""

    def __init__(self, world: Lab, folder: Path) -> None:
        self.world, self.kh, self.th = world, world.kh, world.th
        self.folder = folder / "circles"
        self.keys = CircleKeys({"plain": b"", "asean": OLD}, self.folder)
        self.worker = Worker(world.urls[1], folder / "worker", keys=self.keys)

    async def pulls(self) -> tuple[str, str]:
        """Verdict and findings of one try of TH's."""
        async with workplace(self.th.folder / "state", self.th.url) as here:
            place = replace(here, around=replace(here.around, keys=self.keys))
            record = await Follower(self.th.setup, place, quiet=True).pull()
        assert record is not None
        return record.verdict, " ".join(record.findings)

    async def enforces(self, *numbers: str) -> None:
        """TH's worker has exactly these of the numbers from 1 to 5, confirmed if they can be."""
        asked, bare = kh(1, 2, 3, 4, 5), self.world.shares is Shared.FILTER

        def held() -> set[str]:
            found = self.worker.refresher.current.match(numbers_of(asked), NOW_S).by_row()
            return {
                number
                for row, number in enumerate(asked)
                if any(match.confirmed is not bare for match in found.get(row, []))
            }

        await until(lambda: held() == set(numbers))

    async def moves(self) -> None:
        """KH's people move the list, and it is published as ever."""
        await rekey(self.kh.register, LIST, MOVE, BY, NOW_S)
        self.kh.offer = Offer(LIST, self.kh.offer.shares, NEW)
        edition = await self.kh.publishes()
        assert edition is not None
        assert (edition.whole, edition.latest.circle) == (True, "asean@2")


@asynccontextmanager
async def scene(folder: Path, urls: list[str], shares: Shared) -> AsyncIterator[Scene]:
    async with lab(folder, urls, shares, "asean", OLD) as world:
        made = Scene(world, folder)
        await made.kh.add(*kh(1, 2))
        await made.kh.publishes()
        assert (await made.pulls())[0] == "accepted"
        async with running(made.worker):
            await made.enforces(*kh(1, 2))
            yield made


@pytest.mark.parametrize("shares", list(Shared))
async def test_a_list_moves_to_the_next_epoch(tmp_path, urls, shares):
    """Without the key a follower keeps the last good list; with it the list goes on at once.

    Reports by TH's own people on the list are hashed again with it; changes come as before.
    """
    async with scene(tmp_path, urls, shares) as here:
        bare = shares is Shared.FILTER
        if not bare:
            async with opened(urls[1]) as register:
                await register.add(LIST, [entry(kh(5)[0], key=OLD, source="trc")], LOCAL)
            await here.enforces(*kh(1, 2, 5))
        await here.moves()
        for _ in range(2):
            verdict, said = await here.pulls()
            assert verdict == "refused"
            assert "circle create asean@2 --key-file" in said
        new_key(here.folder, "asean@2", NEW)
        assert (await here.pulls())[0] == "accepted"
        async with opened(urls[1]) as register:
            assert (await register.state(LIST)).head.circle == "asean@2"
        if bare:
            return await here.enforces(*kh(1, 2))
        await here.enforces(*kh(1, 2, 5))
        await here.kh.add(*kh(3))
        await here.kh.remove(*kh(1))
        edition = await here.kh.publishes()
        assert edition is not None
        assert not edition.whole
        assert (await here.pulls())[0] == "accepted"
        return await here.enforces(*kh(2, 3, 5))


async def test_a_fingerprint_of_an_earlier_epoch_is_still_known(tmp_path, urls):
    """A partner asks in the epoch that it follows; the owner tells its number all the same."""
    async with lab(tmp_path, urls, Shared.NUMBERS, "asean", OLD) as world:
        register, keys = world.kh.register, {"asean": OLD, "asean@2": NEW}
        await world.kh.add(*kh(1, 2))
        old, new = entry(kh(1)[0], key=OLD).fingerprint, entry(kh(1)[0], key=NEW).fingerprint
        assert await hashed_now(register, LIST, [old], keys) == {}
        await rekey(register, LIST, MOVE, BY, NOW_S)
        assert await hashed_now(register, LIST, [old, new, 7], keys) == {old: new}
        assert await hashed_now(register, LIST, [old], {"asean@2": NEW}) == {}
        desk = AppealContext("KH", keys, Agreements(), 3600)
        async with AppealStore.open(ListStoreSettings(urls[0]), kept_days=1) as book:
            said = Received(
                partner="TH", appeal_id="A-0000000000001", list=LIST, fingerprint=f"{old:016x}"
            )
            appeal, _ = await receive(book, desk, said, BY)
            assert await number_of(register, desk, appeal) == kh(1)[0]
            await redress(register, book, desk, appeal.id, BY)
        assert not (await register.reports(LIST, [new]))[new]


async def test_what_others_hashed_alone_stops_a_move(tmp_path, urls):
    """A partner's fingerprints cannot be hashed again here: nothing changes, and it is logged."""
    async with scene(tmp_path, urls, Shared.FINGERPRINTS) as here, opened(urls[1]) as register:
        with pytest.raises(SnapshotUnreadable, match="of 2 entries only fingerprints are known"):
            await rekey(register, LIST, MOVE, LOCAL, NOW_S)
        assert (await register.state(LIST)).head.circle == "asean"
        await here.enforces(*kh(1, 2))


async def test_a_change_meanwhile_begins_it_again(tmp_path, urls, monkeypatch):
    """No change is lost between the keys; if changes never pause, it does nothing and says why."""
    publish, numbers, busy = rewrite.publish_whole, iter(range(10, 99)), [True]

    async with lab(tmp_path, urls, Shared.NUMBERS, "asean", OLD) as world:
        await world.kh.add(*kh(1, 2))

        async def late(*args: Any) -> tuple[int, int]:
            if busy[0]:
                await world.kh.add(*kh(next(numbers)))
                busy[:] = busy[1:] or [False]
            return await publish(*args)

        monkeypatch.setattr(rewrite, "publish_whole", late)
        done = await rekey(world.kh.register, LIST, MOVE, BY, NOW_S)
        assert done.count == 3
        audit = [one async for one in world.kh.register.past.audit() if one.op == Op.BASE]
        record = base_of(audit[0].detail.encode())
        assert record is not None
        assert (record.what, audit[0].actor) == ("rekey", BY.actor)
        past = await past_of(world.kh.register, LIST)
        assert past.said() == f"{done.generation}"
        with pytest.raises(VersionGone, match="is not kept any more"):
            await rollback(world.kh.register, LIST, 2, NEW, BY, NOW_S)
        busy[:] = [True] * 9
        world.kh.offer = Offer(LIST, Shared.NUMBERS, NEW)
        with pytest.raises(ChangeConflict, match="pause for a minute"):
            await rekey(world.kh.register, LIST, Move("asean@3", OLD, NEW), BY, NOW_S)
        assert (await world.kh.register.state(LIST)).head.circle == "asean@2"


async def test_edits_that_a_move_overtakes_are_not_made_with_the_old_key(
    tmp_path, urls, monkeypatch
):
    """Such a number would match no call, and the list could not be rebuilt any more."""
    async with lab(tmp_path, urls, Shared.NUMBERS, "asean", OLD) as world:
        register = world.kh.register
        await world.kh.add(*kh(1, 2))
        send, moves = register._editor._send, [MOVE]

        async def overtaken(*args: Any) -> Any:
            answers = await send(*args)
            if moves:
                await rekey(register, LIST, moves.pop(), BY, NOW_S)
            return answers

        monkeypatch.setattr(edits, "PIPELINE", 1)
        monkeypatch.setattr(register._editor, "_send", overtaken)
        hashed = [entry(number, key=OLD) for number in kh(3, 4)]
        with pytest.raises(ChangeConflict, match=r"to circle asean@2.* 1 of 2 edits were made"):
            await register.add(LIST, hashed, LOCAL)
        assert (await rebuild(register, LIST, NEW, BY, NOW_S)).count == 3


async def test_a_version_that_a_move_overtakes_is_not_stored_with_the_old_key(tmp_path, urls):
    """A large file is read for minutes, and its list may move meanwhile: it comes again."""
    async with lab(tmp_path, urls, Shared.NUMBERS, "asean", OLD) as world:
        register, feed = world.kh.register, world.th.setup.feed
        await world.kh.add(*kh(1, 2))
        new = columns_of(kh(3), OLD, (feed.name,))
        change = difference(empty_columns(), new, own=feed.name, whole=True, now_s=NOW_S, renew_s=0)
        await rekey(register, LIST, MOVE, BY, NOW_S)
        writer = ListWriter(register, feed, BY, NOW_S)
        with pytest.raises(ChangeConflict, match="another key"):
            await writer.store(VersionRead(columns=new), change, NEW, whole=True)
        assert (await rebuild(register, LIST, NEW, BY, NOW_S)).count == 2

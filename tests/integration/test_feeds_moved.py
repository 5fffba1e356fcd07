"""A feed whose file says something else than before: what it listed, and where, follows."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from pybloom_live.pybloom import BloomFilter

from stream.config.feed_files import read_feed
from stream.core.model.errors import SnapshotUnreadable
from stream.feeds.feed import VersionRecord
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.subprocess_job import WorkFailed
from stream.feeds.store import ListWriter
from stream.lists.store.heads import By
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import rebuild
from tests.support.builders import entry
from tests.support.feeds import CONTEXT, LIST, OPERATOR, Partner, kh, workplace

OTHER = "KH/other"


async def listed(register: ListStore, name: str) -> set[tuple[str, str]]:
    """Numbers and sources on a list; of one that is not there, none."""
    if name not in (await register.heads()).lists:
        return set()
    _, columns = await entries_of(register, name, b"")
    entries = [columns.entry(row) for row in range(len(columns))]
    return {(one.number or "", one.source) for one in entries}


class Moving(Partner):
    """A partner whose feed file is edited, and a follower that reads it again."""

    def moves(self, name: str, extra: str = "") -> None:
        self.configured(extra)
        path = self.setup.path
        path.write_text(path.read_text().replace(f'list = "{LIST}"', f'list = "{name}"'))
        self.setup = read_feed(path, {}, CONTEXT)

    async def looks(self) -> VersionRecord | None:
        async with workplace(self.folder / "state", self.settings.url) as place:
            return await Follower(self.setup, place, quiet=True).pull()


@pytest.fixture
async def partner(tmp_path: Path, redis_url: str):
    async with Moving(tmp_path, redis_url) as made:
        yield made


async def test_a_feed_that_fills_another_list_leaves_the_old_one(partner: Moving):
    """The same bytes are a new version, the old list keeps only what others report."""
    partner.says(kh(1, 2, 3))
    assert await partner.looks()
    others = [entry(number, source="police") for number in kh(3, 4)]
    await partner.register.add(LIST, others, OPERATOR)
    partner.moves(OTHER)
    record = await partner.looks()
    assert record is not None
    assert (record.verdict, record.list_name, record.numbers) == ("accepted", OTHER, 3)
    assert await listed(partner.register, OTHER) == {(n, "kh-scam") for n in kh(1, 2, 3)}
    assert await listed(partner.register, LIST) == {(n, "police") for n in kh(3, 4)}
    assert await partner.looks() is None


async def test_a_changed_meaning_is_a_new_version(partner: Moving):
    """Another category for the same bytes counts at the next look; nothing else is fetched."""
    partner.says(kh(1))
    await partner.looks()
    partner.configured('expires_in = "3d"')
    assert (record := await partner.looks()) is not None
    assert record.updated == 1
    assert await partner.looks() is None
    partner.configured('expires_in = "3d"\nkeep_refused_days = 7')
    assert await partner.looks() is None


async def test_a_version_that_is_held_in_the_new_place_leaves_the_old_live(partner: Moving):
    """No listed call is missed while a person decides; with the release the old list is left."""
    partner.says(kh(1, 2))
    await partner.looks()
    partner.moves(OTHER, 'may_list = ["TH"]')
    record = await partner.looks()
    assert record is not None
    assert record.verdict == "held"
    assert await listed(partner.register, LIST) == {(n, "kh-scam") for n in kh(1, 2)}
    assert await listed(partner.register, OTHER) == set()
    assert await partner.looks() is None  # it was judged, and waits
    await partner.release()
    assert await listed(partner.register, LIST) == set()
    assert await listed(partner.register, OTHER) == {(n, "kh-scam") for n in kh(1, 2)}


async def test_a_version_that_waited_is_judged_anew_when_the_file_changed(partner: Moving):
    """A version held for one list does not go into another by a release for the first."""
    partner.configured('may_list = ["TH"]')
    partner.says(kh(1, 2))
    held = await partner.looks()
    assert held is not None
    assert held.verdict == "held"
    partner.moves(OTHER)
    record = await partner.looks()
    assert record is not None
    assert (record.verdict, record.list_name) == ("accepted", OTHER)
    assert (await partner.state()).held is None


async def test_a_kill_between_the_new_list_and_the_old_one_is_made_good(partner: Moving):
    """A process that dies between storing and leaving repeats both; nothing is listed twice."""
    partner.says(kh(1, 2))
    await partner.looks()
    before = (await partner.state()).accepted
    assert before is not None
    partner.moves(OTHER)
    await partner.looks()
    # As if the last word had not been written: the old list was left, or was not.
    await partner.states.accepted(partner.setup.feed, before, OPERATOR)
    await partner.register.add(LIST, [entry(kh(1)[0], source="kh-scam")], OPERATOR)
    record = await partner.looks()
    assert record is not None
    assert await listed(partner.register, LIST) == set()
    assert await listed(partner.register, OTHER) == {(n, "kh-scam") for n in kh(1, 2)}


async def test_a_bare_filter_leaves_an_empty_list_behind(partner: Moving, tmp_path: Path):
    """Nobody can say what was on it: the old list is emptied as a whole."""
    made = BloomFilter(capacity=40_000, error_rate=0.0001)
    for number in kh(*range(50)):
        made.add(number)
    with partner.path.open("wb") as file:
        made.tofile(file)
    partner.form = "pybloom"
    partner.configured()
    assert (record := await partner.looks()) is not None
    assert record.verdict == "accepted"
    partner.moves(OTHER)
    assert (record := await partner.looks()) is not None
    assert (record.verdict, record.numbers) == ("accepted", 50)
    heads = (await partner.register.heads()).lists
    assert (heads[LIST].count, heads[OTHER].count) == (0, 50)


async def test_a_record_of_before_says_nothing_of_its_meaning(partner: Moving):
    """After an upgrade nothing is read again for its own sake."""
    partner.says(kh(1))
    await partner.looks()
    last = (await partner.state()).accepted
    assert last is not None
    old = msgspec.structs.replace(last, meaning="", list_name="")
    await partner.states.accepted(partner.setup.feed, old, By("x", "y"))
    assert await partner.looks() is None


async def filled(partner: Moving, circle: str, key: bytes) -> None:
    """A list with a base, in which police reports stand beside the feed's own."""
    partner.configured(f'circle = "{circle}"')
    partner.around = replace(partner.around, keys={circle: key})
    await partner.said(kh(1, 2))
    others = [entry(number, source="police", key=key) for number in kh(*range(100, 103))]
    await partner.register.add(LIST, others, OPERATOR)
    await rebuild(partner.register, LIST, key, OPERATOR, partner.now_s)


async def test_a_list_whose_base_is_damaged_is_not_emptied(partner: Moving, raw):
    """A feed that moves away from it fails, and says why; other sources' reports stay."""
    await filled(partner, "plain", b"")
    head = (await partner.register.heads()).lists[LIST]
    blob = f"rf:list:{{{LIST}}}:base:{head.base}:0"
    kept = raw.dump(blob)
    raw.setrange(blob, 40, "damage")
    partner.moves(OTHER)
    with pytest.raises(WorkFailed, match="SnapshotUnreadable"):
        await partner.looks()
    assert (await partner.register.heads()).lists[LIST] == head
    raw.restore(blob, 0, kept, replace=True)
    assert await partner.looks()
    assert await listed(partner.register, LIST) == {(n, "police") for n in kh(100, 101, 102)}


async def test_a_list_of_another_key_is_not_emptied(partner: Moving):
    """On a machine with a wrong key of the circle, `feeds forget` fails and removes nothing."""
    key, wrong = bytes(range(32)), bytes(range(1, 33))
    await filled(partner, "asean", key)
    head = (await partner.register.heads()).lists[LIST]
    writer = ListWriter(partner.register, partner.setup.feed, OPERATOR, partner.now_s)
    with pytest.raises(SnapshotUnreadable, match="key"):
        await writer.leave(LIST, {"asean": wrong})
    assert (await partner.register.heads()).lists[LIST] == head
    assert await writer.leave(LIST, {"asean": key}) == 2

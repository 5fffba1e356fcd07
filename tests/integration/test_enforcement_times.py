"""From an owner's publication until it is in force: what is measured, and what is not."""

import pytest

from stream.core.model.agreement import Shared
from stream.exchange import edition as offers
from stream.lists.snapshot.repository_layout import Latest
from stream.lists.store.enforcement_counts import DayCounts, day_of
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.clock import now_ms
from tests.support.exchange import LIST, lab
from tests.support.feeds import kh


async def figures(url: str) -> DayCounts:
    async with EnforcementStore.open(ListStoreSettings(url)) as book:
        return await book.figures(LIST, day_of(now_ms()))


async def test_each_change_that_was_missed_is_measured(tmp_path, urls):
    """A first whole list says nothing of its age; then each change file has its own time."""
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        assert (await world.th.accepts()).published_ms == ()
        times = []
        for number in kh(2, 3):
            await world.kh.add(number)
            times.append(now_ms())
            await world.kh.publishes()
        record = await world.th.accepts()
        assert len(record.published_ms) == 2
        assert all(at <= said for at, said in zip(times, record.published_ms, strict=True))
        found = await figures(urls[1])
        assert found.followed
        assert not found.counted
        assert found.verdicts == {"accepted": 2}
        in_force = found.in_force(target_s=0)
        assert in_force is not None
        assert (in_force.count, in_force.late) == (2, 2)
        assert in_force.max_s * 1000 <= now_ms() - times[0] + 1
        assert await world.th.pulls() is None
        assert (await figures(urls[1])).verdicts == {"accepted": 2}


async def test_changes_put_together_keep_the_oldest_time(tmp_path, urls, monkeypatch):
    """Change files that became one are as old as the oldest of them: errors make us slower."""
    monkeypatch.setattr(offers, "FILES_MAX", 4)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(0))
        await world.kh.publishes()
        seen: dict[int, int] = {}
        for number in kh(*range(1, 8)):
            await world.kh.add(number)
            edition = await world.kh.publishes()
            assert edition is not None
            seen[edition.latest.generation] = max(edition.latest.times().values())
        latest = world.kh.outlet.before(LIST)
        assert latest is not None
        assert len(latest.changes) <= 4
        times = latest.times()
        assert list(times) == list(latest.changes)
        for (begin, end), at_ms in times.items():
            assert at_ms == min(said for to, said in seen.items() if begin < to <= end)


async def test_a_gap_is_as_old_as_its_newest_word(tmp_path, urls, monkeypatch):
    """Who takes the whole list after a gap knows only when its owner last spoke."""
    monkeypatch.setattr(offers, "ROWS_FEW", 2)
    async with lab(tmp_path, urls) as world:
        await world.kh.add(*kh(1))
        await world.kh.publishes()
        await world.th.accepts()
        await world.kh.add(*kh(*range(2, 9)))
        edition = await world.kh.publishes()
        assert edition is not None
        record = await world.th.accepts()
        assert record.whole
        assert record.published_ms == (edition.latest.made_at_s * 1000,)


@pytest.mark.parametrize("times", [(), (1,), (1, 2, 3)])
def test_times_that_do_not_fit_are_no_times(times):
    """An older publisher, or a wrong one: its changes are followed and not measured."""
    latest = Latest(
        list=LIST,
        shares=Shared.NUMBERS,
        circle="plain",
        key_id="",
        epoch="e",
        generation=3,
        whole=1,
        parts=(),
        numbers=1,
        changes=((1, 2), (2, 3)),
        changed_at_ms=times,
    )
    assert latest.times() == {}

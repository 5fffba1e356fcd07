"""Several sources on one number, in a real register: everybody is heard, and each counts once."""

import asyncio

import pytest

from stream.core.model.entry import Category
from stream.core.model.errors import ChangeConflict
from stream.feeds.import_file import import_file
from stream.lists.store import edits
from stream.lists.store.heads import EditOutcome, Retraction
from stream.lists.store.list_content import entries_of
from tests.support.builders import NOW_S, entry
from tests.support.lists import (
    BY,
    NAME,
    ONE,
    THREE,
    TWO,
    Worker,
    chained,
    enforced,
    opened,
    removal,
    request,
    running,
    until,
)


async def reports(register) -> dict[tuple[str, str], int]:
    """Confidence by number and source, as the register has it."""
    _, columns = await entries_of(register, NAME, b"")
    entries = [columns.entry(row) for row in range(len(columns))]
    return {(e.number or "", e.source): e.confidence for e in entries}


async def count(register) -> int:
    return int((await register.heads()).lists[NAME].count)


def retraction(number: str, source: str) -> Retraction:
    return Retraction(entry(number).fingerprint, number, source)


async def test_each_source_keeps_its_own_report(register):
    """A second source adds to the first; the first one's new report replaces its old one alone."""
    said = [
        entry(ONE, source="police", confidence=10),
        entry(ONE, source="bank", confidence=20),
        entry(ONE, source="police", confidence=30),
    ]
    changed = await register.add(NAME, said, BY)
    assert changed.outcomes == (EditOutcome.ADDED, EditOutcome.UPDATED, EditOutcome.UPDATED)
    assert await reports(register) == {(ONE, "police"): 30, (ONE, "bank"): 20}
    assert await count(register) == 1
    await chained(register)


async def test_the_last_report_taken_back_takes_the_number_off(register):
    """A source takes back its own report only; for another's the answer is that there is none."""
    await register.add(NAME, [entry(ONE, source="police"), entry(ONE, source="bank")], BY)
    before = await register.heads()
    absent = await register.retract(NAME, [retraction(ONE, "user"), retraction(TWO, "bank")], BY)
    assert absent.outcomes == (EditOutcome.ABSENT, EditOutcome.ABSENT)
    assert absent.generation == before.lists[NAME].generation
    assert await register.heads() == before
    series = [retraction(ONE, "police"), retraction(ONE, "police"), retraction(ONE, "bank")]
    taken = await register.retract(NAME, series, BY)
    assert taken.outcomes == (EditOutcome.UPDATED, EditOutcome.ABSENT, EditOutcome.REMOVED)
    assert (await count(register), await reports(register)) == (0, {})
    await chained(register)


async def test_reports_in_the_base_are_heard_too(register, tmp_path, monkeypatch):
    """The base's reports on a number stay beside those that are added, and can be removed."""
    monkeypatch.setattr("stream.feeds.import_file.CHANGES_MAX", 0)
    path = tmp_path / "numbers.csv"
    path.write_text(f"number,source\n{ONE},police\n{ONE},bank\n{TWO},bank\n{TWO},bank\n")
    report = await import_file(register, request(path, kind="csv"), NOW_S)
    assert (report.added, report.updated, report.repeated, report.count) == (2, 1, 1, 2)
    added = await register.add(NAME, [entry(n, source="user") for n in (ONE, TWO, THREE)], BY)
    assert added.outcomes == (EditOutcome.UPDATED, EditOutcome.UPDATED, EditOutcome.ADDED)
    back = await register.retract(NAME, [retraction(ONE, "police"), retraction(TWO, "user")], BY)
    assert set(back.outcomes) == {EditOutcome.UPDATED}
    held = {(ONE, "bank"), (ONE, "user"), (TWO, "bank"), (THREE, "user")}
    assert set(await reports(register)) == held
    path.write_text(f"number,source\n{TWO},police\n")
    report = await import_file(register, request(path, kind="csv"), NOW_S)
    assert (report.added, report.updated, report.count) == (0, 1, 3)
    assert set(await reports(register)) == held | {(TWO, "police")}
    assert (await register.remove(NAME, [removal(TWO)], BY)).outcomes == (EditOutcome.REMOVED,)
    assert (await count(register), await chained(register)) == (2, (await head(register)))


async def head(register) -> int:
    return int((await register.heads()).lists[NAME].generation)


async def test_two_operators_change_one_number_at_once(register, redis_url):
    """With different sources both reports are there; with the same one, the later of the two."""
    async with opened(redis_url) as other:
        numbers = [ONE, TWO, THREE]
        for step in range(25):
            mine = [entry(n, source="police", confidence=step) for n in numbers]
            theirs = [entry(n, source="bank", confidence=100 - step) for n in numbers]
            ours = [
                [entry(n, source="both", confidence=confidence) for n in numbers]
                for confidence in (1, 99)
            ]
            await asyncio.gather(
                register.add(NAME, [*mine, *ours[0]], BY), other.add(NAME, [*theirs, *ours[1]], BY)
            )
            held = await reports(register)
            assert len(held) == 9
            for number in numbers:
                assert held[number, "police"] == step
                assert held[number, "bank"] == 100 - step
                assert held[number, "both"] in {1, 99}
    assert await count(register) == 3
    assert await chained(register) == 1 + 25 * 12


async def test_an_edit_that_is_overtaken_is_done_again(register, redis_url, monkeypatch):
    """A write by another between read and write is kept, and the answer is correct."""
    looked, go_on = asyncio.Event(), asyncio.Event()
    look = edits.Editor._states

    async def slowly(self, name, fingerprints):
        found = await look(self, name, fingerprints)
        if self is register._editor:
            looked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(edits.Editor, "_states", slowly)
    async with opened(redis_url) as other:
        late = asyncio.create_task(
            register.add(NAME, [entry(ONE, source="late"), entry(TWO, source="late")], BY)
        )
        await looked.wait()
        await other.add(NAME, [entry(ONE, source="quick")], BY)
        go_on.set()
        assert (await late).outcomes == (EditOutcome.UPDATED, EditOutcome.ADDED)
    assert set(await reports(register)) == {(ONE, "late"), (ONE, "quick"), (TWO, "late")}
    assert await count(register) == 2


async def test_who_is_always_overtaken_is_told(register, redis_url, monkeypatch):
    """An edit that others overtake without end gives up, and says how many were made."""
    look = edits.Editor._states
    monkeypatch.setattr(edits, "_MOVED_MAX", 2)
    async with opened(redis_url) as other:

        async def overtaken(self, name, fingerprints):
            found = await look(self, name, fingerprints)
            if self is register._editor:
                await other.add(NAME, [entry(ONE, source="quick")], BY)
            return found

        monkeypatch.setattr(edits.Editor, "_states", overtaken)
        with pytest.raises(ChangeConflict, match=r"0 of 1 edits were made; give the rest again"):
            await register.add(NAME, [entry(ONE, source="late")], BY)


async def test_a_worker_enforces_what_the_reports_come_to(register, redis_url, tmp_path):
    """A number that one calls legitimate is listed only while another source blames it."""
    async with running(Worker(redis_url, tmp_path)) as worker:
        innocent = entry(ONE, source="bank", category=Category.LEGITIMATE)
        await register.add(NAME, [innocent, entry(TWO)], BY)
        await enforced(worker, TWO)
        assert not worker.listed(ONE)
        await register.add(NAME, [entry(ONE, source="police")], BY)
        await enforced(worker, ONE)
        await register.retract(NAME, [retraction(ONE, "police")], BY)
        await enforced(worker, ONE, listed=False)
        assert worker.listed(TWO)

        def after_a_restart() -> tuple[bool, bool]:
            again = Worker(redis_url, tmp_path)
            again.refresher.load_last_good()
            return again.listed(ONE), again.listed(TWO)

        await until(lambda: after_a_restart() == (False, True))

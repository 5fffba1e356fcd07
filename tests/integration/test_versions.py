"""A list's versions on a real register: had again, told apart, put back, and nobody's lost."""

import asyncio

import pytest

from stream.core.filters.bloom import write_filter
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.entry import Category
from stream.core.model.errors import ChangeConflict, SnapshotUnreadable, VersionGone
from stream.lists.snapshot.merge import difference, empty_columns
from stream.lists.store import rewrite as versions
from stream.lists.store.heads import By
from stream.lists.store.history import history, said_at, turns_of, with_audit
from stream.lists.store.list_content import content, past_of, pasts_about
from stream.lists.store.list_store import ListStore
from stream.lists.store.rebuild import Rebuild, RebuildSettings, keep_rebuilt
from stream.lists.store.rewrite import BaseOrigin, rebuild, rewrite_once, rollback
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import millis
from stream.ops.tasks import cancelled
from tests.support.builders import NOW_S, entry, snapshot
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    ONE,
    THREE,
    TWO,
    add,
    chained,
    held_numbers,
    opened,
    remove,
    running,
    until,
)
from tests.support.waiting import REDIS_S

BACK = By("somchai", "the feed was poisoned")


async def numbers_at(register: ListStore, generation: int) -> set[str]:
    columns = await content(register, await past_of(register, NAME), generation, b"")
    return {f"+{digits}" for digits in columns.number.tolist()}


@pytest.fixture
async def told(register: ListStore, load) -> ListStore:
    """Create 1, add 2, import 3-4, remove 5, add 6."""
    await add(register, ONE)
    await load(register, BASE[:50], replace=False, by=By("feed", "version 7"))
    await remove(register, BASE[0])
    await add(register, TWO)
    return register


@pytest.fixture(autouse=True)
def _always_a_base(monkeypatch):
    monkeypatch.setattr("stream.feeds.import_file.CHANGES_MAX", 0)


async def test_every_generation_is_what_it_was(told):
    """Each generation of a list gives exactly what was listed then."""
    all_fifty = set(BASE[:50])
    wanted = {
        1: set(),
        2: {ONE},
        3: {ONE},
        4: {ONE, *all_fifty},
        5: {ONE, *all_fifty} - {BASE[0]},
        6: {ONE, TWO, *all_fifty} - {BASE[0]},
    }
    for generation, numbers in wanted.items():
        assert await numbers_at(told, generation) == numbers
    past = await past_of(told, NAME)
    two, six = [await content(told, past, g, b"") for g in (2, 6)]
    found = difference(two, six)
    assert (len(found.added), len(found.removed), len(found.changed[0])) == (50, 0, 0)
    moments = {step.generation: millis(step.id) for step in past.steps}
    assert [past.generation_at(moments[g]) for g in (2, 4, 6)] == [2, 4, 6]


async def test_history_says_who_and_why(told):
    """The history names each generation's maker, reason, kind and count; like ones are one row."""
    await add(told, *BASE[50:60])
    rows = await history(told, await past_of(told, NAME), 0)
    assert [(r.first, r.last, r.what, r.count) for r in rows] == [
        (6, 16, "add", 61),
        (5, 5, "remove", 50),
        (4, 4, "import", 51),
        (2, 2, "add", 1),
        (1, 1, "create", 0),
    ]
    assert (rows[2].actor, rows[2].reason) == ("feed", "version 7")
    each = await history(told, await past_of(told, NAME), 0, each=True)
    assert [row.last for row in each] == list(range(16, 0, -1))
    assert len(await history(told, await past_of(told, NAME), 3)) == 3


async def test_a_rollback_is_live_in_a_worker(told, worker):
    """After a rollback a worker enforces what was listed then; the audit names both generations."""
    async with running(worker):
        assert worker.listed(TWO)
        done = await rollback(told, NAME, 2, b"", BACK, NOW_S)
        await until(lambda: worker.listed(ONE) and not worker.listed(TWO))
        assert not worker.listed(BASE[1])
        await add(told, THREE)
        await until(lambda: worker.listed(THREE))
    assert (done.generation, done.count) == (8, 1)
    assert await held_numbers(told) == {ONE, THREE}
    row = (await history(told, await past_of(told, NAME), 2))[1]
    assert (row.what, row.last, row.of, row.reason) == ("rollback", 8, 2, BACK.reason)
    assert await chained(told) == 9
    await rollback(told, NAME, 6, b"", BACK, NOW_S)  # and back again
    assert TWO in await held_numbers(told)


async def test_a_rebuild_changes_nothing_but_the_base(told, worker):
    """A rebuild folds the changes into a base; the list stays what it is, in workers too."""
    async with running(worker):
        before = await held_numbers(told)
        done = await rebuild(told, NAME, b"", BY, NOW_S)
        head = (await told.state(NAME)).head
        assert (head.base, head.changes, done.folded) == (7, 0, 2)
        assert await held_numbers(told) == before
        await until(lambda: worker.refresher.current.lists[0].snapshot.manifest.generation == 7)
        assert worker.listed(TWO)
        assert not worker.listed(BASE[0])


@pytest.mark.parametrize("way", [rebuild, lambda *a: rollback(a[0], a[1], 2, *a[2:])])
async def test_what_others_change_meanwhile_stays(told, redis_url, monkeypatch, way):
    """A change made while a base is built lies over it, whichever way the base came about."""
    publish = versions.publish_whole

    async def slowly(*args):
        await add(told, THREE)
        await remove(told, ONE)
        return await publish(*args)

    monkeypatch.setattr(versions, "publish_whole", slowly)
    done = await way(told, NAME, b"", BY, NOW_S)
    held = await held_numbers(told)
    assert THREE in held
    assert ONE not in held
    assert done.count == len(held)
    await chained(told)


async def test_two_at_once_one_wins(told, redis_url, load, monkeypatch):
    """Of two rebuilds one wins; a rollback tells what was published before it, and by whom."""
    async with opened(redis_url) as other:
        both = await asyncio.gather(
            rebuild(told, NAME, b"", BY, NOW_S),
            rebuild(other, NAME, b"", By("malee"), NOW_S),
            return_exceptions=True,
        )
        (lost,) = [one for one in both if isinstance(one, ChangeConflict)]
        assert "was first: rebuild, generation" in str(lost)
        publish = versions.publish_whole

        async def too_late(*args):
            monkeypatch.setattr(versions, "publish_whole", publish)  # the import's own is in time
            await load(other, BASE[:60], by=By("feed", "version 8"))
            return await publish(*args)

        monkeypatch.setattr(versions, "publish_whole", too_late)
        with pytest.raises(ChangeConflict, match=r"feed was first: import.*: version 8"):
            await rollback(told, NAME, 2, b"", BACK, NOW_S)
    assert await held_numbers(told) == set(BASE[:60])
    await chained(told)


@pytest.mark.parametrize("at", ["write_base", "publish_base"])
async def test_a_list_that_is_deleted_and_made_again_stays_empty(
    register, redis_url, monkeypatch, at
):
    """A rebuild that began before publishes nothing: it brought back what was withdrawn.

    Neither of the two lists has a base, so the base alone does not tell them apart.
    """
    await add(register, ONE)
    writing = getattr(ListStore, at)

    async def slowly(*args):
        monkeypatch.setattr(ListStore, at, writing)
        async with opened(redis_url) as other:
            await other.delete(NAME, By("malee", "a mistake"))
            await other.create(NAME, "plain", By("malee"))
        return await writing(*args)

    monkeypatch.setattr(ListStore, at, slowly)
    with pytest.raises(ChangeConflict, match="malee deleted the list meanwhile"):
        await rebuild(register, NAME, b"", BY, NOW_S)
    assert await held_numbers(register) == set()
    await chained(register)


async def test_a_rebuild_during_an_import_loses_and_the_import_stays(told, redis_url, load):
    """An import and a rebuild at once: the import is there, whichever was first."""
    async with opened(redis_url) as other:
        done = await asyncio.gather(
            load(told, BASE[:100], replace=False),
            rebuild(other, NAME, b"", By("malee"), NOW_S),
            return_exceptions=True,
        )
        assert not isinstance(done[0], BaseException), done[0]
    assert await held_numbers(told) >= set(BASE[1:100])
    await chained(told)


async def test_what_is_not_kept_any_more(told, redis_url, load, raw):
    """Beyond the bases kept, and where the stream was cut, a generation is gone, and it is said."""
    for _ in range(3):
        await load(told, BASE[:70])
    past = await past_of(told, NAME)
    assert past.said() == "1 to 3, 8 to 9, 10 to 11, 12"
    with pytest.raises(VersionGone, match="these are available: 1 to 3, 8 to 9"):
        await rollback(told, NAME, 4, b"", BACK, NOW_S)
    assert (await told.state(NAME)).head.generation == 12
    raw.xtrim("rf:changes", maxlen=1, approximate=False)
    assert (await past_of(told, NAME)).said() == "8, 10, 12"


async def test_steps_wait_until_they_make_a_piece(told, raw, monkeypatch):
    """As many as make a piece are packed, in order; fewer wait."""
    waiting = raw.xlen("rf:changes")
    monkeypatch.setattr("stream.lists.store.past_reader.CHUNK", waiting + 2)
    monkeypatch.setattr("stream.lists.store.list_store.CHUNK", waiting + 2)
    assert await told.archive() == 0
    await add(told, THREE)
    await remove(told, THREE)
    whole = await past_of(told, NAME)
    assert [await told.archive() for _ in range(2)] == [waiting + 2, 0]
    raw.xtrim("rf:changes", maxlen=0, approximate=False)
    assert await past_of(told, NAME) == whole


async def test_what_left_the_stream_is_in_the_archive(told, raw, monkeypatch):
    """Steps that were packed away give the same generations when the stream has lost them."""
    monkeypatch.setattr("stream.lists.store.past_reader.CHUNK", 3)
    monkeypatch.setattr("stream.lists.store.list_store.CHUNK", 3)
    whole = await past_of(told, NAME)
    assert await told.archive() == 6
    assert await told.archive() == 0
    assert await past_of(told, NAME) == whole
    raw.xtrim("rf:changes", maxlen=0, approximate=False)
    assert await past_of(told, NAME) == whole
    assert await numbers_at(told, 5) == {ONE, *BASE[1:50]}
    await add(told, THREE)
    assert (await past_of(told, NAME)).said() == "1 to 3, 4 to 7"
    since = await told.past.steps(NAME, whole.steps[3].id)
    assert [step.generation for step in since] == [4, 5, 6, 7]
    raw.xadd("rf:past", {"steps": "no piece"})
    with pytest.raises(SnapshotUnreadable, match="archive"):
        await past_of(told, NAME)


async def test_old_bases_go_by_age(told, redis_url, raw, load):
    """A base that was replaced longer ago than wanted goes, the live one never."""
    await load(told, BASE[:70])
    for base in (3, 7):
        raw.hset(f"rf:list:{{{NAME}}}:base:{base}", "published_id", "1000-0")
    assert await told.retain(NAME) == 1
    assert [base.generation for base in await told.past.bases(NAME)] == [7]
    assert not raw.keys(f"rf:list:{{{NAME}}}:base:3*")


async def test_leftovers_go_with_the_next_publishing(told, raw):
    """Data of a writer that died are gone after the next base, without waiting."""
    dead = await told.reserve(NAME, BY)
    parts = await told.read_base(NAME, 3)
    await told.write_base(dead, parts)
    assert raw.keys(f"rf:*:base:{dead.generation}*")
    await rebuild(told, NAME, b"", BY, NOW_S)
    assert not raw.keys(f"rf:*:base:{dead.generation}*")
    assert not raw.exists(f"rf:list:{{{NAME}}}:writing")


async def test_many_lists_are_read_in_one_pass(told, raw, monkeypatch):
    """The history of one number is the same history, with the changes to that number only."""
    monkeypatch.setattr("stream.lists.store.past_reader.CHUNK", 2)
    monkeypatch.setattr("stream.lists.store.list_store.CHUNK", 2)
    await told.create("XX/other", "plain", BY)
    await told.archive()
    raw.xadd("rf:changes", {**raw.xrange("rf:changes")[-1][1], "generation": 9, "chain": "0"})
    wanted = entry(BASE[0]).fingerprint
    pasts = await pasts_about(told, {NAME: [wanted], "XX/other": [1]})
    whole = await past_of(told, NAME)
    assert pasts[NAME].stretches == whole.stretches
    (stretch,) = [s for s in whole.stretches if s.base.generation]
    assert [c.fingerprint for c in pasts[NAME].changes(stretch, 6)] == [wanted]
    assert await said_at(told, pasts[NAME], 4, [wanted]) != {}
    assert await said_at(told, pasts[NAME], 5, [wanted]) == {}
    assert pasts["XX/other"].said() == "1"


async def test_what_became_of_a_number(told, load, raw):
    """The history has each listing and removal, by whom, with the reason; gaps are marked."""
    await load(told, BASE[:10], by=By("feed", "version 8"))
    await rollback(told, NAME, 6, b"", BACK, NOW_S)

    async def turns(number: str) -> list[tuple[int, str, str, str | None]]:
        wanted = [entry(number).fingerprint]
        (past,) = (await pasts_about(told, {NAME: wanted})).values()
        found = await with_audit(told, {NAME: await turns_of(told, past, wanted)})
        return [(t.generation, t.what, t.how, t.reason) for t in found[NAME]]

    assert await turns(ONE) == [
        (2, "added", "add", "a test"),
        (8, "removed", "import", "version 8"),
        (10, "added", "rollback", BACK.reason),
    ]
    assert await turns(BASE[0]) == [
        (4, "added", "import", "version 7"),
        (5, "removed", "remove", "a test"),
        (8, "added", "import", "version 8"),
        (10, "removed", "rollback", BACK.reason),
    ]
    assert await turns(BASE[5]) == [(4, "added", "import", "version 7")]
    later = [entry(BASE[5], source="numbers", category=Category.OTHER, reported_at_s=NOW_S + 1)]
    await told.add(NAME, later, BY)
    assert (await turns(BASE[5]))[1:] == [(11, "renewed", "add", "a test")]
    raw.xtrim("rf:changes", maxlen=1, approximate=False)
    assert (await turns(BASE[5]))[0] == (4, "added", "unknown", "version 7")


async def test_a_bare_filter_is_never_taken_for_an_empty_list(register, load):
    """A list that is a bare filter is not rebuilt to nothing; a rollback puts the very filter back.

    What it holds cannot be told, so a diff or a moment of it is refused with the reason.
    """
    data = snapshot(NAME, [entry(number) for number in BASE[:20]])
    bare = write_filter(data.filter)

    async def put(numbers_or_filter) -> int:
        async def whole(_draft):
            return numbers_or_filter

        done = await rewrite_once(register, NAME, b"", BaseOrigin("import", BY), whole, NOW_S)
        return done.generation

    first = await put(bare)
    with pytest.raises(ChangeConflict, match="bare filter"):
        await rebuild(register, NAME, b"", BY, NOW_S)
    with pytest.raises(SnapshotUnreadable, match="bare filter"):
        await load(register, BASE[:5], replace=False)
    second = await put(empty_columns())
    past = await past_of(register, NAME)
    with pytest.raises(VersionGone, match="bare filter"):
        await content(register, past, first, b"")
    with pytest.raises(VersionGone, match="bare filter"):
        await said_at(register, past, first, [1])
    await rollback(register, NAME, first, b"", BACK, NOW_S)
    head = (await register.state(NAME)).head
    assert (await register.read_base(NAME, head.base))[FILTER_PART] == bare
    assert second < head.base


OTHER = "XX/other"


@pytest.fixture
def arguments(redis_url: str, tmp_path) -> tuple[str, ...]:
    config = tmp_path / "ringfence.toml"
    config.write_text(
        f'[redis]\nurl = "{redis_url}"\ntimeout_s = {REDIS_S}\n'
        f'[lists]\nstate_dir = "{tmp_path}/state"\n'
    )
    return ("--config", str(config))


async def test_too_many_changes_become_a_base(register, redis_url, worker, load, arguments):
    """Above the limit a list is rebuilt by a process; what it lists stays enforced all the while.

    A list that cannot be rebuilt (its circle has no key here) is reported, and delays nobody.
    """
    told: list[Rebuild] = []
    await load(register, BASE[:20])
    await add(register, *BASE[20:32])
    await register.create(OTHER, "asean", BY)
    await register.add(OTHER, [entry(number) for number in BASE[:11]], BY)
    settings = RebuildSettings(10, arguments, look_s=0.05)
    async with running(worker, loaded=False):
        await until(lambda: worker.listed(BASE[31]))
        task = asyncio.create_task(
            keep_rebuilt(ListStoreSettings(redis_url), settings, told.append)
        )
        try:
            await until(lambda: {t.name for t in told} == {NAME, OTHER})
        finally:
            await cancelled(task)
        done = next(t for t in told if t.name == NAME)
        assert (done.code, done.changes) == (0, 12)
        failed = next(t for t in told if t.name == OTHER)
        assert failed.code == 2
        assert "circles.asean" in failed.said
        assert (await register.state(NAME)).head.changes == 0
        assert await held_numbers(register) == set(BASE[:32])
        made = await anext(e async for e in register.past.audit() if e.op == "base")
        assert (made.actor, made.reason) == ("ringfence", "more than 10 changes")

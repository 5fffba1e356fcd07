"""Garbage in what feeds, appeals, enforcement, serve and exchange keep in Redis: they go on."""

import asyncio
import json
from datetime import date

import pytest
import redis
import redis.asyncio
from prometheus_client import CollectorRegistry

from stream.appeals.actions import settle
from stream.appeals.appeal_store import AppealStore
from stream.calls.lookup import Question
from stream.config.settings import load as load_settings
from stream.core.model.appeal import AppealState
from stream.core.model.errors import ListStoreLost
from stream.edge.http.decision_store import DecisionStore
from stream.edge.http.tokens import Client, ClientRole
from stream.engine.live_lookup import LiveLookup
from stream.exchange.publisher import PublishPace, keep_published
from stream.feeds.state_store import FeedStateStore
from stream.lists.store import redis_keys
from stream.lists.store.enforcement_counts import CountPosition, DecisionCounts
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.metrics.shared_catalogue import SkipMetrics
from stream.ops.skipped_records import StoredKind
from stream.ops.tasks import cancelled
from stream.web.sessions import Sessions
from tests.integration.test_appeals import DESK, appealed
from tests.support.builders import NOW_S, numbers_of
from tests.support.lists import BASE, BY, NAME, ONE, TWO, add, counted, until

HEAD = f"rf:list:{{{NAME}}}"
DEEP = b"[" * 100_000


@pytest.fixture
def count():
    """Count the records of a place that this process has skipped since the test began."""
    return counted()


async def test_the_state_of_a_feed_that_is_none_hides_no_other(redis_url, raw, count):
    """The page and `feeds list` show the others, and that this one cannot be read."""
    raw.hset("rf:feed:{a}", mapping={"accepted": b"\xff"})
    raw.hset("rf:feed:{b}", mapping={"confirmed_at_s": "7", b"\xff": b"\xff"})
    raw.hset("rf:feed:{c}", mapping={"held": b'{"x":' + DEEP})
    async with FeedStateStore.open(ListStoreSettings(redis_url)) as book:
        states = await book.states(["a", "b", "c"])
        assert states["b"].confirmed_at_s == 7
        for name in ("a", "c"):
            assert (states[name].fault, states[name].failures) == ("register", 1)
            assert f"DEL rf:feed:{{{name}}}" in states[name].detail
            with pytest.raises(ListStoreLost, match="and it begins again"):
                await book.state(name)
        assert count(StoredKind.FEED) == 2


async def test_an_appeal_that_cannot_be_read_keeps_no_other_from_its_answer(
    register, redis_url, raw, count
):
    """A watcher goes on to the next; a request by its id says what is wrong."""
    async with AppealStore.open(ListStoreSettings(redis_url), kept_days=730) as book:
        await register.create("KH/scam", "plain", BY)
        bad, good = [await appealed(register, book, number, "KH/scam") for number in (ONE, TWO)]
        for one in (bad, good):
            await book.step(one.id, AppealState.PENDING_OWNER, BY)
        raw.hset("rf:appeals", bad.id, b"2 " + DEEP)
        raw.zadd("rf:appeals:state:pending_owner", {b"\xff": 1})
        assert await settle(register, book, DESK) == (good.id,)
        assert count(StoredKind.APPEAL) == 1
        with pytest.raises(ListStoreLost, match=f"appeal {bad.id} cannot be read"):
            await book.get(bad.id)


async def test_what_lists_did_is_read_around_garbage(redis_url, raw, count):
    """Counts, sightings and documents: each is read but for what is none."""
    day, name = date(2026, 11, 27), "KH/scam"
    raw.hset(redis_keys.enforced_day(name, day), mapping={
        "calls:call_centre:blocked": "3", "calls:call_centre:eaten": "4", b"\xff": b"\xff",
        "calls:loan:flagged": "many", "in_force:x": "1", "in_force:2": "5",
    })  # fmt: skip
    raw.hset(redis_keys.enforced_sightings(name), mapping={f"{day} 01": DEEP, f"{day} 02": b"{}"})
    raw.hset(
        redis_keys.enforced_documents(name, "KH"), mapping={f"{day}": b"\xff", "no day": b"{}"}
    )
    raw.hset(redis_keys.ENFORCED_FEEDS, mapping={name: b"\xff", b"\xfe": b"kh"})
    raw.hset(redis_keys.enforced_sighted(name), mapping={"x": "soon", "y": "5"})
    async with EnforcementStore.open(ListStoreSettings(redis_url)) as book:
        figures = await book.figures(name, day)
        assert figures.by_category["call_centre"].blocked == 3
        assert {*figures.by_category} == {"call_centre"}
        assert figures.in_force_steps == {2: 5}
        assert await book.sightings(name, day) == ()
        assert await book.documents(name, "KH", day, day) == ()
        assert len(await book.feeds()) == 2
        await book.forget_taken(name, 9)
        assert count(StoredKind.ENFORCEMENT) >= 5
        raw.hset(redis_keys.enforced_at("decisions/0"), mapping={"offset": "x", "place": "0"})
        for asked in (
            book.progress("decisions/0"),
            book.count("decisions/0", CountPosition(0, 0), 1, DecisionCounts()),
        ):
            with pytest.raises(ListStoreLost, match="counting begins at the oldest decision"):
                await asked


async def test_a_kept_decision_and_a_session_that_are_none(redis_url, raw, count):
    """A request for the decision finds none; the user of the session signs in again."""
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        metrics = ServeMetrics(CollectorRegistry())
        counted = SkipMetrics(CollectorRegistry()).skipped
        kept = DecisionStore(client, metrics, 2, 100)
        today = kept._days()[1]
        for value in (b"", b"\xff", b"\x81\xa1a\xa1\xff"):
            raw.hset(f"rf:decided:{today}", "ECNTF3KFSK3JD", value or b"x")
            assert await kept.find("ECNTF3KFSK3JD") is None
        viewer = Client("v", ClientRole.VIEWER)
        sessions = Sessions(client, lambda _: viewer, lambda: NOW_S, 60, 600)
        for value in (b"", b"\xff", DEEP, b'{"token":"zz","csrf":"","began_at_s":1,"seen_at_s":1}'):
            cookie = await sessions.begin("token")
            assert await sessions.find(cookie) is not None
            (key,) = list(raw.scan_iter("rf:session:*"))
            raw.set(key, value)
            assert await sessions.find(cookie) is None
            raw.delete(key)
        assert counted.labels(StoredKind.DECISION)._value.get() == 3
        assert counted.labels(StoredKind.SESSION)._value.get() == 4


async def test_who_publishes_goes_on(register, raw, load, redis_url, count):
    """`exchange run` publishes what changed behind an entry that is no step; and a list whose own
    entry was none is looked at.
    """
    published: asyncio.Queue[str] = asyncio.Queue()

    class Brought:
        async def bring_out(self, _register, offer, **_):
            published.put_nowait(offer)

        def renew(self, _kept_s):
            return []

    class Shared:
        names = frozenset({NAME})

        def look(self):
            return False

        def offer(self, name, _circle):
            return name

    pace = PublishPace(block_ms=50, gather_s=0.0, look_s=3600.0, resign_s=3600.0, kept_s=1.0)
    settings = ListStoreSettings(redis_url)
    publishing = asyncio.create_task(
        keep_published(Brought(), Shared(), settings, pace, lambda *_: None)  # type: ignore[arg-type]
    )
    try:
        await asyncio.wait_for(published.get(), 10)
        raw.xadd("rf:changes", {"x": "y"})
        await until(lambda: count(StoredKind.CHANGES) == 1)
        await add(register, ONE)
        await asyncio.wait_for(published.get(), 10)
        raw.xadd("rf:changes", {"list": NAME, "generation": "x"})
        await asyncio.wait_for(published.get(), 10)
    finally:
        await cancelled(publishing)


def answering(redis_url: str, tmp_path) -> LiveLookup:
    """Lists and lookup of a process that answers, as `serve` and `serve-sip` have them."""
    (tmp_path / "agreements").mkdir()
    file = tmp_path / "c.toml"
    file.write_text(
        f'redis.url = "{redis_url}"\nlists.state_dir = "{tmp_path}/state"\n'
        f'agreements.dir = "{tmp_path}/agreements"\nlists.reconcile_s = 0.1\n'
        'ops.kernels = "off"\n'
    )
    metrics = ServeMetrics(CollectorRegistry())
    memory = LiveLookup(
        load_settings([file], {}), metrics.lookups, metrics.followed, metrics.signatures
    )
    memory.agreements.start()
    return memory


async def followed(memory: LiveLookup) -> bool:
    answer = json.loads(await memory.lookup.one(Question(caller=ONE), "id"))
    assert not answer["fail_open"]
    return bool(answer["lists_followed"])


@pytest.mark.expects_errors("snapshot_refused|register_lost")
async def test_a_list_that_cannot_be_loaded_is_not_followed(
    register, raw, load, redis_url, tmp_path, caplog
):
    """Answers say so for as long as it lasts, also at the first of them, and no longer."""
    await load(register, BASE[:50])
    raw.hset(HEAD, "circle", "elsewhere")
    memory = answering(redis_url, tmp_path)
    working = asyncio.create_task(memory.run())
    try:
        await until(lambda: memory.loaded)
        while caplog.text.count("snapshot_refused") < 4:  # it is tried again and again
            assert not await followed(memory)
        raw.hset(HEAD, "circle", "plain")
        await until(lambda: not memory.refresher.behind)
        assert await followed(memory)
        raw.xadd("rf:changes", {"x": "y"})
        await add(register, ONE)
        await until(lambda: "TH/national" in said(memory, ONE))
        assert await followed(memory)
        raw.delete(HEAD)
        await until(lambda: memory.refresher.behind == (NAME,))
        assert not await followed(memory)
    finally:
        await cancelled(working)


def said(memory: LiveLookup, number: str) -> set[str]:
    current = memory.refresher.current
    found = current.match(numbers_of([number]), NOW_S)
    return {current.names[index] for index in found.lists.tolist()}

"""Clocks of running processes that jump: an hour forth and back, days, and a leap second.

A process that jumps goes on at once, and is as before when its clock is right again.
"""

import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.fault.engine import Engine
from tests.fault.site import LIST, Site
from tests.fault.test_kills import Partner, feeds_run
from tests.fault.traffic import ChangingLoad, Watcher, decides, judge
from tests.support.builders import entry
from tests.support.feeds import kh
from tests.support.figures import record
from tests.support.lists import BY
from tests.support.moved_clock import MovedClock
from tests.support.waiting import TRANSACTIONS_MS, until

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.needs_faketime,
    pytest.mark.campaign,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

PER_S = 500
EVENTS = "ringfence_list_events_total"
HOUR_S, DAY_S = 3600, 86_400
SHORT, KEPT, LATER = "+447700900001", "+447700900002", "+447700900003"
"""Numbers whose entry ends in half an hour, ends in a week, and comes during the run."""
AGREED = "KH/walked"
BOUND = "+85523900123"
"""A number on it: it is blocked as long as the agreement is in force."""
AGREEMENT = """
title = "Between Cambodia and Thailand"
kind = "memorandum"
valid_from = 2025-09-01
valid_until = {until}
circle = "plain"
[parties.TH]
roles = ["owner", "enforcer"]
contact = "unblock@th-cert.example"
[parties.KH]
roles = ["owner", "enforcer"]
contact = "unblock@cert.example"
[terms]
action = "block"
[lists."{listed}"]
"""


@pytest.fixture
def clock(tmp_path: Path) -> MovedClock:
    """A clock that is right until it is set."""
    return MovedClock(tmp_path)


async def make_entries(site: Site) -> None:
    """Numbers that end at several times, and a list that an agreement covers for two days."""
    now_s = int(time.time())
    told = partial(entry, reported_at_s=now_s - 2 * HOUR_S)
    async with await ListStore.connect(ListStoreSettings(site.redis_url)) as store:
        short = told(SHORT, expires_at_s=now_s + HOUR_S // 2)
        await store.add(LIST, [short, told(KEPT, expires_at_s=now_s + 7 * DAY_S)], BY)
        await store.create(AGREED, "plain", BY)
        await store.add(AGREED, [told(BOUND)], BY)
    folder = site.folder / "agreements"
    folder.mkdir()
    until = time.strftime("%Y-%m-%d", time.gmtime(now_s + 2 * DAY_S))
    (folder / "th-kh.toml").write_text(AGREEMENT.format(until=until, listed=AGREED))


async def add(site: Site, number: str) -> None:
    """Somebody reports a number just now."""
    async with await ListStore.connect(ListStoreSettings(site.redis_url)) as store:
        await store.add(LIST, [entry(number, reported_at_s=int(time.time()))], BY)


async def compares(site: Site, engine: Engine, told: int) -> None:
    """Wait until it has compared its clock with the list store's again, and said `told` in all."""
    with redis.Redis.from_url(site.redis_url) as client:

        def asked() -> int:
            return int(client.info("commandstats")["cmdstat_time"]["calls"])

        before = asked()
        await engine.until(lambda: asked() > before + 1, "to ask for the time")
    await engine.until(
        lambda: engine.metric(EVENTS, event="clock_differs") == told, "to say that clocks differ"
    )


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
async def test_a_worker_whose_clock_jumps(site, clock, measured, delivery):
    """Decisions go on through each jump, none lost or repeated, no partition given away.

    What ends by the clock ends by it, and counts again once the clock is right. The worker says
    that its clock differs.
    """
    await make_entries(site)
    calls = {"delivery": delivery, "session_timeout_ms": TRANSACTIONS_MS}
    more: dict[str, Any] = {"agreements": {"dir": str(site.folder / "agreements")}}
    numbers = [SHORT, KEPT, LATER, BOUND]
    watcher = Watcher(site, numbers)
    block, allow = "block", "allow"
    steps = [
        # Seconds ahead, and the verdicts on SHORT, KEPT, LATER, BOUND.
        (HOUR_S, (allow, block, allow, block)),
        (0, (block, block, allow, block)),
        (-HOUR_S, (block, block, block, block)),  # LATER comes before this jump
        (0, (block, block, block, block)),
        (-1, (block, block, block, block)),  # a leap second comes twice
        (0, (block, block, block, block)),
        (3 * DAY_S, (allow, block, block, allow)),  # the agreement is over
        (0, (block, block, block, block)),
    ]
    told = 0
    with site.engine(calls=calls, **more) as engine:
        engine.env = clock.env
        await engine.ready()
        async with watcher, ChangingLoad(site, PER_S) as load:
            load.changing = numbers
            await watcher.shows(engine, dict(zip(numbers, steps[1][1], strict=True)))
            for ahead_s, verdicts in steps:
                clock.set(ahead_s)
                if ahead_s == -HOUR_S:
                    await add(site, LATER)
                await decides(engine, 30)
                await watcher.shows(engine, dict(zip(numbers, verdicts, strict=True)))
                told += abs(ahead_s) >= HOUR_S
                await compares(site, engine, told)
            await load.end()
            await site.drained(engine)
        revoked = engine.metric("ringfence_call_events_total", event="revoked")
        assert await engine.stop() == 0
    verdict = await judge(site, load.sent, numbers)
    figures = {
        "jumps": len(steps),
        "farthest_s": max(abs(ahead_s) for ahead_s, _ in steps),
        "clock_differs_told": told,
        "rebalances": revoked,
        **verdict.figures(),
    }
    record("time", figures, f"worker_{delivery}")
    measured(f"{len(steps)} jumps, {delivery}: {verdict}")
    assert verdict.nothing_lost, verdict
    assert not verdict.repeats
    assert revoked == 0


async def test_feeds_whose_clock_jumps(site, clock, measured):
    """Each version of a partner's list is fetched and applied in its time, by whatever clock."""
    served = site.folder / "partner"
    served.mkdir()
    partner, fresh = Partner(served), iter(kh(*range(10, 99)))
    listed, ahead = kh(*range(10)), (0, HOUR_S, 0, -HOUR_S, 0, -1, 0, 3 * DAY_S, 0)
    partner.says(listed)
    with ExitStack() as stack:
        stack.callback(partner.kill)
        partner.start()
        feeds = stack.enter_context(feeds_run(site, partner.feed, clock.env))
        store = await ListStore.connect(ListStoreSettings(site.redis_url))
        async with store:

            async def applied() -> bool:
                assert feeds.process.poll() is None, feeds.last_words()
                if "KH/scam" not in (await store.heads()).lists:
                    return False
                _, columns = await entries_of(store, "KH/scam", b"")
                return {f"+{one}" for one in columns.number.tolist()} == set(listed)

            for ahead_s in ahead:
                await until(applied, f"a version, before the clock is {ahead_s} s ahead")
                clock.set(ahead_s)
                listed = [*listed[1:], next(fresh)]
                partner.says(listed)
            await until(applied, "the last version")
        assert await feeds.stop() == 0
    record("time", {"jumps": len(ahead), "versions": len(ahead) + 1}, "feeds")
    measured(f"{len(ahead)} jumps: each of {len(ahead) + 1} versions was applied")

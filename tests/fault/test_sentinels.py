"""The primary of the list store dies while lists change and calls flow.

RINGFENCE_FAULT_ROUNDS says how often: 20 times in `make campaign`, else twice.
"""

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from stream.core.model.errors import ChangeUnsafe, ListStoreDown, ListStoreUnsafe
from stream.lists.store.list_store import ListStore
from tests.fault.engine import Engine
from tests.fault.site import INNOCENT, LIST, LISTED, Site
from tests.fault.traffic import Load, decided, decides, judge
from tests.support.builders import entry
from tests.support.lists import BY, removal
from tests.support.redis_sentinels import MASTER, Sentinels, three_sentinels
from tests.support.waiting import REDIS_S, until

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

ROUNDS = int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2"))
PER_S = 300
PAUSE_S = 0.05
"""Between two changes: about ten a second, each by its own script, on a busy machine fewer."""
NUMBERS = sorted({f"+668{n:08d}" for n in range(20_000)} - {*LISTED, *INNOCENT})


@dataclass
class Changes:
    """Adds and removals of numbers, one after another, and what was said of each.

    `stands`: of each number whose last change was acknowledged, whether it is listed.
    """

    sentinels: Sentinels
    stands: dict[str, bool] = field(default_factory=dict)
    acknowledged: int = 0
    unsafe: int = 0
    cut_off: int = 0
    ending: bool = False

    async def run(self) -> None:
        settings = self.sentinels.settings(timeout_s=5.0, wait_replicas=1, wait_ms=2000)
        row = 0
        while not self.ending:
            try:
                async with await ListStore.connect(settings) as store:
                    while not self.ending:
                        row += 1
                        await self._change(store, row)
                        await asyncio.sleep(PAUSE_S)
            except (ListStoreDown, ListStoreUnsafe):
                await asyncio.sleep(PAUSE_S)

    def beyond(self, count: int) -> bool:
        """True once more changes than `count` were acknowledged."""
        return self.acknowledged > count

    async def _change(self, store: ListStore, row: int) -> None:
        number = NUMBERS[row]
        removed = next(iter(self.stands)) if row % 3 == 0 and self.stands else ""
        number = removed or number
        self.stands.pop(number, None)  # unknown until it is acknowledged
        try:
            if removed:
                await store.remove(LIST, [removal(number)], BY)
            else:
                await store.add(LIST, [entry(number)], BY)
        except ChangeUnsafe:
            self.unsafe += 1
            raise
        except ListStoreDown:
            self.cut_off += 1
            raise
        self.acknowledged += 1
        self.stands[number] = not removed


async def unseen_by_replicas(
    sentinels: Sentinels, engines: list[Engine], changes: Changes, row: int
) -> None:
    """Kill the primary with acknowledged changes that it and the followers have, and no replica."""
    async with await ListStore.connect(sentinels.settings(timeout_s=REDIS_S)) as store:
        with sentinels.cut_off():
            for number in NUMBERS[-5 * (row + 1) :][:5]:
                await store.add(LIST, [entry(number)], BY)
                changes.acknowledged += 1
                changes.stands[number] = True
            generation = (await store.heads()).lists[LIST].generation
            for engine in engines:
                await engine.until(partial(enforces, engine, generation), "to enforce the changes")


def enforces(engine: Engine, generation: int) -> bool:
    """True once the engine has the list's generation."""
    return engine.metric("ringfence_list_generation", list=LIST) >= generation


async def killed(
    sentinels: Sentinels, engines: list[Engine], changes: Changes
) -> list[tuple[float, float]]:
    """Kill each primary while lists change; when there was none, in ms since the epoch."""
    task = asyncio.create_task(changes.run())
    away_ms = []
    for row in range(ROUNDS):
        known = changes.acknowledged
        await until(partial(changes.beyond, known + 5), "changes to be made")
        dead = await asyncio.to_thread(sentinels.primary)
        if row % 2:
            await unseen_by_replicas(sentinels, engines, changes, row)
        else:
            await asyncio.to_thread(dead.kill)
        killed_ms = 1000 * time.time()
        for engine in engines:
            await decides(engine, 3)
        await asyncio.to_thread(sentinels.fail_over, dead)
        away_ms.append((killed_ms, 1000 * time.time()))
        await asyncio.to_thread(dead.start)
        await asyncio.to_thread(sentinels.wait_whole)
    changes.ending = True
    await task
    return away_ms


async def in_step(sentinels: Sentinels, engine: Engine) -> bool:
    """True once the engine enforces the generation that the list store has."""
    try:
        async with await ListStore.connect(sentinels.settings(timeout_s=5.0)) as store:
            head = (await store.heads()).lists[LIST]
    except (ListStoreDown, ListStoreUnsafe):
        return False
    return (
        engine.metric("ringfence_list_generation", list=LIST) == head.generation
        and engine.metric("ringfence_register_up") == 1
    )


async def waits_ms(site: Site, away_ms: list[tuple[float, float]]) -> dict[bool, Any]:
    """The waits of calls, from the timestamps of records; True: while there was no primary."""
    calls = {
        f"{one.topic}/{one.partition}/{one.offset}": one.timestamp
        for one in await site.records(site.topics.calls[0])
    }
    found: dict[bool, list[int]] = {True: [], False: []}
    for record in await site.records(site.topics.decisions):
        begun = calls[json.loads(record.value)["origin"]]
        found[any(start <= begun <= end for start, end in away_ms)].append(record.timestamp - begun)
    return {away: np.array(waits) for away, waits in found.items()}


def logged(engines: list[Engine], event: str) -> int:
    """The number of times that the engines logged an event."""
    return sum(line["event"].startswith(event) for one in engines for line in one.events())


@pytest.mark.campaign  # a minute; tests/integration/test_sentinels.py has each of its parts
@pytest.mark.rounds
async def test_the_primary_dies_again_and_again(kafka, tmp_path, measured):
    """Every acknowledged change is enforced, every call decided, every follower in step.

    In each second round the new primary lacks acknowledged changes, and followers put them back.
    """
    with three_sentinels() as sentinels:
        site = Site(kafka.bootstrap, f"redis://127.0.0.1:{sentinels.primary().port}/0", tmp_path)
        await site.make_topics()
        await site.make_list()
        redis: dict[str, object] = {"sentinels": sentinels.addresses, "sentinel_master": MASTER}
        async with AsyncExitStack() as stack:
            engines = [
                stack.enter_context(
                    site.engine(
                        name=name, redis=redis, lists={"state_dir": str(tmp_path / f"state-{name}")}
                    )
                )
                for name in ("one", "two")
            ]
            for engine in engines:
                await engine.ready()
            changes = Changes(sentinels)
            async with Load(site, PER_S) as load:
                away_ms = await killed(sentinels, engines, changes)
                await load.end()
                for engine in engines:
                    await engine.until(partial(in_step, sentinels, engine), "to be in step")
                await site.drained(engines[0])
            verdict = await judge(site, load.sent)
            waits = await waits_ms(site, away_ms)
            numbers = list(changes.stands)
            told = await decided(site, engines[0], *numbers)
            wrong = [
                number
                for number, said in zip(numbers, told, strict=True)
                if (said == "block") is not changes.stands[number]
            ]
            named, back = logged(engines, "changes_lost"), logged(engines, "put_back")
            lost = logged(engines, "register_lost")
            for engine in engines:
                assert await engine.stop() == 0
    measured(
        f"{ROUNDS} kills of the primary, {_mean_s(away_ms):.1f} s without one on average; "
        f"{changes.acknowledged} changes acknowledged, {len(wrong)} of them not enforced, "
        f"{named} named as lost; {changes.unsafe} not safe in time, {changes.cut_off} cut off; "
        f"{back} times put back, {lost} times left to an operator; {verdict}"
    )
    for away, told_as in ((True, "without a primary"), (False, "with one")):
        p50, p99 = np.percentile(waits[away], (50, 99))
        measured(
            f"a decision {told_as}, in ms: p50 {p50:.0f}, p99 {p99:.0f}, max {waits[away].max()}"
        )
    assert verdict.nothing_lost, verdict
    assert not wrong or named, wrong
    assert back >= ROUNDS // 2
    assert not lost


def _mean_s(spans_ms: list[tuple[float, float]]) -> float:
    return sum(end - begun for begun, end in spans_ms) / len(spans_ms) / 1000

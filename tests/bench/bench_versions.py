"""A list's past at full size: told apart, put back until a worker enforces it, rebuilt, audited.

No peer. One list of 1M numbers; its next version has 1 % others. In this process, on the cores that
the bench gives it, with Redis beside it: what `ringfence lists diff`, `rollback` and `rebuild` do
besides starting, and a worker's refresher that follows. The audit: what its chain costs an add, and
how fast it is verified.

Targets: a rollback of 1M is live within 20 s, aim 5 s; a diff of two versions of 1M, and of 1M
against nothing (a million lines), within 15 s, aim 5 s.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.core.model.entry import NEVER, Category, Columns, Entry
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.snapshot.circle_keys import PLAIN
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import difference, empty_columns
from stream.lists.store.audit_entries import Verification
from stream.lists.store.heads import By
from stream.lists.store.list_content import content, past_of
from stream.lists.store.list_store import AUDIT_MAX, ListStore
from stream.lists.store.past_reader import PastReader
from stream.lists.store.redis_client import client
from stream.lists.store.rewrite import BaseOrigin, Draft, rebuild, rewrite_once, rollback
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from tests.bench.lab import Lab
from tests.bench.report import Report, Row, Target
from tests.bench.traffic import list_numbers
from tests.support.builders import columns_of

NAME = "TH/versions"
BY = By("bench", "versions")
CHANGES = 10_000


async def run(lab: Lab) -> list[Report]:
    """All of it, once."""
    count, report = lab.scale.numbers, Report("versions", notes=[lab.kernels])
    now_s = int(time.time())
    numbers = list_numbers(0, count + count // 100)
    settings = ListStoreSettings(lab.redis.url())
    state_dir = lab.run / lab.new_name("versions")
    async with await ListStore.connect(settings) as register:
        await register.create(NAME, PLAIN, BY)
        versions = [_columns(numbers[at : at + count], now_s) for at in (0, count // 100)]
        for columns in versions:
            await _put(register, columns, now_s)
        first, second = [s.first for s in reversed((await past_of(register, NAME)).stretches)][1:]
        await _diffs(report, register, first, second)
        await _live(report, register, settings, state_dir, first, now_s)
        await _changed(report, register, now_s)
    await _audited(report, settings)
    return [report]


def _columns(numbers: NDArray[np.uint64], now_s: int) -> Columns:
    texts = np.array([b"+%d" % number for number in numbers.tolist()], "S16")
    fields = {"category": Category.SPAM, "confidence": 90, "expires_at": NEVER}
    return columns_of(texts, b"", ("bench",), reported_at=now_s, **fields)


async def _put(register: ListStore, columns: Columns, now_s: int) -> None:
    async def whole(_: Draft) -> Columns:
        return columns

    await rewrite_once(register, NAME, b"", BaseOrigin("import", BY), whole, now_s)


async def _diffs(report: Report, register: ListStore, first: int, second: int) -> None:
    async def told(old: int, new: int | None) -> None:
        past = await past_of(register, NAME)
        before = await content(register, past, old, b"")
        after = await content(register, past, new, b"") if new else empty_columns()
        for _ in written(difference(before, after), "csv"):
            pass

    size = f"{(await register.state(NAME)).head.count:,}"
    for what, new in ((f"{size} with {size}, 1 % differs", second), (f"{size} with none", None)):
        seconds = await _timed(partial(told, first, new))
        report.rows.append(Row(f"diff of {what}", {"s": [seconds]}))
        report.targets.append(Target(f"diff of {what}", seconds, "s", 15, 5, less=True))


async def _live(
    report: Report,
    register: ListStore,
    settings: ListStoreSettings,
    state_dir: Path,
    first: int,
    now_s: int,
) -> None:
    """A rollback, until a refresher enforces it."""
    swapped = asyncio.Event()

    def on_event(event: ListEvent) -> None:
        if event.kind is EventKind.SWAPPED:
            swapped.set()

    refresher = Refresher(RefreshSettings(settings, state_dir, {PLAIN: b""}), on_event)
    task = asyncio.create_task(refresher.run())
    try:
        await refresher.wait_loaded()
        swapped.clear()
        began = time.perf_counter()
        await rollback(register, NAME, first, b"", BY, now_s)
        made_s = time.perf_counter() - began
        await swapped.wait()
        live_s = time.perf_counter() - began
    finally:
        await cancelled(task)
    report.rows.append(Row("rollback, until it is published", {"s": [made_s]}))
    report.rows.append(Row("rollback, until a worker enforces it", {"s": [live_s]}))
    report.targets.append(Target("rollback live", live_s, "s", 20, 5, less=True))


async def _changed(report: Report, register: ListStore, now_s: int) -> None:
    """Adds with their audit, and the rebuild that folds them in."""
    columns = _columns(list_numbers(9, CHANGES), now_s)
    entries: list[Entry] = [columns.entry(row) for row in range(CHANGES)]
    seconds = await _timed(lambda: register.add(NAME, entries, BY))
    report.rows.append(
        Row(f"{CHANGES:,} adds", {"s": [seconds], "us each": [seconds / 1e-6 / CHANGES]})
    )
    seconds = await _timed(lambda: rebuild(register, NAME, b"", BY, now_s))
    report.rows.append(Row(f"rebuild with {CHANGES:,} changes", {"s": [seconds]}))
    seconds = await _timed(register.archive)
    report.rows.append(Row("archive, nothing to do", {"s": [seconds]}))


async def _audited(report: Report, settings: ListStoreSettings) -> None:
    redis = client(settings)
    try:
        past = PastReader(redis)
        found = Verification(await past.audit_head(), AUDIT_MAX)

        async def verify() -> None:
            async for identity, fields in past.audit_items(found.head.last_id):
                found.take(identity, fields)
            found.finish()

        seconds = await _timed(verify)
        assert not found.troubles, found.troubles
        size = int(await redis.memory_usage("rf:audit", samples=0) or 0)
    finally:
        await redis.aclose()
    figures = {"s": [seconds], "us each": [seconds / 1e-6 / found.last]}
    report.rows.append(Row(f"audit verify of {found.last:,} entries", figures))
    report.notes.append(f"{size / found.last:.0f} bytes of Redis an audit entry")


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began

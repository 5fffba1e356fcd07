"""Builders for tests of the list's way: numbers, files, and a worker that follows."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.feeds.import_file import ImportRequest
from stream.feeds.parse import Defaults
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import FIRST_ID, ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops.metrics.shared_catalogue import SkipMetrics
from stream.ops.skipped_records import StoredKind
from stream.ops.tasks import cancelled
from tests.support import waiting
from tests.support.builders import NOW_S, entry, numbers_of

NAME = "TH/national"
BY = By("somchai", "a test")
ONE, TWO, THREE = "+66812345671", "+66812345672", "+66812345673"
BASE = [f"+668{n:08d}" for n in random.Random(1).sample(range(10**8), 6000)]


class Worker:
    """A refresher, what it told, and what its lists say."""

    def __init__(self, url: str, state_dir: Path, **fields) -> None:
        self.events: list[ListEvent] = []
        self.state_dir = state_dir
        settings = {"keys": {"plain": b""}, "changes_block_ms": 50, "reconcile_s": 0.2, **fields}
        register = ListStoreSettings(url, timeout_s=0.5, put_back=settings.pop("put_back", False))
        clock = settings.pop("clock", time.time)
        self.refresher = Refresher(
            RefreshSettings(register, state_dir, **settings), self.events.append, clock
        )

    def lists(self, number: str) -> set[str]:
        current = self.refresher.current
        found = current.match(numbers_of([number]), NOW_S).by_row().get(0, [])
        return {current.names[match.list] for match in found if match.confirmed}

    def listed(self, number: str) -> bool:
        return NAME in self.lists(number)

    def told(self, kind: EventKind) -> list[str]:
        return [event.detail for event in self.events if event.kind is kind]


@asynccontextmanager
async def running(worker: Worker, *, loaded: bool = True) -> AsyncIterator[Worker]:
    worker.refresher.load_last_good()
    task = asyncio.create_task(worker.refresher.run())
    try:
        if loaded:
            await asyncio.wait_for(worker.refresher.wait_loaded(), waiting.HANGS_S)
        yield worker
    finally:
        await cancelled(task)


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    await waiting.until(true, "what the worker does", 0.0005)


async def enforced(worker: Worker, number: str, *, listed: bool = True) -> None:
    await until(lambda: worker.listed(number) is listed)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ListStore]:
    async with await ListStore.connect(
        ListStoreSettings(url, timeout_s=waiting.REDIS_S)
    ) as register:
        yield register


async def add(register: ListStore, *numbers: str) -> None:
    await register.add(NAME, [entry(number) for number in numbers], BY)


async def remove(register: ListStore, *numbers: str) -> None:
    removals = [Removal(entry(number).fingerprint, number) for number in numbers]
    await register.remove(NAME, removals, BY)


def numbers(count: int, seed: int = 1) -> list[str]:
    rng = random.Random(seed)
    return [f"+668{n:08d}" for n in rng.sample(range(10**8), count)]


def removal(number: str) -> Removal:
    return Removal(entry(number).fingerprint, number)


def request(path: Path, **fields) -> ImportRequest:
    held = {
        "name": NAME,
        "path": path,
        "kind": "text",
        "names": None,
        "defaults": Defaults(path.name, NOW_S),
        "rejects": path.with_suffix(".rejects"),
        "replace": False,
        "key": b"",
        "by": BY,
    }
    return ImportRequest(**{**held, **fields})


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("\n".join(texts) + "\n")
    return path


async def held_numbers(register: ListStore) -> set[str]:
    _, columns = await entries_of(register, NAME, b"")
    return {f"+{digits}" for digits in columns.number.tolist()}


def counted() -> Callable[[StoredKind], float]:
    """Count the records of a place that this process has skipped from now on."""
    registry = CollectorRegistry()
    SkipMetrics(registry)
    name = "ringfence_register_records_skipped_total"
    return lambda place: registry.get_sample_value(name, {"place": place}) or 0


async def chained(register: ListStore) -> int:
    """Check that every step of the list follows the one before; its last generation."""
    chain, generation = "", 0
    for step in (await register.follow(FIRST_ID, 0)).steps:
        if step.name == NAME:
            assert step.generation == generation + 1
            assert step.follows(chain)
            chain, generation = step.chain, step.generation
    head = (await register.heads()).lists[NAME]
    assert (head.chain, head.generation) == (chain, generation)
    return generation

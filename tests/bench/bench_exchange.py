"""The time until a number that one country lists is enforced in another, over HTTP.

No peer. The list stores of KH and TH are two databases of one Redis; `ringfence exchange run` signs
what changes, a plain web server serves the repository, `ringfence feeds run` in TH follows it, all
with default settings, each a process. A worker's lists in TH (a refresher, in this process) say
when a number is enforced, and when no more. The list has a million numbers, shared as fingerprints.

Then one hub carries the list (`Hub.sync`, a second between two), and eleven countries follow the
hub, each with a register of its own; a number counts as arrived when it stands in its register,
whose workers have it some 2 ms later (see `changes`).

Target: p99 at most 5 s, and 60 s with eleven countries behind a hub.
"""

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from stream.config.feed_files import FeedContext, read_feed
from stream.config.settings import load
from stream.core.filters.digests import Digests, elements
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.numbers.number import Kind, Numbers
from stream.core.numbers.prefix_entries import STRICT
from stream.exchange import repository
from stream.exchange.mirror import Hub
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.follow.feed_fetcher import PRELOADED
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.subprocess_job import prepare
from stream.feeds.follow.workplace import Workplace
from stream.feeds.import_file import ImportRequest, import_file
from stream.feeds.parse import Defaults
from stream.feeds.row_checks import Surroundings
from stream.feeds.state_store import FeedStateStore
from stream.kafka.settings import KafkaSettings
from stream.lab.embedded.guarded_server import free_ports
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import change_of
from stream.ops.metrics.feed_catalogue import FeedMetrics
from stream.ops.tasks import cancelled
from tests.bench.lab import Lab
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target
from tests.bench.traffic import innocent_numbers
from tests.support.repositories import hub_at

LIST = "KH/scam"
COUNTRIES = 11
BY = By("bench", "measuring how soon a neighbour enforces it")
READY_S = 400.0
_REST = "the rest is the follower's second between two looks, and its work on the version"
SYNC_S = 1.0
PHASE_S = 1.2
"""Up to so long is waited before each change: else all would fall into one part of the second in
which the follower looks."""
FEED = """
list = "KH/scam"
format = "snapshot"
may_list = ["*"]
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "tuf"
url = "{url}"
root = "{root}"
targets = "KH/scam"
"""


@dataclass(frozen=True, slots=True)
class _Owner:
    """KH: its register, its repository, and the file with its configuration."""

    register: ListStore
    repository: Path
    root: Path
    config: Path


async def run(lab: Lab) -> list[Report]:
    """One neighbour with every process its own; then eleven behind a hub."""
    prepare(PRELOADED)
    async with _owner(lab) as owner:
        report = await _neighbour(lab, owner)
        report.targets += await _behind_a_hub(lab, owner, report)
    return [report]


@asynccontextmanager
async def _owner(lab: Lab) -> AsyncIterator[_Owner]:
    folder = lab.run / "kh"
    ring = KeyRing([folder / "keys", folder / "offline"])
    place = folder / "repository"
    by = Signatory(ring, Validity(), int(time.time()))
    repository.init(place, by, [folder / "offline"], 1)
    repository.add_list(place, by, LIST)
    config = folder / "kh.toml"
    config.write_text(
        f'[redis]\nurl = "{lab.redis.url(0)}"\n[exchange]\ndir = "{place}"\n'
        f'keys_dir = "{folder / "keys"}"\n'
    )
    settings = ListStoreSettings(lab.redis.url(0))
    async with await ListStore.connect(settings) as register:
        await register.create(LIST, "plain", BY)
        numbers = folder / "numbers.txt"
        digits = innocent_numbers(lab.scale.numbers, seed=11).tolist()
        numbers.write_text("".join(f"+{one}\n" for one in digits))
        lab.say(f"Importing {len(digits):,} numbers into KH's list store")
        request = ImportRequest(
            name=LIST,
            path=numbers,
            kind="text",
            names=None,
            defaults=Defaults("bench", int(time.time())),
            rejects=folder / "rejects.csv",
            replace=True,
            key=b"",
            by=BY,
        )
        await import_file(register, request, int(time.time()))
        yield _Owner(register, place, place / "metadata" / "1.root.json", config)


@contextmanager
def _web(lab: Lab, folder: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    command = python("http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder))
    with Process("web server", command, _both(lab), lab.run / f"web-{port}.log"):
        yield f"http://127.0.0.1:{port}"


async def _neighbour(lab: Lab, owner: _Owner) -> Report:
    folder = lab.run / "th"
    feeds = folder / "feeds"
    feeds.mkdir(parents=True)
    url = lab.redis.url(1)
    config = folder / "th.toml"
    config.write_text(
        f'[redis]\nurl = "{url}"\n[lists]\nstate_dir = "{folder / "state"}"\n'
        f'[feeds]\ndir = "{feeds}"\nhttp_port = 0\n'
    )
    publish = python("stream", "exchange", "run", LIST, "--config", str(owner.config))
    follow = python("stream", "feeds", "run", "--config", str(config))
    cores = _both(lab)
    settings = RefreshSettings(ListStoreSettings(url), folder / "worker", {"plain": b""})
    worker = Refresher(settings)
    with (
        _web(lab, owner.repository) as address,
        Process("exchange run", publish, cores, lab.run / "publish.log") as publisher,
    ):
        (feeds / "kh-scam.toml").write_text(FEED.format(url=address, root=owner.root))
        began_s = time.monotonic()
        with Process("feeds run", follow, cores, lab.run / "follow.log") as follower:
            worker.load_last_good()
            task = asyncio.create_task(worker.run())
            known = innocent_numbers(lab.scale.numbers, seed=11)[:1].tolist()[0]
            try:
                await _until(lambda: _listed(worker, f"+{known}"), READY_S, publisher, follower)
                whole_s = time.monotonic() - began_s
                figures = await _changes(lab, owner, worker, publisher, follower)
            finally:
                await cancelled(task)
    figures["whole list, s"] = [whole_s]
    adds, removals = figures["added, s"], figures["removed, s"]
    signed = float(np.median(figures["of it until signed, s"]))
    return Report(
        "exchange",
        rows=[Row("one neighbour", figures)],
        targets=[
            Target("added in KH until enforced in TH, p99", _p99(adds), "s", 5, 2, less=True),
            Target("removed in KH until allowed in TH, p99", _p99(removals), "s", 5, 2, less=True),
        ],
        notes=[f"{len(adds)} numbers; {signed:.2f} s until it is signed and served; {_REST}"],
    )


async def _changes(
    lab: Lab, owner: _Owner, worker: Refresher, *processes: Process
) -> dict[str, list[float]]:
    """Seconds from each change to its effect, and to the signature in between."""
    added, removed, signed = [], [], []
    phases = random.Random(5)
    timestamp = owner.repository / "metadata" / "timestamp.json"
    for number in _probes(lab, lab.scale.changes, seed=78):
        entry = _entry(number)
        await asyncio.sleep(phases.uniform(0, PHASE_S))
        began = time.time()
        await owner.register.add(LIST, [entry], BY)
        await _until(partial(_listed, worker, number), 60, *processes)
        added.append(time.time() - began)
        signed.append(timestamp.stat().st_mtime - began)
        await asyncio.sleep(phases.uniform(0, PHASE_S))
        began = time.time()
        await owner.register.remove(LIST, [Removal(entry.fingerprint, number)], BY)
        await _until(partial(_free, worker, number), 60, *processes)
        removed.append(time.time() - began)
    return {"added, s": added, "removed, s": removed, "of it until signed, s": signed}


async def _behind_a_hub(lab: Lab, owner: _Owner, report: Report) -> list[Target]:
    """Eleven countries that follow a hub; what is measured goes into `report`."""
    folder = lab.run / "hub"
    hub, _ = hub_at(folder, marked=False)
    publish = python("stream", "exchange", "run", LIST, "--config", str(owner.config))
    cores = _both(lab)
    with (
        _web(lab, owner.repository) as theirs,
        Process("exchange run", publish, cores, lab.run / "publish-2.log") as publisher,
    ):
        await asyncio.sleep(2.0)
        await asyncio.to_thread(hub.add, "KH", theirs, owner.root.read_bytes(), int(time.time()))
        with _web(lab, hub.folder / "countries" / "KH") as address:
            syncing = asyncio.create_task(_sync(hub))
            countries = [_country(lab, owner, address, number) for number in range(COUNTRIES)]
            tasks = [asyncio.create_task(_followed(country)) for country in countries]
            try:
                arrived = await _arrivals(lab, owner, publisher)
            finally:
                await cancelled(syncing, *tasks)
    report.rows.append(Row(f"{COUNTRIES} behind a hub", {"added, s": arrived}))
    return [
        Target(f"added until in all of {COUNTRIES}, p99", _p99(arrived), "s", 60, 10, less=True)
    ]


async def _sync(hub: Hub) -> None:
    while True:
        await asyncio.to_thread(hub.sync, int(time.time()))
        await asyncio.sleep(SYNC_S)


@dataclass(frozen=True, slots=True)
class _Country:
    folder: Path
    url: str
    feed: Path


def _country(lab: Lab, owner: _Owner, address: str, number: int) -> _Country:
    folder = lab.run / f"country-{number}"
    folder.mkdir()
    feed = folder / "kh-scam.toml"
    feed.write_text(FEED.format(url=address, root=owner.root))
    return _Country(folder, lab.redis.url(2 + number), feed)


async def _followed(country: _Country) -> None:
    """As `feeds run` follows it, but that all countries are tasks of this process."""
    context = FeedContext((), "TH", STRICT, lambda: KafkaSettings("127.0.0.1:9", "bench"))
    setup = read_feed(country.feed, {}, context)
    register, limits = ListStoreSettings(country.url), load([], {}).feeds
    async with FeedStateStore.open(register) as states:
        place = Workplace(
            settings=limits,
            list_store=register,
            state_dir=country.folder / "state",
            kernels=country.folder / "state" / "kernels",
            around=Surroundings(keys={"plain": b""}, emergency={}),
            states=states,
            metrics=FeedMetrics(CollectorRegistry()),
            places=asyncio.Semaphore(limits.parallel),
        )
        await Follower(setup, place, quiet=True).run()


async def _arrivals(lab: Lab, owner: _Owner, publisher: Process) -> list[float]:
    """Seconds until a number stands in every country's register, for one number after another."""
    settings = [ListStoreSettings(lab.redis.url(2 + number)) for number in range(COUNTRIES)]
    probes = _probes(lab, 1 + lab.scale.changes // 3, seed=79)
    phases, began = random.Random(6), {}
    await owner.register.add(LIST, [_entry(probes[0])], BY)
    await asyncio.wait_for(
        asyncio.gather(*(_arrived(one, _entry(probes[0]).fingerprint) for one in settings)), READY_S
    )
    arrived = []
    for number in probes[1:]:
        publisher.check()
        entry = _entry(number)
        waiting = [asyncio.create_task(_arrived(one, entry.fingerprint)) for one in settings]
        began[number] = time.time()
        await owner.register.add(LIST, [entry], BY)
        async with asyncio.timeout(60):
            arrived += [await one - began[number] for one in waiting]
        await asyncio.sleep(phases.uniform(0, PHASE_S))
    return arrived


async def _arrived(settings: ListStoreSettings, fingerprint: int) -> float:
    """When the register says that it has a number; its stream of changes is followed."""
    async with await ListStore.connect(settings, 1000) as register:
        at = "0-0" if not (await register.heads()).lists else (await register.heads()).last_id
        while True:
            heads = (await register.heads()).lists
            if LIST in heads and (await register.reports(LIST, [fingerprint]))[fingerprint]:
                return time.time()
            read = await register.follow(at, 500)
            at = read.last_id
            for step in read.steps:
                change = change_of(step.op, step.payload)
                if change is not None and change.fingerprint == fingerprint:
                    return time.time()


def _both(lab: Lab) -> tuple[int, int]:
    return lab.cores.broker, lab.cores.engine


def _probes(lab: Lab, count: int, seed: int) -> list[str]:
    """Numbers that are not on the list."""
    listed = innocent_numbers(lab.scale.numbers, seed=11)
    made = innocent_numbers(2 * count, seed=seed)
    return [f"+{one}" for one in made[~np.isin(made, listed)][:count].tolist()]


def _entry(number: str) -> Entry:
    array = np.array([number.encode()], "S16")
    fingerprint = int(Digests(elements(array, b"")).fingerprints()[0])
    return Entry(number, fingerprint, Category.OTHER, "bench", int(time.time()), NEVER, 90)


def _listed(worker: Refresher, number: str) -> bool:
    numbers = Numbers(np.array([number.encode()], "S16"), np.full(1, Kind.E164, np.uint8))
    found = worker.current.match(numbers, int(time.time())).by_row().get(0, [])
    return any(match.confirmed for match in found)


def _free(worker: Refresher, number: str) -> bool:
    return not _listed(worker, number)


async def _until(true: Callable[[], bool], within_s: float, *processes: Process) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            said = "\n".join(process.last_words() for process in processes)
            sys.exit(f"it did not come within {within_s:g} s:\n{said}")
        await asyncio.sleep(0.005)


def _p99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99))

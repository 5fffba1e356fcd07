"""Each process in turn is killed under load while a partner's list changes: nothing is lost.

Killed are workers, their supervisor, the broker, Redis, `feeds run`, and the partner's web server.
Each worker follows the lists by itself, so its death is a follower's too.
RINGFENCE_FAULT_ROUNDS says how often: 20 times for each delivery in `make campaign`. More rounds
are several runs of twenty, each with an order of its own; their figures are recorded as one.
"""

import asyncio
import itertools
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stream.lab.embedded.guarded_server import free_ports
from tests.fault.engine import Engine
from tests.fault.site import Site
from tests.fault.test_deaths import children
from tests.fault.traffic import ChangingLoad, Watcher, judge, runs_of
from tests.support.engine import toml
from tests.support.feeds import kh
from tests.support.figures import record, together
from tests.support.waiting import REDIS_S, TRANSACTIONS_MS

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.campaign,
    # The load and the watcher are clients of the broker that dies.
    pytest.mark.expects_errors,
]

ROUNDS, RUNS = runs_of(int(os.environ.get("RINGFENCE_FAULT_ROUNDS", "2")))
FIRST_SEED = 17
PER_S = 800
BASE, FRESH = kh(*range(60 + ROUNDS)), kh(*range(60 + ROUNDS, 60 + 2 * ROUNDS))
"""The partner's first version; each round adds one of `FRESH`, and takes the first back."""
FEED = """
list = "KH/scam"
format = "text"
category = "call_centre"
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "http"
url = "http://127.0.0.1:{port}/list.txt"
[schedule]
every = "1s"
"""


class Partner:
    """A partner's list on a web server of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self._port,) = free_ports(1)
        self._changed_s = int(time.time()) - 100_000
        self._process: subprocess.Popen[bytes] | None = None

    def says(self, numbers: Sequence[str]) -> None:
        """Publish a version, as a whole."""
        aside = self._folder / "aside.txt"
        aside.write_text("".join(f"{one}\n" for one in numbers))
        # The server dates files in whole seconds: two versions in one would be the same.
        self._changed_s += 10
        os.utime(aside, (self._changed_s, self._changed_s))
        aside.replace(self._folder / "list.txt")

    @property
    def feed(self) -> str:
        """The settings of the feed that pulls the partner's list."""
        return FEED.format(port=self._port)

    def start(self) -> None:
        """Serve."""
        words = ["-m", "http.server", str(self._port), "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(
            [sys.executable, *words, "--directory", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


Victims = dict[str, tuple[Callable[[], None], Callable[[], None]]]


def victims(engine: Engine, feeds: Engine, partner: Partner, broker: Any, redis: Any) -> Victims:
    """By name: how each is killed, and how it comes back."""

    def worker() -> None:
        # It, or its supervisor, may be dying of the last kill.
        with suppress(ProcessLookupError, FileNotFoundError, IndexError):
            os.kill(random.Random(engine.process.pid).choice(children(engine.process.pid)), 9)

    return {
        # Its supervisor starts it again.
        "worker": (worker, lambda: None),
        "broker": (broker.kill, broker.start),
        "redis": (redis.kill, redis.start),
        "feeds": (feeds.kill, feeds.start),
        "partner": (partner.kill, partner.start),
        "supervisor": (engine.kill, engine.start),
    }


@contextmanager
def feeds_run(site: Site, feed: str, env: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """`feeds run` with one feed, started with `env` in its environment."""
    folder = site.folder / "feeds"
    folder.mkdir()
    (folder / "kh-scam.toml").write_text(feed)
    (port,) = free_ports(1)
    config = site.folder / "feeds.toml"
    tables: dict[str, dict[str, object]] = {
        "redis": {"url": site.redis_url, "timeout_s": REDIS_S},
        "lists": {"state_dir": str(site.folder / "feeds-state")},
        "feeds": {
            "dir": str(folder), "http_port": port, "retry_s_first": 0.2, "retry_s_most": 1,
        },
    }  # fmt: skip
    config.write_text(toml(tables))
    with Engine(config, "feeds", "run", port=port) as feeds:
        feeds.env = dict(env or {})
        feeds.start()
        yield feeds


_played: dict[str, list[dict[str, Any]]] = defaultdict(list)
"""Figures of this process' runs, for each delivery."""


@pytest.mark.timeout(1800 + 240 * ROUNDS)
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
async def test_everything_dies_in_any_order(own_site, own_redis, broker, measured, delivery, seed):
    """Each change of the list comes to be enforced, once and for good, whatever dies meanwhile."""
    site, chance, began = own_site, random.Random(seed), time.monotonic()
    served = site.folder / "partner"
    served.mkdir()
    partner = Partner(served)
    calls = {"delivery": delivery, "session_timeout_ms": TRANSACTIONS_MS, "instance_id": "host"}
    killed: Counter[str] = Counter()
    enforced_s: list[float] = []
    listed = list(BASE)
    with ExitStack() as stack:
        stack.callback(partner.kill)
        partner.says(listed)
        partner.start()
        feeds = stack.enter_context(feeds_run(site, partner.feed))
        engine = stack.enter_context(site.engine("--workers", "2", calls=calls))
        await engine.ready()
        dying = victims(engine, feeds, partner, broker, own_redis)
        # Each comes as often as the others, in an order of chance.
        order = itertools.chain.from_iterable(
            chance.sample(sorted(dying), len(dying)) for _ in itertools.count()
        )
        watcher = Watcher(site, {*BASE, *FRESH})
        async with watcher, ChangingLoad(site, PER_S) as load:
            load.changing = BASE[:1]
            await watcher.shows(engine, {BASE[0]: "block"})
            # On a busy machine it passed until the first version came, which undoes nothing.
            watcher.turns.clear()
            for round_, added in enumerate(FRESH):
                gone = listed.pop(0)
                load.changing = [added, gone]
                await watcher.shows(engine, {added: "allow", gone: "block"})
                listed.append(added)
                partner.says(listed)
                # The moment is part of the test: somewhere on the way of the change.
                await asyncio.sleep(chance.uniform(0, 1.5))
                names = [next(order) for _ in range(1 + (round_ % 3 == 2))]
                for name in names:
                    await asyncio.to_thread(dying[name][0])
                for name in chance.sample(names, len(names)):
                    await asyncio.to_thread(dying[name][1])
                killed.update(names)
                since = time.monotonic()
                await watcher.shows(engine, {added: "block", gone: "allow"})
                enforced_s.append(time.monotonic() - since)
            await load.end()
            await site.drained(engine)
        assert await engine.stop() == 0
    turns = Counter(watcher.turns.values())
    verdict = await judge(site, load.sent, {*BASE, *FRESH})
    figures = {
        "rounds": ROUNDS,
        "kills": killed.total(),
        "kills_by_process": dict(killed),
        "changes": 2 * ROUNDS,
        "changes_undone": sum(count for times, count in turns.items() if times > 1),
        "longest_until_enforced_s": round(max(enforced_s), 1),
        **verdict.figures(),
        "duration_s": round(time.monotonic() - began),
    }
    _played[delivery].append(figures)
    record("kills", together(_played[delivery]), f"everything_{delivery}")
    measured(f"{dict(killed)}: {figures}")
    assert verdict.nothing_lost, verdict
    assert delivery == "at_least_once" or not verdict.repeats
    assert set(turns) <= {1}, {place: n for place, n in watcher.turns.items() if n > 1}

"""Parts that benches share: the size of a run; servers and files, made only if needed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Self

from rich.console import Console

from stream.lab.embedded.choose import EmbeddedBroker, RedisServer, best_broker, best_redis
from stream.ops.kernels import FOLDER, warm_up
from tests.bench.machine import Cores, cores, on_core
from tests.bench.process import ROOT
from tests.bench.topics import Topics
from tests.bench.traffic import Traffic, traffic

CACHE = ROOT / "build" / "bench"
SHORT, MIDDLE, LONG = "bench.calls.short", "bench.calls.middle", "bench.calls.long"
"""Filled topics. Half of the long one would take a slow peer a minute, half of the short one would
be over for a fast peer before it is measured (or, on the JVM, compiled); the middle one is for
decisions on every CDR, all of which are read back."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run. `rates` are CDR/s; `large` the numbers of the single large list."""

    name: str
    records: Mapping[str, int]
    rounds: int
    lists: int
    numbers: int
    large: int
    rates: tuple[int, ...]
    latency_s: int
    latency_rounds: int
    changes: int
    keys: int


FULL = Scale(
    name="full",
    records={SHORT: 500_000, MIDDLE: 2_000_000, LONG: 4_000_000},
    rounds=5,
    lists=64,
    numbers=1_000_000,
    large=10_000_000,
    rates=(200, 2_000, 20_000),
    latency_s=16,
    latency_rounds=3,
    changes=60,
    keys=65_536,
)
QUICK = Scale(
    name="quick",
    # The long one is several transactions: one alone is a single moment, which has no speed.
    records={SHORT: 20_000, MIDDLE: 30_000, LONG: 200_000},
    rounds=1,
    lists=3,
    numbers=20_000,
    large=100_000,
    rates=(200, 2_000),
    latency_s=4,
    latency_rounds=1,
    changes=3,
    keys=2_048,
)


@dataclass(frozen=True, slots=True)
class Work:
    """The task of a peer: which topics, whether every call gets a decision, in which group.

    `group` "": a group of its own.
    """

    calls: str
    decisions: str
    emit_all: bool = False
    group: str = ""

    @property
    def rejected(self) -> str:
        """The topic of records that are no calls."""
        return f"{self.decisions}.rejected"


class Lab:
    """One run of benches: leave its context and every server is gone; lists stay in the cache."""

    def __init__(self, scale: Scale, console: Console, *, with_peers: bool = True) -> None:
        """`with_peers`: whether peers that have to be built are measured, where they are."""
        self.scale = scale
        self.with_peers = with_peers
        self.console = console
        self.cores: Cores = cores()
        self.folder = CACHE / scale.name
        self.run = self.folder
        self._open = ExitStack()
        self._names = 0
        self._filled: dict[str, Traffic] = {}
        self.warm: set[Path] = set()
        """State directories with compiled kernels; see `engine`."""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Beside the lists, because a state directory for one run is made of hard links to them.
        self.run = Path(mkdtemp(prefix="run-", dir=self.folder))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        rmtree(self.run)

    def say(self, text: str) -> None:
        """One line about what is being done; figures come at the end."""
        self.console.print(f"[dim]{text}[/]", highlight=False)

    @cached_property
    def broker(self) -> EmbeddedBroker:
        """The broker, started on its core."""
        with on_core(self.cores.broker):
            broker = self._open.enter_context(best_broker())
        self.say(f"{broker.title} on core {self.cores.broker} {broker.not_better}")
        return broker

    @cached_property
    def redis(self) -> RedisServer:
        """Redis, started on the broker's core."""
        with on_core(self.cores.broker):
            redis = self._open.enter_context(best_redis())
        self.say(f"{redis.title} on core {self.cores.broker}")
        return redis

    @cached_property
    def topics(self) -> Topics:
        """The broker's topics."""
        return Topics(self.broker.bootstrap)

    async def calls(self, topic: str) -> Traffic:
        """The calls that are preloaded on one of the filled topics; the first asking fills it."""
        if topic not in self._filled:
            made = traffic(self.scale.records[topic], self.scale.numbers, seed=3)
            self.say(f"Filling {topic} with {len(made):,} records")
            await self.topics.create(topic)
            await self.topics.fill(topic, made)
            self._filled[topic] = made
        return self._filled[topic]

    @asynccontextmanager
    async def work(self, calls: str = "", *, emit_all: bool = False) -> AsyncIterator[Work]:
        """Work on a topic of calls ("": a new one), with new topics that are deleted at the end."""
        work = Work(calls or self.new_name("calls"), self.new_name("decisions"), emit_all)
        topics = [work.decisions, work.rejected, *([] if calls else [work.calls])]
        await self.topics.create(*topics)
        yield work
        await self.topics.delete(*topics)

    @cached_property
    def kernels(self) -> str:
        """Compiled kernels in this very process, where the engine's own functions are measured.

        Whether they are, in words.
        """
        why_not = warm_up(ROOT / "state" / FOLDER).why_not
        return f"without compiled kernels: {why_not}" if why_not else "with compiled kernels"

    def new_name(self, what: str) -> str:
        """A name that no topic and no group of this run has."""
        self._names += 1
        return f"bench.{what}.{self._names}"

    def cached(self, name: str, make: Callable[[], bytes]) -> Path:
        """A file of the cache, made if it is not there; whole or not there at all."""
        path = self.folder / name
        if not path.exists():
            aside = path.with_suffix(".aside")
            aside.write_bytes(make())
            aside.rename(path)
        return path


async def pause(seconds: float) -> None:
    """Let a machine settle between two peers."""
    await asyncio.sleep(seconds)

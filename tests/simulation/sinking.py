"""The sink side of a history: sinks, the Redis that SIP proxies ask, faults, and what must hold.

Drawn apart from the rest of a plan, as the list side is. A seed of ten has sinks.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from stream.config.settings import Settings
from stream.core.model.moments import read_rfc3339
from tests.simulation.fault_kinds import FaultKinds
from tests.simulation.kafka.partition_log import PartitionLog
from tests.simulation.reference import TopicReader, decision_in
from tests.simulation.store.accidents import Accidents
from tests.simulation.store.ensemble import MASTER, Ensemble, StorePace
from tests.simulation.worker import Sink
from tests.simulation.world import World

SHARE = 0.1
"""Of all seeds have sinks."""
SETTLED_S = 120.0
"""So long after the last decision all keys are right: a session that ends, and a look at all keys.
"""
_TOPIC, _GROUP = "decisions", "ringfence.redis"
_PREFIX = "proxies-"
_LOOK_S = 0.5


@dataclass(frozen=True)
class SinkFaults(FaultKinds):
    """Faults of the sinks, and of the Redis that proxies ask."""

    sink_kill: float = 0.0
    sink_power: float = 0.0
    sink_pause: float = 0.0
    sink_stop: float = 0.0
    sink_block: float = 0.0
    proxies_kill: float = 0.0
    proxies_power: float = 0.0
    proxies_empty: float = 0.0
    proxies_split: float = 0.0
    proxies_pause: float = 0.0
    proxies_full: float = 0.0
    proxies_block: float = 0.0


@dataclass(frozen=True)
class SinkPlan:
    """All that a seed draws of its sink side."""

    faults: SinkFaults
    pace: StorePace
    sentinels: bool
    sinks: int
    preload: bool

    @classmethod
    def of(cls, seed: int) -> "SinkPlan | None":
        """Draw it; None: there are no sinks."""
        rng = Random(f"sink side of {seed}")
        if rng.random() >= SHARE:
            return None
        return cls(
            faults=SinkFaults.some(rng, 0.25),
            pace=StorePace(
                lag_s=rng.choice((0.0005, 0.005, 0.5)),
                notice_s=rng.choice((1.0, 3.0)),
                tell_s=rng.choice((0.05, 0.5)),
            ),
            sentinels=rng.random() < 0.5,
            sinks=rng.choice((1, 1, 2)),
            preload=rng.random() < 0.3,
        )

    def without(self) -> Iterator["SinkPlan | None"]:
        """Yield plans with a kind of fault less, and at last that without sinks."""
        for faults in self.faults.without():
            yield replace(self, faults=faults)
        yield None


class Sinking:
    """The sinks of one history and the keys that they write.

    `blocked` returns the numbers that lists block now, and `free_ms` holds when they last did not.
    `fixed`: they are the same all the time.
    """

    def __init__(
        self,
        world: World,
        plan: SinkPlan,
        logs: Callable[[], Sequence[PartitionLog]],
        blocked: Callable[[], frozenset[str]],
        free_ms: Mapping[str, int],
        bug: Callable[[str], None],
        *,
        fixed: bool,
    ) -> None:
        self.world, self.plan, self.rng = world, plan, world.rng
        count = 3 if plan.sentinels else 0
        self.store = Ensemble(world.network, plan.pace, 3 if count else 1, count, prefix=_PREFIX)
        self.accidents = Accidents(self.store)
        self.sinks: list[Sink] = []
        self._reader = TopicReader(logs, committed=True)
        self._blocked, self._free_ms, self._bug, self._fixed = blocked, free_ms, bug, fixed
        self._moments: dict[str, set[tuple[int, str]]] = {}
        """Of each number that decisions blocked: their moments with their ids."""
        self._where: dict[int, list[tuple[int, str]]] = {}
        """Offsets of those decisions with their numbers, by partition."""
        self._ends: dict[int, int] = {}
        """The offset behind the last decision of each partition."""

    async def start(self) -> None:
        """Start the servers."""
        await self.store.start()

    def settings(self, settings: Settings, state_dir: Path) -> Settings:
        """Return a sink's settings."""
        redis = replace(settings.sinks.redis, preload=self.plan.preload)
        if self.plan.sentinels:
            addresses = self.store.addresses
            redis = replace(redis, url="redis:///0", sentinels=addresses, sentinel_master=MASTER)
        else:
            redis = replace(redis, url=self.store.url)
        return replace(
            settings,
            sinks=replace(settings.sinks, redis=redis),
            lists=replace(settings.lists, state_dir=str(state_dir)),
        )

    def jobs(self) -> Iterator[tuple[float, Callable[[], Any]]]:
        """Yield each kind of fault with its mean time."""
        for kind in self.plan.faults.kinds:
            of, _, what = kind.partition("_")
            clients = [sink.name for sink in self.sinks]
            fault = (
                partial(getattr(self.accidents, what), clients)
                if of == "proxies"
                else getattr(self, f"_{what}")
            )
            yield getattr(self.plan.faults, kind), fault

    # Faults.

    async def _kill(self, *, reset: bool = True) -> None:
        sink = self.rng.choice(self.sinks)
        sink.kill(reset=reset)
        await asyncio.sleep(self.rng.expovariate(0.5))
        sink.start()

    async def _power(self) -> None:
        await self._kill(reset=False)

    async def _pause(self) -> None:
        sink = self.rng.choice(self.sinks)
        sink.pause()
        await asyncio.sleep(self.rng.choice((self.rng.expovariate(2), self.rng.expovariate(0.1))))
        sink.resume()

    async def _stop(self) -> None:
        sink = self.rng.choice(self.sinks)
        sink.stop()
        await asyncio.sleep(self.rng.expovariate(0.3))
        sink.start()

    async def _block(self) -> None:
        """Block a sink's link to a broker."""
        link = self.rng.choice(self.sinks).name, f"kafka-{self.rng.randrange(3)}"
        self.world.network.block(*link)
        await asyncio.sleep(self.rng.expovariate(0.25))
        self.world.network.heal(*link)

    async def calm(self) -> None:
        """End all faults of sinks and of their Redis."""
        await self.accidents.calm()
        for sink in self.sinks:
            sink.resume()
            sink.start()

    # What must hold.

    def check(self) -> None:
        """Look at all keys: none is made up, and none is missing below a committed position."""
        self._read()
        keys = self._keys()
        for number, key in keys.items():
            if fault := self._wrong(number, key):
                self._bug(f"the key of {number}: {fault}")
                return
        if not self._fixed or not self._complete():
            return
        for partition, position in self._positions().items():
            for offset, number in self._where.get(partition, ()):
                if offset < position and number not in keys:
                    place = f"{_TOPIC}/{partition}/{offset}"
                    self._bug(f"{place} blocked {number}, has no key, and is committed: {position}")
                    return

    async def until_settled(self) -> None:
        """Wait until all decisions are read and the keys are what they should be."""
        loop = self.world.loop
        ends_s = loop.time() + SETTLED_S
        while left := self._left():
            if loop.time() > ends_s:
                self._bug(f"{SETTLED_S:g} s after calm {left}")
                return
            await asyncio.sleep(_LOOK_S)
        self.check()

    def _left(self) -> str:
        """Return what is not right yet; "": nothing."""
        self._read()
        positions = self._positions()
        for partition, end in self._ends.items():
            if positions.get(partition, 0) < end:
                return f"{_TOPIC}/{partition} is read to {positions.get(partition, 0)} of {end}"
        if not self._complete():
            return f"the keys are not complete: {self._meta()}"
        keys, blocked = self._keys(), self._blocked()
        if more := keys.keys() - blocked:
            return f"{sorted(more)} have keys and are not blocked"
        newest = {number: max(moments)[0] for number, moments in self._moments.items()}
        since = {n for n in blocked & newest.keys() if newest[n] > self._free_ms.get(n, 0)}
        if missing := (blocked if self.plan.preload else since) - keys.keys():
            return f"{sorted(missing)} have no keys"
        for number in since:
            if int(keys[number][b"decided_at"]) != newest[number]:
                return f"the key of {number} is not of its last decision: {keys[number]}"
        return ""

    def _read(self) -> None:
        for record in self._reader.read():
            decision = decision_in(record)
            self._ends[record.partition] = record.offset + 1
            if decision["verdict"] == "block":
                moment = read_rfc3339(decision["decided_at"], None)
                assert moment is not None
                one = round(moment.timestamp() * 1000), decision["decision_id"]
                self._moments.setdefault(decision["caller"], set()).add(one)
                place = record.offset, decision["caller"]
                self._where.setdefault(record.partition, []).append(place)

    def _wrong(self, number: str, key: dict[bytes, bytes]) -> str:
        if self._fixed and number not in self._blocked():
            return "no list blocks it"
        decided_ms, name = int(key[b"decided_at"]), key[b"decision_id"].decode()
        if not decided_ms:
            return "" if self.plan.preload else "no call led to it"
        known = self._moments.get(number, set())
        return "" if (decided_ms, name) in known else f"{name} of {decided_ms} is no decision"

    def _keys(self) -> dict[str, dict[bytes, bytes]]:
        held = self.store.nodes[self.store.primary].database.keys
        return {key[3:].decode(): held[key] for key in held if key.startswith(b"bl:+")}

    def _meta(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = self.store.nodes[self.store.primary].database.keys.get(
            b"bl:meta", {}
        )
        return found

    def _complete(self) -> bool:
        """Return whether the keys are said to be complete, in this run of the primary."""
        run = self.store.nodes[self.store.primary].run_id
        return self._meta().get(b"redis", b"").decode() == run

    def _positions(self) -> dict[int, int]:
        offsets = self.world.cluster.group(_GROUP).offsets
        return {number: at for (topic, number), (at, _) in offsets.items() if topic == _TOPIC}

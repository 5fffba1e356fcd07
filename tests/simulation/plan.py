"""A plan: all that a seed draws before a history begins.

Swarm testing: a seed draws which kinds of fault there are at all, and how often each. So some
histories have one kind alone and often, which a mixture of all would drown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from random import Random

from tests.simulation.doors import DoorPlan
from tests.simulation.fault_kinds import FaultKinds
from tests.simulation.kafka.cluster import Pace
from tests.simulation.listing import ListPlan
from tests.simulation.network import Weather
from tests.simulation.partners.plan import PartnerPlan
from tests.simulation.sinking import SinkPlan


@dataclass(frozen=True)
class Swarm(FaultKinds):
    """Faults of brokers, links, workers and topics."""

    broker_kill: float = 0.0
    broker_power: float = 0.0
    leader_move: float = 0.0
    coordinator_move: float = 0.0
    hang_up: float = 0.0
    refuse: float = 0.0
    link_block: float = 0.0
    link_deaf: float = 0.0
    link_slow: float = 0.0
    half_open: float = 0.0
    worker_kill: float = 0.0
    worker_power: float = 0.0
    worker_pause: float = 0.0
    worker_stop: float = 0.0
    scale: float = 0.0
    upgrade: float = 0.0
    clock: float = 0.0
    disk: float = 0.0
    partitions: float = 0.0
    retention: float = 0.0
    topic_again: float = 0.0
    unclean: float = 0.0
    broker_disk: float = 0.0
    abort: float = 0.0

    @classmethod
    def drawn(cls, rng: Random, seed: int) -> "Swarm":
        """Draw about a fifth of the kinds. Topics change rarely, as they do."""
        kinds = [one.name for one in fields(cls) if one.name not in DRAWN_APART]
        means = {kind: rng.uniform(1.0, 8.0) for kind in kinds if rng.random() < 0.2}
        if rng.random() < 0.5:
            means.pop("topic_again", None)
        for kind in ASKED_FOR:
            means.pop(kind, None)
        for kind, name in DRAWN_APART.items():
            apart = Random(f"{name} of {seed}")
            if apart.random() < 0.1:
                means[kind] = apart.uniform(1.0, 8.0)
        return cls(**means)


ASKED_FOR = ("unclean",)
"""Kinds that no seed draws: Kafka loses acknowledged records there, as an operator allowed it."""
DRAWN_APART = {"broker_disk": "more faults", "abort": "aborts"}
"""Kinds that came later, by the names of their chance: other seeds stay the histories they were."""


@dataclass(frozen=True)
class Plan:
    """All that a seed draws before a history begins."""

    seed: int
    swarm: Swarm
    weather: Weather
    pace: Pace
    exactly_once: bool
    named: bool
    workers: int
    faults_s: float
    batches: int
    turn_s: float
    lists: ListPlan | None = None
    """None: the lists are fixed."""
    sinks: SinkPlan | None = None
    """None: nothing reads the decisions."""
    doors: DoorPlan | None = None
    """None: nobody asks by HTTP or SIP."""
    partners: PartnerPlan | None = None
    """None: it is a history of workers. Else it has none, and the rest of the plan has no part."""
    changes: tuple[int, ...] = ()
    """The numbers of its changes, one after the other, since it was drawn."""
    times: int = 1
    """As many times as long as drawn."""

    @classmethod
    def called(cls, name: str, asked_for: Sequence[str] = ()) -> "Plan":
        """Return the plan of a name: a seed, and what it was changed by (`48.3.9`)."""
        seed, *changes = map(int, name.split("."))
        plan = cls.of(seed)
        for change in changes:
            plan = plan.changed(change)
        return replace(plan, swarm=replace(plan.swarm, **dict.fromkeys(asked_for, 4.0)))

    @property
    def name(self) -> str:
        """The name by which it is played again."""
        return ".".join(map(str, (self.seed, *self.changes)))

    @property
    def order(self) -> int:
        """The seed of the history's own chance."""
        return Random(self.name).getrandbits(64) if self.changes else self.seed

    def changed(self, change: int) -> "Plan":
        """Return it with one or two kinds of fault more, less or rarer, and in another order."""
        rng = Random(f"{self.name}.{change}")
        kinds = [one.name for one in fields(Swarm) if one.name not in ASKED_FOR]
        means = {
            kind: 0.0 if rng.random() < 0.3 else rng.uniform(0.5, 8.0)
            for kind in rng.sample(kinds, rng.randint(1, 2))
        }
        return replace(
            self, swarm=replace(self.swarm, **means), changes=(*self.changes, change)
        ).fitting()

    @classmethod
    def of(cls, seed: int) -> "Plan":
        """Draw the plan of a seed."""
        rng = Random(seed)
        return cls(
            seed=seed,
            swarm=Swarm.drawn(rng, seed),
            weather=Weather(
                delay_s=rng.choice((0.0002, 0.001, 0.01)),
                pieces=rng.choice((0.0, 0.3, 0.9)),
                cut=rng.choice((0.0, 0.0, 0.002, 0.01)),
                bytes_s=rng.choice((1e9, 1e9, 1e5)),
            ),
            pace=Pace(
                notice_s=rng.choice((0.2, 1.0, 5.0)),
                tell_s=rng.choice((0.01, 0.1, 0.5)),
                mark_s=rng.choice((0.002, 0.02, 0.2)),
            ),
            exactly_once=rng.random() < 0.5,
            named=rng.random() < 0.5,
            workers=rng.choice((1, 2, 2, 3)),
            faults_s=rng.choice((8.0, 15.0)),
            batches=rng.choice((20, 40)),
            turn_s=rng.choice((0.0, 0.0, 0.00002, 0.0002)),
            lists=ListPlan.of(seed),
            sinks=SinkPlan.of(seed),
            doors=DoorPlan.of(seed),
            partners=PartnerPlan.of(seed),
        ).fitting()

    def fitting(self) -> "Plan":
        """Return it without what changing lists, sinks or partners do not know yet."""
        if self.partners is not None:
            return replace(self, swarm=Swarm(), lists=None, sinks=None, doors=None)
        # Verdicts and keys are judged by the time that a decision says. A disk tears whole bases
        # too, which are synced: what is enforced then is of no version (seed 172).
        unknown = {"clock": self.lists or self.sinks, "disk": self.lists}
        without = {kind: 0.0 for kind, of in unknown.items() if of is not None}
        if not self.exactly_once:
            without["abort"] = 0.0
        doors = self.doors if self.lists is not None else None  # they follow a list store
        return replace(self, swarm=replace(self.swarm, **without), doors=doors)

    def longer(self, times: int) -> "Plan":
        """Return it `times` as long, with five times the faults and ten times the calls.

        Between them are times of rest, with all that happens in those: sessions and connections
        that idle, questions asked again, and calls that no fault excuses.
        """
        rarer = times / 5
        lists, sinks, doors, partners = self.lists, self.sinks, self.doors, self.partners
        return replace(
            self,
            swarm=self.swarm.rarer(rarer),
            faults_s=self.faults_s * times,
            batches=self.batches * 10,
            lists=lists
            and replace(lists, faults=lists.faults.rarer(rarer), changes=lists.changes * 10),
            sinks=sinks and replace(sinks, faults=sinks.faults.rarer(rarer)),
            doors=doors
            and replace(
                doors, faults=doors.faults.rarer(rarer), conversations=doors.conversations * 10
            ),
            partners=partners
            and replace(
                partners,
                faults=partners.faults.rarer(rarer),
                versions=partners.versions * 10,
                seconds=partners.seconds * times,
            ),
            times=times,
        )

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of fault that there are."""
        if self.partners is not None:
            return self.partners.kinds
        sides = (self.lists, self.sinks, self.doors)
        return sum((one.faults.kinds for one in sides if one is not None), self.swarm.kinds)

    @property
    def sides(self) -> list[str]:
        """Names of the sides that it has."""
        names = ("lists", "sinks", "doors", "partners")
        return [name for name in names if getattr(self, name) is not None]

    def without(self) -> Iterator["Plan"]:
        """Yield plans that have one kind of fault less."""
        for swarm in self.swarm.without():
            yield replace(self, swarm=swarm)
        if self.lists is not None:
            yield from (replace(self, lists=lists).fitting() for lists in self.lists.without())
        if self.sinks is not None:
            yield from (replace(self, sinks=sinks) for sinks in self.sinks.without())
        if self.doors is not None:
            yield from (replace(self, doors=doors) for doors in self.doors.without())
        if self.partners is not None:
            yield from (replace(self, partners=partners) for partners in self.partners.without())

    def __str__(self) -> str:
        if self.partners is not None:
            return f"seed {self.name}: {self.partners}"
        lists = "lists that change" if self.lists is not None else "fixed lists"
        delivery = "exactly once" if self.exactly_once else "at least once"
        if self.sinks is not None:
            lists += f", {self.sinks.sinks} sinks"
        if self.doors is not None:
            lists += ", doors"
        kinds = ", ".join(self.kinds) or "no faults"
        longer = f", {self.times} times as long" if self.times > 1 else ""
        return f"seed {self.name}{longer}: {self.workers} workers, {delivery}, {lists}: {kinds}"

"""The plan that a seed draws of a history with partners, in place of one with workers."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from random import Random

from tests.simulation.fault_kinds import FaultKinds
from tests.simulation.partners.web import OF_ANSWERS, UNSEEN
from tests.simulation.store.ensemble import StorePace

SHARE = 0.06
"""Of all seeds have partners, and no workers."""
OF_REPOSITORIES = ("older", "held_back", "mixed", "restamped")
"""Moods of a server that has kept every publication of a signed repository."""


@dataclass(frozen=True)
class PartnerFaults(FaultKinds):
    """Faults of feeds, the exchange, their list stores, and the partners' servers."""

    feeds_kill: float = 0.0
    feeds_power: float = 0.0
    feeds_pause: float = 0.0
    feeds_stop: float = 0.0
    feeds_clock: float = 0.0
    feeds_disk: float = 0.0
    feeds_block: float = 0.0
    register_kill: float = 0.0
    register_power: float = 0.0
    register_split: float = 0.0
    register_pause: float = 0.0
    register_full: float = 0.0
    register_block: float = 0.0
    web_kill: float = 0.0
    web_mood: float = 0.0
    exchange_kill: float = 0.0
    exchange_power: float = 0.0
    exchange_pause: float = 0.0
    exchange_stop: float = 0.0
    exchange_disk: float = 0.0
    exchange_rotate: float = 0.0
    home_kill: float = 0.0
    home_pause: float = 0.0
    home_block: float = 0.0

    @classmethod
    def drawn(cls, rng: Random) -> "PartnerFaults":
        """Draw about a third of the kinds; a partner that misbehaves more often than not."""
        drawn = cls.some(rng, 0.3, (4.0, 20.0))
        return replace(drawn, web_mood=rng.uniform(4.0, 12.0)) if rng.random() < 0.6 else drawn


_OF_COUNTRIES = [
    one.name for one in fields(PartnerFaults) if one.name.startswith(("exchange_", "home_"))
]


@dataclass(frozen=True)
class PartnerPlan:
    """All that a seed draws of its partners.

    `summed`: the plain one publishes checksums. `signed`: there is a country that shares a list.
    """

    faults: PartnerFaults
    pace: StorePace
    sentinels: bool
    moods: tuple[str, ...]
    summed: bool
    signed: bool
    versions: int
    seconds: float

    @classmethod
    def of(cls, seed: int) -> "PartnerPlan | None":
        """Draw it; None: the seed's history is one of workers."""
        rng = Random(f"partner side of {seed}")
        if rng.random() >= SHARE:
            return None
        faults = PartnerFaults.drawn(rng)
        if rng.random() < 0.15:
            faults = PartnerFaults()  # then each version is in force within its time
        summed, signed = rng.random() < 0.5, rng.random() < 0.6
        moods = [mood for mood in OF_ANSWERS if summed or mood not in UNSEEN]
        moods += 2 * OF_REPOSITORIES if signed else ()
        if not signed:
            faults = replace(faults, **dict.fromkeys(_OF_COUNTRIES, 0.0))
        return cls(
            faults=faults,
            pace=StorePace(
                lag_s=rng.choice((0.0005, 0.005, 0.5)),
                notice_s=rng.choice((1.0, 3.0)),
                tell_s=rng.choice((0.05, 0.5)),
            ),
            sentinels=rng.random() < 0.6,
            moods=tuple(rng.sample(moods, rng.choice((1, 3, 6)))),
            summed=summed,
            signed=signed,
            versions=rng.choice((6, 15)),
            seconds=rng.choice((60.0, 120.0)),
        )

    @property
    def kinds(self) -> list[str]:
        """Names of the kinds of fault that there are, and of the moods of servers."""
        return [*self.faults.kinds, *(self.moods if self.faults.web_mood else ())]

    def without(self) -> Iterator["PartnerPlan"]:
        """Yield plans with a kind of fault less, or a mood."""
        for faults in self.faults.without():
            yield replace(self, faults=faults)
        for mood in self.moods if len(self.moods) > 1 else ():
            yield replace(self, moods=tuple(one for one in self.moods if one != mood))

    def __str__(self) -> str:
        who = "a country's signed list and a plain one" if self.signed else "a plain list"
        return f"partners with {who}: {', '.join(self.kinds) or 'no faults'}"

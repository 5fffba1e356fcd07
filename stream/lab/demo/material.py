"""The made-up material of a run: lists as files, and the traffic."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stream.core.model.moments import rfc3339
from stream.lab.demo.changes import Probe
from stream.lab.demo.traffic import LIVE, RECORDED, Traffic, make_traffic
from stream.lab.demo.world import COUNTRIES, World, build_world, write_list

LIVE_S = 10.0
LIVE_PER_S = 2_000
"""Of a mid-sized carrier, its busy hour: latency at a rate that people have, not under a flood."""
PROBES_PER_S = 200
"""Calls of each of the two changing numbers, part of `LIVE_PER_S`. There is one every 5 ms, so the
time from change to enforcement is known that exactly."""
LIVE_SHARE_MAX = 0.25


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run: all its calls, and numbers per list."""

    calls: int
    numbers: int
    seed: int

    @property
    def live(self) -> int:
        """Calls of the live part that are not of the two changing numbers."""
        return min(
            round(LIVE_S * (LIVE_PER_S - 2 * PROBES_PER_S)), int(self.calls * LIVE_SHARE_MAX)
        )

    @property
    def probes(self) -> int:
        """Calls of the two changing numbers together."""
        return round(2 * LIVE_S * PROBES_PER_S)

    @property
    def recorded(self) -> int:
        """Calls that lie in the topic before the engine starts."""
        return max(0, self.calls - self.live - self.probes)


@dataclass(frozen=True, slots=True)
class Material:
    """The made-up world, its lists as files by list name, and the traffic in its two parts."""

    world: World
    files: Sequence[tuple[str, Path, int]]
    recorded: Traffic
    live: Traffic
    changes: tuple[Probe, Probe]


def make_material(scale: Scale, folder: Path, now_s: int) -> Material:
    """Make all of it, the files in `folder`; pure but for the files, and some seconds of work."""
    world = build_world(scale.seed, scale.numbers)
    reported_at = str(rfc3339(now_s - 86_400))
    files = []
    for country in COUNTRIES:
        path = folder / f"{country.list.replace('/', '-')}.csv"
        write_list(world.lists[country.list], path, reported_at)
        files.append((country.list, path, len(world.lists[country.list])))
    return Material(
        world=world,
        files=files,
        recorded=make_traffic(world, scale.recorded, scale.seed + 1, now_s, RECORDED),
        live=make_traffic(world, scale.live, scale.seed + 2, now_s, LIVE),
        changes=(
            Probe("add", world.to_add, "MM/scam"),
            Probe("remove", world.to_remove, "KH/scam"),
        ),
    )

"""Takes in all that comes out of the engine, for the judge, the measurements and the screen."""

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

import msgspec

from stream.core.numbers.number import masked
from stream.lab.demo.changes import Probe
from stream.lab.demo.judge import SeenDecision, TruthJudge, Verdicts
from stream.lab.demo.traffic import RECORDED


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds; None where nothing was measured."""

    p50: float | None
    p99: float | None


class Enforced(msgspec.Struct, frozen=True):
    """Milliseconds from the command to the first call that got the new answer; None: never."""

    add: float | None
    remove: float | None


class DemoFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The file of `--json`. `calls` are all records sent, those that are no calls included."""

    calls: int
    listed_calls: int
    blocked: int
    flagged: int
    missed: int
    false_blocks: int
    rejected: int
    cdr_per_s: int | None
    latency_ms: Percentiles
    change_to_enforced_ms: Enforced
    broker: str
    redis: str


@dataclass
class Rate:
    """The engine's speed on the recorded calls, by its own decisions alone.

    A worker's first decisions appear when it has finished its first batch. So the clock starts
    there and that batch's share of the calls is left out. The result is a rate without start-up
    time.
    """

    calls: int
    _appended_ms: list[int] = field(default_factory=list)

    def decided(self, appended_ms: int) -> None:
        """Note the append time of a decision about a recorded call."""
        self._appended_ms.append(appended_ms)

    def per_s(self) -> int | None:
        """Records per second between the first and the last decision; None: too few to say."""
        if not self._appended_ms:
            return None
        first, last = min(self._appended_ms), max(self._appended_ms)
        later = sum(each > first for each in self._appended_ms)
        if not later:
            return None
        share = later / len(self._appended_ms)
        return round(self.calls * share / ((last - first) / 1000))


def percentiles(values_ms: Sequence[float]) -> Percentiles:
    """Median and 99th percentile (nearest rank)."""
    if not values_ms:
        return Percentiles(None, None)
    ranked = sorted(values_ms)
    return Percentiles(ranked[(len(ranked) - 1) // 2], ranked[(len(ranked) * 99 - 1) // 100])


NEWEST = 40
RATE_POINTS = 64
LATENCIES = 2000


class ShownDecision(NamedTuple):
    """One decision on the screen; `at` is a clock time, `lists` the ones that hold the number."""

    at: str
    verdict: str
    number: str
    role: str
    lists: str
    category: str


@dataclass
class RunPicture:
    """The state of one run, as a person watches it.

    `done` counts the calls that the engine has committed, `sent` those put on the topic, `total`
    those that there will be. `rates` are calls per second, newest last. Of calls that came in after
    `settled_ms`, milliseconds since the epoch, the decisions may still be on their way.
    """

    broker: str
    redis: str
    total: int
    changes: tuple[Probe, ...]
    phase: str = ""
    elapsed_s: float = 0.0
    settled_ms: float = inf
    sent: int = 0
    done: int = 0
    rejected: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    by_list: Counter[str] = field(default_factory=Counter)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_POINTS))
    newest: deque[ShownDecision] = field(default_factory=lambda: deque(maxlen=NEWEST))
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))

    def decided(self, seen: SeenDecision, at: str) -> None:
        """Take a decision in; those about the two changing numbers are shown by `changes` only."""
        self.verdicts[seen.verdict] += 1
        if any(change.owns(seen.call_id) for change in self.changes):
            return
        lists = [reason.list for reason in seen.reasons]
        self.by_list.update(lists)
        category = (seen.reasons[0].category if seen.reasons else None) or ""
        self.newest.appendleft(
            ShownDecision(
                at=at,
                verdict=seen.verdict,
                number=masked(seen.number or ""),
                role=seen.role,
                lists=" + ".join(lists),
                category=category.replace("_", " "),
            )
        )

    def waited(self, latency_ms: float) -> None:
        """Take in how long a live call waited for its decision."""
        self._latencies_ms.append(latency_ms)

    def latency(self) -> Percentiles:
        """Of the newest decisions about live calls."""
        return percentiles(self._latencies_ms)


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of a run; `picture` as it was last seen."""

    figures: DemoFigures
    verdicts: Verdicts
    picture: RunPicture


def clock_ms() -> float:
    """This machine's clock, milliseconds since the epoch."""
    return time.time() * 1000


class RunWatch:
    """Listens to decisions and acknowledgements. Latency is known once both are there.

    A live call's latency is the append time of its decision minus its own. The recorded calls wait
    in the topic for the engine to start, so theirs would mean nothing.
    """

    def __init__(
        self, judge: TruthJudge, picture: RunPicture, rate: Rate, changes: tuple[Probe, ...]
    ) -> None:
        self.latencies_ms: list[float] = []
        self._judge = judge
        self._picture = picture
        self._rate = rate
        self._changes = changes
        self._appended_ms: dict[str, int] = {}
        self._decided_ms: dict[str, int] = {}

    def decision(self, value: bytes | None, appended_ms: int) -> None:
        """A record of the decisions topic."""
        seen = self._judge.decision(value, clock_ms())
        if seen is None:
            return
        at = datetime.fromtimestamp(appended_ms / 1000, UTC).astimezone()
        self._picture.decided(seen, at.strftime("%H:%M:%S"))
        if seen.call_id.startswith(RECORDED):
            self._rate.decided(appended_ms)
        else:
            self._decided_ms[seen.call_id] = appended_ms
            self._wait_of(seen.call_id)

    def rejected(self, value: bytes | None) -> None:
        """A record of the topic of rejected records."""
        self._judge.rejected(value)
        self._picture.rejected += 1

    def acknowledged(self, call_id: str, appended_ms: int) -> None:
        """The broker has a live call."""
        if not call_id:
            return
        for change in self._changes:
            if change.owns(call_id):
                change.came_in(call_id, clock_ms())
        self._appended_ms[call_id] = appended_ms
        self._wait_of(call_id)

    def _wait_of(self, call_id: str) -> None:
        """Note the latency as soon as both times are there, whichever came first."""
        # Of a record sent twice it is not known which decision belongs to which copy.
        known = call_id in self._appended_ms and call_id in self._decided_ms
        if known and call_id not in self._judge.truth.copies:
            latency_ms = self._decided_ms.pop(call_id) - self._appended_ms.pop(call_id)
            self.latencies_ms.append(latency_ms)
            self._picture.waited(latency_ms)

"""What the demo shows, as one value; `screen.py` draws it. Nothing here draws or waits."""

from collections import Counter, deque
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from stream.core.numbers.number import masked
from stream.lab.demo.changes import Change
from stream.lab.demo.figures import Percentiles, percentiles
from stream.lab.demo.judge import Seen

NEWEST = 40
RATE_POINTS = 64
LATENCIES = 2000


class Line(NamedTuple):
    """One decision on the screen; `at` is a clock time, `lists` the ones that hold the number."""

    at: str
    verdict: str
    number: str
    role: str
    lists: str
    category: str


@dataclass
class Picture:
    """The state of one run, as far as a person watches it.

    `done` counts the calls that the engine has committed, `sent` those put on the topic, `total`
    those that there will be. `rates` are calls per second, newest last. Of calls that came in after
    `settled_ms`, milliseconds since the epoch, the decisions may still be on their way.
    """

    broker: str
    redis: str
    total: int
    changes: tuple[Change, ...]
    phase: str = ""
    elapsed_s: float = 0.0
    settled_ms: float = inf
    sent: int = 0
    done: int = 0
    rejected: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    by_list: Counter[str] = field(default_factory=Counter)
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=RATE_POINTS))
    newest: deque[Line] = field(default_factory=lambda: deque(maxlen=NEWEST))
    _latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))

    def decided(self, seen: Seen, at: str) -> None:
        """Take a decision in; those about the two changing numbers are shown by `changes` only."""
        self.verdicts[seen.verdict] += 1
        if any(change.owns(seen.call_id) for change in self.changes):
            return
        lists = [reason.list for reason in seen.reasons]
        self.by_list.update(lists)
        category = (seen.reasons[0].category if seen.reasons else None) or ""
        self.newest.appendleft(
            Line(
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

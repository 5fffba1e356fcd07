"""Takes in all that comes out of the engine, for the judge, the measurements and the screen."""

import time
from datetime import UTC, datetime

from stream.lab.demo.changes import Change
from stream.lab.demo.figures import Rate
from stream.lab.demo.judge import Judge
from stream.lab.demo.picture import Picture


def clock_ms() -> float:
    """This machine's clock, milliseconds since the epoch."""
    return time.time() * 1000


class Watch:
    """Listens to decisions and acknowledgements. Latency is known once both are there.

    A live call's latency is the append time of its decision minus its own; the recorded calls wait
    in the topic for the engine to start, so theirs would say nothing.
    """

    def __init__(
        self, judge: Judge, picture: Picture, rate: Rate, changes: tuple[Change, ...]
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
        """Note the latency as soon as both times are there, whichever was heard of first."""
        # Of a record sent twice it is not known which decision belongs to which copy.
        known = call_id in self._appended_ms and call_id in self._decided_ms
        if known and call_id not in self._judge.truth.copies:
            latency_ms = self._decided_ms.pop(call_id) - self._appended_ms.pop(call_id)
            self.latencies_ms.append(latency_ms)
            self._picture.waited(latency_ms)


RECORDED, LIVE = "rec", "live"
"""The series of the recorded and of the live calls: how their ids begin."""

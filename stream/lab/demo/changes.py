"""The two numbers whose listing changes while calls flow: when it changed, and from when it held.

Either state of the list may judge a call while the change is on its way. Its decision is taken a
moment after it came in. So its calls count as missed or falsely blocked only where no doubt is
left; what happens in between is what the demo measures. All times are this machine's clock, in
milliseconds since the epoch, so a broker whose clock is off changes nothing.
"""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from stream.lab.demo.traffic import SentRecord, cdr
from stream.lab.demo.world import COUNTRIES

GRACE_MS = 1000
"""The product's own floor: a change holds for every call that comes in later than this."""
CALLEE = "+66819990000"


@dataclass
class Probe:
    """One number, added to `list` or removed from it, and the calls that it makes all the while.

    `begun_ms` is the moment before the command, `committed_ms` when the store had answered; None
    before. A call's time is that of its acknowledgement: never before it lay in the broker's log.
    """

    kind: Literal["add", "remove"]
    number: str
    list: str
    begun_ms: float | None = None
    committed_ms: float | None = None
    blocks: int = 0
    _came_in_ms: dict[str, float] = field(default_factory=dict)
    _blocked_ms: dict[str, float] = field(default_factory=dict)
    _sent: int = 0

    def owns(self, call_id: str) -> bool:
        """True for a call of this number."""
        return call_id.startswith(f"{self.kind}-")

    def next_call(self, stamp: str) -> SentRecord:
        """Another call of the number, to one and the same innocent number in Thailand."""
        self._sent += 1
        call_id = f"{self.kind}-{self._sent:06d}"
        trunk = COUNTRIES[0].trunk
        value = cdr(call_id, self.number, CALLEE, trunk, stamp, abroad=True, duration_s=self._sent)
        return SentRecord(call_id, value)

    def came_in(self, call_id: str, acknowledged_ms: float) -> None:
        """Note that the broker has a call."""
        self._came_in_ms[call_id] = acknowledged_ms

    def decided(self, call_id: str, verdict: str, read_ms: float) -> None:
        """Note a decision that was read from the topic at `read_ms`."""
        if verdict == "block":
            self.blocks += 1
            self._blocked_ms.setdefault(call_id, read_ms)

    @property
    def calls(self) -> int:
        """Calls of the number that came in so far."""
        return len(self._came_in_ms)

    def blocks_due(self) -> int:
        """Calls that were rightly blocked or had to be."""
        return self.blocks - self.false_blocks() + self.missed()

    def missed(self) -> int:
        """Calls let through that came in while the number was listed beyond doubt."""
        open_calls = [
            at_ms for call_id, at_ms in self._came_in_ms.items() if call_id not in self._blocked_ms
        ]
        if self.kind == "add":
            return sum(self._holds(at_ms) for at_ms in open_calls)
        return sum(self._well_before(at_ms) for at_ms in open_calls)

    def false_blocks(self) -> int:
        """Calls blocked wrongly beyond doubt: before the addition, or well after the removal."""
        if self.kind == "add":
            return sum(
                self.begun_ms is None or read_ms < self.begun_ms
                for read_ms in self._blocked_ms.values()
            )
        return sum(
            self._holds(self._came_in_ms.get(call_id, read_ms))
            for call_id, read_ms in self._blocked_ms.items()
        )

    def enforced_ms(self, until_ms: float = inf) -> float | None:
        """From the command to the first call that got the new answer, with every later one too.

        Counted from `begun_ms`, before the store was called, to when that call came in. The
        resolution is the gap between two calls of the number. Calls that came in after `until_ms`
        are left out: their decisions may be on the way. None: not made, or never took hold; nor can
        a number be unblocked that never was blocked.
        """
        if self.begun_ms is None or not self.blocks:
            return None
        first_ms: float | None = None
        for call_id, at_ms in reversed(self._came_in_ms.items()):
            if at_ms > until_ms:
                continue
            if at_ms < self.begun_ms or (call_id in self._blocked_ms) is not (self.kind == "add"):
                break
            first_ms = at_ms
        return None if first_ms is None else first_ms - self.begun_ms

    def _holds(self, at_ms: float) -> bool:
        return self.committed_ms is not None and at_ms >= self.committed_ms + GRACE_MS

    def _well_before(self, at_ms: float) -> bool:
        return self.begun_ms is None or at_ms < self.begun_ms - GRACE_MS

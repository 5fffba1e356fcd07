"""The only clock of the shell; the core gets its readings as arguments."""

import time


def now_ms() -> int:
    """Milliseconds since the epoch: for decisions, and to compare with Kafka's timestamps."""
    return time.time_ns() // 1_000_000


def now_s() -> int:
    """Whole seconds since the epoch: for expiry and ages of lists."""
    return int(time.time())


def monotonic_s() -> float:
    """Seconds from an arbitrary moment, never set back: for waits and deadlines."""
    return time.monotonic()


class Deadline:
    """One moment that all steps of a shutdown share, instead of a time-out each.

    Time-outs of single steps add up, and systemd and Kubernetes kill a process that takes too long.
    Before it is started there is no limit.
    """

    def __init__(self) -> None:
        self._at_s: float | None = None

    def start(self, within_s: float) -> None:
        """Set the moment, `within_s` seconds from now; later calls change nothing."""
        if self._at_s is None:
            self._at_s = monotonic_s() + within_s

    @property
    def left_s(self) -> float | None:
        """Seconds until then, never negative; None before it was started."""
        return None if self._at_s is None else max(0.0, self._at_s - monotonic_s())

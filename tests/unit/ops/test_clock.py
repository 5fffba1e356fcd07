"""One deadline for all steps of a shutdown."""

import pytest

from stream.ops import clock
from stream.ops.clock import Deadline


def test_a_deadline_is_shared_and_does_not_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step gets what the ones before it left; a second signal does not give more time."""
    now_s = [100.0]
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s[0])
    assert Deadline().left_s is None
    deadline = Deadline()
    deadline.start(20)
    now_s[0] += 15
    deadline.start(20)
    assert deadline.left_s == 5
    now_s[0] += 15
    assert deadline.left_s == 0


def test_the_clock_is_in_the_units_it_says() -> None:
    """Milliseconds and seconds agree."""
    assert abs(clock.now_ms() / 1000 - clock.now_s()) < 2

"""Measure how the time of an expression grows: CPU time only, and only where there is some.

A load beside it cannot fail this. What takes less than `ENOUGH_S` for 64 KB is linear, or as good:
a quadratic one takes seconds. What takes more is measured at n and 2n, the least of two and more.
An expression that never ends is interrupted by a timer of the process's own CPU time; while that
runs, `process_time` counts in ticks, and `thread_time` is exact.
"""

import math
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.growth.attacks import Attack, attacks

SMALL, LARGE = 256, 65_536
ENOUGH_S = 0.01
GUARD_S = 10.0
FACTOR_MAX = 3.0
ROUNDS, ROUNDS_MAX = 2, 20
WORST = 4


class TakesForever(Exception):
    """One call took more than GUARD_S of CPU time."""


def too_slow(pattern: "re.Pattern[Any]", methods: frozenset[str]) -> str | None:
    """Which text takes how long, if one takes more than a linear expression would; else None."""
    for method in sorted(methods):
        apply = applied(pattern, method)
        try:
            wrong = grows(apply, attacks(pattern), isinstance(pattern.pattern, bytes))
        except TakesForever as endless:
            wrong = str(endless)
        if wrong is not None:
            return f"{method} of {pattern.pattern!r}: {wrong}"
    return None


def applied(pattern: "re.Pattern[Any]", method: str) -> Callable[[Any], object]:
    """A call of one method; what gives an iterator is read to its end."""
    if method == "finditer":
        return lambda text: sum(1 for _ in pattern.finditer(text))
    if method in {"sub", "subn"}:
        return lambda text: pattern.sub(text[:0], text)
    call: Callable[[Any], object] = getattr(pattern, method)
    return call


def grows(apply: Callable[[Any], object], tried: list[Attack], is_bytes: bool) -> str | None:
    """Which of the texts takes more than linear time; None: none.

    Small ones first, for an exponential one ends there; then the worst of them large.
    """
    small = {attack: _seconds(apply, attack, SMALL, is_bytes) for attack in tried}
    for attack in sorted(tried, key=lambda attack: -small[attack])[:WORST]:
        if _seconds(apply, attack, LARGE, is_bytes) <= ENOUGH_S:
            continue
        half = whole = math.inf
        for number in range(1, ROUNDS_MAX + 1):
            # In turns: beside other work a second of CPU does more at one moment than at the next.
            half = min(half, _seconds(apply, attack, LARGE // 2, is_bytes))
            whole = min(whole, _seconds(apply, attack, LARGE, is_bytes))
            if number >= ROUNDS and whole <= max(ENOUGH_S, FACTOR_MAX * half):
                break
        else:
            return f"{whole:.3f} s for {LARGE} characters, {half:.3f} s for half: {attack}"
    return None


def _seconds(apply: Callable[[Any], object], attack: Attack, size: int, is_bytes: bool) -> float:
    text: str | bytes = attack.text(size)
    if is_bytes:
        assert isinstance(text, str)
        text = text.encode("latin-1", "replace")
    with _guarded(attack, size):
        began_s = time.thread_time()
        apply(text)
        return time.thread_time() - began_s


@contextmanager
def _guarded(attack: Attack, size: int) -> Iterator[None]:
    def end(*_: object) -> None:
        raise TakesForever(f"no end after {GUARD_S:g} s of CPU for {size} characters: {attack}")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, GUARD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

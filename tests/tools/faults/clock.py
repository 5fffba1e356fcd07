"""A clock that runs 30 times faster: rules for the lab, and series for promtool.

In the lab every duration of a rule (`for`, ranges, offsets) and every limit on an age is divided by
`PACE`; a limit below 4 s would be about how often things are written, and stays 4 s. Days until
something expires are not divided: certificates and signatures are made to expire soon.

A recording is stretched: the samples of each second become those of each half minute, the time from
an event to its sample 30 times what it was, the time that is left until an expiry what it was.
Counters and gauges are as they were, so a rate is a thirtieth of the real one.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

PACE = 30
LEAST_S = 4.0
LATE = 3
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?<![\w.:])(\d+)([smhd])(?![\w:])")
_AGE = re.compile(
    r"(_age_seconds (?:>|< bool) |published_timestamp_seconds > |_waiting_seconds > "
    r"|start_time_seconds < )(\d+)"
)


def fast(rules: str) -> str:
    """The text of a file of rules, for the lab."""

    def shorter(found: re.Match[str]) -> str:
        ms = int(found[1]) * _UNITS[found[2]] * 1000 // PACE
        return f"{ms // 1000}s" if ms % 1000 == 0 else f"{ms}ms"

    lines = [
        line
        if line.lstrip().startswith(("#", "summary", "feels"))
        else _DURATION.sub(shorter, line)
        for line in rules.splitlines()
    ]
    return _AGE.sub(
        lambda found: f"{found[1]}{max(int(found[2]) / PACE, LEAST_S):g}", "\n".join(lines)
    )


def stretched(name: str, samples: Iterable[tuple[float, float]], begin_s: float) -> Iterator[float]:
    """The values of a series whose samples (seconds, value) were a second apart."""
    for at_s, value in samples:
        now_s = (at_s - begin_s) * PACE
        if name.endswith("_expires_timestamp_seconds"):
            yield now_s + value - at_s
        elif name.endswith("_waiting_seconds"):
            yield value * PACE
        elif name.endswith(("_timestamp_seconds", "_time_seconds")):
            yield (value - begin_s) * PACE if value else -begin_s  # 0, "never", is long ago
        else:
            yield value


def notation(values: Sequence[float | None]) -> str:
    """Promtool's way to write a series; None: there is none. Runs of one value are short.

    A gap of up to `LATE` samples is a scrape that took longer than its second on a busy machine (a
    scraper every 10 s would not have noticed): the value before stands in. A longer one is the end
    of a series, as Prometheus marks it; else the last value would stay for 5 minutes.
    """
    words: list[str] = []
    for place, (value, many) in enumerate(_runs(_filled(values))):
        if value is None:
            words += ["stale", f"_x{many - 1}"] if place else [f"_x{many}"]
        else:
            text = "NaN" if math.isnan(value) else f"{round(value, 3):.12g}"
            words.append(text if many == 1 else f"{text}x{many - 1}")
    return " ".join(words)


def _filled(values: Sequence[float | None]) -> list[float | None]:
    filled: list[float | None] = []
    for value, many in _runs(values):
        late = value is None and many <= LATE and filled
        filled += [filled[-1] if late else value] * many
    return filled


def _runs(values: Sequence[float | None]) -> list[tuple[float | None, int]]:
    return [(value, len(list(same))) for value, same in groupby(values)]

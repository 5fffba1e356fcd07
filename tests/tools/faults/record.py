"""Prometheus' samples around a fault, as input for `promtool test rules`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.promql import alerts, metrics_of, rules
from tests.tools.faults.clock import PACE, notation, stretched
from tests.tools.faults.watch import Prometheus

GOLDEN = Path(__file__).parents[2] / "golden/alerts"
_HEAD = """\
# {alert}, from a real run of its fault: `python -m tests.tools.faults` wrote this. One sample a
# second was scraped; here the clock runs {pace} times slower (tests/tools/faults/clock.py says what
# that does to values). It fires while the fault is there, and clears.
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """When things were so, in seconds since the epoch; `before_s` 0: it was so from the start."""

    alert: str
    begin_s: float
    before_s: float
    firing_s: float
    cleared_s: float


def selectors(alert: str) -> set[str]:
    """Return an alert's expression as metrics, with their buckets' limits if given."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    found, left = set(), [alerts()[alert]["expr"]]
    while left:
        expression = left.pop()
        for name in metrics_of(expression) - {"ALERTS"}:  # the rules themselves make these
            if name in recorded:
                left.append(recorded[name])
            else:
                limit = re.search(rf'{name}{{(le="[^"]*")}}', expression)
                found.add(f"{name}{{{limit[1]}}}" if limit else name)
    return found


def _title(labels: Mapping[str, str]) -> str:
    inside = ", ".join(f'{key}="{labels[key]}"' for key in sorted(labels) if key != "__name__")
    return f"{labels['__name__']}{{{inside}}}"


async def _series(
    prometheus: Prometheus, seen: Seen, names: Mapping[str, str]
) -> list[dict[str, str]]:
    made = []
    seconds = int(seen.cleared_s - seen.begin_s) + 1
    for selector in sorted(selectors(seen.alert)):
        for one in await prometheus.series(selector, seen.begin_s, seen.cleared_s):
            labels = one["metric"]
            labels["instance"] = names[labels["instance"].rpartition(":")[2]]
            samples = [(float(at), float(value)) for at, value in one["values"]]
            values: list[float | None] = [None] * seconds
            stretch = stretched(labels["__name__"], samples, seen.begin_s)
            for (at_s, _), value in zip(samples, stretch, strict=True):
                values[round(at_s - seen.begin_s)] = value
            made.append({"series": _title(labels), "values": notation(values)})
    return made


async def write(prometheus: Prometheus, seen: Seen, names: Mapping[str, str]) -> Path:
    """One alert's file of tests. `names` are what instances are called, by port."""

    def check(at_s: float, firing: int) -> dict[str, Any]:
        expr = (
            f'count(ALERTS{{alertname="{seen.alert}", alertstate="firing"}}) > bool 0 or vector(0)'
        )
        minute = f"{int((at_s - seen.begin_s) * PACE)}s"
        return {
            "expr": expr,
            "eval_time": minute,
            "exp_samples": [{"labels": "{}", "value": firing}],
        }

    checks = [check(seen.before_s, 0)] if seen.before_s else []
    checks += [check(seen.firing_s, 1), check(seen.cleared_s - 1, 0)]
    test = {
        "rule_files": [f"../../../deploy/prometheus/{name}" for name in _files(seen.alert)],
        "evaluation_interval": f"{PACE}s",
        "tests": [
            {
                "interval": f"{PACE}s",
                "input_series": await _series(prometheus, seen, names),
                "promql_expr_test": checks,
            }
        ],
    }
    GOLDEN.mkdir(parents=True, exist_ok=True)
    path = GOLDEN / f"{seen.alert}.yml"
    head = _HEAD.format(alert=seen.alert, pace=PACE)
    path.write_text(head + yaml.safe_dump(test, sort_keys=False, width=10**9))
    return path


def _files(alert: str) -> Iterable[str]:
    more = ("slo.yml",) if alert.startswith(("Decisions", "ListsStale")) else ()
    return ("recording.yml", "alerts.yml", *more)

"""Do the metrics and labels that a PromQL expression names exist? For alerts and for dashboards.

A misspelt metric is no error to Prometheus: the panel is empty, the alert never fires.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stream.ops.metrics.catalogue import MetricEntry
from tests.support.metrics import entries

RULES = Path(__file__).parents[2] / "deploy/prometheus"
RULE_FILES = ("recording.yml", "alerts.yml", "slo.yml")

_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_TIMES = re.compile(r"\[[^\]]*\]|\boffset\s+-?\w+|@\s*[\w.()]+")
_WORD = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_KEYWORDS = {"and", "or", "unless", "bool", "inf", "Inf", "nan", "NaN", "atan2"}
_OF_SCRAPES = {"job", "instance"}
_OF_OTHERS = {"up", "scrape_duration_seconds", "ALERTS"} | {
    f"process_{name}"
    for name in (
        *("start_time_seconds", "cpu_seconds_total", "resident_memory_bytes"),
        *("virtual_memory_bytes", "open_fds", "max_fds"),
    )
}


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Every rule of deploy/prometheus: with `record` or `alert`, and `expr`."""
    files = ((RULES / name).read_text() for name in RULE_FILES)
    # In C: the safe loader's own Python takes 0.1 s of CPU for them.
    groups = (yaml.load(text, yaml.CSafeLoader)["groups"] for text in files)
    return tuple(rule for each in groups for group in each for rule in group["rules"])


def alerts() -> dict[str, dict[str, Any]]:
    """Every alert, by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


@cache
def _labels_by_series() -> Mapping[str, frozenset[str] | None]:
    """The labels of each series that there is; None: whatever its expression leaves."""
    known: dict[str, frozenset[str] | None] = {}
    for entry in entries():
        known |= dict.fromkeys(_series(entry), frozenset(entry.labels))
        if entry.kind == "histogram":
            known[f"{entry.name}_bucket"] = frozenset({*entry.labels, "le"})
    known |= dict.fromkeys(_OF_OTHERS)
    known |= {rule["record"]: None for rule in rules() if "record" in rule}
    return known


def _series(entry: MetricEntry) -> tuple[str, ...]:
    if entry.kind == "histogram":
        return tuple(f"{entry.name}_{suffix}" for suffix in ("bucket", "sum", "count"))
    return (entry.name,)


def metrics_of(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', "''", expression)
    text = re.sub(r"#[^\n]*", "", text)
    text = _TIMES.sub(" ", _GROUPING.sub(" ", re.sub(r"\{[^}]*\}", "", text)))
    return set(_WORD.findall(text)) - _KEYWORDS


def unknown(expression: str) -> list[str]:
    """Return the faults: metrics of no process, labels that a metric lacks. Empty: no fault."""
    known = _labels_by_series()
    wrong = [f"no metric {name}" for name in sorted(metrics_of(expression) - known.keys())]
    quiet = re.sub(r'"(?:[^"\\]|\\.)*"', "''", expression)
    for name, inside in _SELECTOR.findall(quiet):
        labels = known.get(name)
        if labels is not None:
            extra = set(_MATCHER.findall(inside)) - labels - _OF_SCRAPES
            wrong += [f"{name} has no label {label}" for label in sorted(extra)]
    return wrong

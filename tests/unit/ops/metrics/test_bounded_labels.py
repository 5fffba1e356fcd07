"""Ten thousand lists are two hundred series of a metric, and nothing is lost of the others."""

from collections import Counter as Counting
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.calls.call_batch import BatchTally, DecisionLabels
from stream.calls.loop import AcknowledgedBatch
from stream.core.model.decision import Verdict
from stream.engine.worker_metrics import WorkerMetrics
from stream.ops.metrics.catalogue import OTHERS, BoundedGauge, BoundedLabels, BoundedSeries

LISTS = [f"XX/list-{number:05}" for number in range(10_000)]


def live(name: str, number: int, synced_at_s: float = 1000.0) -> Any:
    """As much of a list as is looked at."""
    return SimpleNamespace(
        name=name,
        generation=number,
        synced_at_s=synced_at_s,
        overlay=range(number),
        snapshot=None,
        scope=None,
    )


def test_ten_thousand_lists_are_not_ten_thousand_series() -> None:
    """Each metric has at most 200 lists and the others; sums and the worst tell of all."""
    registry = CollectorRegistry()
    watched = WorkerMetrics(registry, {"calls": "ringfence"}, lists=BoundedLabels(200, ["KH/scam"]))
    lists = [live(name, 3, 1000 + place) for place, name in enumerate(LISTS)]
    lists[5000].synced_at_s = 7
    watched.look(None, SimpleNamespace(lists=lists))  # type: ignore[arg-type]
    counted = {
        DecisionLabels(Verdict.BLOCK, f"agreement:{name}", name, simulated=False): 2
        for name in LISTS
    }
    tally = BatchTally(Counting(counted), Counting(LISTS), Counting(LISTS))
    outcome: Any = SimpleNamespace(tally=tally, rejected=[], ids=np.zeros(0, "S16"))
    watched.done(AcknowledgedBatch(outcome, 1, np.zeros(1, np.int64), 0, 0, 0))
    samples = [one for family in registry.collect() for one in family.samples]
    of_lists = Counting(one.name for one in samples if "list" in one.labels)
    assert set(of_lists) >= {"ringfence_list_generation", "ringfence_decisions_total"}
    assert max(of_lists.values()) <= 201
    for name, others in (
        ("ringfence_list_synced_timestamp_seconds", 7),
        ("ringfence_list_generation", 3 * 9801),
        ("ringfence_list_changes", 3),
        ("ringfence_matches_observed_total", 9801),
    ):
        assert registry.get_sample_value(name, {"list": OTHERS}) == others, name
    blocks = [one.value for one in samples if one.name == "ringfence_decisions_total"]
    assert sum(blocks) == 20_000


def test_lists_of_the_configuration_have_series_of_their_own() -> None:
    """Whatever comes first: what an operator named is shown by name; "" takes no place."""
    named = BoundedLabels(2, ["KH/scam"])
    assert [named.label(name) for name in ("", "A/1", "A/2", "KH/scam", "A/1")] == [
        *("", "A/1", OTHERS, "KH/scam", "A/1")
    ]


def test_what_stands_beside_a_list_without_a_name_goes_with_it() -> None:
    """A rule of an agreement would be as many as the lists."""
    registry = CollectorRegistry()
    counter = Counter("x", "Y.", ["rule", "list", "verdict"], registry=registry)
    each = BoundedSeries(counter, BoundedLabels(1), (1, 0))
    for number in range(3):
        each.labels(f"rule {number}", f"list {number}", "block").inc()
    one = {"rule": "rule 0", "list": "list 0", "verdict": "block"}
    assert registry.get_sample_value("x_total", one) == 1
    others = {"rule": OTHERS, "list": OTHERS, "verdict": "block"}
    assert registry.get_sample_value("x_total", others) == 2


def test_a_list_that_is_gone_is_neither_old_nor_behind() -> None:
    """Its series stay (a process' files forget none), with a value that raises no alarm."""
    registry = CollectorRegistry()
    gauge = BoundedGauge(Gauge("x", "Y.", ["list"], registry=registry), BoundedLabels(1), max)
    gauge.set_all({"a": 5, "b": 7, "c": 9})
    gauge.set_all({"b": 8}, gone=1.0)
    assert registry.get_sample_value("x", {"list": "a"}) == 1
    gauge.set_gone(2.0)
    assert registry.get_sample_value("x", {"list": "a"}) == 2
    assert registry.get_sample_value("x", {"list": OTHERS}) == 8
    gauge.set_all({"a": 6}, gone=3.0)
    assert registry.get_sample_value("x", {"list": OTHERS}) == 3
    gauge.set_gone(4.0)
    assert registry.get_sample_value("x", {"list": OTHERS}) == 4
    assert registry.get_sample_value("x", {"list": "a"}) == 6


@pytest.mark.parametrize(("values", "worst"), [((3, 9, 4), 9), ((3, 9, 1), 9)])
def test_one_by_one_is_the_worst_too(values: tuple[int, ...], worst: int) -> None:
    """Feeds are reported one at a time."""
    registry = CollectorRegistry()
    gauge = BoundedGauge(Gauge("x", "Y.", ["feed"], registry=registry), BoundedLabels(1), max)
    gauge.set("first", 100)
    for name, value in zip("abc", values, strict=True):
        gauge.set(name, value)
    assert registry.get_sample_value("x", {"feed": OTHERS}) == worst
    gauge.set("b", 2)
    assert registry.get_sample_value("x", {"feed": OTHERS}) == max(values[0], 2, values[2])


def test_a_feed_that_is_gone_has_no_series() -> None:
    """Of those without a series of their own, the others' worst remains, and of none nothing."""
    registry = CollectorRegistry()
    gauge = BoundedGauge(Gauge("x", "Y.", ["feed"], registry=registry), BoundedLabels(1), max)
    for name, value in (("first", 1), ("a", 9), ("b", 4)):
        gauge.set(name, value)
    for name in ("first", "a", "never set"):
        gauge.forget(name)
    assert registry.get_sample_value("x", {"feed": "first"}) is None
    assert registry.get_sample_value("x", {"feed": OTHERS}) == 4
    gauge.forget("b")
    assert registry.get_sample_value("x", {"feed": OTHERS}) is None

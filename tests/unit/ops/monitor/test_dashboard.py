"""Figures from two readings are what happened between them; an absence is a figure too."""

import math

import pytest
from prometheus_client import CollectorRegistry, Histogram

from stream.ops.metrics.exposition import exposition
from stream.ops.monitor import metric_names
from stream.ops.monitor import rates as samples
from stream.ops.monitor.collect import Monitor
from stream.ops.monitor.dashboard import ProcessState, overview
from stream.ops.monitor.rates import (
    MetricsReading,
    MetricsUnreadable,
    ReadingPair,
    quantile,
    quantiles,
    rates,
    read,
)
from stream.ops.monitor.scrape import ScrapeAnswer
from stream.ops.monitor.targets import MonitorTarget, ProcessKind, address, other
from tests.support.metrics import entries

ENGINE = MonitorTarget("engine", ProcessKind.ENGINE, "http://127.0.0.1:9464")


def at(tick_s: float, text: str) -> MetricsReading:
    """A reading at one moment."""
    return read(text, at_s=1_000_000.0 + tick_s, tick_s=tick_s)


def test_every_metric_that_figures_are_made_of_is_in_the_catalogue() -> None:
    """A metric renamed in the catalogue alone would be a figure that is never there."""
    known = {entry.name: entry.kind for entry in entries()}
    assert metric_names.USED - {metric_names.STARTED} <= known.keys()
    assert {
        name for name in metric_names.USED if known.get(name) == "histogram"
    } == metric_names.HISTOGRAMS


def test_rates_are_of_all_processes_and_by_label() -> None:
    """Ten calls in two seconds here and five in one there are ten a second."""
    here = ReadingPair(
        at(0, 'ringfence_calls_total{topic="a"} 5\n'),
        at(2, 'ringfence_calls_total{topic="a"} 13\nringfence_calls_total{topic="b"} 2\n'),
    )
    there = ReadingPair(at(7, "ringfence_calls_total 1\n"), at(8, "ringfence_calls_total 6\n"))
    assert rates([here, there], metric_names.CALLS) == {"": 10.0}
    assert rates([here], metric_names.CALLS, "topic") == {"a": 4.0, "b": 1.0}
    assert rates([here], metric_names.CALLS, topic="b") == {"": 1.0}


def test_a_counter_that_fell_began_again() -> None:
    """After a restart a counter's growth is what it shows, never something negative."""
    pair = ReadingPair(at(0, "ringfence_calls_total 1e6\n"), at(10, "ringfence_calls_total 50\n"))
    assert rates([pair], metric_names.CALLS) == {"": 5.0}


def test_one_reading_says_nothing_of_rates() -> None:
    """An unknown value is not 0."""
    alone = ReadingPair(None, at(5, "ringfence_calls_total 50\n"))
    assert rates([alone], metric_names.CALLS) == {}
    seen = overview(0.0, [], {"engine": alone})
    assert (seen.calls_per_s, seen.latency_p99_s, seen.kafka_up, seen.span_s) == (None,) * 3 + (0,)


@pytest.mark.parametrize(
    ("wanted", "buckets", "expected"),
    [
        (0.5, {1.0: 10, 2.0: 20, math.inf: 20}, 1.0),
        (0.75, {1.0: 10, 2.0: 20, math.inf: 20}, 1.5),
        (0.25, {1.0: 10, 2.0: 20, math.inf: 20}, 0.5),  # from 0 within the first bucket
        (0.99, {1.0: 10, 2.0: 20, math.inf: 40}, 2.0),  # beyond the last: its bound
        (0.5, {1.0: 0, 2.0: 0, math.inf: 0}, None),
        (0.5, {1.0: 10, 2.0: 20}, None),  # no histogram without +Inf
        (0.0, {1.0: 0, 2.0: 4, math.inf: 4}, 1.0),
        (1.0, {1.0: 5, 2.0: 4, math.inf: 5}, 1.0),  # read between two steps: never less
    ],
)
def test_quantiles_are_prometheus_own(wanted, buckets, expected) -> None:
    """The same question to Prometheus gives the same answer."""
    assert quantile(wanted, buckets) == expected


def test_latency_is_of_the_time_between_only() -> None:
    """A day of slow calls before does not hide that they are quick now."""
    registry = CollectorRegistry()
    times = Histogram(metric_names.LATENCY, "Time.", registry=registry, buckets=(0.01, 0.1, 1.0))
    for _ in range(1000):
        times.observe(0.5)
    before = at(0, exposition(registry).decode())
    for _ in range(10):
        times.observe(0.005)
    found = quantiles(
        [ReadingPair(before, at(1, exposition(registry).decode()))], metric_names.LATENCY, (0.99,)
    )
    assert found == pytest.approx((0.0099,))


def test_bounds_that_not_all_have_are_left_out() -> None:
    """Two versions at once, one with finer buckets, are put together rightly."""
    text = 'ringfence_decision_latency_seconds_bucket{{le="{}"}} {}\n'
    fine = "".join(text.format(*one) for one in (("0.5", 2), ("1.0", 4), ("+Inf", 4)))
    coarse = "".join(text.format(*one) for one in (("1.0", 4), ("+Inf", 4)))
    pairs = [ReadingPair(at(0, ""), at(1, fine)), ReadingPair(at(0, ""), at(1, coarse))]
    assert quantiles(pairs, metric_names.LATENCY, (0.5,)) == (0.5,)


def test_what_figures_do_not_need_is_not_parsed() -> None:
    """A process with a million other series costs a look at the beginning of their lines."""
    text = 'python_info{broken\nringfence_calls_total{topic="a b"} 3 # {decision_id="X"} 1 2\n'
    assert at(0, text).samples == {metric_names.CALLS: {(("topic", "a b"),): 3.0}}


def test_too_many_series_and_garbage_are_refused(monkeypatch) -> None:
    """Whatever answers at a port: memory is bounded, and the message says what was wrong."""
    monkeypatch.setattr(samples, "SERIES_MAX", 2)
    lines = [f'ringfence_calls_total{{topic="{number}"}} 1' for number in range(3)]
    with pytest.raises(MetricsUnreadable, match="more than 2 series"):
        at(0, "\n".join(lines))
    with pytest.raises(MetricsUnreadable, match="text format"):
        at(0, 'ringfence_calls_total{topic="a"} three\n')
    # No figure can be made of these: `top`, the page and doctor would end.
    for line in (
        *('ringfence_lag_records{topic="a"} NaN', 'ringfence_lag_records{topic="a"} +Inf'),
        'ringfence_decision_latency_seconds_bucket{le="soon"} 1',
    ):
        with pytest.raises(MetricsUnreadable):
            at(0, line)


def test_lists_are_as_the_engine_that_is_furthest_behind() -> None:
    """Generation, age and blocks of each list, of two engines."""
    text = (
        'ringfence_list_generation{{list="KH/scam"}} {}\n'
        'ringfence_list_synced_timestamp_seconds{{list="KH/scam"}} {}\n'
        'ringfence_list_entries{{list="KH/scam"}} 500\n'
        'ringfence_decisions_total{{verdict="block",list="KH/scam",simulated="false"}} {}\n'
    )
    pairs = {
        "a": ReadingPair(at(0, text.format(7, 990, 10)), at(2, text.format(8, 995, 16))),
        "b": ReadingPair(at(0, text.format(7, 990, 0)), at(2, text.format(7, 990, 0))),
    }
    (found,) = overview(1000.0, [], pairs).lists
    assert (found.generation, found.age_s, found.entries) == (7, 10.0, 500)
    assert (found.blocks_per_s, found.flags_per_s, found.changes) == (3.0, 0.0, None)


class Script:
    """Answers in turn, and a clock that goes on by a second each time it is asked."""

    def __init__(self, *answers: ScrapeAnswer) -> None:
        self.answers = list(answers)
        self.now_s = 1_000_000.0

    async def ask(self, _places, at_s: float) -> list[ScrapeAnswer]:
        return [self.answers.pop(0)]

    def clock(self) -> float:
        self.now_s += 1
        return self.now_s


def heard(tick_s: float, text: str, *, ready: bool = True) -> ScrapeAnswer:
    """An answer with a reading."""
    return ScrapeAnswer(ENGINE, at(tick_s, text), ready, () if ready else ("lists are not loaded",))


AWAY = ScrapeAnswer(ENGINE, None, why="connection refused")


async def test_a_process_is_seen_come_and_go() -> None:
    """Unheard, starting, ready, away since its last answer, back; what is not known stays so."""
    script = Script(
        *(
            AWAY,
            heard(1, "ringfence_kafka_up 1\n", ready=False),
            heard(2, "ringfence_kafka_up 1\n"),
        ),
        *(heard(3, "ringfence_kafka_up 1\n"), AWAY, AWAY, heard(6, "ringfence_kafka_up 0\n")),
    )
    watch = Monitor([ENGINE], script.ask, script.clock)
    seen = [await watch.look() for _ in range(7)]
    processes = [one.processes[0] for one in seen]
    assert [one.state for one in processes] == [
        *(ProcessState.UNHEARD, ProcessState.NOT_READY, ProcessState.READY, ProcessState.READY),
        *(ProcessState.AWAY, ProcessState.AWAY, ProcessState.READY),
    ]
    assert processes[1].missing == ("lists are not loaded",)
    assert processes[3].since_s == processes[2].since_s
    assert processes[4].since_s == processes[5].since_s == 1_000_003.0
    assert processes[5].why == "connection refused"
    assert [one.kafka_up for one in seen] == [None, True, True, True, None, None, False]
    assert len(watch.trail) == 7


async def test_a_restart_is_seen_and_counts_from_nothing() -> None:
    """By the start time that a process tells; without one, by a counter that fell."""
    text = "process_start_time_seconds {}\nringfence_calls_total {}\n"
    script = Script(
        *(heard(0, text.format(50, 100)), heard(1, text.format(50, 110))),
        *(heard(2, text.format(90, 130)), heard(4, "ringfence_calls_total 20\n")),
    )
    watch = Monitor([ENGINE], script.ask, script.clock)
    seen = [await watch.look() for _ in range(4)]
    assert [one.processes[0].restarts for one in seen] == [0, 0, 1, 2]
    assert [one.calls_per_s for one in seen] == [None, 10.0, 130.0, 10.0]
    assert seen[1].processes[0].started_s == 50.0


async def test_another_machines_process_is_known_by_its_metrics() -> None:
    """`[ops] watch` names addresses alone."""
    place = other("http://10.0.0.5:9464/")
    script = Script(ScrapeAnswer(place, at(0, "ringfence_kafka_up 1\n"), ready=True))
    seen = await Monitor([place], script.ask, script.clock).look()
    assert seen.engine[0].place.name == "10.0.0.5:9464"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("10.1.2.3", "http://10.1.2.3:1"),
        ("fd00::1", "http://[fd00::1]:1"),
    ],
)
def test_a_server_on_all_addresses_is_asked_on_this_machine(host, expected) -> None:
    """An address to listen on is not always one to connect to."""
    assert address(host, 1) == expected

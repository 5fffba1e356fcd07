"""Metrics, readiness and log lines of a worker."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from stream.calls.call_batch import BatchTally, DecisionLabels, Outcome, OutOfScope
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.loop import AcknowledgedBatch
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks, shown
from stream.config.agreement_files import AgreementReading
from stream.core.filters.blocklists import EMPTY_BLOCKLISTS, fresh
from stream.core.model.agreement import Agreements
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Origin, Rejected, RejectReason
from stream.core.model.decision import Verdict
from stream.core.policy.list_scope import Scope
from stream.engine.worker_metrics import WorkerMetrics, WorkerState
from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent
from stream.lists.follower.list_events import EventKind, ListEvent
from stream.ops.clock import now_ms
from tests.support.agreements import agreement
from tests.support.builders import bare, blocklists, live, raw_of
from tests.unit.calls.test_decode import GOOD


@pytest.fixture
def watched() -> WorkerMetrics:
    return WorkerMetrics(CollectorRegistry(), {"calls": "ringfence"})


def a_source(**changes: Any) -> Any:
    """As much of a source as is looked at."""
    quiet = {"silent_s": 0.0, "stopped_partitions": 0, "partitions_by_aiokafka": 0}
    return SimpleNamespace(**{"lags": dict, "starts": {}, "assigned": True, **quiet, **changes})


def batch_of(*values: bytes, dialect: str = "ringfence") -> Any:
    """Raw records, and what they are in the dialect."""
    raw = raw_of(*values)
    settings = DecodeSettings(10_000, check_callee=True)
    return raw, decode(raw, {"calls": dialect_named(dialect, {})}, Trunks("TH"), settings)


def value(watched: WorkerMetrics, name: str, **labels: str) -> float | None:
    """One sample of the worker's metrics."""
    return watched.registry.get_sample_value(name, labels)


def test_whether_kernels_are_in_use_is_told(watched) -> None:
    """A gauge says how many workers are fast; ready waits no longer than it takes to know."""
    watched.state.kernels_awaited = True
    assert "the kernels are being compiled or loaded" in watched.state.readiness.missing
    watched.kernels("no Numba")
    assert value(watched, "ringfence_workers_compiled") == 0
    assert "kernels" not in " ".join(watched.state.readiness.missing)
    watched.kernels("")
    assert value(watched, "ringfence_workers_compiled") == 1


def test_readiness_names_what_comes_next() -> None:
    """The lists first, then Kafka, then partitions."""
    state = WorkerState()
    steps = [
        ({}, "the lists are not there: the list store does not answer"),
        ({"register_up": True}, "the lists are being loaded"),
        ({"lists_loaded": True}, "Kafka does not answer yet"),
        ({"kafka_up": True}, "no partitions are assigned"),
    ]
    for change, missing in steps:
        state = replace(state, **change)
        assert state.readiness.missing == (missing,)
    state = replace(state, assigned=True)
    assert state.readiness.ready


def test_a_worker_that_stops_is_not_ready(watched: WorkerMetrics) -> None:
    """Its gauge says so, whatever it still has."""
    watched.state.lists_loaded = watched.state.kafka_up = True
    for stopping, ready in ((False, 1), (True, 0)):
        watched.look(a_source(), EMPTY_BLOCKLISTS, stopping=stopping)
        assert value(watched, "ringfence_workers_ready") == ready


def test_every_closed_label_begins_at_nothing(watched: WorkerMetrics) -> None:
    """A rate over a counter that is not there yet would miss its first event."""
    for event in CallEvent:
        assert value(watched, "ringfence_call_events_total", event=event) == 0
    for kind in EventKind:
        assert value(watched, "ringfence_list_events_total", event=kind) == 0
    for reason in RejectReason:
        assert value(watched, "ringfence_records_rejected_total", reason=reason) == 0


def test_a_batch_is_counted_when_it_is_done(watched: WorkerMetrics) -> None:
    """Decisions, rejects and the ages of all its records."""
    counted = DecisionLabels(Verdict.BLOCK, "list:TH/national", "TH/national", simulated=False)
    rejected = Rejected(b"x", RejectReason.NOT_JSON, "", Origin("calls", 0, 1))
    tally = BatchTally(
        Counter({counted: 3}), Counter({"KH/scam": 2}), Counter({"MM/scam": 1}), 4, 2
    )
    tally.outside[OutOfScope("KH/scam", "country_not_allowed", True)] = 5
    none = np.zeros(0, "S16")
    outcome = Outcome(none, none, Texts.of(()), [rejected], tally)
    times_ms = np.full(5, now_ms() - 7)
    times_ms[2] = -1  # a record without a time has no age
    watched.done(AcknowledgedBatch(outcome, 3, times_ms, 0.001, 0.002, 0.010))
    labels = {"verdict": "block", "rule": "list:TH/national", "list": "TH/national"}
    assert value(watched, "ringfence_decisions_total", **labels, simulated="false") == 3
    assert value(watched, "ringfence_records_rejected_total", reason="not_json") == 1
    assert value(watched, "ringfence_matches_unconfirmed_total", list="KH/scam") == 2
    assert value(watched, "ringfence_matches_observed_total", list="MM/scam") == 1
    outside = {"list": "KH/scam", "reason": "country_not_allowed", "confirmed": "true"}
    assert value(watched, "ringfence_matches_out_of_scope_total", **outside) == 5
    assert value(watched, "ringfence_calls_unasked_total") == 4
    assert value(watched, "ringfence_calls_unscanned_total") == 2
    assert value(watched, "ringfence_decision_latency_seconds_count") == 4
    assert value(watched, "ringfence_decision_latency_seconds_sum") == pytest.approx(0.028, abs=60)
    assert value(watched, "ringfence_batch_duration_seconds_sum", step="publish") == pytest.approx(
        0.007
    )


def test_lists_of_hashes_are_counted_from_nothing(watched: WorkerMetrics) -> None:
    """Before the first match outside of its scope, each has its count, and filters their chance."""
    scoped = replace(live("KH/scam"), scope=Scope("kh", frozenset({855})))
    held = blocklists(scoped, fresh("MM/bare", b"", bare("MM/bare", ["+951"]), 0), live("TH/own"))
    watched.look(None, held)
    name = "ringfence_matches_out_of_scope_total"
    for one in ("KH/scam", "MM/bare"):
        labels = {"list": one, "reason": "own_service_number", "confirmed": "false"}
        assert value(watched, name, **labels) == 0
    samples = {s.labels.get("list") for m in watched.registry.collect() for s in m.samples
               if s.name == name}  # fmt: skip
    assert samples == {"KH/scam", "MM/bare"}
    assert value(watched, "ringfence_bare_filters_chance_ratio") == pytest.approx(0.001)


def test_a_partition_that_went_has_no_lag_here(watched: WorkerMetrics) -> None:
    """Its new reader tells; a sum over both would else count it twice."""
    lags = {Partition("calls", 0): 5, Partition("calls", 1): 7}
    source = a_source(lags=lambda: lags, starts=lags)
    watched.look(source, EMPTY_BLOCKLISTS)
    assert value(watched, "ringfence_lag_records", topic="calls", partition="1") == 7
    del lags[Partition("calls", 1)]
    watched.look(source, EMPTY_BLOCKLISTS)
    assert value(watched, "ringfence_lag_records", topic="calls", partition="1") == 0
    assert value(watched, "ringfence_lag_records", topic="calls", partition="0") == 5


def test_the_register_and_kafka_come_and_go(watched: WorkerMetrics) -> None:
    """Both are gauges that an alert can be put on."""
    watched.reached_kafka()
    watched.list_event(ListEvent(EventKind.REGISTER_UP, "", ""))
    assert value(watched, "ringfence_register_up") == value(watched, "ringfence_kafka_up") == 1
    watched.call_event(CallEvent.KAFKA_AWAITED)
    watched.list_event(ListEvent(EventKind.REGISTER_DOWN, "", ""))
    assert value(watched, "ringfence_register_up") == value(watched, "ringfence_kafka_up") == 0


def test_a_kafka_that_falls_silent_is_told_once(watched: WorkerMetrics, caplog) -> None:
    """In mid-run no client of Kafka reports it: the age of the last answer does."""
    caplog.set_level("INFO")
    watched.reached_kafka()
    source = a_source(silent_s=0.1)
    for silent_s, up in ((0.1, 1), (5.1, 0), (6.1, 0), (0.1, 1)):
        source.silent_s = silent_s
        watched.look(source, EMPTY_BLOCKLISTS)
        assert value(watched, "ringfence_kafka_up") == up
    assert value(watched, "ringfence_call_events_total", event="kafka_awaited") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "Kafka has not answered for 5 s, still trying; calls wait there",
        "Kafka answers again",
    ]


def test_partitions_that_are_not_read_as_they_should_be_are_told(watched: WorkerMetrics) -> None:
    """Stopped ones are the alarm, ordinary ones the reason why a worker is slow."""
    source = a_source(stopped_partitions=1, partitions_by_aiokafka=2)
    watched.look(source, EMPTY_BLOCKLISTS)
    assert value(watched, "ringfence_partitions_stopped") == 1
    assert value(watched, "ringfence_partitions_ordinary") == 2
    watched.look(a_source(), EMPTY_BLOCKLISTS)
    assert value(watched, "ringfence_partitions_stopped") == 0


@pytest.mark.expects_errors("its last good version stays")
def test_agreements_are_counted_by_where_they_stand(watched: WorkerMetrics, caplog) -> None:
    """An agreement that begins, ends or becomes unreadable is a gauge, and one log line."""
    held = Agreements(
        (agreement("th-kh", ["KH/scam"], valid_until_s=9), agreement("th-mm", ["MM/scam"]))
    )
    caplog.set_level("INFO")
    states = ("in_force", "ended", "broken")
    for at_s, errors, counts in (
        (8, {}, (2, 0, 0)),
        (9, {}, (1, 1, 0)),
        (9, {"th-mm": ("th-mm.toml: kind: is missing",)}, (1, 1, 1)),
        (9, {"th-mm": ("th-mm.toml: kind: is missing",)}, (1, 1, 1)),
    ):
        watched.agreed(AgreementReading(held, errors), at_s)
        found = [value(watched, "ringfence_agreements", state=state) for state in states]
        assert found == [*counts]
    assert [record.getMessage() for record in caplog.records] == [
        "agreement th-kh: in_force",
        "agreement th-mm: in_force",
        "agreement th-kh: ended",
        "agreement th-mm: its last good version stays: th-mm.toml: kind: is missing",
    ]


@pytest.mark.expects_errors("wrong dialect")
def test_a_topic_in_a_wrong_dialect_is_reported_once(watched, caplog) -> None:
    """After 50 records without a call a metric and an error name the likely dialect; one call, and
    the metric is 0 again.
    """
    sample = b'{"method":"INVITE","callid":"%d","src_user":"+447700900125","dst_user":"1"}'
    watched.decoded(*batch_of(GOOD, *(sample % n for n in range(60))))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 0
    for _ in range(3):
        watched.decoded(*batch_of(*(sample % n for n in range(40))))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 1
    (error,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert "in the dialect ringfence (mostly: missing_field: " in error
    assert "they look like kamailio: set it in [calls.topics]" in error
    assert "447700" not in error
    watched.decoded(*batch_of(GOOD, sample % 1))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 0


def test_a_topic_with_other_events_is_told_once_with_the_reason(watched, caplog) -> None:
    """They are on no topic of rejected records, so the log says why they are no calls."""
    caplog.set_level("INFO")
    bye = b'{"method":"BYE","callid":"x","src_user":"1","dst_user":"2"}'
    for _ in range(2):
        watched.decoded(*batch_of(bye, bye, dialect="kamailio"))
    told = [one.message for one in caplog.records if "other events" in one.message]
    (one,) = told
    assert one.startswith(
        "topic calls: records of other events are counted and not kept: method is not INVITE: only"
    )


@pytest.mark.expects_errors("wrong dialect")
def test_a_switch_that_writes_no_numbers_is_not_told_to_be_another(caplog) -> None:
    """The error for records that lack numbers names the line to add, and no other dialect."""
    watched = WorkerMetrics(CollectorRegistry(), {"calls": "kamailio"})
    sample = b'{"method":"INVITE","from_tag":"a","callid":"%d","sip_code":"200"}'
    watched.decoded(*batch_of(*(sample % n for n in range(60)), dialect="kamailio"))
    (error,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert "src_user missing: add to kamailio.cfg" in error
    assert "they look like" not in error


def calls_of(*records: dict[str, object]) -> Any:
    """A batch of calls, and its raw records."""
    return batch_of(*(json.dumps(one).encode() for one in records))


def one_call(row: int, call_id: str, **more: object) -> dict[str, object]:
    """A call of its own caller to its own called number."""
    numbers = {"caller": f"+4477009001{row:02d}", "callee": f"+6681234{row:04d}"}
    return {"call_id": call_id, **numbers, **more}


@pytest.mark.expects_errors("share 1 call ids")
def test_one_call_id_with_many_number_pairs_is_a_wrong_dialect(watched, caplog) -> None:
    """A hangup cause in the place of the id: told once, and taken back when calls have ids."""
    caplog.set_level("INFO")
    same = [one_call(row, "16") for row in range(64)]
    watched.decoded(*calls_of(*same))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 1
    assert "share 1 call ids" in caplog.text
    watched._look_due_s = 0.0
    watched.decoded(*calls_of(*(one_call(row, f"c-{row}") for row in range(64))))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 0
    assert "an id for each call again" in caplog.text


@pytest.mark.parametrize(
    "calls",
    [
        [one_call(row, f"c-{row // 3}") for row in range(90)],
        [one_call(row, "ring", caller="+447700900101") for row in range(90)],
        [one_call(row, "conference", callee="+66812345678") for row in range(90)],
        [one_call(row, "16" if row % 3 == 0 else f"c-{row}") for row in range(90)],
    ],
    ids=["legs", "a group that rings", "a conference", "a flood beside other calls"],
)
def test_calls_with_many_records_are_no_wrong_dialect(watched, calls) -> None:
    """Nor is a caller who gives one id to its calls while others call too."""
    watched.decoded(*calls_of(*calls))
    assert value(watched, "ringfence_wrong_dialect", topic="calls") == 0


def test_an_unknown_trunk_is_counted_and_told_once_a_minute(caplog) -> None:
    """By its name, as far as that is no number; where no trunk is configured nothing is said."""
    watched = WorkerMetrics(CollectorRegistry(), {"calls": "ringfence"}, trunks=["intl-1"])
    batch = calls_of(
        *(one_call(row, f"c-{row}", trunk="intl-1") for row in range(30)),
        *(one_call(row, f"d-{row}", trunk="int1-1\n") for row in range(20)),
        one_call(0, "e"),
    )
    watched.decoded(*batch)
    assert value(watched, "ringfence_calls_unknown_trunk_total") == 20
    assert 'such as "int1-1\\n": their national numbers are read in TH' in caplog.text
    caplog.clear()
    watched._look_due_s = 0.0
    watched.decoded(*batch)
    assert value(watched, "ringfence_calls_unknown_trunk_total") == 40
    assert not caplog.text
    silent = WorkerMetrics(CollectorRegistry(), {"calls": "ringfence"})
    silent.decoded(*batch)
    assert value(silent, "ringfence_calls_unknown_trunk_total") == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("sip:+66812345678@h", "sip:+6681***5678@h"),
        ("a" * 99, "a" * 64),
        ('"\u202e\x00', '"\\u202e\\x00'),
        ("trunk-0042", "trunk-0042"),
    ],
)
def test_a_trunks_name_is_shown_without_harm(name: str, told: str) -> None:
    """An address stays readable; a number is masked, a line stays a line, and short."""
    assert shown(name) == told

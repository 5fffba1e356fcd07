"""Recorded decisions: the lists that they count for, and those that are skipped."""

from datetime import UTC, date, datetime, timedelta

import msgspec

from stream.core.model.enforcement_document import CallOutcome
from stream.enforcement.decision_counter import DecisionTally
from stream.lists.store.enforcement_counts import Cell
from tests.support.builders import fingerprint_of
from tests.support.decisions import decision

DAY = date(2026, 11, 25)
AT_MS = int(datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp() * 1000)
SCAM = Cell("KH/scam", DAY, "call_centre")


def counted(*values, seen=None, keys=None):
    tally = DecisionTally("TH", (keys or {"KH/scam": b"", "PH/fraud": b"\1" * 32}).get)
    return tally.batch(values, set() if seen is None else seen, DAY)


def test_calls_are_counted_by_list_day_category_and_outcome():
    """A block, a flag and one that was only simulated; a number that calls twice is one number."""
    batch, passed = counted(
        decision(at_ms=AT_MS),
        decision(at_ms=AT_MS + 1),
        decision("+85531000002", at_ms=AT_MS, verdict="flag"),
        decision("+85531000003", at_ms=AT_MS, verdict="allow", simulated=True),
        decision(at_ms=AT_MS, verdict="allow"),
    )
    assert batch.calls == {
        (SCAM, CallOutcome.BLOCKED): 2,
        (SCAM, CallOutcome.FLAGGED): 1,
        (SCAM, CallOutcome.SIMULATED): 1,
    }
    assert batch.numbers == {SCAM: {fingerprint_of(f"+8553100000{n}") for n in (1, 2, 3)}}
    assert len(batch.ids) == 4
    assert (passed.unreadable, passed.repeated, passed.too_old) == (0, 0, 0)


def test_the_first_call_stopped_is_no_simulated_one():
    """Of a number's calls the earliest that was blocked or flagged, however they come."""
    batch, _ = counted(
        decision(at_ms=AT_MS, verdict="allow", simulated=True),
        decision(at_ms=AT_MS + 20),
        decision(at_ms=AT_MS + 10, verdict="flag"),
    )
    assert batch.stopped == {("KH/scam", fingerprint_of("+85531000001")): AT_MS + 10}


def test_only_lists_that_decided_count():
    """An agreement's lists count each; a list that would have done less, or our own, does not."""
    batch, _ = counted(
        decision(
            "+85531000001",
            "KH/scam=asean=loan",
            "PH/fraud=asean=loan",
            "MM/watch=th-mm=loan",
            "TH/national==loan",
            rule="agreement:asean",
            at_ms=AT_MS,
        ),
        decision("+85531000001", "KH/scam==loan", rule="list:KH/scam", at_ms=AT_MS),
        decision("+85531000001", "TH/national==loan", rule="list:TH/national", at_ms=AT_MS),
        decision("+85531000001", "KH/scam==loan", rule="rule:invalid_caller", at_ms=AT_MS),
    )
    assert {cell.list: many for (cell, _), many in batch.calls.items()} == {
        "KH/scam": 2,
        "PH/fraud": 1,
    }
    assert batch.numbers[Cell("PH/fraud", DAY, "loan")] == {
        fingerprint_of("+85531000001", b"\1" * 32)
    }


def test_a_prefix_and_an_unconfirmed_hit():
    """Blocks by a prefix entry count as one entry; an unconfirmed hit has its own word."""
    batch, _ = counted(
        decision("+85531000001", at_ms=AT_MS, prefix="+8553100*"),
        decision("+85531000002", at_ms=AT_MS, prefix="+8553100*"),
        decision("+85531000003", "KH/scam=th-kh=", at_ms=AT_MS, verdict="flag"),
    )
    assert batch.numbers[SCAM] == {fingerprint_of("+8553100*")}
    assert batch.calls[Cell("KH/scam", DAY, "unconfirmed"), CallOutcome.FLAGGED] == 1


def test_a_repeat_counts_once():
    """A worker that died says the same again, in this batch or the next."""
    seen: set[bytes] = set()
    again = decision(at_ms=AT_MS, decision_id="4F7K2M9QX1RZC")
    batch, passed = counted(again, again, seen=seen)
    assert (sum(batch.calls.values()), passed.repeated) == (1, 1)
    batch, passed = counted(again, seen=seen)
    assert (batch.calls, batch.ids, passed.repeated) == ({}, [], 1)


def test_another_record_of_a_call_counts_no_more():
    """The end of a call whose attempt was decided says which decision it repeats."""
    again = msgspec.json.decode(decision(at_ms=AT_MS)) | {"repeats": "4F7K2M9QX1RZC"}
    batch, passed = counted(msgspec.json.encode(again))
    assert not batch.calls
    assert passed.repeated == 1


def test_what_is_no_decision_is_counted_and_passed_over():
    """Any bytes at all may lie on the topic."""
    batch, passed = counted(None, b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"verdict": 7}')
    assert not batch.calls
    assert passed.unreadable == 7


def test_what_is_too_old_for_a_document_is_not_counted():
    """A decision of longer ago than decisions are kept comes from a restored topic."""
    old = AT_MS - int(timedelta(days=8).total_seconds() * 1000)
    batch, passed = counted(decision(at_ms=old), decision(at_ms=old + 86_400_000))
    assert passed.too_old == 1
    assert {cell.day for cell, _ in batch.calls} == {DAY - timedelta(days=7)}


def test_a_list_without_a_key_here_counts_calls_alone():
    """Without its circle's key nobody can say how many numbers they were."""
    batch, _ = counted(decision(at_ms=AT_MS), keys={"XX/none": b""})
    assert sum(batch.calls.values()) == 1
    assert not batch.numbers
    assert not batch.stopped

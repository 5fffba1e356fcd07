"""Promises of `stream.calls.deduplicate`: the records of one call are one call to a reader."""

from collections.abc import Sequence

import msgspec
import pytest

from stream.calls import deduplicate as module
from stream.calls.call_batch import Outcome
from stream.calls.decide import decide
from stream.calls.decode import decode
from stream.calls.deduplicate import Deduplicator
from stream.calls.dialects import dialect_named
from stream.core.model.decision import Action
from stream.core.policy.policy import ListPolicy, PolicySettings
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import DECODING, HOME, NOW_S, blocklists, live, rules_for

pytestmark = pytest.mark.usefixtures("both_ways")

LISTED, OTHER, CLEAN = "+447700900101", "+447700900102", "+447700900103"
LISTS = blocklists(live("KH/scam", LISTED, OTHER))


def record(call_id: str, caller: str, callee: str = "+66812345678") -> bytes:
    """A call as Kamailio writes it."""
    return msgspec.json.encode({"callid": call_id, "src_user": caller, "dst_user": callee})


class Switch:
    """Records of one switch, decided with one memory."""

    def __init__(self, window_s: float = 60, topics: Sequence[str] = ("kam",)) -> None:
        self.repeats = Deduplicator(window_s, topics)

    def decided(
        self,
        *records: bytes,
        at_s: int = 0,
        offset: int = 0,
        partition: int = 0,
        action: str = "BLOCK",
        emit_all: bool = False,
    ) -> tuple[Outcome, list[dict[str, object]]]:
        """Decide on `records`, which lie from `offset` on and were written at `at_s`."""
        raw = RawBatch.of(list(records), Partition("kam", partition), offset, at_s * 1000)
        batch = decode(raw, {"kam": dialect_named("kamailio", {})}, HOME, DECODING)
        policy = PolicySettings(default=ListPolicy(action=Action[action]))
        rules = rules_for(LISTS, policy, emit_all=emit_all)
        outcome = decide(batch, LISTS, rules, NOW_S * 1000, self.repeats).outcome()
        return outcome, [msgspec.json.decode(value) for value in filter(None, outcome.values)]


def test_a_later_record_of_a_call_names_the_first_decision():
    """In one batch and in a later one; a decision that repeats is whole all the same."""
    switch = Switch()
    _, (first, again) = switch.decided(record("a", LISTED), record("a", LISTED))
    outcome, (end, other) = switch.decided(
        record("a", LISTED), record("b", LISTED), offset=2, at_s=59
    )
    assert "repeats" not in first
    assert "repeats" not in other
    assert again["repeats"] == end["repeats"] == first["decision_id"]
    assert end["decision_id"] != first["decision_id"]
    assert {**end, "decision_id": 0, "origin": 0, "sip": 0, "repeats": 0} == {
        **other, "decision_id": 0, "origin": 0, "sip": 0, "repeats": 0, "call_id": "a",
    }  # fmt: skip
    assert (outcome.tally.repeats_marked, outcome.tally.repeats_left_out) == (1, 0)
    assert outcome.ids.astype(str).tolist() == [end["decision_id"], other["decision_id"]]


def test_one_that_comes_to_less_is_left_out_and_one_that_comes_to_more_is_not():
    """A call is never blocked and then flagged; but a block after a flag is a decision of its own,
    which later records repeat.
    """
    switch = Switch()
    _, (flag,) = switch.decided(record("a", LISTED), action="FLAG")
    _, (block,) = switch.decided(record("a", LISTED), offset=1)
    outcome, decisions = switch.decided(record("a", LISTED), offset=2, action="FLAG")
    _, (again,) = switch.decided(record("a", LISTED), offset=3)
    assert (flag["verdict"], block["verdict"], decisions) == ("flag", "block", [])
    assert outcome.tally.repeats_left_out == 1
    assert sum(outcome.tally.decisions.values()) == 1
    assert "repeats" not in block
    assert again["repeats"] == block["decision_id"]


def test_another_number_is_never_held_back():
    """A leg that shows another listed caller is decided for that number too."""
    _, (first, second) = Switch().decided(record("a", LISTED), record("a", OTHER))
    assert [one["number"] for one in (first, second)] == [LISTED, OTHER]
    assert "repeats" not in second


def test_one_id_for_many_calls_does_not_make_them_one():
    """A SIP caller may give all its calls one Call-ID: they are counted as several, not as one."""
    _, decisions = Switch().decided(*[record("same@host", LISTED)] * 200)
    named = [one for one in decisions if "repeats" not in one]
    assert [one["decision_id"] for one in named] == [
        one["decision_id"] for one in decisions[:: module.RECORDS_MAX]
    ]
    assert len(decisions) == 200


def test_an_innocent_leg_hides_nothing_and_costs_nothing():
    """A call let through is not remembered: a listed number in a later leg is blocked."""
    switch = Switch()
    _, decisions = switch.decided(record("a", CLEAN), record("a", LISTED), emit_all=True)
    assert [one["verdict"] for one in decisions] == ["block", "allow"]
    assert all("repeats" not in one for one in decisions)


def test_a_record_that_is_worked_on_again_says_the_same():
    """After a crash or an aborted transaction the same offsets give the same decisions."""
    switch = Switch()
    records = record("a", LISTED), record("a", LISTED)
    assert switch.decided(*records)[1] == switch.decided(*records)[1]


@pytest.mark.parametrize(
    "change", [{"at_s": 61}, {"partition": 1}], ids=["after the window", "in another partition"]
)
def test_beyond_window_and_partition_it_is_another_call(change):
    """Call ids come again after a while, and partitions are read by different workers."""
    switch = Switch()
    switch.decided(record("a", LISTED))
    _, (later,) = switch.decided(record("a", LISTED), offset=1, **change)
    assert "repeats" not in later


def test_no_window_or_another_topic_marks_nothing():
    """The setting 0 and topics in our own dialect are as if there were no memory."""
    for switch in (Switch(window_s=0), Switch(topics=["other"])):
        _, decisions = switch.decided(record("a", LISTED), record("a", LISTED))
        assert all("repeats" not in one for one in decisions)


def test_calls_beyond_the_window_are_forgotten():
    """Memory holds what is needed, not what there is room for."""
    switch = Switch()
    switch.decided(*(record(f"c-{n}", LISTED) for n in range(100)))
    switch.decided(record("later", LISTED), offset=100, at_s=61)
    ((partition, calls),) = switch.repeats._first.items()
    assert (partition.topic, len(calls)) == ("kam", 1)


def test_memory_is_bounded(monkeypatch):
    """The oldest calls of a partition, and the partition unseen the longest, are forgotten."""
    monkeypatch.setattr(module, "CALLS_MAX", 2)
    monkeypatch.setattr(module, "PARTITIONS_MAX", 1)
    switch = Switch()
    switch.decided(*(record(call, LISTED) for call in "abc"))
    _, decisions = switch.decided(record("a", LISTED), record("c", LISTED), offset=3)
    assert ["repeats" in one for one in decisions] == [False, True]
    switch.decided(record("x", LISTED), partition=1)
    _, (again,) = switch.decided(record("c", LISTED), offset=5)
    assert "repeats" not in again

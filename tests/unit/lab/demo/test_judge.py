"""The canary: a judge that finds nothing wrong is only worth something if it finds what is."""

from collections import Counter

import msgspec
import pytest

from stream.lab.demo.changes import Probe
from stream.lab.demo.judge import TruthJudge
from stream.lab.demo.traffic import Expected, Truth

BLOCKED = Expected("block", frozenset({"KH/scam"}))
FLAGGED = Expected("flag", frozenset({"VN/spam"}))


@pytest.fixture
def truth():
    return Truth(
        expected={"a": BLOCKED, "b": BLOCKED, "c": FLAGGED},
        copies={"b": 2},
        garbage=Counter({b"junk": 1, None: 2}),
    )


def decision(call_id, verdict="block", *, lists=("KH/scam",), decision_id=None, n=0):
    return msgspec.json.encode(
        {
            "decision_id": decision_id or f"{call_id}-{n}",
            "verdict": verdict,
            "call_id": call_id,
            "number": "+85597000000",
            "role": "caller",
            "reasons": [{"list": name, "category": "call_centre"} for name in lists],
            "sip": None,
        }
    )


def right(judge):
    """Everything that a flawless engine publishes."""
    judge.decision(decision("a"), 0)
    judge.decision(decision("b", n=1), 0)
    judge.decision(decision("b", n=2), 0)
    judge.decision(decision("c", "flag", lists=("VN/spam",)), 0)
    for value in (b"junk", None, None):
        judge.rejected(value)


def test_a_flawless_engine_is_found_flawless(truth):
    """Every expected decision and nothing else: clean, with the counts of the truth."""
    judge = TruthJudge(truth)
    right(judge)
    verdicts = judge.verdicts()
    assert verdicts.clean
    assert (verdicts.listed, verdicts.blocked, verdicts.flagged, verdicts.rejected) == (4, 3, 1, 3)
    assert (judge.decisions_due, judge.rejections_due) == (0, 0)


def test_a_listed_call_without_a_decision_is_missed(truth):
    """Nothing published: all four records are missed, and the lost bad records are named."""
    verdicts = TruthJudge(truth).verdicts()
    assert (verdicts.missed, verdicts.false_blocks) == (4, 0)
    assert not verdicts.clean
    assert any("never reached" in what for what in verdicts.wrong)


def test_one_copy_of_a_call_that_came_twice_is_missed(truth):
    """Two records of one call need two decisions; the same decision twice is only one."""
    judge = TruthJudge(truth)
    right(judge)
    judge._decided["b"].pop()
    assert judge.verdicts().missed == 1


def test_a_repeated_decision_counts_once(truth):
    """At-least-once delivery may repeat a decision under its id: no fault, but told."""
    judge = TruthJudge(truth)
    right(judge)
    judge.decision(decision("a"), 0)
    assert judge.verdicts().clean
    assert judge.verdicts().repeats == 1


def test_an_innocent_call_blocked_is_a_false_block(truth):
    """A block that the truth knows nothing of is reported."""
    judge = TruthJudge(truth)
    right(judge)
    judge.decision(decision("innocent"), 0)
    assert judge.verdicts().false_blocks == 1
    assert not judge.verdicts().clean


def test_a_block_where_only_a_flag_was_due_is_a_false_block_and_a_miss(truth):
    """The verdict must be the one that the policy says, not a stronger one."""
    judge = TruthJudge(truth)
    judge.decision(decision("c", "block", lists=("VN/spam",)), 0)
    verdicts = judge.verdicts()
    assert verdicts.false_blocks == 1
    assert verdicts.missed == 4


def test_a_flag_where_a_block_was_due_is_a_miss(truth):
    """A weaker verdict than the policy's lets the call through: missed."""
    judge = TruthJudge(truth)
    right(judge)
    judge._decided["a"].clear()
    judge.decision(decision("a", "flag", n=9), 0)
    assert judge.verdicts().missed == 1


@pytest.mark.parametrize(
    ("planted", "words"),
    [
        (lambda judge: judge.decision(decision("innocent", "flag"), 0), "innocent calls flagged"),
        (lambda judge: judge.decision(b"no decision", 0), "are no decisions"),
        (lambda judge: judge.decision(None, 0), "are no decisions"),
        (lambda judge: judge.rejected(b"a good call"), "records rejected that were calls"),
        (lambda judge: judge.decision(decision("a", n=7), 0), "more than there were records"),
    ],
)
def test_whatever_else_differs_is_said_in_words(truth, planted, words):
    """A planted fault of any other sort makes the run unclean and is named."""
    judge = TruthJudge(truth)
    right(judge)
    planted(judge)
    verdicts = judge.verdicts()
    assert not verdicts.clean
    assert any(words in what for what in verdicts.wrong)


def test_a_decision_must_name_the_lists_that_hold_the_number(truth):
    """Right verdict, wrong reason: a person could not appeal; it is reported."""
    judge = TruthJudge(truth)
    right(judge)
    judge._decided["a"].clear()
    judge.decision(decision("a", lists=("TH/national",), n=3), 0)
    assert any("other lists" in what for what in judge.verdicts().wrong)


def test_calls_of_the_changing_numbers_are_judged_by_when_they_came_in():
    """A block of the added number before the addition is a false block, later a right one."""
    change = Probe("add", "+959250000000", "MM/scam")
    judge = TruthJudge(Truth(), (change,))
    change.came_in("add-000001", 1_000)
    judge.decision(decision("add-000001"), 1_010)
    assert judge.verdicts().false_blocks == 1
    change.begun_ms, change.committed_ms = 500, 501
    assert judge.verdicts().clean
    assert judge.verdicts().listed == 1

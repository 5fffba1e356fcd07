"""Each check: what holds, and every way in which it does not."""

import pytest

from stream.lab.demo.product import Said
from stream.lab.exercise import expect
from stream.lab.exercise.phone import CallAnswer

END_MS = 1_764_000_010_000


def answer(
    verdict: str = "block", rule: str = "agreement:th-kh", at_ms: int = END_MS
) -> CallAnswer:
    return CallAnswer(verdict, rule, ("KH/scam",), at_ms)


@pytest.mark.parametrize(
    ("answers", "held"),
    [
        ({"a": answer(), "b": answer()}, True),
        ({"a": answer(), "b": answer("allow")}, False),
        ({"a": answer(), "b": answer(rule="list:KH/scam")}, False),
        ({"a": answer(), "b": None}, False),
        ({"a": answer(), "b": CallAnswer("block", "agreement:th-kh", ("PH/scam",), 0)}, False),
        ({}, False),
    ],
)
def test_all_get(answers, held):
    """Every call, that verdict, that rule, that list; no call at all shows nothing."""
    found = expect.all_get(answers, "block", "x", rule="agreement:th-kh", named="KH/scam")
    assert found.held is held


@pytest.mark.parametrize(
    ("answers", "held"),
    [
        ({"a": answer("allow")}, True),
        ({"a": answer("allow"), "b": answer("flag")}, False),
        ({"a": answer("allow"), "b": None}, False),
        ({}, False),
    ],
)
def test_nobody_stopped(answers, held):
    """A call of which nothing was decided was not let through."""
    assert expect.nobody_stopped(answers, "x").held is held


@pytest.mark.parametrize(
    ("row", "held"),
    [([answer("allow"), answer()], True), ([answer(), answer("allow")], False), ([], False)],
)
def test_became(row, held):
    """The last call counts; how long it took is said."""
    found = expect.became(row, "block", END_MS - 1500, "x")
    assert found.held is held
    assert ("1.5 s" in found.seen) is held


@pytest.mark.parametrize(
    ("row", "held"),
    [
        ([(-500, "flag"), (500, "flag"), (1500, "allow")], True),
        ([(-500, "flag"), (1500, "flag")], False),
        ([(-500, "allow"), (1500, "allow")], False),
        ([(-500, "flag")], False),
        ([(1500, "allow")], False),
        ([], False),
    ],
)
def test_ended_on_time(row, held):
    """Too early, too late, or not seen on one side: each fails. Half a second after is free."""
    answers = [answer(verdict, at_ms=END_MS + after) for after, verdict in row]
    assert expect.ended_on_time(answers, END_MS, "x").held is held


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (Said(0, "KH/scam: 10 added, 0 updated"), True),
        (Said(1, "KH/scam: 10 added, 0 updated"), False),
        (Said(0, "KH/scam: 9 added, 1 updated"), False),
        (Said(0, ""), False),
    ],
)
def test_command(said, held):
    """Both the exit code and the words."""
    assert expect.command(said, 0, "10 added", "x").held is held


@pytest.mark.parametrize(("seen", "held"), [(1.0, True), (2.0, True), (0.0, False), (None, False)])
def test_reached(seen, held):
    """A metric that is not told is not zero, and not enough."""
    assert expect.reached(seen, 1.0, "x", "ringfence_feed_held").held is held


@pytest.mark.parametrize(
    ("after", "held"),
    [({"a": 1, "b": 2}, True), ({"a": 1, "b": 3}, False), ({"a": 1}, False), ({}, False)],
)
def test_same_processes(after, held):
    """One that ended, or is another now, is named."""
    assert expect.same_processes({"a": 1, "b": 2}, after, "x").held is held
    assert not expect.same_processes({}, after, "x").held


@pytest.mark.parametrize(
    ("expiries", "held"), [([9000, 7200], True), ([9000, 3599], False), ([], False)]
)
def test_lasts(expiries, held):
    """The first that expires counts."""
    assert expect.lasts(expiries, 0, 3600, "x").held is held


@pytest.mark.parametrize(
    ("told", "known", "held"), [(7, 7, True), (6, 7, False), (None, 7, False), (0, 0, False)]
)
def test_equal(told, known, held):
    """A figure that was not told is not zero, and nothing that happened is nothing shown."""
    assert expect.equal(told, known, "x").held is held

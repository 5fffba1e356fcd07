"""A replay's report as values and as a page."""

import json
from collections import Counter

from stream.calls.trunks import Trunks
from stream.core.model.decision import Action
from stream.insight.replay.compare import CallChange
from stream.insight.replay.replay_json import TOP, ReplayRun, told
from stream.insight.replay.replay_page import page, sentences
from stream.insight.replay.totals import NOBODY, SeenNumber, Sums, Tallied

NUMBER = "+447700900123"
EVIL = '"><script>alert(1)</script>{{7*7}} +447700900124\u202e'


def made(*, back: float | None = 1.0) -> ReplayRun:
    return ReplayRun(
        topics=("calls",),
        from_s=1_795_478_028,
        until_s=1_795_564_428,
        at_s=1_795_564_428,
        made_at_s=1_795_564_428,
        candidates=("KH/scam@412",),
        lists=2,
        seconds=2.0,
        seconds_back=back,
    )


def some() -> Sums:
    """Three calls of a number and one withheld are newly blocked; one number shows both signs."""
    sums = Sums(Trunks("TH"), 60.0, calls=10, rejected=1, durations=4)
    sums.before[Action.OBSERVE] = 10
    sums.after[Action.BLOCK], sums.after[Action.OBSERVE] = 4, 6
    sums.changes[CallChange.NEWLY_BLOCKED] = Tallied(
        calls=4,
        numbers={
            NUMBER.encode(): SeenNumber(3, "list:KH/scam", long=True, called_back=True),
            NOBODY: SeenNumber(1, "rule:invalid_caller"),
        },
        by_rule=Counter({"list:KH/scam": 3, "rule:invalid_caller": 1}),
        by_country=Counter({"GB": 3, "none": 1}),
        by_trunk=Counter({EVIL: 4}),
    )
    return sums


def test_numbers_are_masked_unless_they_were_asked_for_in_whole() -> None:
    """Neither the values nor the page have a whole number, also not in a trunk's name."""
    report = told(made(), some(), full=False)
    for text in (json.dumps(report), page(report)):
        assert NUMBER[1:] not in text
        assert "447700900124" not in text
    callers = told(made(), some(), full=True)["changes"]["newly_blocked"]["top_callers"]
    assert [one["number"] for one in callers] == [NUMBER, None]


def test_what_records_say_stays_text_on_the_page() -> None:
    """A trunk's name makes no element, and nothing on the page runs or is fetched."""
    text = page(told(made(), some(), full=False))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "{{7*7}}" in text
    assert "\u202e" not in text
    assert "default-src 'none'" in text
    assert "Newly blocked" in text
    assert "No longer blocked</h2>" not in text


def test_the_estimate_says_what_was_not_measured() -> None:
    """Without durations, or without a look for calls back, a figure is none and not 0."""
    guess = told(made(), some(), full=False)["false_positives"]
    assert (guess["newly_blocked_numbers"], guess["estimated"], guess["share"]) == (1, 1, 1.0)
    assert (guess["long_answered"], guess["called_back"]) == (1, 1)
    sums = some()
    sums.durations = 0
    guess = told(made(back=None), sums, full=False)["false_positives"]
    assert (guess["long_answered"], guess["called_back"]) == (None, None)
    assert "not measured" in page(told(made(back=None), sums, full=False))


def test_a_candidate_that_changes_nothing_is_told_so() -> None:
    """The answer is a sentence, not an empty table."""
    report = told(made(), Sums(Trunks("TH"), 60.0, calls=5), full=False)
    assert sentences(report)[1:] == ["Nothing would change for any call."]
    assert "Top callers" not in page(report)


def test_the_most_are_named_and_the_rest_summed_up() -> None:
    """Beyond so many rules, countries or trunks the rest is one row, and nothing is lost."""
    sums = some()
    trunks = Counter({f"t{n}": n + 1 for n in range(TOP + 5)})
    sums.changes[CallChange.NEWLY_BLOCKED].by_trunk = trunks
    rows = told(made(), sums, full=False)["changes"]["newly_blocked"]["by_trunk"]
    assert (len(rows), rows[-1]["trunk"]) == (TOP + 1, "5 others")
    assert sum(row["calls"] for row in rows) == trunks.total()

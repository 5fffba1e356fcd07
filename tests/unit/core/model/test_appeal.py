"""Appeals: where they may go, by when they are to be answered, and what reports count."""

import pytest

from stream.core.model.agreement import Agreements
from stream.core.model.appeal import (
    Appeal,
    AppealState,
    AppealStep,
    NamedList,
    StepRefused,
    deadline_of,
    figures,
    sightings,
    stepped,
)
from tests.support.agreements import agreement
from tests.support.builders import NOW_S

RECEIVED, FORWARDED = AppealState.RECEIVED, AppealState.PENDING_OWNER
REDRESSED, REJECTED = AppealState.REDRESSED, AppealState.REJECTED
LIST, HEX = "KH/scam", "336e914774f97770"


def appeal(*states: AppealState, at_s: int = NOW_S, step_s: int = 100, **fields) -> Appeal:
    """An appeal received at `at_s` that took a step every `step_s` seconds."""
    history = tuple(
        AppealStep(at_s=at_s + place * step_s, actor="a", state=state, comment="because")
        for place, state in enumerate((RECEIVED, *states))
    )
    plain = {
        "id": "A-1",
        "number": "+85531000001",
        "lists": (NamedList(list=LIST, fingerprint=HEX),),
        "received_at_s": at_s,
        "deadline_at_s": at_s + 3600,
        "history": history,
    }
    return Appeal(**{**plain, **fields})


@pytest.mark.parametrize(
    ("states", "to", "comment", "refused"),
    [
        ((), FORWARDED, "", None),
        ((), REDRESSED, "", None),
        ((), REJECTED, "it called 300 people", None),
        ((), REJECTED, " ", StepRefused.NO_COMMENT),
        ((FORWARDED,), REDRESSED, "", None),
        ((FORWARDED,), FORWARDED, "", StepRefused.FORWARDED),
        ((FORWARDED,), RECEIVED, "", StepRefused.FORWARDED),
        ((REDRESSED,), REJECTED, "x", StepRefused.CLOSED),
        ((REJECTED,), REDRESSED, "", StepRefused.CLOSED),
    ],
)
def test_where_an_appeal_may_go(states, to, comment, refused) -> None:
    """An open appeal goes forward only; what was answered stays so; a rejection says why."""
    before = appeal(*states)
    step = AppealStep(at_s=NOW_S + 500, actor="b", state=to, comment=comment)
    after = stepped(before, step)
    if refused is None:
        assert isinstance(after, Appeal)
        assert (after.state, after.history[-1]) == (to, step)
        assert after.version == before.version + 1
        assert after.open is (to is FORWARDED)
    else:
        assert after is refused


def test_an_appeal_is_overdue_from_its_deadline_on_and_once_late_stays_late() -> None:
    """Open: as soon as the deadline is reached. Answered: if the answer came at or after it."""
    waiting = appeal()
    assert not waiting.overdue(waiting.deadline_at_s - 1)
    assert waiting.overdue(waiting.deadline_at_s)
    assert not appeal(REDRESSED).overdue(NOW_S + 10**6)
    assert appeal(REDRESSED, step_s=3600).overdue(NOW_S)


def test_the_shortest_target_of_the_agreements_in_force_says_by_when() -> None:
    """Agreements on other lists, for other countries, ended, or without a target say nothing."""
    held = Agreements(
        (
            agreement("slow", [LIST], to=("TH",), response_target_s=9000),
            agreement("quick", [LIST], to=("TH",), response_target_s=600),
            agreement("silent", [LIST], to=("TH",), response_target_s=0),
            agreement("theirs", [LIST], to=("PH",), response_target_s=10),
            agreement("other", ["KH/spam"], to=("TH",), response_target_s=20),
            agreement("over", [LIST], to=("TH",), response_target_s=30, valid_until_s=NOW_S),
        )
    )
    assert deadline_of(held, [LIST], "TH", NOW_S, 86_400) == NOW_S + 600
    assert deadline_of(held, ["TH/national"], "TH", NOW_S, 86_400) == NOW_S + 86_400


def test_a_partners_appeal_is_about_its_own_case_and_ours_about_a_number() -> None:
    """The subject, of which only one may be open, is the number here and the case of a partner."""
    theirs = appeal(number=None, partner="TH", partner_appeal="A-9")
    assert appeal().subject == "+85531000001"
    assert theirs.subject == "TH A-9 KH/scam"
    assert appeal(lists=(NamedList(list="TH/x", fingerprint=""), *theirs.lists)).owners("TH") == (
        "KH",
    )


def test_only_blocks_put_right_here_are_sightings_for_the_owner() -> None:
    """Rejected, open and partners' appeals, other lists and other times are none."""
    unknown_circle = (NamedList(list=LIST, fingerprint=""),)
    appeals = [
        appeal(REDRESSED, id="A-late", at_s=NOW_S + 900),
        appeal(REDRESSED, id="A-right"),
        appeal(REJECTED, id="A-no"),
        appeal(id="A-open"),
        appeal(REDRESSED, id="A-theirs", partner="PH", partner_appeal="A-5"),
        appeal(REDRESSED, id="A-no-key", lists=unknown_circle),
        appeal(REDRESSED, id="A-before", at_s=NOW_S - 200),
    ]
    found = sightings(appeals, LIST, NOW_S, NOW_S + 1001)
    assert [(one.appeal_id, one.fingerprint) for one in found] == [
        ("A-right", HEX),
        ("A-late", HEX),
    ]
    assert sightings(appeals, "KH/spam", NOW_S, NOW_S + 1001) == ()


def test_what_reports_count_of_a_span_of_time() -> None:
    """Each step counts when it happened; pending and overdue are those of the end."""
    appeals = [
        appeal(REDRESSED, step_s=60),
        appeal(REJECTED, step_s=5000),
        appeal(FORWARDED, at_s=NOW_S - 4000),
        appeal(REDRESSED, at_s=NOW_S - 500, step_s=100),
        appeal(REDRESSED, step_s=99_000),
        appeal(partner="TH", partner_appeal="A-1"),
        appeal(at_s=NOW_S + 20_000),
    ]
    said = figures(appeals, LIST, NOW_S, NOW_S + 10_000, target_s=3600)
    assert (said.received, said.redressed, said.rejected) == (3, 1, 1)
    assert (said.pending, said.overdue) == (2, 2)
    assert said.answers is not None
    assert (said.answers.count, said.answers.max_s, said.answers.late) == (2, 5000, 1)
    theirs = figures(appeals, LIST, NOW_S, NOW_S + 10_000, partner="TH")
    assert (theirs.received, theirs.pending, theirs.answers) == (1, 1, None)

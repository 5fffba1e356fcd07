"""Where things on trial stand, and what is said where settings and operators differ."""

import pytest

from stream.core.model.agreement import Agreements, Terms
from stream.core.model.decision import Action, Decision, Reason
from stream.core.model.on_trial import NO_TRIALS, Target, TrialKind, Trials, TrialStatus
from stream.core.policy.policy import ListPolicy, PolicySettings
from stream.insight.trials import status
from stream.insight.trials.status import Here, Stands, TrialCounts, standings
from tests.support.agreements import agreement
from tests.support.builders import NOW_S

SCAM = Target(TrialKind.LIST, "KH/scam")
TRIAL = PolicySettings(lists={"KH/scam": ListPolicy(simulate=True)})
FORCE = PolicySettings()


def stands(
    policy: PolicySettings,
    trials: Trials = NO_TRIALS,
    agreements: Agreements | None = None,
    names: tuple[str, ...] = ("KH/scam",),
) -> Stands:
    """Return the status of the list."""
    here = Here(policy, names, agreements or Agreements(), trials, "TH", NOW_S)
    return next(one for one in standings(here) if one.target == SCAM)


def turned(standing: TrialStatus) -> Trials:
    return NO_TRIALS.with_turned([SCAM], standing)


def test_the_settings_speak_where_nobody_turned_anything() -> None:
    """On trial by its settings, or in force and then nothing to tell."""
    assert stands(TRIAL).standing is TrialStatus.TRIAL
    assert not stands(TRIAL).remarks
    assert stands(FORCE).standing is TrialStatus.FORCE
    assert not stands(FORCE).is_told


def test_a_step_that_goes_against_the_settings_is_said_so() -> None:
    """A promotion over `simulate = true`, and a demotion of what is in force by the settings."""
    promoted = stands(TRIAL, turned(TrialStatus.FORCE))
    assert promoted.standing is TrialStatus.FORCE
    assert promoted.remarks == ("the settings say trial; the promotion overrides them",)
    demoted = stands(FORCE, turned(TrialStatus.TRIAL))
    assert demoted.standing is TrialStatus.TRIAL
    assert demoted.remarks == ("the settings say force; the demotion overrides them",)


def test_a_step_that_the_settings_have_followed_is_said_to_be_idle() -> None:
    """Once the file says the same, the promotion changes nothing any more."""
    (remark,) = stands(FORCE, turned(TrialStatus.FORCE)).remarks
    assert remark == "the settings say force too by now: the promotion changes nothing"


def test_what_keeps_a_promoted_list_from_acting_is_said() -> None:
    """An agreement on trial, an action of observe, a list that the register does not have."""
    pact = Agreements((agreement("th-kh", ["KH/scam"], terms=Terms(Action.BLOCK, simulate=True)),))
    assert stands(TRIAL, turned(TrialStatus.FORCE), pact).remarks[1] == (
        "it blocks no call yet: an agreement on it is on trial"
    )
    only = PolicySettings(lists={"KH/scam": ListPolicy(action=Action.OBSERVE, simulate=True)})
    assert stands(only).remarks == ("it may only be observed: in force it would block no call",)
    assert stands(TRIAL, names=()).remarks == ("the list store has no such list",)


def test_a_step_on_what_is_gone_is_still_told() -> None:
    """A promoted agreement whose file was taken away does not vanish from the list."""
    pact = Target(TrialKind.AGREEMENT, "th-kh")
    trials = NO_TRIALS.with_turned([pact], TrialStatus.FORCE)
    (found,) = standings(Here(FORCE, (), Agreements(), trials, "TH", NOW_S))
    assert (found.target, found.is_told) == (pact, True)
    assert found.remarks == ("there is no agreement th-kh here: it counts once there is",)


SCAM, PACT = Target(TrialKind.LIST, "KH/scam"), Target(TrialKind.AGREEMENT, "th-kh")


def decision(number: str, would: str | None, *lists: str, **more: object) -> Decision:
    """A decision named by `lists`; `would` None: it was enforced."""
    reasons = [
        Reason(
            list=name,
            agreement="th-kh" if name.startswith("KH") else None,
            category="other",
            confirmed=True,
            confidence=90,
            generation=1,
            expires_at=None,
        )
        for name in lists
    ]
    fields: dict[str, object] = {
        "decision_id": number,
        "verdict": "allow" if would else "block",
        "simulated": would is not None,
        "rule": f"list:{lists[0]}",
        "number": number,
        "role": "caller",
        "call_id": "c",
        "caller": number,
        "callee": None,
        "reasons": reasons,
        "sip": None,
        "called_at": None,
        "decided_at": "2026-11-25T00:00:00.000Z",
        "expires_at": None,
        "origin": "calls/0/0",
        **({"would": would} if would else {}),
        **more,
    }
    return Decision(**fields)  # type: ignore[arg-type]


def test_what_a_trial_would_have_done_is_told_beside_what_was_stopped() -> None:
    """Calls, numbers, and those that something in force stopped; a list's agreement has the same,
    a repeat of a decision counts for nothing.
    """
    found = TrialCounts()
    found.add(decision("+447700900100", "block", "KH/scam"))
    found.add(decision("+447700900100", "block", "KH/scam"))
    found.add(decision("+447700900101", "flag", "KH/scam", "XX/other"))
    found.add(decision("+447700900101", None, "TH/national", "KH/scam"))
    found.add(decision("+447700900102", None, "TH/national"))
    found.add(decision("+447700900103", "block", "KH/scam", repeats="other"))
    expected = {
        "would_block": 2,
        "would_flag": 1,
        "numbers": 2,
        "stopped": 1,
        "numbers_also_enforced": 1,
    }
    assert found.of(SCAM).plain() == found.of(PACT).plain() == expected
    assert found.of(Target(TrialKind.LIST, "TH/national")).stopped == 2
    assert not any(found.of(Target(TrialKind.LIST, "none")).plain().values())
    assert found.decisions == 6


def test_numbers_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it every call counts, and the number of numbers is marked as not complete."""
    monkeypatch.setattr(status, "NUMBERS_MAX", 2)
    found = TrialCounts()
    for place in (0, 1, 1, 2):
        found.add(decision(f"+44770090010{place}", "block", "KH/scam"))
    tried = found.of(SCAM)
    assert (tried.would_block, len(tried.numbers), tried.more_numbers) == (4, 2, True)

"""What decisions say of things on trial."""

import pytest

from stream.core.model.decision import Decision, Reason
from stream.core.model.trials import Kind, Target
from stream.insight.trials import trial_counts as figures_module
from stream.insight.trials.trial_counts import Figures

SCAM, PACT = Target(Kind.LIST, "KH/scam"), Target(Kind.AGREEMENT, "th-kh")


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
    found = Figures()
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
    assert found.of(Target(Kind.LIST, "TH/national")).stopped == 2
    assert not any(found.of(Target(Kind.LIST, "none")).plain().values())
    assert found.decisions == 6


def test_numbers_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it every call counts, and the number of numbers is told as not complete."""
    monkeypatch.setattr(figures_module, "NUMBERS_MAX", 2)
    found = Figures()
    for place in (0, 1, 1, 2):
        found.add(decision(f"+44770090010{place}", "block", "KH/scam"))
    tried = found.of(SCAM)
    assert (tried.would_block, len(tried.numbers), tried.more_numbers) == (4, 2, True)

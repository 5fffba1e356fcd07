"""Recorded decisions for tests, as a worker writes them on the decisions topic."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

import msgspec

from stream.core.model.decision import Decision, Reason

_ids = count()


def decision(
    number: str | None = "+85531000001",
    *reasons: str,
    verdict: str = "block",
    rule: str = "agreement:th-kh",
    at_ms: int,
    **fields: Any,
) -> bytes:
    """One decision; `reasons` are `list=agreement=category`, the last two may be empty."""
    held = [one.split("=") for one in reasons or ("KH/scam=th-kh=call_centre",)]
    made = Decision(
        decision_id=fields.pop("decision_id", f"D{next(_ids):012d}"),
        verdict=verdict,
        simulated=fields.pop("simulated", False),
        rule=rule,
        number=number,
        role="caller",
        call_id="c-1",
        caller=number,
        callee="+66812345678",
        reasons=[
            Reason(
                list=name,
                agreement=agreement or None,
                category=category or None,
                confirmed=bool(category),
                confidence=90,
                generation=4,
                expires_at=None,
                prefix=fields.get("prefix", msgspec.UNSET),
            )
            for name, agreement, category in held
        ],
        sip=None,
        called_at=None,
        decided_at=datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        expires_at=None,
        origin="calls/0/1",
    )
    return msgspec.json.encode(made)

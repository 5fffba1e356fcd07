"""Appeals as plain values: one form for commands, and the part of it for the caller who appealed.

Numbers are masked unless asked for whole.
"""

from collections.abc import Mapping
from typing import Any

from stream.core.model.appeal import Appeal, NamedList
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import masked


def shown(text: str | None, *, full: bool) -> str | None:
    """Return a number or prefix as it may be shown."""
    return text if full or text is None else masked(text)


def appeal_json(
    appeal: Appeal, at_s: int, *, full: bool = False, contacts: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return all of an appeal as of `at_s`; `contacts` are those to ask, by list."""
    return {
        **_summary(appeal, at_s, full=full),
        "lists": [_list_json(named, contacts or {}, full=full) for named in appeal.lists],
        "from": appeal.partner,
        "their_appeal": appeal.partner_appeal,
        "appellant": appeal.appellant if full else bool(appeal.appellant),
        "history": [
            {
                "at": rfc3339(step.at_s),
                "by": step.actor,
                "state": step.state.value,
                "comment": step.comment,
            }
            for step in appeal.history
        ],
    }


def public_json(appeal: Appeal, at_s: int) -> dict[str, Any]:
    """Return an appeal as of `at_s`, reduced to what a holder of its id may read."""
    return {
        **_summary(appeal, at_s, full=False),
        "lists": [named.list for named in appeal.lists],
        "comment": "" if appeal.open else appeal.history[-1].comment,
        # The names of 0.1.0 over HTTP, which clients read.
        "appeal_id": appeal.id,
        "received_at_s": appeal.received_at_s,
        "deadline_at_s": appeal.deadline_at_s,
        "answered_at_s": appeal.answered_at_s,
    }


def _summary(appeal: Appeal, at_s: int, *, full: bool) -> dict[str, Any]:
    return {
        "appeal": appeal.id,
        "state": appeal.state.value,
        "number": shown(appeal.number, full=full),
        "decision_id": appeal.decision_id,
        "received_at": rfc3339(appeal.received_at_s),
        "deadline_at": rfc3339(appeal.deadline_at_s),
        "answered_at": None if appeal.answered_at_s is None else rfc3339(appeal.answered_at_s),
        "overdue": appeal.overdue(at_s),
    }


def _list_json(named: NamedList, contacts: Mapping[str, str], *, full: bool) -> dict[str, Any]:
    return {
        "list": named.list,
        "agreement": named.agreement,
        "category": named.category,
        "confirmed": named.confirmed,
        "prefix": shown(named.prefix, full=full),
        "fingerprint": named.fingerprint or None,
        "contact": contacts.get(named.list),
    }

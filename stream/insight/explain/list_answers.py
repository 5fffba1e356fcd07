"""The lists' answers about a number, and the decision that a call from it would get.

It asks the very code that workers run, with the lists that a worker on this machine would load.
These are the last good ones of the state directory, updated by the list store if it answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.config.settings import EngineSettings
from stream.core.filters.blocklists import Blocklists, LiveList
from stream.core.filters.digests import Digests, elements
from stream.core.model.agreement import Agreements
from stream.core.model.confidence import Decay, left, rounded
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import parse_many
from stream.core.policy.policy import NO_AGREEMENT
from stream.core.policy.rules import rules_that_ask
from stream.core.stir.attestation import NOT_TOLD
from stream.engine.decider import rules_for
from stream.insight.explain.terms import terms_of
from stream.kafka.batch import Partition, RawBatch, Segment

_RECORD_BYTES_MAX = 65_536
"""The question is one small record of our own."""


def answer_for(
    settings: EngineSettings,
    agreements: Agreements,
    blocklists: Blocklists,
    e164: str,
    trunk: str | None,
    callee: str | None,
    at_ms: int,
) -> dict[str, Any]:
    """Answers about `e164`, and the decision on a call from it at `at_ms`; plain values."""
    allow = blocklists.allow.find(e164, at_ms // 1000)
    rules = replace(rules_for(settings, blocklists, agreements, at_ms // 1000), emit_all=True)
    return {
        "number": e164,
        "lists": list(_entries(rules, blocklists, e164, at_ms // 1000)),
        "not_asked": [blocklists.lists[index].name for index in blocklists.unusable],
        "allow": None
        if allow is None
        else {
            "entry": allow.text,
            "reason": allow.reason,
            "actor": allow.actor,
            "appeal": allow.appeal or None,
            "added_at": rfc3339(allow.added_at_s),
            "expires_at": rfc3339(allow.expires_at_s),
        },
        "call": {"trunk": trunk, "callee": callee}
        | _verdict(settings, rules, blocklists, e164, trunk, callee, at_ms),
    }


def _entries(
    rules: Rules, blocklists: Blocklists, e164: str, now_s: int
) -> Iterator[dict[str, Any]]:
    """Yield every list that holds the number or a prefix of it, held it, or may hold it."""
    numbers = parse_many([e164], lambda _: None)
    decay, bounds = rules.columns.decay, rules.policy.bounds
    found = blocklists.match(numbers, now_s, decay, rules.columns.scopes).by_row().get(0, ())
    matches = {match.list: match for match in found}
    by_prefix = blocklists.prefixes.match(numbers.e164, decay, now_s)
    digits = dict(zip(by_prefix.lists.tolist(), by_prefix.prefix.tolist(), strict=True))
    for index, live in enumerate(blocklists.lists):
        known, reports = _held(live, e164)
        match, prefix = matches.get(index), None
        if match.prefix if match else index in digits and not _live(reports, now_s):
            prefix = f"{e164[: 1 + digits[index]]}*"
            known, reports = _held(live, prefix)
        if match is not None:
            state = "listed" if match.confirmed else "unconfirmed"
        elif reports:
            state = "legitimate" if _live(reports, now_s) else "expired"
        elif known:
            state = "removed"
        else:
            continue
        listed = match if match is not None and match.confirmed else None
        yield {
            "list": live.name,
            "owner": live.name.partition("/")[0],
            "state": state,
            "prefix": prefix,
            "agreement": rules.rule_names.agreements[index],
            "needs_agreement": bool(bounds) and bounds[index].stops.action == NO_AGREEMENT,
            "may": rules.policy.by_list[index].action.name.lower(),
            "generation": live.generation,
            "category": _label(listed.category) if listed else None,
            "confidence": listed.confidence if listed else None,
            "expires_at": rfc3339(listed.expires_at_s or NEVER) if listed else None,
            "outside": match.outside.label or None if match is not None else None,
            "asked_by": [*rules_that_ask(rules.policy.settings.rules, live.name)],
            "terms": [] if match is None else terms_of(rules.policy, match, found),
            "reports": [_report(report, decay[index], now_s) for report in reports],
        }


def _report(report: Entry, decay: Decay, now_s: int) -> dict[str, Any]:
    """One source's report, with its confidence now."""
    sure = left(
        np.array([report.confidence], np.uint8),
        np.array([report.reported_at_s], np.int64),
        decay[np.newaxis],
        now_s,
    )
    return {
        "source": report.source,
        "category": report.category.label,
        "confidence": report.confidence,
        "confidence_now": int(rounded(sure)[0]) if report.live(now_s) else 0,
        "reported_at": rfc3339(report.reported_at_s),
        "expires_at": rfc3339(report.expires_at_s),
        "live": report.live(now_s),
    }


def _live(reports: Sequence[Entry], now_s: int) -> bool:
    return any(report.live(now_s) for report in reports)


def _held(live: LiveList, text: str) -> tuple[bool, tuple[Entry, ...]]:
    """Return whether the list knows the number or prefix, and its reports; (): it was removed."""
    column = elements(np.array([text], "S16"), live.key)
    fingerprint = int(Digests(column).fingerprints()[0])
    if fingerprint in live.overlay.entries:
        return True, live.overlay.entries[fingerprint]
    if live.snapshot is None or live.snapshot.columns is None:
        return False, ()
    columns = live.snapshot.columns
    reports = tuple(map(columns.entry, columns.span(fingerprint)))
    return bool(reports), reports


def _verdict(
    settings: EngineSettings,
    rules: Rules,
    blocklists: Blocklists,
    e164: str,
    trunk: str | None,
    callee: str | None,
    at_ms: int,
) -> dict[str, Any]:
    """Return the engine's decision about such a call."""
    record = {"call_id": "why", "caller": e164, "callee": callee, "trunk": trunk}
    record["verstat"] = NOT_TOLD
    topic = next(iter(settings.calls.topics))
    raw = RawBatch(
        values=[msgspec.json.encode(record)],
        offsets=np.zeros(1, np.int64),
        timestamps_ms=np.array([at_ms], np.int64),
        segments=(Segment(Partition(topic, 0), 0, 1),),
        epoch=0,
    )
    limits = DecodeSettings(
        _RECORD_BYTES_MAX, check_callee=settings.calls.check_callee, attestation=True
    )
    batch = decode(raw, {topic: RINGFENCE}, settings.trunks_by_name(), limits)
    (value,) = filter(None, decide(batch, blocklists, rules, at_ms).outcome().values)
    decision = msgspec.json.decode(value)
    held = settings.policy.rules.settings()
    return {
        "verdict": decision["verdict"],
        "would": decision.get("would"),
        "rule": decision["rule"],
        "role": decision["role"],
        "rules_not_told": [*held.with_memory, *held.of_attestation],
    }


def _label(category: int | None) -> str | None:
    return None if category is None else Category(category).label

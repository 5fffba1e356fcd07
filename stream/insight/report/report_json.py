"""A report as JSON: the figures of the page, each with what it counts and how. Pure."""

from typing import Any

from msgspec import to_builtins

from stream.core.model.agreement import Agreement, Terms
from stream.core.model.moments import rfc3339
from stream.insight.report.figure_catalogue import FIGURES, Key
from stream.insight.report.figures import Value
from stream.insight.report.pairs import Pairing
from stream.insight.report.pending import Waiting
from stream.insight.report.period import ReportPeriod
from stream.insight.report.points import AgendaPoint
from stream.insight.report.whole import AgreementReport
from stream.insight.report.words import scrubbed

FORMAT = "ringfence-report/1"


def report_json(report: AgreementReport) -> dict[str, Any]:
    """Return all of a report as plain values; what was not measured is null."""
    material = report.material
    return {
        "format": FORMAT,
        "agreement": {
            "id": report.agreement.id,
            **agreement_head(report.agreement, material.made_at_s),
        },
        "made_by": material.home,
        "made_at": rfc3339(material.made_at_s),
        "period": {**_period_json(report.period), "so_far": report.running},
        "days": _period_json(report.days),
        "before": _period_json(report.before),
        "summary": [": ".join(filter(None, (one.lead, one.text))) for one in report.summary],
        "raise": [_point_json(point) for point in report.points],
        "waiting": [_waiting_json(one) for one in report.waiting],
        "lists": [_pair_json(pair) for pair in report.pairs],
        "not_reported_here": [
            {"list": name, "country": country} for name, country in report.elsewhere
        ],
        "unread": [scrubbed(text) for text in material.unread],
        "method": {key.value: meaning.how for key, meaning in FIGURES.items()},
    }


def agreement_head(agreement: Agreement, at_s: int) -> dict[str, Any]:
    """Return an agreement but for its lists, with its state at that moment."""
    reporting = agreement.reporting
    return {
        "title": agreement.title,
        "kind": agreement.kind,
        "state": agreement.state(at_s),
        "valid_from": rfc3339(agreement.valid_from_s),
        "valid_until": rfc3339(agreement.valid_until_s),
        "response_target_s": agreement.response_target_s or None,
        "parties": {
            name: {"roles": sorted(party.roles), "contact": party.contact}
            for name, party in agreement.parties.items()
        },
        "report": None
        if reporting is None
        else {"every": reporting.every, "due_days": reporting.due_days, "to": [*reporting.to]},
    }


def terms_json(terms: Terms) -> dict[str, Any]:
    """Conditions under which a list may act."""
    return {
        "confidence_min": terms.confidence_min,
        "categories": None
        if terms.categories is None
        else [category.label for category in sorted(terms.categories)],
        "countries_min": terms.countries_min,
        "simulate": terms.simulate,
    }


def _period_json(period: ReportPeriod) -> dict[str, Any]:
    return {
        "period": period.text(),
        "first": period.first.isoformat(),
        "last": period.last.isoformat(),
    }


def _point_json(point: AgendaPoint) -> dict[str, Any]:
    source = point.source
    return {
        "weight": point.weight.name.lower(),
        "rule": point.rule,
        "text": point.text,
        "ask": point.ask or None,
        "figure": {"id": source.anchor, "label": source.label, "value": source.value},
    }


def _waiting_json(one: Waiting) -> dict[str, Any]:
    return {
        "what": one.standing,
        "list": one.list,
        "text": one.text,
        "who": one.who,
        "since": None if one.since_s is None else rfc3339(one.since_s),
    }


def _pair_json(pair: Pairing) -> dict[str, Any]:
    told = pair.counted
    return {
        "id": pair.slug,
        "list": pair.clause.list,
        "owner": pair.clause.owner,
        "country": pair.country,
        "agreement": pair.agreement.id,
        "promised": {
            "action": pair.ceiling.name.lower(),
            **terms_json(pair.clause.terms),
            "shares": pair.clause.shares,
            "response_target_s": pair.agreement.response_target_s or None,
        },
        "days_expected": told.expected,
        "days_missing": [day.isoformat() for day in told.missing],
        "figures": {
            key.value: {
                "value": _rounded(pair.value(key)),
                "before": _rounded(pair.value_before(key)),
                "unit": FIGURES[key].unit,
            }
            for key in Key
        },
        "categories": to_builtins(told.categories),
        "reasons": to_builtins(pair.reasons),
        "by_day": [
            {
                **to_builtins(day),
                "in_force_p50_s": _rounded(day.in_force_p50_s),
                "in_force_p99_s": _rounded(day.in_force_p99_s),
            }
            for day in told.days
        ],
    }


def _rounded(value: Value) -> Value:
    """To the millisecond, as a share to a millionth is already."""
    return round(value, 6 if value < 1 else 3) if isinstance(value, float) else value

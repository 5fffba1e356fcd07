"""The report of a replay as plain values, for JSON, table and page. Pure.

Numbers are masked unless `full`; names of trunks are what records say and may be anything.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from stream.core.model.decision import Action
from stream.core.model.moments import rfc3339
from stream.core.numbers.number import masked, region_of
from stream.insight.replay.compare import CallChange
from stream.insight.replay.totals import NOBODY, NUMBERS_MAX, SeenNumber, Sums, Tallied
from stream.insight.report.words import scrubbed

TOP: Final = 20
"""Callers, countries, trunks and rules that are named; the rest is summed up."""
TRUNK_CHARS_MAX: Final = 64
"""A record may name any text as its trunk."""


@dataclass(frozen=True, slots=True)
class ReplayRun:
    """A run of a replay: the candidates, span and speed. Times are seconds since the epoch.

    `seconds` it took to decide, `seconds_back` to look for calls back; None: it did not look.
    """

    topics: tuple[str, ...]
    from_s: int
    until_s: int
    at_s: int
    made_at_s: int
    candidates: tuple[str, ...]
    lists: int
    seconds: float
    seconds_back: float | None
    notes: tuple[str, ...] = ()


def told(made: ReplayRun, sums: Sums, *, full: bool) -> dict[str, Any]:
    """Return the whole report as plain values."""
    records = sums.calls + sums.rejected
    return {
        "topics": list(made.topics),
        "from": rfc3339(made.from_s),
        "to": rfc3339(made.until_s),
        "decided_as_of": rfc3339(made.at_s),
        "made_at": rfc3339(made.made_at_s),
        "candidates": list(made.candidates),
        "notes": list(made.notes),
        "lists": made.lists,
        "records": records,
        "calls": sums.calls,
        "rejected": sums.rejected,
        "seconds": round(made.seconds, 3),
        "seconds_calls_back": None if made.seconds_back is None else round(made.seconds_back, 3),
        "records_per_s": round(records / made.seconds) if made.seconds else None,
        "verdicts": {
            "production": _verdicts(sums.before, sums.on_trial[0]),
            "candidate": _verdicts(sums.after, sums.on_trial[1]),
        },
        "changes": {
            change.value: _change(tallied, full=full) for change, tallied in sums.changes.items()
        },
        "false_positives": _false_positives(made, sums),
    }


def _verdicts(calls: list[int], on_trial: int) -> dict[str, int]:
    return {
        "block": calls[Action.BLOCK],
        "flag": calls[Action.FLAG],
        "allow": calls[Action.OBSERVE],
        "on_trial": on_trial,
    }


def _change(tallied: Tallied, *, full: bool) -> dict[str, Any]:
    callers = sorted(tallied.numbers.items(), key=lambda item: (-item[1].calls, item[0]))
    return {
        "calls": tallied.calls,
        "numbers": sum(number != NOBODY for number in tallied.numbers),
        "numbers_at_most_remembered": NUMBERS_MAX,
        "calls_of_numbers_not_remembered": tallied.untracked,
        "by_rule": _most(tallied.by_rule, "rule"),
        "by_country": _most(tallied.by_country, "country"),
        "by_trunk": _most(_named(tallied.by_trunk, full=full), "trunk"),
        "top_callers": [_caller(number, seen, full=full) for number, seen in callers[:TOP]],
    }


def _caller(number: bytes, seen: SeenNumber, *, full: bool) -> dict[str, Any]:
    text = number.decode()
    return {
        "number": (text if full else masked(text)) or None,
        "country": region_of(text) if text else None,
        "calls": seen.calls,
        "rule": seen.rule,
        "long_answered": seen.long,
        "called_back": seen.called_back,
    }


def _most(counts: Counter[str], name: str) -> list[dict[str, Any]]:
    """Return the most frequent, and the rest together; of equals the first by name."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found: list[dict[str, Any]] = [{name: key, "calls": calls} for key, calls in ordered[:TOP]]
    rest = sum(calls for _, calls in ordered[TOP:])
    return [*found, {name: f"{len(ordered) - TOP} others", "calls": rest}] if rest else found


def _named(trunks: Counter[str], *, full: bool) -> Counter[str]:
    """Trunks as they may be shown: on one printable line, without what could be a number."""
    found: Counter[str] = Counter()
    for name, calls in trunks.items():
        line = "".join(char if char.isprintable() else "?" for char in name[:TRUNK_CHARS_MAX])
        found[line if full else scrubbed(line)] += calls
    return found


def _false_positives(made: ReplayRun, sums: Sums) -> dict[str, Any]:
    numbers = {
        n: s for n, s in sums.changes[CallChange.NEWLY_BLOCKED].numbers.items() if n != NOBODY
    }
    spared = sum(number != NOBODY for number in sums.changes[CallChange.SPARED].numbers)
    suspect = sum(seen.long or seen.called_back for seen in numbers.values())
    return {
        "newly_blocked_numbers": len(numbers),
        "estimated": suspect,
        "share": round(suspect / len(numbers), 4) if numbers else None,
        "long_answered": sum(seen.long for seen in numbers.values()) if sums.durations else None,
        "long_answered_from_s": sums.long_s,
        "called_back": sum(s.called_back for s in numbers.values())
        if made.seconds_back is not None
        else None,
        "pairs_not_remembered": sums.pairs_left_out,
        "allow_listed": spared,
    }


MEANINGS: Final = {
    "long_answered": "A number of which at least one newly blocked record is the end of a call that"
    " lasted that long or longer: people who are called by a robot hang up. Not measured where no"
    " such record says how long the call was.",
    "called_back": "A number that was called, in the time looked at, by somebody whom it had called"
    " in that time: people call back whom they know. Of callers alone.",
    "allow_listed": "Numbers that a list holds with the candidate alone and that are on the"
    " allowlist: they stay allowed, and somebody has already said that they are legitimate. Not"
    " among the estimated.",
    "estimated": "Newly blocked numbers with a long answered call, or that were called back, or"
    " both. It is an estimate: a scam that works has long calls too. Look at the callers by name.",
}
"""The meaning of each figure of the estimate, for readers of the report."""

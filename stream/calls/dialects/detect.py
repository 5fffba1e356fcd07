"""Which dialect records are in: each is tried, and what fits is proposed with its reasons. Pure."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stream.calls.dialects import KNOWN
from stream.calls.dialects.switch import SwitchSettings
from stream.calls.dialects.understood import Understood, understood

TRIED_MAX = 200
"""Records that are looked at; a file's first ones say what it is."""
_SWITCH = SwitchSettings(time_zone="Z")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One dialect that fits; `why` in plain words, `settings` what the configuration needs."""

    dialect: str
    calls: int
    records: int
    why: str
    settings: str


def proposals(records: Sequence[bytes], region: str) -> list[Proposal]:
    """The dialects in which at least half of `records` are calls, best first."""
    tried = records[:TRIED_MAX]
    fitting = []
    for name, known in KNOWN.items():
        result = understood(known.make(name, _SWITCH), tried, region, None)
        if result.calls and result.calls * 2 >= result.records:
            fitting.append((_weight(result), name, result))
    fitting.sort(key=lambda each: each[0], reverse=True)
    return [_proposal(name, result) for _, name, result in fitting]


def likely(records: Sequence[bytes], region: str) -> str | None:
    """The dialect that `records` seem to be in; None: none that is known."""
    found = proposals(records, region)
    return found[0].dialect if found else None


def _weight(result: Understood) -> tuple[float, int]:
    """Calls first, then how much else is understood."""
    return result.calls / result.records, result.fields_read


def _proposal(name: str, result: Understood) -> Proposal:
    places = [
        f"{field} at {result.columns[field].place}"
        for field in ("call_id", "caller", "callee")
        if result.columns[field].place
    ]
    others = [field for field in ("started_at", "duration_s", "trunk")
              if field in result.columns and result.columns[field].read]  # fmt: skip
    why = f"{result.calls} of {result.records} records are calls: {', '.join(places)}"
    if others:
        why += f"; {', '.join(others)} too"
    return Proposal(name, result.calls, result.records, why, _settings(name))


def _settings(name: str) -> str:
    if not KNOWN[name].local_times:
        return f'[calls.topics]\n"calls.{name}" = "{name}"\n'
    return (
        f'[calls.topics]\n"calls.{name}" = "{name}:NAME"\n\n'
        '[switches.NAME]\ntime_zone = "Asia/Bangkok"   # -> the switch\'s; its times do not say\n'
    )


_GUESSES = {
    "call_id": re.compile(r"call.?id|call.?ref|uuid|uniqueid|session.?id|^id$", re.IGNORECASE),
    "caller": re.compile(r"caller|calling|^src|source|^from|a.?(?:number|party)|^ani$|msisdn",
                         re.IGNORECASE),
    "callee": re.compile(r"callee|called|^dst|dest|^to|b.?(?:number|party)|dialed|dialled",
                         re.IGNORECASE),
    "started_at": re.compile(r"start|begin|created|setup|seiz|time|date", re.IGNORECASE),
    "duration_s": re.compile(r"duration|billsec|seconds", re.IGNORECASE),
    "trunk": re.compile(r"trunk|gateway|carrier|ingress|route", re.IGNORECASE),
}  # fmt: skip


def mapping_draft(records: Sequence[bytes]) -> str:
    """A mapping's table to begin with, by the names in the first JSON record; "" for others."""
    for value in records[:TRIED_MAX]:
        try:
            record = json.loads(value)
        except ValueError:
            continue
        if isinstance(record, dict):
            return _draft(dict(_leaves(record, "")))
    return ""


def _leaves(node: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        path = above + key.replace(".", "\\.")
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}.")
        elif not isinstance(value, list):
            yield path, value


def _draft(leaves: dict[str, Any]) -> str:
    lines = ["[mappings.NAME]", 'format = "json"', "", "[mappings.NAME.fields]"]
    taken: set[str] = set()
    for field, pattern in _GUESSES.items():
        there = (path for path in leaves if path not in taken and _fits(pattern, path))
        path = next(there, None)
        if path is not None:
            taken.add(path)
            lines.append(f"{field} = {json.dumps(path)}")
        elif field in ("call_id", "caller", "callee"):
            lines.append(f'{field} = ""   # -> where it is')
    return "\n".join(lines) + "\n"


def _fits(pattern: re.Pattern[str], path: str) -> bool:
    return pattern.search(path.rpartition(".")[2]) is not None

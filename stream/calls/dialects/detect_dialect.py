"""Which dialect records are in: each is tried, and what fits is proposed with its reasons. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from stream.calls.dialects import KNOWN
from stream.calls.dialects.draft_mapping import mapping_draft
from stream.calls.dialects.near_misses import OF_COLUMNS, OTHER_ORDERS, NearMiss, near_misses
from stream.calls.dialects.preview import NO_CALL, Understood, understood
from stream.calls.dialects.switch import SwitchSettings
from stream.core.numbers.number import Kind, parse

TRIED_MAX = 200
"""Records that are looked at; a file's first ones say what it is."""
_PAIRS_MIN = 4
_CALLS_AN_ID = 3
"""One id for so many pairs of numbers is no call's: legs and stages of a call have few."""
_SWITCH = SwitchSettings(time_zone="Z")


@dataclass(frozen=True, slots=True)
class Proposal:
    """One dialect that fits; `why` in plain words, `settings` what the configuration needs."""

    dialect: str
    calls: int
    records: int
    why: str
    settings: str


@dataclass(frozen=True, slots=True)
class Found:
    """What some records are: the dialects that fit, best first, and, where none does, what they
    are nearly, and a mapping to begin with ("": nothing like two numbers is in them).
    """

    proposals: tuple[Proposal, ...]
    near: tuple[NearMiss, ...] = ()
    mapping: str = ""


def find(records: Sequence[bytes], region: str) -> Found:
    """Find the dialect of `records`, what they lack to be in one, or a mapping for them.

    Half of them must be calls, and look so: an id for each, and numbers where numbers belong.
    """
    looked_at = records[:TRIED_MAX]
    tried, fitting, doubts = {}, [], {}
    for name, known in KNOWN.items():
        result = understood(known.make(name, _SWITCH), looked_at, region, None)
        tried[name] = result
        if result.calls and result.calls * 2 >= result.records:
            doubt = _doubt(name, looked_at, region)
            if doubt:
                doubts[name] = doubt
            else:
                fitting.append((_weight(result), name, result))
    fitting.sort(key=lambda each: each[0], reverse=True)
    if fitting:
        return Found(tuple(_proposal(name, result) for _, name, result in fitting))
    near = near_misses(looked_at, tried, doubts)
    # A known switch needs its own records mended; only another order of columns is to be mapped.
    is_other_order = any(one.dialect in OTHER_ORDERS for one in near)
    mapping = mapping_draft(looked_at, region) if is_other_order or not near else ""
    return Found((), tuple(near), mapping)


def likely(records: Sequence[bytes], region: str) -> str | None:
    """The dialect that `records` seem to be in, calls or not; None: none that is known."""
    found = find(records, region)
    if found.proposals:
        return found.proposals[0].dialect
    return found.near[0].dialect if found.near else None


def _doubt(name: str, records: Sequence[bytes], region: str) -> str:
    """Why records that a dialect takes for calls are none; "": they are.

    In CSV a column is whatever stands there: ids that come again with other numbers, or numbers
    that are none, are another order of columns.
    """
    dialect = KNOWN[name].make(name, _SWITCH)
    glances = []
    for value in records:
        try:
            glances.append(dialect.glance(value))
        except NO_CALL:
            continue
    pairs = {(glance.caller, glance.callee) for glance in glances}
    ids = {glance.call_id for glance in glances}
    if len(pairs) >= _PAIRS_MIN and _CALLS_AN_ID * len(ids) <= len(pairs):
        return f"{len(glances):,} calls between {len(pairs):,} pairs of numbers have {len(ids)} ids"
    if name in OF_COLUMNS:
        for what in ("caller", "callee"):
            texts = [getattr(glance, what) for glance in glances]
            if 2 * sum(_may_be_party(text, region) for text in texts) < len(texts):
                return f"what stands where the {what} belongs is no number"
    return ""


def _may_be_party(text: str | None, region: str) -> bool:
    """Whether a text is a number, an extension, or a number that is withheld."""
    return text is None or parse(text, region).kind not in {Kind.INVALID, Kind.ALPHANUMERIC}


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
    return Proposal(name, result.calls, result.records, why, settings_for(name))


def settings_for(name: str) -> str:
    """What the configuration needs for a dialect."""
    if not KNOWN[name].local_times:
        return f'[calls.topics]\n"calls.{name}" = "{name}"\n'
    return (
        f'[calls.topics]\n"calls.{name}" = "{name}:NAME"\n\n'
        '[switches.NAME]\ntime_zone = "Asia/Bangkok"   # -> the switch\'s; its times do not say\n'
    )

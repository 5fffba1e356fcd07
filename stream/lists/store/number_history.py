"""One number on one list: what was said of it at a moment, and how it came on and off.

Of a base only the blocks that may hold the number are read, so this takes milliseconds a list.
A number is asked for by the fingerprints of its own text and of every prefix of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from stream.core.filters.overlay import Change
from stream.core.model.entry import Entry
from stream.core.model.errors import VersionGone
from stream.lists.store.entry_codec import REBUILD, Op, base_of
from stream.lists.store.list_at_time import Past, Stretch, is_bare, millis
from stream.lists.store.list_store import Register

Said = dict[int, tuple[Entry, ...]]
"""All reports by fingerprint; a fingerprint without any is left out."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one generation did to a number on a list; `reports` are those after it, (): it is off.

    `element` is the number or prefix as text, "" where that is not known. `what` is added, changed,
    renewed (only its times) or removed. `how` is the list's step (add, remove, import, rollback,
    ...), or `unknown` where generations that are not kept any more lie in between. `actor` and
    `reason` are the audit's, None where it does not say.
    """

    generation: int
    at_s: int
    element: str
    what: str
    how: str
    reports: tuple[Entry, ...]
    actor: str | None = None
    reason: str | None = None


async def said_at(
    register: Register, past: Past, generation: int, fingerprints: Sequence[int]
) -> Said:
    """The reports of `fingerprints` at a generation.

    Raises VersionGone, RegisterDown, SnapshotUnreadable.
    """
    stretch = past.stretch_of(generation)
    if await is_bare(register, past, stretch):
        raise VersionGone(f"generation {generation} is a bare filter, and asked only while live")
    said = await _in_base(register, past, stretch, fingerprints)
    return _after(said, past.changes(stretch, generation), set(fingerprints))


async def turns_of(register: Register, past: Past, fingerprints: Sequence[int]) -> tuple[Turn, ...]:
    """What became of a number on a list, oldest first, as far as it can still be told."""
    found: list[Turn] = []
    before: Said = {}
    upto = 0
    for stretch in reversed(past.stretches):
        said = await _in_base(register, past, stretch, fingerprints)
        said = _after(said, past.changes(stretch, stretch.first), set(fingerprints))
        how = _how(past, stretch) if upto + 1 == stretch.first else "unknown"
        at_s = millis(stretch.base.published_id) // 1000
        found += _turns(before, said, stretch.first, at_s, how)
        moments = {s.generation: millis(s.id) // 1000 for s in past.steps}
        ops = {s.generation: s.op for s in past.steps}
        for generation, change in past.numbered(stretch):
            if change.fingerprint in fingerprints and generation > stretch.first:
                after = _after(said, [change], {change.fingerprint})
                at_s = moments[generation]
                found += _turns(said, after, generation, at_s, ops[generation])
                said = after
        before, upto = said, stretch.last
    return tuple(found)


async def with_audit(
    register: Register, turns: Mapping[str, Sequence[Turn]]
) -> dict[str, tuple[Turn, ...]]:
    """The turns on each list with who made them and why, where the audit still says so."""
    wanted = {(name, turn.generation) for name, mine in turns.items() for turn in mine}
    moments = [turn.at_s for mine in turns.values() for turn in mine]
    told = {}
    if wanted:
        async for entry in register.annals.audit(min(moments) * 1000):
            key = (entry.list_name, entry.generation)
            if key in wanted and entry.op in set(Op):
                told[key] = (entry.actor, entry.reason)
    return {
        name: tuple(_told(turn, told.get((name, turn.generation))) for turn in mine)
        for name, mine in turns.items()
    }


def _told(turn: Turn, by: tuple[str, str] | None) -> Turn:
    return turn if by is None else replace(turn, actor=by[0], reason=by[1])


async def _in_base(
    register: Register, past: Past, stretch: Stretch, fingerprints: Sequence[int]
) -> Said:
    return await register.reports_in_base(past.head.name, stretch.base.generation, fingerprints)


def _after(said: Said, changes: Iterable[Change], fingerprints: set[int]) -> Said:
    after = dict(said)
    for change in changes:
        if change.fingerprint not in fingerprints:
            continue
        if change.entries:
            after[change.fingerprint] = change.entries
        else:
            after.pop(change.fingerprint, None)
    return after


def _how(past: Past, stretch: Stretch) -> str:
    """What made the base of a stretch."""
    for step in past.steps:
        if step.generation == stretch.first and step.op == Op.BASE:
            record = base_of(step.payload)
            return record.what if record else step.op
    return "base" if stretch.base.generation else Op.CREATE


def _turns(before: Said, after: Said, generation: int, at_s: int, how: str) -> list[Turn]:
    turns = []
    for fingerprint in sorted(before.keys() | after.keys()):
        was, now = before.get(fingerprint, ()), after.get(fingerprint, ())
        if _sorted(was) == _sorted(now) or how == REBUILD:
            continue
        what = "added" if not was else "removed" if not now else "changed"
        if what == "changed" and _untimed(was) == _untimed(now):
            what = "renewed"
        element = (now or was)[0].number or ""
        turns.append(Turn(generation, at_s, element, what, how, now))
    return turns


def _untimed(reports: tuple[Entry, ...]) -> list[Entry]:
    return [replace(entry, reported_at_s=0, expires_at_s=0) for entry in _sorted(reports)]


def _sorted(reports: tuple[Entry, ...]) -> list[Entry]:
    return sorted(reports, key=lambda report: report.source)

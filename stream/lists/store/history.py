"""The history of a list, and of one number on it: each generation, by whom, when and why.

Read from the audit, and from the change stream where the audit has nothing. Of a base only the
blocks that may hold the number are read, so one number takes milliseconds a list.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stream.core.filters.overlay import Change
from stream.core.model.entry import Entry
from stream.core.model.errors import VersionGone
from stream.lists.store.audit_entries import FEED_FORGOTTEN, AuditEntry, told_of_version
from stream.lists.store.heads import ListHead
from stream.lists.store.list_content import GenerationSpan, Past, is_bare
from stream.lists.store.list_store import ListStore
from stream.lists.store.store_codec import (
    REBUILD,
    REKEY,
    REPAIR,
    BaseRecord,
    Op,
    Step,
    base_of,
    millis,
)

RECENT_ENTRIES = 10_000
"""The page must answer at once: so many entries of the audit take about 50 ms."""
TOGETHER_S = 60
"""Changes of one kind by one actor for one reason within this time are one row."""

_SHOWN_MAX = 3
"""Masked numbers that a run names."""
FEED_PULLED = "pull"
"""The audit's word for a feed that a person had fetched."""
_OF_ALLOWLIST = {Op.ALLOW, Op.DISALLOW, "repair"}


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Generations `first` to `last`, made alike. `at_s` is the last one's moment.

    `what` is create, add, remove, ... or what a new base was made by; `of` the generation that was
    put back, else 0. `actor`, `reason` and `count` (the numbers on the list after it) are None
    where the audit does not say. `kept`: whether they can still be had.
    """

    first: int
    last: int
    at_s: int
    what: str
    actor: str | None
    reason: str | None
    count: int | None
    kept: bool
    of: int = 0


async def history(
    store: ListStore, past: Past, most: int, *, each: bool = False
) -> tuple[HistoryRow, ...]:
    """Return the newest `most` (0: all) of what was made of a list, newest first.

    `each`: every generation on a row of its own, those reserved for a new base too.
    """
    name, made, told, last = past.head.name, dict[int, HistoryRow](), 0, None
    async for entry in store.past.audit():
        if entry.list_name != name or entry.op not in set(Op):
            continue
        if entry.generation in made or entry.generation > past.head.generation:
            continue
        row = made[entry.generation] = _audited(entry, past)
        told += last is None or each or not _alike(row, last)
        last = row
        if entry.generation == 1 or (most and told > most):
            break
    oldest = min(made, default=0) if most and told > most else 0
    for step in past.steps:
        if step.generation >= oldest and step.generation not in made:
            made[step.generation] = _stepped(step, past)
    rows: Iterable[HistoryRow] = (made[generation] for generation in sorted(made, reverse=True))
    if not each:
        rows = _joined(row for row in rows if row.what != Op.RESERVE)
    return tuple(rows)[: most or None]


async def recent(
    store: ListStore, head: ListHead, most: int
) -> tuple[tuple[HistoryRow, ...], bool]:
    """Return the newest `most` rows of the audit, and whether there were no more.

    Reads `RECENT_ENTRIES` entries of all lists at most, and no step. So `kept` is true of
    generations that are bases, and false of those between them, which may still be available.
    """
    bases = await store.past.bases(head.name)
    stretches = (GenerationSpan(base, base.published, base.published) for base in bases)
    past, made, looked, ended = Past(head, (), tuple(stretches)), list[HistoryRow](), 0, True
    async for entry in store.past.audit():
        looked += 1
        if entry.list_name == head.name and entry.op in set(Op):
            made.append(_audited(entry, past))
            if entry.generation == 1:
                break
        if looked >= RECENT_ENTRIES:
            ended = False
            break
    rows = tuple(_joined(row for row in made if row.what != Op.RESERVE))
    return rows[:most], ended and len(rows) <= most


def _audited(entry: AuditEntry, past: Past) -> HistoryRow:
    record = base_of(entry.detail.encode()) if entry.op == Op.BASE else None
    return HistoryRow(
        *(entry.generation, entry.generation, entry.at_s, record.what if record else entry.op),
        *(entry.actor, entry.reason, entry.count if entry.number else None),
        past.holds(entry.generation),
        _of(record),
    )


def _stepped(step: Step, past: Past) -> HistoryRow:
    record = base_of(step.payload) if step.op == Op.BASE else None
    actor = step.payload.decode(errors="replace") if step.op == Op.RESERVE else None
    return HistoryRow(
        *(step.generation, step.generation, millis(step.id) // 1000),
        record.what if record else step.op,
        actor=actor,
        reason=None,
        count=None,
        kept=past.holds(step.generation),
        of=_of(record),
    )


def _of(record: BaseRecord | None) -> int:
    return record.of if record else 0


def _joined(rows: Iterable[HistoryRow]) -> Iterator[HistoryRow]:
    """Yield rows, newest first, with those that are alike as one."""
    run: HistoryRow | None = None
    for row in rows:
        if run is not None and _alike(row, run):
            run = replace(run, first=row.first)
        else:
            if run is not None:
                yield run
            run = row
    if run is not None:
        yield run


def _alike(older: HistoryRow, newer: HistoryRow) -> bool:
    """Return whether two rows are joined into one."""
    return (
        (older.what, older.actor, older.reason, older.kept, older.of)
        == (newer.what, newer.actor, newer.reason, newer.kept, newer.of)
        and older.what not in {Op.CREATE, "import", REBUILD, "rollback", REPAIR, REKEY}
        and newer.at_s - older.at_s <= TOGETHER_S
    )


def place_of(entry: AuditEntry) -> str:
    """Return the subject of an audit entry for people: a list, the allowlist, feeds or calls."""
    if entry.op in {FEED_PULLED, FEED_FORGOTTEN} and not entry.list_name:
        return "(feeds)"
    return entry.list_name or ("(allowlist)" if entry.op in _OF_ALLOWLIST else "(calls)")


def detail_of(entry: AuditEntry) -> str:
    """Return the details of an audit entry for people. Numbers are masked."""
    if entry.op.startswith("feed_"):
        return told_of_version(entry.detail)
    record = base_of(entry.detail.encode()) if entry.op == Op.BASE else None
    if record is None:
        return entry.detail
    of = f" to {record.of}" if record.of else ""
    return f"{record.what}{of}: {record.count:,} {'entry' if record.count == 1 else 'entries'}"


@dataclass(slots=True)
class AuditRun:
    """Entries of the audit that follow each other and are alike: one change of many numbers.

    An import of 5,000 numbers writes as many entries: each is a change of its own, and names its
    generation. People read it as one. `entries` counts them, `shown` are the newest details.
    """

    newest: AuditEntry
    oldest: AuditEntry
    entries: int = 1
    shown: tuple[str, ...] = ()

    def takes(self, older: AuditEntry) -> bool:
        """Take the next older entry into the run; return False where it begins another one."""
        last = self.oldest
        if (
            older.op not in {Op.ADD, Op.REMOVE}
            or older.number != last.number - 1
            or _said_by(older) != _said_by(last)
            or last.at_s - older.at_s > TOGETHER_S
        ):
            return False
        self.oldest, self.entries = older, self.entries + 1
        if not self.shown:
            self.shown = (last.detail,)
        if self.entries <= _SHOWN_MAX:
            self.shown = (older.detail, *self.shown)
        return True


def _said_by(entry: AuditEntry) -> tuple[str, str, str, str]:
    return entry.list_name, entry.op, entry.actor, entry.reason


def detail_of_run(run: AuditRun) -> str:
    """Return the details of a run for people. Numbers are masked."""
    if run.entries == 1:
        return detail_of(run.newest)
    more = ", ..." if run.entries > len(run.shown) else ""
    return f"{run.entries:,} numbers: {', '.join(filter(None, run.shown))}{more}"


Said = dict[int, tuple[Entry, ...]]
"""All reports by fingerprint; a fingerprint without any is left out."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The effect of one generation on a number; `reports` are those after it, (): it is off.

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
    store: ListStore, past: Past, generation: int, fingerprints: Sequence[int]
) -> Said:
    """Return the reports of `fingerprints` at a generation.

    Raises VersionGone, ListStoreDown, SnapshotUnreadable.
    """
    stretch = past.stretch_of(generation)
    if await is_bare(store, past, stretch):
        raise VersionGone(f"generation {generation} is a bare filter, and asked only while live")
    said = await _in_base(store, past, stretch, fingerprints)
    return _after(said, past.changes(stretch, generation), set(fingerprints))


async def turns_of(store: ListStore, past: Past, fingerprints: Sequence[int]) -> tuple[Turn, ...]:
    """Return the kept history of a number on a list, oldest first."""
    found: list[Turn] = []
    before: Said = {}
    upto = 0
    for stretch in reversed(past.stretches):
        said = await _in_base(store, past, stretch, fingerprints)
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
    store: ListStore, turns: Mapping[str, Sequence[Turn]]
) -> dict[str, tuple[Turn, ...]]:
    """Return the turns on each list with who made them and why, where the audit still says so."""
    wanted = {(name, turn.generation) for name, mine in turns.items() for turn in mine}
    moments = [turn.at_s for mine in turns.values() for turn in mine]
    told = {}
    if wanted:
        async for entry in store.past.audit(min(moments) * 1000):
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
    store: ListStore, past: Past, stretch: GenerationSpan, fingerprints: Sequence[int]
) -> Said:
    return await store.reports_in_base(past.head.name, stretch.base.generation, fingerprints)


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


def _how(past: Past, stretch: GenerationSpan) -> str:
    """Return the origin of a stretch's base."""
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

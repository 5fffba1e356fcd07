"""What became of a list: its generations, who made each, when and why.

Read from the audit, and from the change stream where the audit says nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stream.lists.store.audit_chain import AuditEntry
from stream.lists.store.audit_text import FEED_FORGOTTEN, told_of_version
from stream.lists.store.entry_codec import REKEY, BaseRecord, Op, Step, base_of
from stream.lists.store.heads import ListHead
from stream.lists.store.list_at_time import Past, Stretch, millis
from stream.lists.store.list_store import Register

RECENT_ENTRIES = 10_000
TOGETHER_S = 60
"""Changes of one kind by one person for one reason, so little apart, are told as one."""

FEED_PULLED = "pull"
"""The audit's word for a feed that a person had fetched."""
_OF_ALLOWLIST = {Op.ALLOW, Op.DISALLOW, "repair"}


@dataclass(frozen=True, slots=True)
class Made:
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
    register: Register, past: Past, most: int, *, each: bool = False
) -> tuple[Made, ...]:
    """The newest `most` (0: all) of what was made of a list, newest first.

    `each`: every generation on a row of its own, those reserved for a new base too.
    """
    name, made, told, last = past.head.name, dict[int, Made](), 0, None
    async for entry in register.annals.audit():
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
    rows: Iterable[Made] = (made[generation] for generation in sorted(made, reverse=True))
    if not each:
        rows = _joined(row for row in rows if row.what != Op.RESERVE)
    return tuple(rows)[: most or None]


async def recent(register: Register, head: ListHead, most: int) -> tuple[tuple[Made, ...], bool]:
    """The newest `most` rows, and whether there were no more; from the newest end of the audit.

    Looks at `RECENT_ENTRIES` entries of all lists at most, and at no step: so `kept` is true of
    generations that are bases, and false of those between them, which may still be had.
    """
    bases = await register.annals.bases(head.name)
    stretches = (Stretch(base, base.published, base.published) for base in bases)
    past, made, looked, ended = Past(head, (), tuple(stretches)), list[Made](), 0, True
    async for entry in register.annals.audit():
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


def _audited(entry: AuditEntry, past: Past) -> Made:
    record = base_of(entry.detail.encode()) if entry.op == Op.BASE else None
    return Made(
        *(entry.generation, entry.generation, entry.at_s, record.what if record else entry.op),
        *(entry.actor, entry.reason, entry.count if entry.number else None),
        past.holds(entry.generation),
        _of(record),
    )


def _stepped(step: Step, past: Past) -> Made:
    record = base_of(step.payload) if step.op == Op.BASE else None
    actor = step.payload.decode(errors="replace") if step.op == Op.RESERVE else None
    return Made(
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


def _joined(rows: Iterable[Made]) -> Iterator[Made]:
    """Rows, newest first, with those that are alike as one."""
    run: Made | None = None
    for row in rows:
        if run is not None and _alike(row, run):
            run = replace(run, first=row.first)
        else:
            if run is not None:
                yield run
            run = row
    if run is not None:
        yield run


def _alike(older: Made, newer: Made) -> bool:
    """Whether two rows are told as one."""
    return (
        (older.what, older.actor, older.reason, older.kept, older.of)
        == (newer.what, newer.actor, newer.reason, newer.kept, newer.of)
        and older.what not in {Op.CREATE, "import", "rebuild", "rollback", "repair", REKEY}
        and newer.at_s - older.at_s <= TOGETHER_S
    )


def place_of(entry: AuditEntry) -> str:
    """What an entry of the audit is about, for a person: a list, the allowlist, feeds or calls."""
    if entry.op in {FEED_PULLED, FEED_FORGOTTEN} and not entry.list_name:
        return "(feeds)"
    return entry.list_name or ("(allowlist)" if entry.op in _OF_ALLOWLIST else "(calls)")


def detail_of(entry: AuditEntry) -> str:
    """What an entry of the audit says beyond its operation, for a person. Numbers are masked."""
    if entry.op.startswith("feed_"):
        return told_of_version(entry.detail)
    record = base_of(entry.detail.encode()) if entry.op == Op.BASE else None
    if record is None:
        return entry.detail
    of = f" to {record.of}" if record.of else ""
    return f"{record.what}{of}: {record.count:,} entries"

"""Encode and decode the list store's values: entries, changes, steps and heads, and the chain.

Pure but for the count of what was skipped. Values in Redis may be another program's, or those of a
newer version. An unknown category becomes OTHER, an unknown operation is kept as its text. Anything
else that cannot be read is None or `Skipped`, and its reader reads the list again.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from stream.core.filters.overlay import Change
from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.errors import UNREADABLE
from stream.core.numbers.number import masked
from stream.core.policy.list_scope import NOTHING_KNOWN, Scope
from stream.lists.store.heads import AllowHead, ListHead, Numbered
from stream.ops.skipped_records import Skipped, StoredKind, skip


class Op(StrEnum):
    """The operation of one step of a list or of the allowlist."""

    CREATE = "create"
    ADD = "add"
    REMOVE = "remove"
    RESERVE = "reserve"
    SCOPE = "scope"
    BASE = "base"
    DELETE = "delete"
    ALLOW = "allow"
    DISALLOW = "disallow"


OPS: Final = frozenset(Op)


@dataclass(frozen=True, slots=True)
class Step:
    """One item of the change stream.

    `id` is its place there; `name` the list, "" for the allowlist; `op` one of `Op`, or a text that
    this version does not know. `chain` is the list's chain after this step. `version` is the
    Ringfence that wrote it, "" where that is not known any more.
    """

    id: str
    name: str
    generation: int
    op: str
    payload: bytes
    chain: str
    version: str = field(default="", compare=False)

    def follows(self, chain: str) -> bool:
        """Return whether this step is what came after the step whose chain is `chain`."""
        return self.chain == chain_after(chain, self.generation, self.op, self.payload)


@dataclass(frozen=True, slots=True)
class Followed:
    """Steps of the change stream after a position.

    `last_id` is how far that goes. `skipped` are the lists whose entries in between could not be
    read ("": such an entry of the allowlist, or one that names none).
    """

    steps: tuple[Step, ...]
    skipped: frozenset[str]
    last_id: str


def chain_after(chain: str, generation: int, op: str, payload: bytes) -> str:
    """Return the chain after one more step; the list store's scripts compute the same."""
    text = f"{chain}\n{generation}\n{op}\n".encode() + payload
    return hashlib.sha1(text, usedforsecurity=False).hexdigest()


# The ranges that arrays take: a value beyond would crash the code that fills one.
_Fingerprint = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
_Number = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{0,13}(?:\*|[0-9]?)\Z")]
_Seconds = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Percent = Annotated[int, Meta(ge=0, le=100)]


class _Report(msgspec.Struct, frozen=True):
    category: str
    source: str
    reported_at: _Seconds
    expires_at: _Seconds
    confidence: _Percent


class _EntryRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A number's first report, and `more` of them if there are: a number mostly has one."""

    fingerprint: _Fingerprint
    number: _Number | None
    category: str
    source: str
    reported_at: _Seconds
    expires_at: _Seconds
    confidence: _Percent
    more: tuple[_Report, ...] = ()


class _RemovalRecord(msgspec.Struct, frozen=True):
    fingerprint: _Fingerprint
    number: str | None


class _AllowRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    text: str
    reason: str
    actor: str
    added_at: int
    expires_at: int
    appeal: str = ""


REBUILD = "rebuild"
"""Origin of a base that changed nothing of what is listed."""
REPAIR = "repair"
"""Origin of a base with what a follower knew at generation `of`, and with what came since."""
REKEY = "rekey"
"""Origin of a base that is hashed with another key than those before it."""


class BaseRecord(msgspec.Struct, frozen=True):
    """Payload of `Op.BASE`: the base's generation, how many numbers it holds, and what was read.

    `what` is how it came about: import, rebuild, rollback, repair; `of` the generation whose
    content a rollback or a repair put back, else 0.
    """

    base: int
    count: int
    manifest_sha256: str
    what: str = "import"
    of: int = 0


class _ScopeRecord(msgspec.Struct, frozen=True):
    """Payload of `Op.SCOPE`, and field of a list's head; `codes` None: every country's."""

    feed: str
    codes: tuple[Annotated[int, Meta(ge=1, le=999)], ...] | None


def id_place(stream_id: str) -> tuple[int, int]:
    """Return a stream id as numbers: its milliseconds and its count. Texts have another order."""
    moment, _, count = stream_id.partition("-")
    return int(moment), int(count or 0)


def millis(stream_id: str) -> int:
    """Return the moment of a step, in milliseconds since the epoch."""
    return id_place(stream_id)[0]


def hex_of(fingerprint: int) -> str:
    """Return a fingerprint as the list store writes it: 16 hex digits."""
    return f"{fingerprint:016x}"


def entries_json(entries: Sequence[Entry]) -> bytes:
    """Return the payload of an add: all reports of a number, one at least."""
    first, *others = entries
    number = next((entry.number for entry in entries if entry.number is not None), None)
    return msgspec.json.encode(
        _EntryRecord(
            hex_of(first.fingerprint),
            number,
            first.category.label,
            first.source,
            first.reported_at_s,
            first.expires_at_s,
            first.confidence,
            tuple(
                _Report(
                    entry.category.label,
                    entry.source,
                    entry.reported_at_s,
                    entry.expires_at_s,
                    entry.confidence,
                )
                for entry in others
            ),
        )
    )


def removal_json(fingerprint: int, number: str | None) -> bytes:
    """Return the payload of a removal."""
    return msgspec.json.encode(_RemovalRecord(hex_of(fingerprint), number))


def change_of(op: str, payload: bytes) -> Change | None:
    """Return the change that an add or remove makes; None: neither, or unreadable."""
    try:
        if op == Op.ADD:
            record = _read_entry(payload)
            fingerprint = int(record.fingerprint, 16)
            reports: tuple[_EntryRecord | _Report, ...] = (record, *record.more)
            return Change(
                fingerprint, tuple(_entry(record.number, fingerprint, report) for report in reports)
            )
        if op == Op.REMOVE:
            return Change(int(_read_removal(payload).fingerprint, 16), ())
    except UNREADABLE:
        pass
    return None


def _entry(number: str | None, fingerprint: int, report: _Report | _EntryRecord) -> Entry:
    return Entry(
        number,
        fingerprint,
        Category.__members__.get(report.category.upper(), Category.OTHER),
        report.source,
        report.reported_at,
        report.expires_at,
        report.confidence,
    )


def numbered_of(value: bytes) -> Numbered | None:
    """Return the change in a value of a list's `changed` hash; None: unreadable."""
    generation, _, rest = value.partition(b" ")
    op, _, payload = rest.partition(b" ")
    change = change_of(op.decode(errors="replace"), payload)
    if change is None or not generation.isdigit():
        return None
    return Numbered(int(generation), op.decode(), payload, change)


def allow_json(entry: AllowEntry) -> bytes:
    """Return the payload of an allow entry."""
    return msgspec.json.encode(
        _AllowRecord(
            *(entry.text, entry.reason, entry.actor, entry.added_at_s, entry.expires_at_s),
            appeal=entry.appeal,
        )
    )


def allow_of(payload: bytes) -> AllowEntry | None:
    """Return the allow entry in `payload`; None: unreadable."""
    try:
        record = _read_allow(payload)
        return AllowEntry(
            *(record.text, record.reason, record.actor, record.added_at, record.expires_at),
            appeal=record.appeal,
        )
    except UNREADABLE:
        return None


def scope_json(scope: Scope) -> bytes:
    """Encode the scope of a list's feed, as a step and the list's head hold it."""
    codes = None if scope.codes is None else tuple(sorted(scope.codes))
    return msgspec.json.encode(_ScopeRecord(scope.feed, codes))


def scope_of(payload: bytes) -> Scope | None:
    """Decode the scope of a list's feed; None: unreadable."""
    try:
        record = _read_scope(payload)
    except UNREADABLE:
        return None
    return Scope(record.feed, None if record.codes is None else frozenset(record.codes))


def base_of(payload: bytes) -> BaseRecord | None:
    """Decode a base step; None: unreadable."""
    try:
        return _read_base(payload)
    except UNREADABLE:
        return None


_read_entry = msgspec.json.Decoder(_EntryRecord).decode
_read_removal = msgspec.json.Decoder(_RemovalRecord).decode
_read_allow = msgspec.json.Decoder(_AllowRecord).decode
_read_scope = msgspec.json.Decoder(_ScopeRecord).decode
_read_base = msgspec.json.Decoder(BaseRecord).decode


HEAD_FIELDS = ("generation", "base", "chain", "circle", "count", "created_at_s", "actor", "scope")
"""In the order of the scripts."""
_STEP_FIELDS = ("list", "generation", "op", "payload", "chain")
_DIGITS_MAX = 18
"""Any 64-bit number that Redis can count to; `int` of a megabyte of digits takes seconds."""


class _Wrong(Exception):
    """A field is not what it should be."""


def list_head(name: bytes, fields: Sequence[bytes | None], changes: Any) -> ListHead | Skipped:
    """Return a head from its fields in the order of the scripts."""
    told = name.decode(errors="replace")
    where = f"rf:list:{{{told}}}"
    values = dict(zip(HEAD_FIELDS, (*fields, *[None] * len(HEAD_FIELDS)), strict=False))
    try:
        return ListHead(
            name=_text("its name", name),
            generation=_whole("generation", values),
            base=_whole("base", values),
            chain=_text("chain", values["chain"]),
            circle=_text("circle", values["circle"]),
            count=_whole("count", values, signed=True),
            created_at_s=_whole("created_at_s", values),
            actor=(values["actor"] or b"").decode(errors="replace"),
            changes=changes if isinstance(changes, int) else 0,
            scope=_scope(where, values["scope"], told),
        )
    except _Wrong as wrong:
        return Skipped(StoredKind.HEAD, where, str(wrong), told)


def deleted_of(pairs: Sequence[bytes]) -> dict[str, int]:
    """Return the last generation of each deleted list; a field that cannot be read is skipped."""
    found = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        told = name.decode(errors="replace")
        try:
            generation, _, _ = value.partition(b" ")
            found[told] = _whole("generation", {"generation": generation})
        except _Wrong as wrong:
            skip(Skipped(StoredKind.HEAD, f"rf:lists:deleted {told}", str(wrong), told))
    return found


def _scope(where: str, value: bytes | None, name: str) -> Scope | None:
    """Decode the scope of a list's feed; an unreadable one allows no number by its hash alone."""
    if value is None:
        return None
    found = scope_of(value)
    if found is None:
        skip(Skipped(StoredKind.HEAD, f"{where} scope", "it is no scope", name))
    return found or NOTHING_KNOWN


def allow_head(fields: Sequence[bytes | None]) -> AllowHead | Skipped:
    """Return the allowlist's head; all zero where there is none."""
    generation, chain = fields
    try:
        number = _whole("generation", {"generation": generation}) if generation is not None else 0
        return AllowHead(number, _text("chain", chain or b""))
    except _Wrong as wrong:
        return Skipped(StoredKind.HEAD, "rf:allow:head", str(wrong))


def step(item: tuple[bytes, Mapping[bytes, bytes]]) -> Step | Skipped:
    """Return a step from an item of the change stream."""
    identity, fields = item[0].decode(), item[1] or {}
    values = {name: fields.get(name.encode()) for name in _STEP_FIELDS}
    # An entry without a version is from before steps had one, or of another program.
    version = fields.get(b"version", b"").decode(errors="replace")[:40]
    try:
        return Step(
            id=identity,
            name=_text("list", values["list"]),
            generation=_whole("generation", values),
            op=_text("op", values["op"]),
            payload=_there("payload", values["payload"]),
            chain=_text("chain", values["chain"]),
            version=version,
        )
    except _Wrong as wrong:
        name = (values["list"] or b"").decode(errors="replace")
        return Skipped(StoredKind.CHANGES, f"rf:changes {identity}", str(wrong), name, version)


def followed(items: Sequence[tuple[bytes, Mapping[bytes, bytes]]], last_id: str) -> Followed:
    """Return the steps in items of the change stream, and how far all items go."""
    steps = []
    names = set()
    for item in items:
        found = step(item)
        last_id = item[0].decode()
        if isinstance(found, Skipped):
            skip(found)
            names.add(found.list_name)
            continue
        if found.op not in OPS:
            # It changes nothing here that this version knows of, and keeps its place in the chain.
            where, why = f"rf:changes {found.id}", f"operation {found.op[:40]!r} is not known here"
            skip(Skipped(StoredKind.CHANGES, where, why, found.name, found.version))
        steps.append(found)
    return Followed(tuple(steps), frozenset(names), last_id)


def changes_in(name: str, steps: Sequence[Step]) -> tuple[list[Change], Scope | None, bool]:
    """Return the changes in steps, the scope that they set, and whether to read the list again.

    A change that cannot be read has the list read again: its state may say more. So does a scope:
    it is written down, for a start without Redis, when a list is read.
    """
    changes: list[Change] = []
    scope, again = None, False
    for step in steps:
        if step.op == Op.SCOPE:
            scope, again = scope_of(step.payload) or _unread(name, step), True
        elif step.op in {Op.ADD, Op.REMOVE}:
            change = change_of(step.op, step.payload)
            if change is None:
                _unread(name, step)
                again = True
            else:
                changes.append(change)
    return changes, scope, again


def _unread(name: str, step: Step) -> Scope:
    """Skip a step's payload; return what is known of a scope that cannot be read."""
    why = "its payload cannot be read"
    skip(Skipped(StoredKind.CHANGES, f"rf:changes {step.id}", why, name, step.version))
    return NOTHING_KNOWN


def allow_entry(text: bytes, value: bytes) -> AllowEntry | None:
    """Return an entry of the allowlist by its key; None: not even the key is a number or a prefix.

    A record that cannot be read still spares its number.
    """
    entry = allow_of(value)
    name = text.decode(errors="replace")
    if entry is not None and entry.text == name:
        return entry
    skip(Skipped(StoredKind.ALLOW, f"rf:allow {masked(name[:20])}", "its record is no allow entry"))
    try:
        return AllowEntry(name, "its record cannot be read", "ringfence", 0, NEVER)
    except ValueError:
        return None


def _there(field: str, value: bytes | None) -> bytes:
    if value is None:
        raise _Wrong(f"it has no field {field}")
    return value


def _text(field: str, value: bytes | None) -> str:
    try:
        return _there(field, value).decode()
    except UnicodeDecodeError:
        raise _Wrong(f"field {field} is no UTF-8") from None


def _whole(field: str, values: Mapping[str, bytes | None], *, signed: bool = False) -> int:
    text = _text(field, values[field])
    digits = text.removeprefix("-") if signed else text
    # int() would take " 1_0 " and other scripts' digits, and a megabyte of them.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX):
        raise _Wrong(f"field {field} is no whole number")
    return int(text)

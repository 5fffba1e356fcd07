"""What Redis answers, as our words; what cannot be read is a value too, and whoever reads goes on.

Values in Redis may be another program's, or a newer version's: nothing is taken for granted here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import NEVER
from stream.core.numbers.number import masked
from stream.core.policy.list_scope import NOTHING_KNOWN, Scope
from stream.lists.store.entry_codec import OPS, Followed, Step, allow_of, scope_of
from stream.lists.store.heads import AllowHead, ListHead
from stream.ops.skipped_records import Place, Skipped, skip

HEAD_FIELDS = ("generation", "base", "chain", "circle", "count", "created_at_s", "actor", "scope")
"""In the order of the scripts."""
_STEP_FIELDS = ("list", "generation", "op", "payload", "chain")
_DIGITS_MAX = 18


class _Wrong(Exception):
    """A field is not what it should be."""


def list_head(name: bytes, fields: Sequence[bytes | None], changes: Any) -> ListHead | Skipped:
    """A head from its fields in the order of the scripts."""
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
        return Skipped(Place.HEAD, where, str(wrong), told)


def deleted_of(pairs: Sequence[bytes]) -> dict[str, int]:
    """The last generation of each list that was deleted; what cannot be read deletes nothing."""
    found = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=True):
        told = name.decode(errors="replace")
        try:
            generation, _, _ = value.partition(b" ")
            found[told] = _whole("generation", {"generation": generation})
        except _Wrong as wrong:
            skip(Skipped(Place.HEAD, f"rf:lists:deleted {told}", str(wrong), told))
    return found


def _scope(where: str, value: bytes | None, name: str) -> Scope | None:
    """What the list's feed may list; one that cannot be read lets it list nobody unseen."""
    if value is None:
        return None
    found = scope_of(value)
    if found is None:
        skip(Skipped(Place.HEAD, f"{where} scope", "it is no scope", name))
    return found or NOTHING_KNOWN


def allow_head(fields: Sequence[bytes | None]) -> AllowHead | Skipped:
    """The allowlist's head; all zero where there is none."""
    generation, chain = fields
    try:
        number = _whole("generation", {"generation": generation}) if generation is not None else 0
        return AllowHead(number, _text("chain", chain or b""))
    except _Wrong as wrong:
        return Skipped(Place.HEAD, "rf:allow:head", str(wrong))


def step(item: tuple[bytes, Mapping[bytes, bytes]]) -> Step | Skipped:
    """A step from an item of the change stream."""
    identity, fields = item[0].decode(), item[1] or {}
    values = {name: fields.get(name.encode()) for name in _STEP_FIELDS}
    # Written since 0.1.0 knew of versions; an entry without one is that old, or somebody else's.
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
        return Skipped(Place.CHANGES, f"rf:changes {identity}", str(wrong), name, version)


def followed(items: Sequence[tuple[bytes, Mapping[bytes, bytes]]], last_id: str) -> Followed:
    """The steps in items of the change stream, and how far these go: past what is skipped too."""
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
            why = f"operation {found.op[:40]!r} is not known here"
            skip(Skipped(Place.CHANGES, f"rf:changes {found.id}", why, found.name, found.version))
        steps.append(found)
    return Followed(tuple(steps), frozenset(names), last_id)


def allow_entry(text: bytes, value: bytes) -> AllowEntry | None:
    """An entry of the allowlist by its key; None: not even the key is a number or a prefix.

    A record that cannot be read is no reason to block whom it spares.
    """
    entry = allow_of(value)
    name = text.decode(errors="replace")
    if entry is not None and entry.text == name:
        return entry
    skip(Skipped(Place.ALLOW, f"rf:allow {masked(name[:20])}", "its record is no allow entry"))
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

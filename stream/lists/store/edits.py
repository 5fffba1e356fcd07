"""Edits to a list in the list store: each is one atomic change of one number's reports.

A number's reports after an edit are computed here, from the list's base and the changes over it.
The script writes them only if both are unchanged. Else the edit is repeated. So two concurrent
edits of one number both count, and no client waits for a lock.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from stream.core.model.entry import Entry
from stream.core.model.errors import ChangeConflict, ListUnknown, SnapshotUnreadable
from stream.core.numbers.number import masked
from stream.lists.store import bases, list_lua, redis_keys
from stream.lists.store.heads import (
    By,
    EditOutcome,
    EditResult,
    Removal,
    Restatement,
    Retraction,
    unknown,
)
from stream.lists.store.redis_client import Replicas, renamed
from stream.lists.store.store_codec import Op, entries_json, hex_of, numbered_of, removal_json
from stream.ops.skipped_records import Skipped, StoredKind, skip

PIPELINE = 500
"""Changes per round trip: about 20 ms of Redis' time, in which no other client is served."""
REPORTS_MAX = 100
"""Reports of one number that changes keep: the oldest go, so that one number stays small."""
_MOVED_MAX = 100
"""Each lost race costs one round trip. After so many, others change the same numbers without a
pause."""
_ANY = ""
"""For a removal, whatever the reports are."""

Edit = Entry | Retraction | Removal | Restatement
"""Put a report on the list; take a source's report back; take a number off with all reports; make
a number's reports what they were."""


@dataclass(frozen=True, slots=True)
class _NumberState:
    """A number before an edit: its reports, the generation that made them so (0: the base)."""

    reports: tuple[Entry, ...]
    generation: int
    in_base: bool


class _Head(NamedTuple):
    base: int
    generation: int
    circle: str


class Editor:
    """Makes edits with the script `change` of the list store at `redis`.

    `limits` are the numbers of steps and audit entries kept; `replicas` must have each edit.
    """

    def __init__(
        self, redis: Redis, change: AsyncScript, limits: tuple[int, int], replicas: Replicas
    ) -> None:
        self._redis = redis
        self._replicas = replicas
        self._change = change
        self._limits = limits

    async def edit(self, name: str, edits: Sequence[Edit], by: By) -> EditResult:
        """Make each edit by a script of its own, many to a round trip, a number's in their order.

        Raises ListStoreDown, ListUnknown. After a part of the edits was made: ChangeUnsafe, and
        ChangeConflict where others change the same numbers without a pause, or move the list to
        another key.
        """
        outcomes: dict[int, EditOutcome] = {}
        pending = list(range(len(edits)))
        known: dict[int, _NumberState] = {}
        generation = base = moved = 0
        circle = ""
        while pending:
            unseen = {edits[at].fingerprint for at in pending} - known.keys()
            if unseen:
                head, found = await self._states(name, sorted(unseen))
                if circle not in {"", head.circle}:
                    # The fingerprints given are of the old key: they would match no call.
                    raise ChangeConflict(
                        f"{name} was moved to circle {head.circle} by others: {len(outcomes)} of "
                        f"{len(edits)} edits were made; give them all again"
                    )
                circle = head.circle
                base, generation = head.base, max(generation, head.generation)
                known |= found
            part = _part(edits, pending)
            made = {at: after(edits[at], known[edits[at].fingerprint].reports) for at in part}
            outcomes |= {at: EditOutcome.ABSENT for at, reports in made.items() if reports is None}
            sent = {at: reports for at, reports in made.items() if reports is not None}
            for at, answer in (await self._send(name, edits, sent, known, base, by)).items():
                fingerprint = edits[at].fingerprint
                if answer[0] == list_lua.MOVED:
                    known.clear()  # the base may be another one: then all states are old
                    continue
                generation = max(generation, answer[1])
                outcomes[at] = _outcome(answer, sent[at])
                if fingerprint in known:
                    was = known[fingerprint].in_base
                    known[fingerprint] = _NumberState(sent[at], answer[1], was)
            pending = [at for at in pending if at not in outcomes]
            moved += not known
            if moved > _MOVED_MAX:
                raise ChangeConflict(
                    f"{name} is changed by others without a pause: {len(outcomes)} of {len(edits)}"
                    " edits were made; give the rest again when they are done"
                )
        return EditResult(generation, tuple(outcomes[at] for at in range(len(edits))))

    async def reports(self, name: str, fingerprints: Sequence[int]) -> dict[int, tuple[Entry, ...]]:
        """Return all reports of each number as they are now; () where there is none."""
        _, found = await self._states(name, fingerprints)
        return {fingerprint: state.reports for fingerprint, state in found.items()}

    async def _states(
        self, name: str, fingerprints: Sequence[int]
    ) -> tuple[_Head, dict[int, _NumberState]]:
        """Return the list's head, and the state of each number from base and changes."""
        while True:
            with renamed(f"looking at {name}"):
                async with self._redis.pipeline(transaction=False) as pipe:
                    pipe.hmget(redis_keys.head(name), ["base", "generation", "circle"])
                    for start in range(0, len(fingerprints), PIPELINE):
                        some = [hex_of(fp) for fp in fingerprints[start : start + PIPELINE]]
                        pipe.hmget(redis_keys.changed(name), some)
                    (field, generation, circle), *values = await pipe.execute()
            if field is None:
                raise ListUnknown(unknown(name))
            if not (field.isdigit() and (generation or b"").isdigit()):
                raise SnapshotUnreadable(
                    f"{redis_keys.head(name)}: base and generation are no numbers"
                )
            base = int(field)
            found: dict[int, _NumberState] = {}
            odd: dict[int, int] = {}
            for fingerprint, value in zip(fingerprints, chain.from_iterable(values), strict=True):
                state = _changed(value, base)
                if isinstance(state, int):
                    where = f"{redis_keys.changed(name)} {hex_of(fingerprint)}"
                    skip(Skipped(StoredKind.CHANGED, where, "it is no change", name))
                    odd[fingerprint] = state
                elif state is not None:
                    found[fingerprint] = state
            rest = [fingerprint for fingerprint in fingerprints if fingerprint not in found]
            try:
                held = await bases.reports(self._redis, name, base, rest)
            except SnapshotUnreadable:
                # Head and base are two reads: between them the base may be replaced and removed.
                with renamed(f"looking at {name}"):
                    now = await self._redis.hget(redis_keys.head(name), "base")
                if now != field:
                    continue
                raise
            for fingerprint in rest:
                reports = held.get(fingerprint, ())
                found[fingerprint] = _NumberState(reports, odd.get(fingerprint, 0), bool(reports))
            name_of_circle = (circle or b"").decode(errors="replace")
            return _Head(base, int(generation), name_of_circle), found

    async def _send(
        self,
        name: str,
        edits: Sequence[Edit],
        made: dict[int, tuple[Entry, ...]],
        known: dict[int, _NumberState],
        base: int,
        by: By,
    ) -> dict[int, list[int]]:
        """Write what was made of each edit; the scripts' answers."""
        if not made:
            return {}
        doing = f"changing {name}"
        with renamed(doing):
            # No transaction: each edit is atomic by its script, and other clients get in between.
            async with self._redis.pipeline(transaction=False) as pipe:
                for at, reports in made.items():
                    edit, state = edits[at], known[edits[at].fingerprint]
                    op = Op.ADD if reports else Op.REMOVE
                    blind = isinstance(edit, Removal)  # whatever the reports are: they all go
                    await self._change(
                        keys=[redis_keys.head(name), redis_keys.changed(name)],
                        args=[
                            *(name, op, hex_of(edit.fingerprint), _payload(edit, reports)),
                            *(int(state.in_base), base),
                            _ANY if blind else state.generation,
                            *(by.actor, by.reason, masked(edit.number or "")),
                            *self._limits,
                        ],
                        client=pipe,
                    )
                self._replicas.ask(pipe)
                answers: list[list[int]] = self._replicas.checked(await pipe.execute(), doing)
        if any(answer[0] == list_lua.UNKNOWN for answer in answers):
            raise ListUnknown(unknown(name))
        return dict(zip(made, answers, strict=True))


def after(edit: Edit, reports: tuple[Entry, ...]) -> tuple[Entry, ...] | None:
    """Return a number's reports after an edit, by source; None: there is nothing to do."""
    if isinstance(edit, Removal):
        return ()
    if isinstance(edit, Restatement):
        return edit.reports if edit.reports != reports else None
    others = [report for report in reports if report.source != edit.source]
    if isinstance(edit, Retraction):
        if edit.owns:
            others = [report for report in others if not edit.owns(report.source)]
        return tuple(others) if len(others) < len(reports) else None
    if len(others) >= REPORTS_MAX:
        others.remove(min(others, key=lambda report: report.reported_at_s))
    return tuple(sorted((*others, edit), key=lambda report: report.source))


def _part(edits: Sequence[Edit], pending: Sequence[int]) -> list[int]:
    """Return the next edits to send at once; a number's second edit builds on its first."""
    part: dict[int, int] = {}
    for at in pending:
        part.setdefault(edits[at].fingerprint, at)
        if len(part) == PIPELINE:
            break
    return list(part.values())


def _changed(value: Any, base: int) -> _NumberState | int | None:
    """Return the state of a number in the changes; None: the base already holds it all.

    One that cannot be read counts as empty; its generation stays, so that the number's next edit
    takes its place.
    """
    if value is None:
        return None
    numbered = numbered_of(value)
    if numbered is None:
        generation = re.match(rb"(\d{1,15}) [a-zA-Z]+", value)  # as the script CHANGE reads it
        return int(generation[1]) if generation and int(generation[1]) > base else 0
    if numbered.generation <= base:
        return None
    # It no longer matters whether the base holds the number too: the change replaces it.
    return _NumberState(numbered.change.entries, numbered.generation, in_base=False)


def _payload(edit: Edit, reports: tuple[Entry, ...]) -> bytes:
    if isinstance(edit, Restatement):
        return edit.payload  # byte for byte: so the chain becomes the same too
    return entries_json(reports) if reports else removal_json(edit.fingerprint, edit.number)


def _outcome(answer: list[int], reports: tuple[Entry, ...]) -> EditOutcome:
    if answer[0] == 0:
        return EditOutcome.ABSENT
    if not reports:
        return EditOutcome.REMOVED
    return EditOutcome.UPDATED if answer[2] else EditOutcome.ADDED

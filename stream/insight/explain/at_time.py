"""Lists as they were at a moment, and a number's history on them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.config.settings import EngineSettings
from stream.core.filters.blocklists import Blocklists, LiveList
from stream.core.filters.digests import fingerprints_of
from stream.core.filters.overlay import Overlay
from stream.core.filters.sliced_table import TableSpec, compile_table
from stream.core.filters.snapshot import Snapshot, read_snapshot
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.errors import VersionGone
from stream.core.model.moments import rfc3339
from stream.core.model.on_trial import NO_TRIALS
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.audit_entries import AuditEntry
from stream.lists.store.heads import ListHead
from stream.lists.store.history import Turn, said_at, turns_of, with_audit
from stream.lists.store.list_content import pasts_about
from stream.lists.store.list_store import ListStore
from stream.lists.store.promotions import TrialStore
from stream.lists.store.store_codec import Op, allow_of, millis


@dataclass(frozen=True, slots=True)
class Then:
    """All lists as they were of one number at a moment; `not_known`: of which lists not, and why.

    `allow_known`: whether the allowlist of then is known for sure.
    """

    blocklists: Blocklists
    not_known: Mapping[str, str]
    allow_known: bool


async def lists_at(settings: EngineSettings, list_store: ListStore, e164: str, at_ms: int) -> Then:
    """Read every list as it was of a number at a moment. Raises ListStoreDown."""
    lives: list[LiveList] = []
    not_known = await _deleted_since(list_store, at_ms)
    keys = settings.circle_keys()
    heads = (await list_store.heads()).lists
    known = {
        n: h for n, h in heads.items() if n not in not_known and h.created_at_s * 1000 <= at_ms
    }
    asked = _asked(settings, known, e164, not_known)
    empty = {circle: _empty(key) for circle, key in keys.items()}
    for name, past in (await pasts_about(list_store, asked)).items():
        circle = past.head.circle
        try:
            generation = past.generation_at(at_ms)
            said = await said_at(list_store, past, generation, asked[name])
        except VersionGone as gone:
            not_known[name] = str(gone)
            continue
        overlay = Overlay(said)
        scope = heads[name].scope  # of now: earlier scopes are not kept
        at_s = at_ms // 1000
        live = LiveList(name, keys[circle], empty[circle], overlay, generation, at_s, scope)
        lives.append(live)
    allow, sure = await _allow_at(list_store, at_ms)
    made = await asyncio.to_thread(Blocklists.of, lives, allow, _table_of)
    async with TrialStore.open(settings.list_store()) as stored:
        trials = (await stored.read()).over(NO_TRIALS).as_of(at_ms // 1000)
    return Then(made.with_trials(trials), not_known, sure)


async def _deleted_since(list_store: ListStore, at_ms: int) -> dict[str, str]:
    """Return the lists of a moment that were deleted since, perhaps made again, and why not known.

    A deletion takes what a list held with it; the audit says that it was there.
    """
    first: dict[str, AuditEntry] = {}
    async for entry in list_store.past.audit(at_ms + 1):  # newest first
        if entry.op in {Op.CREATE, Op.DELETE}:
            first[entry.list_name] = entry
    return {
        name: f"it was deleted at {rfc3339(entry.at_s)}, with all that it held"
        for name, entry in first.items()
        if entry.op == Op.DELETE
    }


async def history_of(
    settings: EngineSettings, list_store: ListStore, e164: str
) -> dict[str, tuple[Turn, ...]]:
    """Read the history of a number on every list that holds or held it. Raises ListStoreDown."""
    asked = _asked(settings, (await list_store.heads()).lists, e164, {})
    turns = {
        name: await turns_of(list_store, past, asked[name])
        for name, past in (await pasts_about(list_store, asked)).items()
    }
    return await with_audit(list_store, {name: mine for name, mine in turns.items() if mine})


def _asked(
    settings: EngineSettings, heads: Mapping[str, ListHead], e164: str, not_known: dict[str, str]
) -> dict[str, list[int]]:
    """Fingerprints to ask each list for; a list whose circle has no key here is `not_known`."""
    keys = settings.circle_keys()
    by_key = {circle: fingerprints_of(e164, key) for circle, key in keys.items()}
    not_known |= {
        name: f"no key for circle {head.circle}"
        for name, head in heads.items()
        if head.circle not in keys
    }
    return {n: by_key[head.circle] for n, head in heads.items() if head.circle in keys}


def turns_json(turns: Mapping[str, Sequence[Turn]]) -> list[dict[str, Any]]:
    """Return a number's history as plain values."""
    return [
        {
            "list": name,
            "generation": turn.generation,
            "at": rfc3339(turn.at_s),
            "entry": turn.element,
            "what": turn.what,
            "how": turn.how,
            "actor": turn.actor,
            "reason": turn.reason,
            "reports": [
                {
                    "source": report.source,
                    "category": report.category.label,
                    "confidence": report.confidence,
                }
                for report in turn.reports
            ],
        }
        for name, mine in turns.items()
        for turn in mine
    ]


async def _allow_at(list_store: ListStore, at_ms: int) -> tuple[Allowlist, bool]:
    """Return the allowlist of a moment, and whether that is known for sure.

    Steps that are still in the change stream are done again; what is older is taken from the
    allowlist of now.
    """
    head, now = await list_store.allow_all()
    steps = await list_store.past.steps("")
    touched = set()
    # Entries that some step changed are built from the steps alone; the others are as now.
    for step in steps:
        entry = allow_of(step.payload) if step.op == Op.ALLOW else None
        touched.add(entry.text if entry else step.payload.decode(errors="replace"))
    held: dict[str, AllowEntry] = {e.text: e for e in now if e.text not in touched}
    for step in steps:
        if millis(step.id) > at_ms:
            break
        entry = allow_of(step.payload) if step.op == Op.ALLOW else None
        if entry is not None:
            held[entry.text] = entry
        else:
            held.pop(step.payload.decode(errors="replace"), None)
    sure = steps[0].generation == 1 if steps else head.generation == 0
    return Allowlist.of(e for e in held.values() if e.added_at_s * 1000 <= at_ms), sure


def _empty(key: bytes) -> Snapshot:
    version = Version("past", "empty", 1, "plain" if not key else "keyed", key, key_id(key))
    return read_snapshot(build_snapshot(version, empty_columns(), 0), key=key)


def _table_of(snapshots: Sequence[Snapshot]) -> Any:
    held = snapshots[0].filter
    spec = TableSpec(held.plan, held.shape.bits_per_slice, len(snapshots))
    table = np.zeros(spec.rows, spec.dtype)
    compile_table([one.filter for one in snapshots], table)
    return table

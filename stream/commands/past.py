"""`ringfence why`, the part that looks back: lists as of a moment, a number's history, contacts."""

import asyncio
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stream.commands.register import say, with_register
from stream.config import Settings
from stream.core.allowlist import AllowEntry, Allowlist
from stream.core.blocklists import Blocklists, LiveList
from stream.core.digests import fingerprints_of
from stream.core.faults import ConfigInvalid, VersionGone
from stream.core.overlay import Overlay
from stream.core.snapshot import Snapshot, read_snapshot
from stream.core.table import TableSpec, compile_table
from stream.feed_files import feed_paths
from stream.lists.build import Version, build_snapshot
from stream.lists.circles import key_id
from stream.lists.export import moment
from stream.lists.merge import empty_columns
from stream.lists.past import millis, pasts_about
from stream.lists.records import Op, allow_of
from stream.lists.store import Register
from stream.lists.traces import Turn, said_at, turns_of, with_audit
from stream.lists.words import ListHead


@dataclass(frozen=True, slots=True)
class Then:
    """All lists as they were of one number at a moment; `not_known`: of which lists not, and why.

    `allow_known`: whether the allowlist of then is known for sure.
    """

    blocklists: Blocklists
    not_known: Mapping[str, str]
    allow_known: bool


def lists_at(settings: Settings, e164: str, at_ms: int) -> Then:
    """What every list said of a number at a moment; ends the command if the register is down."""

    async def work(register: Register) -> Then:
        lives: list[LiveList] = []
        not_known: dict[str, str] = {}
        keys = settings.circle_keys()
        heads = (await register.heads()).lists
        known = {n: h for n, h in heads.items() if h.created_at_s * 1000 <= at_ms}
        asked = _asked(settings, known, e164, not_known)
        empty = {circle: _empty(key) for circle, key in keys.items()}
        for name, past in (await pasts_about(register, asked)).items():
            circle = past.head.circle
            try:
                generation = past.generation_at(at_ms)
                said = await said_at(register, past, generation, asked[name])
            except VersionGone as gone:
                not_known[name] = str(gone)
                continue
            overlay = Overlay(said)
            live = LiveList(name, keys[circle], empty[circle], overlay, generation, at_ms // 1000)
            lives.append(live)
        allow, sure = await _allow_at(register, at_ms)
        made = await asyncio.to_thread(Blocklists.of, lives, allow, _table_of)
        return Then(made, not_known, sure)

    return with_register(settings, work)


def history_of(settings: Settings, e164: str) -> dict[str, tuple[Turn, ...]]:
    """What became of a number on every list that holds or held it."""

    async def work(register: Register) -> dict[str, tuple[Turn, ...]]:
        asked = _asked(settings, (await register.heads()).lists, e164, {})
        turns = {
            name: await turns_of(register, past, asked[name])
            for name, past in (await pasts_about(register, asked)).items()
        }
        return await with_audit(register, {name: mine for name, mine in turns.items() if mine})

    return with_register(settings, work)


def _asked(
    settings: Settings, heads: Mapping[str, ListHead], e164: str, not_known: dict[str, str]
) -> dict[str, list[int]]:
    """What each list is asked for; a list whose circle has no key here is `not_known`."""
    keys = settings.circle_keys()
    by_key = {circle: fingerprints_of(e164, key) for circle, key in keys.items()}
    not_known |= {
        name: f"no key for circle {head.circle}"
        for name, head in heads.items()
        if head.circle not in keys
    }
    return {n: by_key[head.circle] for n, head in heads.items() if head.circle in keys}


def contacts_of(settings: Settings) -> dict[str, str]:
    """Whom to ask, by owner (`KH`) and by feed (`feed:<name>`): settings and feed files."""
    contacts = {owner: section.contact for owner, section in settings.owners.items()}
    try:
        paths = feed_paths(Path(settings.feeds.dir))
    except ConfigInvalid:
        return contacts
    for name, path in paths.items():
        try:
            owner = tomllib.loads(path.read_text())["owner"]
            contacts[f"feed:{name}"] = str(owner["contact"])
            contacts.setdefault(str(owner["name"]), str(owner["contact"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # `feeds ls` is where a wrong feed file is told of
    return contacts


def way_off(held: Mapping[str, Any], contacts: Mapping[str, str]) -> list[str]:
    """Whom to ask to take a number off a list: its owner, and the feeds that report it."""
    asked = [f"{held['owner']}: {contacts[held['owner']]}"] if held["owner"] in contacts else []
    for report in held["reports"]:
        feed = report["source"].partition("/")[0]
        contact = contacts.get(f"feed:{feed}")
        if contact is not None and f"{feed}: {contact}" not in asked:
            asked.append(f"{feed}: {contact}")
    return asked


def turns_json(turns: Mapping[str, Sequence[Turn]]) -> list[dict[str, Any]]:
    """A number's history as plain values."""
    return [
        {
            "list": name,
            "generation": turn.generation,
            "at": moment(turn.at_s),
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


def print_turns(history: Iterable[Mapping[str, Any]], e164: str) -> None:
    """A number's history as lines."""
    for turn in history:
        entry = f" {turn['entry']}" if turn["entry"] not in {e164, ""} else ""
        who = f" by {turn['actor']}" if turn["actor"] else ""
        why = f": {turn['reason']}" if turn["reason"] else ""
        sources = ", ".join(
            f"{report['category']} {report['confidence']} from {report['source']}"
            for report in turn["reports"]
        )
        how = "in generations that are not kept" if turn["how"] == "unknown" else turn["how"]
        after = f"; then {sources}" if sources else ""
        say(
            f"  {turn['at']}  {turn['list']}, generation {turn['generation']}:{entry} "
            f"{turn['what']} ({how}){who}{why}{after}"
        )


async def _allow_at(register: Register, at_ms: int) -> tuple[Allowlist, bool]:
    """The allowlist of a moment, and whether that is known for sure.

    Steps that are still in the change stream are done again; what is older is taken from the
    allowlist of now.
    """
    _, now = await register.allow_all()
    steps = await register.annals.steps("")
    touched = set()
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
    sure = not steps or steps[0].generation == 1
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

"""The current content of a list in the list store, and questions about some of its numbers."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import read_snapshot
from stream.core.model.entry import Category, Columns
from stream.core.model.errors import SnapshotUnreadable
from stream.core.numbers.codes import texts_of
from stream.core.numbers.prefix_entries import is_prefix
from stream.lists.snapshot.build import CHUNK, with_changes
from stream.lists.snapshot.circle_keys import epochs_before
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.heads import ListHead
from stream.lists.store.list_store import ListStore

CHANGES_MAX = 5_000
"""Up to so many changes over a base are cheap for every worker; more are built into a new base."""


async def head_of(register: ListStore, name: str) -> ListHead:
    """Return the list's head; raises ListUnknown."""
    return (await register.state(name)).head


async def columns_in(register: ListStore, name: str, generation: int, key: bytes) -> Columns:
    """Return the entries of the base of `generation`; 0: none.

    Raises SnapshotUnreadable for a bare filter too, whose entries are unknown: it must not be
    taken for an empty list.
    """
    if not generation:
        return empty_columns()
    parts = await register.read_base(name, generation)
    held = (await asyncio.to_thread(read_snapshot, parts, key=key)).columns
    if held is None:
        raise SnapshotUnreadable(
            f"{name} is a bare filter: its entries are not known, and none can be added to it; "
            "`lists import --replace` puts a list in its place"
        )
    return held


async def entries_of(register: ListStore, name: str, key: bytes) -> tuple[ListHead, Columns]:
    """Return all entries of a list as the list store has them now."""
    state = await register.state(name)
    old = await columns_in(register, name, state.head.base, key)
    return state.head, with_changes(old, [numbered.change for numbered in state.changes])


def fingerprints_of(texts: Sequence[str], key: bytes) -> list[int]:
    """Return the fingerprints of numbers and prefixes in the circle with `key`."""
    column = np.array([text.encode() for text in texts], "S16")
    found: list[int] = Digests(elements(column, key)).fingerprints().tolist() if texts else []
    return found


async def covering(
    register: ListStore, name: str, key: bytes, texts: Sequence[str], now_s: int
) -> dict[str, str]:
    """Of those `texts` that lie under a prefix on list `name`, the one that speaks for them.

    Live at `now_s`, the longest, and not one that only says that its numbers are legitimate.
    """
    shorter = {text: _shorter(text) for text in texts}
    asked = sorted({prefix for prefixes in shorter.values() for prefix in prefixes})
    fingerprints = dict(zip(asked, fingerprints_of(asked, key), strict=True))
    reports = await register.reports(name, list(fingerprints.values()))
    live = {
        prefix: [report for report in reports[fingerprint] if report.live(now_s)]
        for prefix, fingerprint in fingerprints.items()
    }
    found: dict[str, str] = {}
    for text, prefixes in shorter.items():
        speaks = next((prefix for prefix in prefixes if live[prefix]), None)
        if speaks and any(r.category is not Category.LEGITIMATE for r in live[speaks]):
            found[text] = speaks
    return found


def _shorter(text: str) -> list[str]:
    """Return every prefix that holds what `text` stands for, longest first.

    `text` itself not among it.
    """
    digits = text[1:].removesuffix("*")
    longest = min(len(digits) - is_prefix(text), 14)
    return [f"+{digits[:length]}*" for length in range(longest, 1, -1)]


async def hashed_now(
    register: ListStore, name: str, fingerprints: Collection[int], keys: Mapping[str, bytes]
) -> dict[int, int]:
    """Translate fingerprints of former circle keys into the list's own; only those of its numbers.

    Hashes every number of the list for each earlier key that is here, and none where the list holds
    all fingerprints as they are. Raises ListUnknown, ListStoreDown, SnapshotUnreadable.
    """
    head = (await register.state(name)).head
    older = [keys[circle] for circle in epochs_before(head.circle) if circle in keys]
    if not older or head.circle not in keys:
        return {}
    reports = await register.reports(name, list(fingerprints))
    asked = np.array([one for one in fingerprints if not reports.get(one)], np.uint64)
    if not len(asked):
        return {}
    _, columns = await entries_of(register, name, keys[head.circle])
    found: dict[int, int] = {}
    for key in older:
        found |= await asyncio.to_thread(_found, columns, key, asked)
    return found


def _found(columns: Columns, key: bytes, asked: NDArray[np.uint64]) -> dict[int, int]:
    found = {}
    rows = np.flatnonzero((columns.number != 0) & columns.begins)
    for at in range(0, len(rows), CHUNK):
        some = rows[at : at + CHUNK]
        hashed = Digests(elements(texts_of(columns.number[some]), key)).fingerprints()
        for place in np.flatnonzero(np.isin(hashed, asked)).tolist():
            found[int(hashed[place])] = int(columns.fingerprint[some[place]])
    return found

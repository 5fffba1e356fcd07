"""The content of a list in the list store: as it is now, and as it was at a generation or a moment.

What is still there of a list's past are the bases that are kept and the steps that the change
stream still holds. A base is the list from its publication on, and each step after it is another
generation. If a step is missing, the generations up to the next base are not available any more.
Every step is compared with the chain before it counts.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import Digests, elements
from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import decode_manifest, read_snapshot
from stream.core.model.entry import Category, Columns
from stream.core.model.errors import SnapshotUnreadable, VersionGone
from stream.core.numbers.codes import texts_of
from stream.core.numbers.prefix_entries import is_prefix
from stream.lists.snapshot.build import CHUNK, with_changes
from stream.lists.snapshot.circle_keys import epochs_before
from stream.lists.snapshot.merge import empty_columns
from stream.lists.store.heads import ListHead
from stream.lists.store.list_store import ListStore
from stream.lists.store.past_reader import KeptBase
from stream.lists.store.store_codec import REBUILD, REKEY, Op, Step, base_of, change_of, millis

CHANGES_MAX = 5_000
"""Up to so many changes over a base are cheap for every worker; more are built into a new base."""


async def head_of(store: ListStore, name: str) -> ListHead:
    """Return the list's head; raises ListUnknown."""
    return (await store.state(name)).head


async def columns_in(store: ListStore, name: str, generation: int, key: bytes) -> Columns:
    """Return the entries of the base of `generation`; 0: none.

    Raises SnapshotUnreadable for a bare filter too, whose entries are unknown: it must not be
    taken for an empty list.
    """
    if not generation:
        return empty_columns()
    parts = await store.read_base(name, generation)
    held = (await asyncio.to_thread(read_snapshot, parts, key=key)).columns
    if held is None:
        raise SnapshotUnreadable(
            f"{name} is a bare filter: its entries are not known, and none can be added to it; "
            "`lists import --replace` puts a list in its place"
        )
    return held


async def entries_of(store: ListStore, name: str, key: bytes) -> tuple[ListHead, Columns]:
    """Return all entries of a list as the list store has them now."""
    state = await store.state(name)
    old = await columns_in(store, name, state.head.base, key)
    return state.head, with_changes(old, [numbered.change for numbered in state.changes])


def fingerprints_of(texts: Sequence[str], key: bytes) -> list[int]:
    """Return the fingerprints of numbers and prefixes in the circle with `key`."""
    column = np.array([text.encode() for text in texts], "S16")
    found: list[int] = Digests(elements(column, key)).fingerprints().tolist() if texts else []
    return found


async def covering(
    store: ListStore, name: str, key: bytes, texts: Sequence[str], now_s: int
) -> dict[str, str]:
    """Return, for each of `texts` under a prefix on list `name`, the prefix that decides.

    Live at `now_s`, the longest, and not one that only says that its numbers are legitimate.
    """
    shorter = {text: _shorter(text) for text in texts}
    asked = sorted({prefix for prefixes in shorter.values() for prefix in prefixes})
    fingerprints = dict(zip(asked, fingerprints_of(asked, key), strict=True))
    reports = await store.reports(name, list(fingerprints.values()))
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
    """Return every shorter prefix that holds what `text` stands for, longest first."""
    digits = text[1:].removesuffix("*")
    longest = min(len(digits) - is_prefix(text), 14)
    return [f"+{digits[:length]}*" for length in range(longest, 1, -1)]


async def hashed_now(
    store: ListStore, name: str, fingerprints: Collection[int], keys: Mapping[str, bytes]
) -> dict[int, int]:
    """Translate fingerprints of former circle keys into the list's own; only those of its numbers.

    Hashes every number of the list for each earlier key that is here, and none where the list holds
    all fingerprints as they are. Raises ListUnknown, ListStoreDown, SnapshotUnreadable.
    """
    head = (await store.state(name)).head
    older = [keys[circle] for circle in epochs_before(head.circle) if circle in keys]
    if not older or head.circle not in keys:
        return {}
    reports = await store.reports(name, list(fingerprints))
    asked = np.array([one for one in fingerprints if not reports.get(one)], np.uint64)
    if not len(asked):
        return {}
    _, columns = await entries_of(store, name, keys[head.circle])
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


_NO_CHANGE = {Op.CREATE, Op.RESERVE, Op.BASE, Op.SCOPE}
"""Steps that change no entry."""


@dataclass(frozen=True, slots=True)
class GenerationSpan:
    """Generations `first` to `last`, which `base` and the steps after it give."""

    base: KeptBase
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Past:
    """The available past of a list: `stretches`, newest first, and the steps in order."""

    head: ListHead
    steps: tuple[Step, ...]
    stretches: tuple[GenerationSpan, ...]

    def holds(self, generation: int) -> bool:
        """Return whether that generation is available."""
        return any(s.first <= generation <= s.last for s in self.stretches)

    def said(self) -> str:
        """Return the available generations as text."""
        spans = [
            f"{s.first}" if s.first == s.last else f"{s.first} to {s.last}"
            for s in reversed(self.stretches)
        ]
        return ", ".join(spans) or "none"

    def generation_at(self, at_ms: int) -> int:
        """Return the generation that was the newest at a moment, in milliseconds since the epoch.

        Raises VersionGone if the changes of that time are not kept, or the list was not there yet.
        """
        name = self.head.name
        if at_ms < self.head.created_at_s * 1000:
            raise VersionGone(f"{name} was not there yet: it was made later than that")
        before = [step for step in self.steps if millis(step.id) <= at_ms]
        if before:
            return before[-1].generation
        known = [s for s in self.stretches if millis(s.base.published_id) <= at_ms]
        after = self.steps[0].generation if self.steps else self.head.generation + 1
        if known and known[0].base.published + 1 == after:
            return known[0].base.published
        raise VersionGone(
            f"the changes to {name} of that time are not kept any more: {self._hint()}"
        )

    def stretch_of(self, generation: int) -> GenerationSpan:
        """Return the stretch that holds a generation; raises VersionGone."""
        name = self.head.name
        if not 1 <= generation <= self.head.generation:
            raise VersionGone(
                f"{name} has no generation {generation}: the newest is {self.head.generation}"
            )
        for stretch in self.stretches:
            if stretch.first <= generation <= stretch.last:
                return stretch
        raise VersionGone(f"generation {generation} of {name} is not kept any more: {self._hint()}")

    def changes(self, stretch: GenerationSpan, generation: int) -> Iterator[Change]:
        """Yield the changes after the stretch's base, up to `generation`, in order."""
        for at, change in self.numbered(stretch):
            if at > generation:
                break
            yield change

    def numbered(self, stretch: GenerationSpan) -> Iterator[tuple[int, Change]]:
        """Yield all that was changed after the stretch's base, with generations, in order.

        Raises SnapshotUnreadable at a change that cannot be read.
        """
        for step in self.steps:
            if stretch.base.generation < step.generation <= stretch.last:
                change = change_of(step.op, step.payload)
                if change is not None:
                    yield step.generation, change
                elif step.op not in _NO_CHANGE:
                    place = f"{self.head.name}, generation {step.generation}"
                    raise SnapshotUnreadable(f"{place}: the change cannot be read")

    def _hint(self) -> str:
        return f"these are available: {self.said()} (bases_kept, bases_kept_days in [lists])"


async def past_of(store: ListStore, name: str) -> Past:
    """Return the available past of a list. Raises ListUnknown, ListStoreDown."""
    bases = await store.past.bases(name)
    head = (await store.state(name)).head
    return _past(head, bases, await store.past.steps(name, _born(head)))


async def pasts_about(store: ListStore, wanted: Mapping[str, Collection[int]]) -> dict[str, Past]:
    """Return the pasts of lists, each with only the changes to some fingerprints. ListStoreDown."""
    past = store.past
    bases = {name: await past.bases(name) for name in wanted}
    heads = (await store.heads()).lists
    steps = await past.steps_about(wanted)
    return {name: _past(heads[name], bases[name], steps[name]) for name in wanted if name in heads}


def _past(head: ListHead, bases: Sequence[KeptBase], steps: Sequence[Step]) -> Past:
    # A list begins empty, with the step that made it; one that was deleted before and made again
    # goes on with its numbers, and what it held then is no part of it.
    born = _born(head)
    steps = [step for step in steps if step.generation <= head.generation]
    made = [step.generation for step in steps if step.op == Op.CREATE]
    first = made[-1] if made else 1
    begin = KeptBase(0, first, born, born, 0)
    known = tuple(step for step in steps if step.generation >= first)
    moved = _moved(known)  # what came before is of another key, and nothing that is put back now
    kept = [base for base in (*bases, begin) if base.generation >= moved]
    return Past(head, known, stretches_of(kept, known, head.generation))


def _moved(steps: Sequence[Step]) -> int:
    """Return the last base that took the list to another key; 0: none did."""
    records = [base_of(step.payload) for step in steps if step.op == Op.BASE]
    return max((one.base for one in records if one is not None and one.what == REKEY), default=0)


def _born(head: ListHead) -> str:
    return f"{head.created_at_s * 1000}-0"


def stretches_of(
    bases: Sequence[KeptBase], steps: Sequence[Step], newest: int
) -> tuple[GenerationSpan, ...]:
    """Return the generations that each base (newest first) gives, up to the first missing step."""
    stretches = []
    upto = newest
    for base in bases:
        last = min(_reach(base, steps), upto)
        if last >= base.published:
            stretches.append(GenerationSpan(base, base.published, last))
        upto = base.published - 1
    return tuple(stretches)


def _reach(base: KeptBase, steps: Sequence[Step]) -> int:
    """Return the last generation that `base` gives: before a missing step, or a missing base."""
    # Nothing lies between a base and its publishing where the numbers follow each other.
    at = base.published if base.published == base.generation + 1 and base.generation else 0
    at = max(at, base.generation or base.published - 1)
    before: Step | None = None
    for step in steps:
        if step.generation > at:
            if before is not None and before.generation == at:
                follows = step.follows(before.chain)
            else:
                follows = step.generation == at + 1
            if not follows or (step.generation > base.published and _replaces(step)):
                break
            at = step.generation
        before = step
    return at


def _replaces(step: Step) -> bool:
    """Return whether a step puts other content in the list's place: a base, but no rebuild."""
    if step.op != Op.BASE:
        return False
    record = base_of(step.payload)
    return record is None or record.what != REBUILD


async def content(store: ListStore, past: Past, generation: int, key: bytes) -> Columns:
    """Return the list's entries as of `generation`.

    Raises VersionGone, also where its base is a bare filter; ListStoreDown, SnapshotUnreadable.
    """
    stretch = past.stretch_of(generation)
    held = empty_columns()
    if await is_bare(store, past, stretch):
        raise VersionGone(
            f"generation {generation} of {past.head.name} is a bare filter: which numbers it holds "
            "cannot be told"
        )
    if stretch.base.generation:
        try:
            parts = await store.read_base(past.head.name, stretch.base.generation)
        except SnapshotUnreadable as error:
            kept = [base.generation for base in await store.past.bases(past.head.name)]
            if stretch.base.generation in kept:
                raise
            raise VersionGone(f"generation {generation} has just been let go of") from error
        columns = (await asyncio.to_thread(read_snapshot, parts, key=key)).columns
        held = columns if columns is not None else held
    return await asyncio.to_thread(with_changes, held, list(past.changes(stretch, generation)))


async def is_bare(store: ListStore, past: Past, stretch: GenerationSpan) -> bool:
    """Return whether a stretch's base is a filter alone. Raises VersionGone, ListStoreDown."""
    if not stretch.base.generation:
        return False
    try:
        manifest = await store.manifest(past.head.name, stretch.base.generation)
    except SnapshotUnreadable as error:
        raise VersionGone(f"generation {stretch.first} has just been let go of") from error
    return not decode_manifest(manifest).has_entries

"""Make the next edition of a list: the whole of it now and then, and the changes between.

    offer = Offer("KH/scam", Shared.NUMBERS, key)
    edition = await edition_of(store, offer, before, read, now_ms)   # None: there is nothing new

`before` is what was published last. A change is published as all reports that hold of each changed
number from then on. It costs in proportion to the change, not to the list. The whole list goes out
when its base is another one, or when the changes since the last whole list are many.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import msgspec
import numpy as np

from stream.core.filters.overlay import Change
from stream.core.filters.snapshot import FILTER_PART
from stream.core.model.agreement import Agreements, Shared
from stream.core.model.entry import PREFIX_MARK, Columns
from stream.core.model.errors import ExchangeFault, ListStoreBehind, SnapshotUnreadable, VersionGone
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.formats.states import combined, states
from stream.lists.snapshot.build import (
    Parts,
    Version,
    bare_filter,
    bare_snapshot,
    build_snapshot,
    with_changes,
)
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import difference
from stream.lists.snapshot.repository_layout import (
    Latest,
    change_target,
    latest_target,
    part_target,
)
from stream.lists.store.heads import Heads, ListHead, ListState
from stream.lists.store.list_content import columns_in, content, past_of
from stream.lists.store.list_store import ListStore
from stream.ops.skipped_records import Skipped, StoredKind, skip

log = logging.getLogger(__name__)

FILES_MAX: Final = 64
"""Change files at once: each is a line of the metadata that every follower fetches at each change.
The older half becomes one file then."""
ROWS_FEW: Final = 5_000
ROWS_SHARE: Final = 0.1
"""Numbers changed since the whole list. If there are more than both, in all and of the list, a new
follower takes the whole list more quickly."""
FILTER_EVERY_S: Final = 60
"""A list that is shared as a filter alone has no changes, and is rebuilt no more often."""
FILTER_RENEWED_S: Final = 86_400
"""A filter of a list that nobody changed is rebuilt then: it has no dates, and reports end."""
_RANK: Final[Mapping[Shared, int]] = {Shared.FILTER: 0, Shared.FINGERPRINTS: 1, Shared.NUMBERS: 2}
"""The kinds of sharing in order: the least of a list first."""
Read = Callable[[str], bytes]
"""Gives the content of a target that was published before.

Raises InputUnreadable for a file that is missing or damaged.
"""


@dataclass(frozen=True, slots=True)
class Offer:
    """A list and the way it is shared; `key` is its circle's, b"" in `plain`."""

    name: str
    shares: Shared
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Edition:
    """Files to publish: `parts` by target, all of them new, and older targets that stay."""

    latest: Latest
    parts: Mapping[str, bytes]
    kept: frozenset[str]
    rows: int
    whole: bool


def shares_of(agreements: Agreements, name: str, at_s: int) -> Shared | None:
    """Return what the agreements in force share of a list; None: none of them shares it.

    Every partner reads the whole repository, so the agreement that shares least holds for all.
    """
    found = [
        clause.shares
        for agreement in agreements.held
        if agreement.in_force(at_s)
        for clause in agreement.clauses
        if clause.list == name
    ]
    return min(found, key=lambda shares: _RANK[shares], default=None)


async def edition_of(
    store: ListStore,
    offer: Offer,
    before: Latest | None,
    read: Read,
    now_ms: int,
    *,
    proved: bool = False,
) -> Edition | None:
    """Return what is new of the list since `before`, as of `now_ms`; None: nothing is.

    `proved`: the list store is known to hold what `before` says, so its changes are not searched.
    Raises ListUnknown, ListStoreDown, SnapshotUnreadable, ListStoreBehind where the list store went
    back, and ExchangeFault for a list that cannot be shared so.
    """
    now_s = now_ms // 1000
    heads = await store.heads()
    state = await store.state(offer.name)
    head = state.head
    if before is not None:
        check_register(heads, head, before)
        if not proved:
            await check_chain(store, head, before)
        before = msgspec.structs.replace(before, register=register_id(heads, head))
    maker = _Maker(store, offer, state, await _begins(store, head), now_ms)
    history = _history(heads.identity or "", head, offer)
    if before is not None and _goes_on(before, history, head):
        same = before.generation == head.generation
        if offer.shares is Shared.FILTER:
            # One from the future was made while the clock was ahead.
            kept_s = FILTER_RENEWED_S if same else FILTER_EVERY_S
            if 0 <= now_s - before.made_at_s < kept_s:
                return None
        elif same:
            return None
        else:
            changes = await maker.changes_after(before.generation)
            if changes is not None:
                return await maker.after(before, changes, read)
        # A follower takes the same generation again in another epoch only.
        before = None if same else _further(before, head, now_s)
    else:
        before = None
    latest = Latest(
        list=offer.name,
        shares=offer.shares,
        circle=head.circle,
        key_id=key_id(offer.key),
        epoch=before.epoch if before is not None else f"{history}-{now_s:x}",
        generation=head.generation,
        whole=head.generation,
        parts=(),
        numbers=head.count,
        made_at_s=now_s,
        register=register_id(heads, head),
        chain=head.chain,
    )
    return await maker.with_whole(latest)


async def _begins(store: ListStore, head: ListHead) -> int:
    """Return the generation from which on the list's base is its content; 0: it has none.

    A base is reserved, written and then published: other generations come between, with the content
    of before. What was published of those lacks what the base brings.
    """
    if not head.base:
        return 0
    kept = await store.past.bases(head.name)
    # One that is let go of meanwhile has a successor: all of it is compared then.
    return next((one.published for one in kept if one.generation == head.base), head.generation)


def _further(before: Latest, head: ListHead, now_s: int) -> Latest:
    """Return the same history further on, without changes that lead there."""
    return msgspec.structs.replace(
        before,
        generation=head.generation,
        chain=head.chain,
        changes=(),
        changed_at_ms=(),
        rows=0,
        made_at_s=now_s,
    )


def _history(identity: str, head: ListHead, offer: Offer) -> str:
    """Return an id that stays while generations of the list follow each other and mean the same."""
    said = (identity, head.created_at_s, head.circle, offer.shares, key_id(offer.key))
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _goes_on(before: Latest, history: str, head: ListHead) -> bool:
    return before.epoch.partition("-")[0] == history and before.generation <= head.generation


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes an edition of one list from one state of it, whose base counts from `begins` on."""

    store: ListStore
    offer: Offer
    state: ListState
    begins: int
    now_ms: int

    async def changes_after(self, generation: int) -> list[Change] | None:
        """Return each changed number's reports after a generation; None: they are not known."""
        if self.begins <= generation:
            return [one.change for one in self.state.changes if one.generation > generation]
        name = self.offer.name
        try:
            old = await content(
                self.store, await past_of(self.store, name), generation, self.offer.key
            )
        except VersionGone:
            return None
        return await asyncio.to_thread(_between, old, await self._content())

    async def _content(self) -> Columns:
        base = await columns_in(self.store, self.offer.name, self.state.head.base, self.offer.key)
        changes = [one.change for one in self.state.changes]
        return await asyncio.to_thread(with_changes, base, changes)

    async def after(self, before: Latest, changes: list[Change], read: Read) -> Edition | None:
        """Return the next edition in the same history: changes, and the whole list if it is due."""
        head, name = self.state.head, self.offer.name
        rebased = self.begins > before.whole
        if not changes and not rebased:
            return None  # a generation that another writer reserved
        rows = before.rows + len(changes)
        many = len(changes) > max(ROWS_FEW, ROWS_SHARE * head.count)
        latest = msgspec.structs.replace(
            before,
            generation=head.generation,
            chain=head.chain,
            numbers=head.count,
            rows=rows,
            made_at_s=self.now_ms // 1000,
        )
        parts: dict[str, bytes] = {}
        if not many:
            span = before.generation, head.generation
            shared = self.offer.shares is Shared.NUMBERS
            text = "".join(states(name, *span, changes, numbers=shared)).encode()
            parts[change_target(name, *span)] = text
            times = {**before.times(), span: self.now_ms}
            latest = _at_times(latest, (*before.changes, span), times)
            if len(latest.changes) > FILES_MAX:
                try:
                    latest, merged = await asyncio.to_thread(_fewer, latest, parts, read)
                    parts |= merged
                except InputUnreadable as error:
                    # Partners cannot read that file either, and the whole list needs no changes.
                    log.warning("%s: %s: the whole list is published", name, error)
                    many = True
        if many:
            latest, parts = msgspec.structs.replace(latest, changes=(), changed_at_ms=()), {}
        kept = frozenset(change_target(name, *one) for one in latest.changes) - parts.keys()
        if many or rebased or rows > max(ROWS_FEW, ROWS_SHARE * head.count):
            return await self.with_whole(latest, parts, kept, len(changes))
        kept |= {part_target(name, latest.whole, part) for part in latest.parts}
        return Edition(latest, _with_latest(latest, parts), kept, len(changes), whole=False)

    async def with_whole(
        self,
        latest: Latest,
        parts: Mapping[str, bytes] = MappingProxyType({}),
        kept: frozenset[str] = frozenset(),
        rows: int = 0,
    ) -> Edition:
        """Return an edition with the whole list, beside `parts`. Raises ExchangeFault."""
        name, now_s = self.offer.name, self.now_ms // 1000
        columns = await self._content()
        if not len(columns) and self.state.head.count:
            text = "has no entries here, only its owner's filter: only the owner can share it"
            raise ExchangeFault(f"{name} {text}")
        whole = await asyncio.to_thread(_built, self.offer, self.state.head, columns, now_s)
        latest = msgspec.structs.replace(
            latest, whole=latest.generation, parts=tuple(sorted(whole)), rows=0
        )
        named = {part_target(name, latest.whole, part): data for part, data in whole.items()}
        return Edition(latest, _with_latest(latest, {**parts, **named}), kept, rows, whole=True)


def _between(old: Columns, new: Columns) -> list[Change]:
    found = difference(old, new)
    touched = np.unique(
        np.concatenate(
            [
                new.fingerprint[found.added],
                old.fingerprint[found.removed],
                new.fingerprint[found.changed[1]],
            ]
        )
    )
    return [
        Change(fingerprint, tuple(new.entry(row) for row in new.span(fingerprint)))
        for fingerprint in touched.tolist()
    ]


def _fewer(latest: Latest, fresh: Mapping[str, bytes], read: Read) -> tuple[Latest, Parts]:
    """Merge the older half of the change files; those from before the whole list go.

    A follower in the middle of it takes all of it: it states what holds at its end.
    """
    old = [span for span in latest.changes[: FILES_MAX // 2] if span[1] > latest.whole]
    rest = latest.changes[FILES_MAX // 2 :]
    if not old:
        return _at_times(latest, rest, latest.times()), {}
    span, times = (old[0][0], old[-1][1]), latest.times()
    known = [times[one] for one in old if one in times]
    names = [change_target(latest.list, *one) for one in old]
    data = combined([fresh.get(name) or read(name) for name in names], latest.list)
    if known:
        times[span] = min(known)
    latest = _at_times(latest, (span, *rest), times)
    return latest, {change_target(latest.list, *span): data}


def _at_times(
    latest: Latest, changes: Sequence[tuple[int, int]], times: Mapping[tuple[int, int], int]
) -> Latest:
    at_ms = tuple(times.get(one, 0) for one in changes)
    return msgspec.structs.replace(latest, changes=tuple(changes), changed_at_ms=at_ms)


def _with_latest(latest: Latest, parts: Mapping[str, bytes]) -> dict[str, bytes]:
    data = msgspec.json.format(msgspec.json.encode(latest), indent=1)
    return {**parts, latest_target(latest.list): data}


def _built(offer: Offer, head: ListHead, columns: Columns, now_s: int) -> Parts:
    """Build the parts of the list as it is shared. Blocks. Raises ExchangeFault."""
    owner, _, short = offer.name.partition("/")
    made = Version(owner, short, head.generation, head.circle, offer.key, key_id(offer.key))
    try:
        if offer.shares is Shared.FILTER:
            return bare_snapshot(made, bare_filter(columns, offer.key, now_s), now_s)
        parts = build_snapshot(made, columns, now_s)
        if offer.shares is Shared.NUMBERS:
            return parts
        prefix = columns.number >= np.uint64(PREFIX_MARK)
        hidden = replace(columns, number=np.where(prefix, columns.number, np.uint64(0)))
        return build_snapshot(made, hidden, now_s, filter_data=parts[FILTER_PART])
    except SnapshotUnreadable as error:
        raise ExchangeFault(f"{offer.name} cannot be shared: {error}") from error


_SLACK_MS = 86_400_000
"""A step is looked for from so long before its publication on: two clocks take part in that."""


def register_id(heads: Heads, head: ListHead) -> str:
    """Return an id of a list store and the list in it, which says nothing about either."""
    said = repr((heads.identity or "", head.created_at_s))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def check_register(heads: Heads, head: ListHead, before: Latest) -> None:
    """Raise ListStoreBehind if `before` came from another list store or a later state of it."""
    if before.register and before.register != register_id(heads, head):
        what = "it was published from another list store, or the list was created again in this one"
        raise ListStoreBehind(_behind(before, what))
    if not before.register:
        return  # published before this was written down
    if head.generation < before.generation:
        what = f"the list store has it at generation {head.generation} only: an older copy"
        raise ListStoreBehind(_behind(before, what))
    if head.generation == before.generation and head.chain != before.chain:
        raise ListStoreBehind(_behind(before, "the list store came to that generation another way"))


async def check_chain(store: ListStore, head: ListHead, before: Latest) -> None:
    """Raise ListStoreBehind for a list store that went back and then went on. Reads its changes.

    If the change stream does not reach back so far, the answer is unknown and nothing is raised.
    """
    if not before.chain or head.generation == before.generation:
        return
    after = f"{max(before.made_at_s * 1000 - _SLACK_MS, 0)}-0"
    try:
        steps = await store.past.steps(head.name, after)
    except SnapshotUnreadable as error:  # as where it does not reach back: publishing goes on
        skip(Skipped(StoredKind.PAST, "rf:past", str(error), head.name))
        return
    for step in steps:
        if step.generation == before.generation:
            if step.chain != before.chain:
                what = "the list store came to that generation another way: an older copy went on"
                raise ListStoreBehind(_behind(before, what))
            return


def _behind(before: Latest, what: str) -> str:
    name = before.list
    text = f"{name} was published at generation {before.generation}, and {what}. Nothing older is"
    return (
        f"{text} published. Restore a newer copy of Redis, or `ringfence lists repair {name} "
        "--from-state` where a worker knows it; and if this is all there is, "
        f"`ringfence exchange publish {name} --anew`: partners then take the whole list"
    )

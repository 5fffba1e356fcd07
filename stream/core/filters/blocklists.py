"""All lists of one moment, matched with batches of numbers.

A `Blocklists` never changes. A new generation or a change makes a new value that shares the
unchanged parts. A batch that began with the old value finishes with it. A Bloom hit counts only
after the list's exact entries confirm it; changes since the snapshot override the filter.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, starmap
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import Digests, HashPlan, elements, hash_plan
from stream.core.filters.exact_index import ExactIndex
from stream.core.filters.matches import NO_MATCHES, Matches
from stream.core.filters.overlay import EMPTY, Change, Overlay, Touched
from stream.core.filters.prefixes import NO_PREFIXES, ListPrefixes, PrefixTable, is_in
from stream.core.filters.sliced_table import LISTS_MAX, TableSpec, probe_table
from stream.core.filters.snapshot import Snapshot
from stream.core.model.allowlist import NOBODY, Allowlist
from stream.core.model.confidence import Decay
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.on_trial import NO_TRIALS, Trials
from stream.core.numbers.number import Kind, Numbers
from stream.core.policy.list_scope import NO_SCOPES, Outside, Scope, Scopes

Table = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class LiveList:
    """One list as it is enforced.

    `key` is its circle's hashing key (b"" in `plain`). `snapshot` is None until usable data has
    arrived; such a list cannot be matched. `generation` counts the overlay's changes too.
    `synced_at_s` is when the list store was last known to agree, in seconds since the epoch.
    `scope` is what its feed may list; None: no feed has set it.
    """

    name: str
    key: bytes
    snapshot: Snapshot | None
    overlay: Overlay
    generation: int
    synced_at_s: int
    scope: Scope | None = None

    @property
    def usable(self) -> bool:
        """Return whether the list can be matched at all."""
        return self.snapshot is not None

    def names(self, fingerprints: NDArray[np.uint64], now_s: int) -> NDArray[np.bool_]:
        """Return which numbers have a live report against them that names the number; bool.

        The gate, or a person, has accepted such a report.
        """
        found = np.zeros(len(fingerprints), np.bool_)
        if self.snapshot is not None and self.snapshot.columns is not None:
            found = self.snapshot.columns.named(fingerprints, now_s)
        # After the snapshot, and overriding it: a change replaces all reports of its number.
        changed = self.overlay.entries
        for place, fingerprint in enumerate(fingerprints.tolist()) if changed else ():
            if (entries := changed.get(fingerprint)) is not None:
                found[place] = any(map(_named(now_s), entries))
        return found

    def has_reports(self, fingerprint: int, now_s: int) -> bool:
        """Return whether it has a report of that number that is not expired at `now_s`."""
        changed = self.overlay.entries.get(fingerprint)
        if changed is not None:
            return any(entry.live(now_s) for entry in changed)
        columns = None if self.snapshot is None else self.snapshot.columns
        if columns is None:
            return False
        ends = (int(columns.expires_at[row]) for row in columns.span(fingerprint))
        return any(end == NEVER or now_s < end for end in ends)


@dataclass(frozen=True, slots=True)
class TableGroup:
    """Up to 64 lists of one circle, hash plan and filter size, as one bit-sliced table.

    Bit i of a table word belongs to list `exact.lists[i]`.
    """

    plan: HashPlan
    bits_per_slice: int
    table: Table
    exact: ExactIndex

    @classmethod
    def of(cls, lists: Sequence[int], snapshots: Sequence[Snapshot], table: Table) -> Self:
        """Return the group of the lists with these indexes, snapshots, and their `table`."""
        shape = snapshots[0].filter.shape
        plan = hash_plan(shape.slices, shape.bits_per_slice)
        spec = TableSpec(plan, shape.bits_per_slice, len(snapshots))
        assert (len(table), table.dtype) == (spec.rows, spec.dtype), "the table is another's"
        exact = ExactIndex.of(lists, [snapshot.columns for snapshot in snapshots])
        return cls(plan, shape.bits_per_slice, table, exact)

    def match(self, digests: Digests, touched: Touched, decay: Decay, now_s: int) -> Matches:
        """Return the matches of the digested numbers, without those in `touched`."""
        rows, masks = probe_table(self.table, digests.words(self.plan), self.bits_per_slice)
        if not len(rows):
            return NO_MATCHES
        # Computed late: in a plan of another hash, fingerprints cost a SHA-512 of each number.
        fingerprints = digests.fingerprints()
        return self.exact.confirm(rows, masks, fingerprints, touched, decay, now_s)


@dataclass(frozen=True, slots=True)
class Circle:
    """The lists of one hashing key: each number is hashed once for all of them."""

    key: bytes
    groups: tuple[TableGroup, ...]
    touched: Touched

    def match(self, digests: Digests, decay: Decay, now_s: int) -> Iterator[Matches]:
        """Yield the matches of the digested numbers, part by part."""
        if len(self.touched):
            yield self.touched.match(digests.fingerprints(), decay, now_s)
        for group in self.groups:
            yield group.match(digests, self.touched, decay, now_s)


@dataclass(frozen=True, slots=True)
class Blocklists:
    """All lists, in the order of their names, the allowlist, and the lists' prefix entries.

    `trials` are the promotions and demotions by operators up to that moment.

    By a list's index: `names`, `scopes`, `generations` and `synced_at_s` int64. `unusable` are the
    indexes of lists that have no data and cannot be matched.
    """

    lists: tuple[LiveList, ...]
    circles: tuple[Circle, ...]
    allow: Allowlist
    prefixes: PrefixTable = NO_PREFIXES
    trials: Trials = NO_TRIALS
    # Every batch needs these. A small batch would pay more for 64 lists than for its calls.
    names: tuple[str, ...] = field(init=False, compare=False)
    scopes: tuple[Scope | None, ...] = field(init=False, compare=False)
    generations: NDArray[np.int64] = field(init=False, compare=False)
    synced_at_s: NDArray[np.int64] = field(init=False, compare=False)
    unusable: tuple[int, ...] = field(init=False, compare=False)
    steady: Decay = field(init=False, compare=False)
    """No decay for any list."""

    def __post_init__(self) -> None:
        lists = self.lists
        # The way to fill a frozen dataclass. Computed once, since the value never changes.
        object.__setattr__(self, "names", tuple(live.name for live in lists))
        object.__setattr__(self, "scopes", tuple(live.scope for live in lists))
        generations = np.array([live.generation for live in lists], np.int64)
        object.__setattr__(self, "generations", generations)
        synced_at_s = np.array([live.synced_at_s for live in lists], np.int64)
        object.__setattr__(self, "synced_at_s", synced_at_s)
        unusable = tuple(index for index, live in enumerate(lists) if not live.usable)
        object.__setattr__(self, "unusable", unusable)
        object.__setattr__(self, "steady", np.zeros((len(lists), 2)))

    @classmethod
    def of(
        cls,
        lists: Iterable[LiveList],
        allow: Allowlist,
        table_of: Callable[[Sequence[Snapshot]], Table],
    ) -> Self:
        """Return the value that enforces `lists`.

        `table_of` returns the bit-sliced table of some snapshots of one plan and size, with bit i
        for snapshot i. It may take long (it compiles) and is called once per group.
        """
        held = tuple(sorted(lists, key=lambda live: live.name))
        circles = []
        for key in sorted({live.key for live in held}):
            members = [(index, live) for index, live in enumerate(held) if live.key == key]
            groups = tuple(_groups(members, table_of))
            touched = Touched.of((index, live.overlay) for index, live in members)
            circles.append(Circle(key, groups, touched))
        prefixes = PrefixTable.of(map(_prefixes_of, held))
        return cls(held, tuple(circles), allow, prefixes)

    def with_changes(
        self,
        name: str,
        changes: Sequence[Change],
        generation: int,
        synced_at_s: int,
        scope: Scope | None = None,
    ) -> Self:
        """Return this value after `changes` to list `name`; only the changed parts are copied.

        `scope`: what its feed may list from now on; None: unchanged.
        """
        index = self.names.index(name)
        live = self.lists[index]
        changed = replace(
            live,
            overlay=live.overlay.with_changes(changes),
            generation=generation,
            synced_at_s=synced_at_s,
            scope=live.scope if scope is None else scope,
        )
        circles = tuple(
            replace(circle, touched=circle.touched.with_changes(index, changes))
            if circle.key == live.key
            else circle
            for circle in self.circles
        )
        lists = (*self.lists[:index], changed, *self.lists[index + 1 :])
        prefixes = self.prefixes.with_changes(index, changes)
        return replace(self, lists=lists, circles=circles, prefixes=prefixes)

    def with_allow(self, allow: Allowlist) -> Self:
        """Return this value with another allowlist."""
        return replace(self, allow=allow)

    def with_trials(self, trials: Trials) -> Self:
        """Return this value after promotions and demotions."""
        return replace(self, trials=trials)

    def synced(self, now_s: int) -> Self:
        """Return this value, known to agree with the list store at `now_s`."""
        lists = tuple(replace(live, synced_at_s=now_s) for live in self.lists)
        return replace(self, lists=lists)

    def match(
        self, numbers: Numbers, now_s: int, decay: Decay | None = None, scopes: Scopes = NO_SCOPES
    ) -> Matches:
        """Return the matches of each number that is E.164; rows without a match are absent.

        Reports that expired before `now_s` (seconds since the epoch) do not count. Confidence falls
        as `decay` says for each list (None: it does not fall). Numbers that a list may not name by
        `scopes` are marked. Lists that cannot be matched are in `unusable`, not here: their answer
        is the same for every number.
        """
        if decay is None:
            decay = self.steady
        is_number = numbers.kinds == np.uint8(Kind.E164)
        if is_number.all():  # also of no numbers at all
            return self._match(numbers.e164, decay, scopes, now_s)
        rows = np.flatnonzero(is_number)
        found = self._match(numbers.e164[rows], decay, scopes, now_s)
        return replace(found, rows=rows[found.rows])

    def _match(self, e164: NDArray[np.bytes_], decay: Decay, scopes: Scopes, now_s: int) -> Matches:
        """Return `match` for E.164 numbers only (S16)."""
        if not len(e164):
            return NO_MATCHES
        found = Matches.together(
            part
            for circle in self.circles
            for part in circle.match(Digests(elements(e164, circle.key)), decay, now_s)
        )
        by_prefix = self.prefixes.match(e164, decay, now_s)
        if len(by_prefix):
            found = self._with_prefixes(found, by_prefix, e164, now_s)
        return self._within(scopes, found, e164, now_s) if len(found) else found

    def _within(
        self, scopes: Scopes, found: Matches, e164: NDArray[np.bytes_], now_s: int
    ) -> Matches:
        """Return `found`; mark numbers that their list may not name and holds only as a hash.

        Nearly no match is outside. So the costly test, whether an entry has its number, runs for
        those only: 2 us each, most of it for the hash.
        """
        if not scopes.limit:
            return found
        outside = scopes.outside(e164[found.rows], found.lists)
        asked = np.flatnonzero(outside)
        if not len(asked):
            return found
        # A prefix is written out in its list, so the gate has seen its country.
        outside[asked[found.prefix[asked] > 0]] = Outside.NOT
        asked = asked[found.confirmed[asked] & (found.prefix[asked] == 0)]
        for index in np.unique(found.lists[asked]).tolist():
            live, mine = self.lists[index], asked[found.lists[asked] == index]
            digests = Digests(elements(e164[found.rows[mine]], live.key))
            outside[mine[live.names(digests.fingerprints(), now_s)]] = Outside.NOT
        return replace(found, outside=outside)

    def _with_prefixes(
        self, found: Matches, by_prefix: Matches, e164: NDArray[np.bytes_], now_s: int
    ) -> Matches:
        """Return `found`, plus the prefix matches of lists that do not decide on the number itself.

        A list's report on the number itself overrides its report on a prefix, even if the report
        says that the number is legitimate. A filter's unconfirmed hit does not.
        """
        pairs, by_prefix_pairs = self._pairs(found), self._pairs(by_prefix)
        chosen = by_prefix.confirmed & ~is_in(by_prefix_pairs, pairs[found.confirmed])
        chosen[chosen] = ~self._is_spared(by_prefix.at(np.flatnonzero(chosen)), e164, now_s)
        kept = found.confirmed | ~is_in(pairs, by_prefix_pairs[chosen])
        return Matches.together(
            [found.at(np.flatnonzero(kept)), by_prefix.at(np.flatnonzero(chosen))]
        )

    def _pairs(self, matches: Matches) -> NDArray[np.int64]:
        """Return each match's number and list as one integer."""
        # Both sides are in the order of rows and lists, so `is_in` finds them sorted.
        return matches.rows * len(self.lists) + matches.lists

    def _is_spared(self, asked: Matches, e164: NDArray[np.bytes_], now_s: int) -> NDArray[np.bool_]:
        """Return whether the list of each match has a live report of the number itself; bool.

        None of them is a match, so the report can only say that the number is legitimate.
        """
        found = np.zeros(len(asked), np.bool_)
        for index, prefixes in enumerate(self.prefixes.by_list):
            if not prefixes.spares_any:
                continue
            live, mine = self.lists[index], np.flatnonzero(asked.lists == index)
            if not len(mine):
                continue
            fingerprints = Digests(elements(e164[asked.rows[mine]], live.key)).fingerprints()
            for place in np.flatnonzero(prefixes.may_spare(fingerprints)).tolist():
                found[mine[place]] = live.has_reports(int(fingerprints[place]), now_s)
        return found


def chance_of(lists: Iterable[LiveList]) -> float:
    """Return the share of all numbers that some list without entries matches by chance.

    It uses the rates of the filters' headers, which were measured when the filters were loaded.
    Each filter is within its bound; many together can still match too much.
    """
    held = [one.snapshot for one in lists if one.snapshot is not None]
    spared = (1 - one.filter.shape.error_rate for one in held if one.columns is None)
    return 1 - math.prod(spared)


EMPTY_BLOCKLISTS = Blocklists((), (), NOBODY)


def fresh(name: str, key: bytes, snapshot: Snapshot, synced_at_s: int) -> LiveList:
    """Return a list right after its snapshot was loaded, without changes since."""
    return LiveList(name, key, snapshot, EMPTY, snapshot.manifest.generation, synced_at_s)


def _named(now_s: int) -> Callable[[Entry], bool]:
    """Return a test: does an entry report something against a number that it names?"""

    def named(entry: Entry) -> bool:
        against = entry.category is not Category.LEGITIMATE
        return entry.number is not None and against and entry.live(now_s)

    return named


def _prefixes_of(live: LiveList) -> ListPrefixes:
    changes = list(starmap(Change, live.overlay.entries.items()))
    if live.snapshot is None:
        return ListPrefixes().with_changes(changes)
    return ListPrefixes(live.snapshot.columns, live.snapshot.prefixes).with_changes(changes)


def _groups(
    members: Sequence[tuple[int, LiveList]], table_of: Callable[[Sequence[Snapshot]], Table]
) -> Iterator[TableGroup]:
    """Yield one group per hash plan and size among members with entries, split at 64 lists."""

    def size(item: tuple[int, Snapshot]) -> tuple[int, int]:
        shape = item[1].filter.shape
        return shape.slices, shape.bits_per_slice

    held = [
        (index, live.snapshot)
        for index, live in members
        if live.snapshot is not None and not live.snapshot.is_empty
    ]
    for _, same in groupby(sorted(held, key=size), key=size):
        together = list(same)
        for start in range(0, len(together), LISTS_MAX):
            part = together[start : start + LISTS_MAX]
            snapshots = [snapshot for _, snapshot in part]
            yield TableGroup.of([index for index, _ in part], snapshots, table_of(snapshots))

"""The engine's decision now about a number, or about all numbers that begin like a prefix.

It uses the same matches, policy, agreements and allowlist as `calls.rulings`, without a call. So
rules about a call have no effect here: plausibility rules, and calls to emergency numbers. One rule
goes by the number alone: `do_not_originate`, where it blocks on every trunk. Lists that only rules
use are no lists here either.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.blocklists import Blocklists, LiveList
from stream.core.filters.matches import Matches
from stream.core.model.decision import Action
from stream.core.model.entry import NEVER, PREFIX_MARK, Category, Columns, text_of
from stream.core.numbers.codes import texts_of
from stream.core.numbers.e164 import HEAD_DIGITS
from stream.core.numbers.number import Kind, Numbers
from stream.core.numbers.prefix_entries import is_prefix
from stream.core.policy.policy import Policy
from stream.core.policy.policy_columns import PolicyColumns, judge
from stream.core.policy.rules import RuleLists


class Blocked(NamedTuple):
    """Reason that a number or prefix is blocked now: the deciding list, its category, its end.

    `expires_at_s` is in seconds since the epoch; `NEVER` where the entry does not end.
    """

    list: str
    reason: str
    expires_at_s: int


PrefixKeys = Mapping[str, Blocked | None]
"""Reason of a block by prefix ("+8552390"); None: an exception inside a shorter, blocked one.

The longest prefix of a number decides.
"""


@dataclass(frozen=True, slots=True)
class NumberPolicy:
    """The lists, the policy and the agreements of one moment."""

    blocklists: Blocklists
    policy: Policy
    columns: PolicyColumns = field(init=False)
    _unheard: frozenset[int] = field(init=False)
    """Lists, by index, that only rules use: being on one is no reason to block a number."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", PolicyColumns.of(self.policy))
        settings = self.policy.settings.rules
        lists = RuleLists.of(settings, self.policy.names)
        blocks = settings.blocks_everywhere("do_not_originate")
        object.__setattr__(self, "_unheard", frozenset(lists.may_roam if blocks else lists.all))

    def numbers(self, e164: NDArray[np.bytes_], now_s: int) -> dict[int, Blocked]:
        """Return the blocked ones of `e164` (S16) at `now_s`, by their index."""
        kinds = np.full(len(e164), Kind.E164, np.uint8)
        columns = self.columns
        found = self.blocklists.match(Numbers(e164, kinds), now_s, columns.decay, columns.scopes)
        return self._blocked(found, e164, now_s)

    def prefixes(self, now_s: int) -> PrefixKeys:
        """Return the prefixes of lists, and the decision on a number that only they hold."""
        blocklists = self.blocklists
        names = sorted({*self._prefix_texts(), *self._allowed_prefixes(now_s)}, key=len)
        if not names:
            return {}
        texts = np.array(names, "S16")
        # Only prefixes as long or shorter can match a prefix. One below six digits, which the
        # settings have to allow, is padded with zeros: the table has no shorter heads.
        asked = np.array([name.ljust(HEAD_DIGITS + 1, "0") for name in names], "S16")
        said = blocklists.prefixes.match(asked, self.columns.decay, now_s)
        blocked = self._blocked(said.at(np.flatnonzero(said.confirmed)), texts, now_s)
        keys: dict[str, Blocked | None] = {}
        for place, name in enumerate(names):
            found = blocked.get(place)
            if found is not None or speaking(keys, name) is not None:
                keys[name] = found
        return keys

    def known_numbers(self, of: LiveList, rows_max: int) -> Iterator[NDArray[np.uint64]]:
        """Yield the numbers that a list holds in digits, as codes; some may come twice."""
        columns = None if of.snapshot is None else of.snapshot.columns
        if columns is not None:
            for start in range(0, len(columns), rows_max):
                yield _numbers_in(columns, start, start + rows_max)
        changed = [
            int(entries[0].number[1:])
            for entries in of.overlay.entries.values()
            if entries and entries[0].number and not is_prefix(entries[0].number)
        ]
        for start in range(0, len(changed), rows_max):
            yield np.array(changed[start : start + rows_max], np.uint64)

    def behind(self, name: str, generation: int) -> bool:
        """Return whether list `name` is older here than `generation`, or not usable."""
        for live in self.blocklists.lists:
            if live.name == name:
                return not live.usable or live.generation < generation
        return True

    def too_old(self, now_s: int) -> list[int]:
        """Return the lists, by index, that count as not asked: beyond their `age_s_max`."""
        return self.columns.stale(now_s - self.blocklists.synced_at_s)

    def _blocked(self, found: Matches, e164: NDArray[np.bytes_], now_s: int) -> dict[int, Blocked]:
        if stale := self.too_old(now_s):
            found = found.without({*stale, *self.blocklists.unusable})
        if self._unheard:
            found = found.without(self._unheard)
        judged = judge(found, self.columns)
        blocks = (judged.actions == Action.BLOCK) & ~judged.simulated
        places = np.flatnonzero(blocks)
        allowed = self.blocklists.allow.allowed(e164[judged.rows[places]], now_s)
        places = places[~allowed]
        deciding = judged.deciding[places]
        columns: tuple[NDArray[Any], ...] = (
            judged.rows[places],
            found.lists[deciding],
            found.category[deciding],
            found.confirmed[deciding],
            found.expires_at_s[deciding],
        )
        names = self.policy.names
        return {
            row: Blocked(names[index], _LABELS[category] if sure else "unconfirmed", ends)
            for row, index, category, sure, ends in zip(
                *(column.tolist() for column in columns), strict=True
            )
        }

    def _prefix_texts(self) -> Iterator[str]:
        for held in self.blocklists.prefixes.by_list:
            if held.base is not None:
                codes = held.base.number & ~np.uint64(PREFIX_MARK)
                yield from (text.decode("ascii") for text in texts_of(codes).tolist())
            for entries in held.changed.values():
                yield from (entry.number[:-1] for entry in entries if entry.number)

    def _allowed_prefixes(self, now_s: int) -> Iterator[str]:
        for text, entry in self.blocklists.allow.prefixes.items():
            if entry.live(now_s):
                yield text


def speaking(keys: PrefixKeys, number: str) -> Blocked | None:
    """Return the block by the longest of `keys` that `number` (or a longer prefix) begins with."""
    for length in range(len(number), 1, -1):
        if number[:length] in keys:
            return keys[number[:length]]
    return None


_LABELS = tuple(
    Category(n).label if n in set(Category) else Category.OTHER.label for n in range(256)
)
"""By category. One that this version does not know is `other`, as in decisions."""


def ends_at(blocked: Blocked, most_s: int) -> int:
    """Return the end of its key: that of its entry, at the latest `most_s`."""
    return most_s if blocked.expires_at_s == NEVER else min(blocked.expires_at_s, most_s)


def _numbers_in(columns: Columns, start: int, stop: int) -> NDArray[np.uint64]:
    codes = columns.number[start:stop]
    known: NDArray[np.uint64] = codes[(codes != 0) & (codes < np.uint64(PREFIX_MARK))]
    return known


@dataclass(frozen=True, slots=True)
class ListChanges:
    """Changes from one moment's lists to another's.

    `numbers` ("+66812345678") have changed entries. `allowed` are prefixes ("+662123") that came
    onto the allowlist or left it. `prefixes`: some list's prefixes changed. `everything`: more
    changed than can be named, so all keys have to be checked.
    """

    numbers: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    prefixes: bool = False
    everything: bool = False


NOTHING = ListChanges()


def list_changes(before: Blocklists, after: Blocklists) -> ListChanges:
    """Return the changes from `before` to `after`; reads the overlays of changed lists."""
    if before is after:
        return NOTHING
    numbers, allowed = _of_allowlists(before, after)
    if before.names != after.names:
        return ListChanges(numbers, allowed, prefixes=True, everything=True)
    found: set[str] = set(numbers)
    prefixes, everything = bool(allowed), False
    for old, new in zip(before.lists, after.lists, strict=True):
        if old.snapshot is not new.snapshot:
            everything = prefixes = True
        elif old.overlay is not new.overlay:
            for text in _changed(old, new):
                if text is None:
                    everything = prefixes = True
                elif is_prefix(text):
                    prefixes = True
                else:
                    found.add(text)
    return ListChanges(frozenset(found), allowed, prefixes=prefixes, everything=everything)


def _of_allowlists(before: Blocklists, after: Blocklists) -> tuple[frozenset[str], frozenset[str]]:
    """Return the numbers and the prefixes whose allow entry came, changed or went."""
    if before.allow is after.allow:
        return frozenset(), frozenset()
    old = {entry.text: entry for entry in before.allow.entries()}
    new = {entry.text: entry for entry in after.allow.entries()}
    texts = [text for text in old.keys() | new.keys() if old.get(text) != new.get(text)]
    return (
        frozenset(text for text in texts if not text.endswith("*")),
        frozenset(text[:-1] for text in texts if text.endswith("*")),
    )


def _changed(old: LiveList, new: LiveList) -> Iterable[str | None]:
    """Return the text of each changed number or prefix; None: only its fingerprint is known."""
    known = old.overlay.entries
    for fingerprint, entries in new.overlay.entries.items():
        before = known.get(fingerprint)
        if before is entries:
            continue
        named = [entry.number for entry in (*entries, *(before or ())) if entry.number]
        yield named[0] if named else _in_snapshot(new, fingerprint)


def _in_snapshot(live: LiveList, fingerprint: int) -> str | None:
    if live.snapshot is None or live.snapshot.columns is None:
        return None
    columns = live.snapshot.columns
    row = int(columns.find(np.array([fingerprint], np.uint64))[0])
    return None if row < 0 else text_of(int(columns.number[row]))

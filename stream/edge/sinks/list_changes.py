"""What is different between two moments of the lists: whose keys have to be looked at."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stream.core.filters.blocklists import Blocklists, LiveList
from stream.core.model.entry import text_of
from stream.core.numbers.prefix_entries import is_prefix


@dataclass(frozen=True, slots=True)
class Difference:
    """`numbers` ("+66812345678") of which something is said anew; `allowed`: prefixes
    ("+662123") that went onto the allowlist or off it; `prefixes`: some list's prefixes changed;
    `everything`: more than can be named, so all have to be looked at.
    """

    numbers: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    prefixes: bool = False
    everything: bool = False


NOTHING = Difference()


def difference(before: Blocklists, after: Blocklists) -> Difference:
    """What changed from `before` to `after`; costs a look at the changed lists' overlays."""
    if before is after:
        return NOTHING
    numbers, allowed = _of_allowlists(before, after)
    if before.names != after.names:
        return Difference(numbers, allowed, prefixes=True, everything=True)
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
    return Difference(frozenset(found), allowed, prefixes=prefixes, everything=everything)


def _of_allowlists(before: Blocklists, after: Blocklists) -> tuple[frozenset[str], frozenset[str]]:
    """The numbers and the prefixes that an entry came or went for."""
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
    """The text of each changed number or prefix; None where only its fingerprint is known."""
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

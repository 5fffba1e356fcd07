"""The numbers that would be blocked now, for proxies that hold the table: whole, or changes.

The engine's policy decides each number, in portions that let lookups through. The whole list is
never in memory. A cursor means a moment of this process's lists. Changes since then are remembered
up to a limit. Beyond the limit, after a change of prefixes or policy, once a list is too old, and
for the cursor of another process, the answer is the whole list. It says so.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.blocklists import LiveList
from stream.core.model.entry import NEVER
from stream.core.numbers.codes import texts_of
from stream.core.numbers.prefix_entries import is_prefix
from stream.edge.sinks.number_policy import (
    Blocked,
    NumberPolicy,
    PrefixKeys,
    list_changes,
    speaking,
)
from stream.ops.clock import now_s

ROWS: Final = 1000
"""Numbers decided at once: a lookup may have to wait about a millisecond for them."""
AT_ONCE: Final = 2
"""Whole lists sent at the same time: each uses CPU that lookups need."""
CHANGES_MAX: Final = 200_000
"""Changed numbers to remember, about 20 MB."""
TAG_S: Final = 10
"""Longest life of an ETag in seconds. Numbers also leave by time alone, which moves no cursor: a
client that gets a 304 blocks them for so much longer."""


class BlockedNumber(NamedTuple):
    """A number or a prefix ("+8552390*"). `why` None: it may pass, inside a prefix that may not."""

    text: str
    why: Blocked | None

    @property
    def expires_at_s(self) -> int:
        """Seconds since the epoch; 0: it does not end by itself."""
        ends = NEVER if self.why is None else self.why.expires_at_s
        return 0 if ends == NEVER else ends


@dataclass(frozen=True, slots=True)
class BlocklistChanges:
    """Changed numbers: those on the list now, and those removed from it."""

    items: Sequence[BlockedNumber]
    removed: Sequence[str]


@dataclass(slots=True)
class Blocklist:
    """The blocklist of the moment. `policy` gives the engine's; call `look` every second."""

    policy: Callable[[], NumberPolicy]
    streams: asyncio.Semaphore = field(
        init=False, default_factory=lambda: asyncio.Semaphore(AT_ONCE)
    )
    _instance: str = field(init=False, default_factory=lambda: secrets.token_hex(4))
    _seen: NumberPolicy | None = field(init=False, default=None)
    _too_old: list[int] = field(init=False, default_factory=list)
    _at: int = field(init=False, default=0)
    _from: int = field(init=False, default=0)
    _changes: "deque[tuple[int, frozenset[str]]]" = field(init=False, default_factory=deque)
    _held: int = field(init=False, default=0)

    @property
    def cursor(self) -> str:
        """The name of the last look's moment."""
        return f"{self._instance}-{self._at}"

    @property
    def tag(self) -> str:
        """The cursor and the time in steps of `TAG_S`: for an ETag."""
        return f"{self.cursor}-{now_s() // TAG_S}"

    def look(self) -> None:
        """Note the changes since the last look."""
        policy, seen = self.policy(), self._seen
        # By time alone: while the list store is away, nothing else changes.
        too_old, before = policy.too_old(now_s()), self._too_old
        if policy is seen and too_old == before:
            return
        self._seen, self._too_old = policy, too_old
        if seen is None or policy.policy is not seen.policy or too_old != before:
            self._forget()
            return
        differs = list_changes(seen.blocklists, policy.blocklists)
        if differs.everything or differs.prefixes or differs.allowed:
            self._forget()
            return
        if not differs.numbers:
            return  # only compared with the list store, as every few seconds
        self._at += 1
        self._changes.append((self._at, differs.numbers))
        self._held += len(differs.numbers)
        while self._held > CHANGES_MAX:
            self._from, gone = self._changes.popleft()
            self._held -= len(gone)

    def _forget(self) -> None:
        self._at += 1
        self._from, self._held = self._at, 0
        self._changes.clear()

    def since(self, cursor: str) -> BlocklistChanges | None:
        """Return the changes since `cursor`; None: only the whole list can answer."""
        instance, _, at = cursor.rpartition("-")
        if instance != self._instance or not at.isdecimal():
            return None
        place = int(at)
        if not self._from <= place <= self._at:
            return None
        # From the newest on: most clients ask every few seconds.
        newer = takewhile(lambda change: change[0] > place, reversed(self._changes))
        texts = frozenset[str]().union(*(held for _, held in newer))
        policy = self.policy()
        around = policy.prefixes(now_s())
        items = list(_judged(policy, sorted(texts), around))
        return BlocklistChanges(items, sorted(texts - {item.text for item in items}))

    async def whole(self) -> AsyncIterator[list[BlockedNumber]]:
        """Yield the whole list in portions, as of the moment of the call."""
        policy, at_s = self.policy(), now_s()
        around = policy.prefixes(at_s)
        yield [BlockedNumber(f"{text}*", why) for text, why in around.items()]
        named = {live.name for live in policy.blocklists.lists if _names_numbers(live)}
        once: set[str] = set()
        for live in policy.blocklists.lists:
            for codes in _codes(policy, live):
                texts = [text.decode("ascii") for text in texts_of(codes).tolist()]
                items = []
                for item in _judged(policy, texts, around):
                    # A number on several lists comes with the one that decides it.
                    decides = item.why.list if item.why is not None else ""
                    if decides in named:
                        if decides == live.name:
                            items.append(item)
                    elif item.text not in once:
                        once.add(item.text)
                        items.append(item)
                yield items
                await asyncio.sleep(0)
        spared = [text for text in policy.blocklists.allow.numbers if text not in once]
        yield [item for item in _judged(policy, spared, around) if item.why is None]


def _judged(
    policy: NumberPolicy, texts: Sequence[str], around: PrefixKeys
) -> Iterator[BlockedNumber]:
    """Yield the blocked ones of `texts`, and exceptions inside blocked prefixes."""
    if not texts:
        return
    blocked = policy.numbers(np.array(texts, "S16"), now_s())
    for place, text in enumerate(texts):
        why = blocked.get(place)
        if why is not None or speaking(around, text) is not None:
            yield BlockedNumber(text, why)


def _names_numbers(live: LiveList) -> bool:
    return live.snapshot is not None and live.snapshot.columns is not None


def _codes(policy: NumberPolicy, live: LiveList) -> Iterator[NDArray[np.uint64]]:
    """Yield the numbers of a list, each once; the changed ones come last."""
    changed = np.array(sorted(_changed(live)), np.uint64)
    for codes in policy.known_numbers(live, ROWS):
        fresh = codes[~np.isin(codes, changed)]
        if len(fresh):
            yield fresh
    for start in range(0, len(changed), ROWS):
        yield changed[start : start + ROWS]


def _changed(live: LiveList) -> Iterable[int]:
    for entries in live.overlay.entries.values():
        text = entries[0].number if entries else None
        if text and not is_prefix(text):
            yield int(text[1:])

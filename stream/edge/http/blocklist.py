"""The numbers that would be blocked now, for proxies that hold the table: whole, or changes.

The engine's policy decides each number, in portions that let lookups through. The whole list is
never in memory. A cursor means a moment of this process's lists. Changes since then are remembered
up to a limit. Beyond the limit, after a change of prefixes or policy, once a list is too old, and
for the cursor of another process, the answer is the whole list. It says so.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple, TypeVar

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

_K = TypeVar("_K", int, str)
ROWS: Final = 1000
"""Numbers decided at once: a lookup may have to wait about a millisecond for them."""
AT_ONCE: Final = 2
"""Whole lists sent at the same time: each uses CPU that lookups need."""
CHANGES_MAX: Final = 200_000
"""Changed numbers to remember, about 20 MB."""
TAG_S: Final = 10
"""Longest life of an ETag in seconds. Numbers also leave by time alone, which moves no cursor for
`SWEEP_S`: a client that gets a 304 blocks them for so much longer."""
SWEEP_S: Final = 600.0
"""Seconds between two sweeps. Each judges all numbers twice, 2 s of CPU for a million; confidence
falls by some percent in a day."""


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
    """The blocklist of the moment. `policy` gives the engine's.

    Call `look` every second, and run `sweep_often` beside it.
    """

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
    _swept_s: int = field(init=False, default=0)
    _followed: bool = field(init=False, default=False)
    """Somebody followed by a cursor since the last sweep."""

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
        self._swept_s = self._swept_s or now_s()
        if seen is None or policy.policy is not seen.policy or too_old != before:
            self._forget()
            return
        differs = list_changes(seen.blocklists, policy.blocklists)
        if differs.everything or differs.prefixes or differs.allowed:
            self._forget()
            return
        self._note(differs.numbers)

    def _note(self, numbers: frozenset[str]) -> None:
        if not numbers:
            return  # lists are only compared with the list store, as every few seconds
        self._at += 1
        self._changes.append((self._at, numbers))
        self._held += len(numbers)
        while self._held > CHANGES_MAX:
            self._from, gone = self._changes.popleft()
            self._held -= len(gone)

    async def sweep_often(self) -> None:
        """Sweep every `SWEEP_S` while anybody follows by a cursor, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            if self._followed:
                self._followed = False
                await self.sweep()

    async def sweep(self) -> None:
        """Note the numbers that time alone put on the list or took off it since the last sweep.

        Confidence falls, and of two reports one ends first. Those whose last report ends are not
        noted: a client has their `expires_at_s`.
        """
        policy, before_s, at_s = self.policy(), self._swept_s, now_s()
        if _moved(policy.prefixes(before_s), policy.prefixes(at_s), at_s):
            self._swept_s = at_s
            self._forget()
            return
        found: set[str] = set()
        for texts in _known(policy):
            e164 = np.array(texts, "S16")
            before = policy.numbers(e164, before_s)
            await asyncio.sleep(0)
            moved = _moved(before, policy.numbers(e164, at_s), at_s)
            found.update(texts[place] for place in moved)
            await asyncio.sleep(0)
        self._swept_s = at_s
        self._note(frozenset(found))

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
        self._followed = True
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


def _moved(
    before: Mapping[_K, Blocked | None], after: Mapping[_K, Blocked | None], at_s: int
) -> list[_K]:
    """Return the keys that are judged otherwise now, but for those that ended by themselves."""

    def ended(was: Blocked | None) -> bool:
        return was is not None and NEVER != was.expires_at_s <= at_s

    return [
        key
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key) and (key in after or not ended(before.get(key)))
    ]


def _known(policy: NumberPolicy) -> Iterator[list[str]]:
    """Yield all numbers of lists and allowlist, in portions; some may come twice."""
    for live in policy.blocklists.lists:
        for codes in policy.known_numbers(live, ROWS):
            if len(codes):
                yield [text.decode("ascii") for text in texts_of(codes).tolist()]
    spared = list(policy.blocklists.allow.numbers)
    yield from (spared[start : start + ROWS] for start in range(0, len(spared), ROWS))


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

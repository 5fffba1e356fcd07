"""The existing keys, and the key that a number or a prefix should have. Pure.

An exception (`allow`) outlives every block around it. If it ended first, a number that may call
would be blocked while no sink runs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from stream.edge.sinks.number_policy import Blocked, PrefixKeys, ends_at, speaking
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.proxy_keys import ALLOW, BLOCK, Held, Put


class KeyKind(IntEnum):
    """Reason for a key."""

    DECIDED = 0
    """A call was decided."""
    PRELOADED = 1
    """A list holds the number; no call was seen yet."""
    SPARED = 2
    """An exception: the number may pass, inside a blocked prefix."""


class KeyIndex:
    """The existing keys of numbers, at most `keys_max`.

    One integer a number, about 160 bytes of memory each (measured: 159 MB for 1M), so the cap on
    keys bounds the memory too. A key that expired in Redis is forgotten at the next sweep.
    """

    def __init__(self, keys_max: int) -> None:
        self.keys_max = keys_max
        # Expiry and kind in one integer: a tuple for each would double the memory.
        self._held: dict[int, int] = {}
        self._counts = [0, 0, 0]

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, text: str) -> bool:
        return int(text[1:]) in self._held

    def count(self, kind: KeyKind) -> int:
        """Return how many keys are of that kind."""
        return self._counts[kind]

    def get(self, text: str) -> tuple[KeyKind, int] | None:
        """Return kind and end (seconds since the epoch) of a number's key; None: it has none."""
        found = self._held.get(int(text[1:]))
        return None if found is None else (KeyKind(found & 3), found >> 2)

    def takes(self, text: str, coming: int = 0, *, reserve: int = 0) -> bool:
        """Return whether there is room for the number besides `coming` others and `reserve`."""
        return text in self or len(self._held) + coming + reserve < self.keys_max

    def put(self, text: str, kind: KeyKind, expires_at_s: int) -> None:
        """Note that its key was written."""
        code, counts = int(text[1:]), self._counts
        before = self._held.get(code)
        if before is not None:
            counts[before & 3] -= 1
        self._held[code] = expires_at_s << 2 | kind
        counts[kind] += 1

    def drop(self, text: str) -> None:
        """Note that its key was deleted."""
        found = self._held.pop(int(text[1:]), None)
        if found is not None:
            self._counts[found & 3] -= 1

    def forget_expired(self, now_s: int) -> None:
        """Forget keys that have expired in Redis."""
        gone = [code for code, held in self._held.items() if held >> 2 <= now_s]
        for code in gone:
            self._counts[self._held.pop(code) & 3] -= 1

    def clear(self) -> None:
        """Forget all keys."""
        self._held.clear()
        self._counts = [0, 0, 0]

    def codes(self) -> NDArray[np.uint64]:
        """Return all numbers, as `core.numbers.codes` has them."""
        return np.fromiter(self._held, np.uint64, len(self._held))

    def missing(self, codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Return those of `codes` that have no key."""
        held = self._held
        return np.array([code for code in codes.tolist() if code not in held], np.uint64)

    def beginning(self, prefixes: frozenset[str]) -> Iterator[str]:
        """Yield the numbers that begin like one of `prefixes` ("+662123")."""
        starts = tuple(prefix[1:] for prefix in prefixes)
        for code in list(self._held) if starts else ():
            if str(code).startswith(starts):
                yield f"+{code}"


@dataclass(slots=True)
class Writes:
    """Keys to write and to delete, and the count of keys that `keys_max` left out."""

    puts: list[Put] = field(default_factory=list)
    kinds: list[KeyKind] = field(default_factory=list)
    """Those of `puts`, in the same order; empty: all are `DECIDED`."""
    drops: list[str] = field(default_factory=list)
    capped: int = 0

    def add(self, put: Put, kind: KeyKind) -> None:
        """Add a key."""
        self.puts.append(put)
        self.kinds.append(kind)

    def entered(self, index: KeyIndex) -> None:
        """Note in the index that Redis has done all of it."""
        for text in self.drops:
            index.drop(text)
        for put, kind in zip(self.puts, self.kinds or repeat(KeyKind.DECIDED), strict=False):
            index.put(put.text, kind, put.expires_at_s)


@dataclass(frozen=True, slots=True)
class KeyRules:
    """Life of a key: `ttl_s` at most; an entry that lasts longer has its key renewed at half of it.

    `names` gives ids to keys that no call led to.
    """

    ttl_s: int
    preload: bool
    names: NumberIds


def of_numbers(
    index: KeyIndex,
    said: Sequence[tuple[str, Blocked | None]],
    around: PrefixKeys,
    rules: KeyRules,
    at_s: int,
) -> Writes:
    """Return the writes for numbers, each with the reason of its block or None.

    `around` are the prefixes that have keys, or are about to.
    """
    writes = Writes()
    room = index.keys_max - index.keys_max // 10 - len(index)
    for text, why in said:
        held = index.get(text)
        kind, ends = held if held is not None else (None, 0)
        if why is None:
            if speaking(around, text) is None:
                if held is not None:
                    writes.drops.append(text)
            elif kind is not KeyKind.SPARED or ends - at_s < rules.ttl_s * 3 // 2:
                # Never capped: it is what keeps a blocked range from taking innocents with it.
                writes.add(_allow(text, at_s + 2 * rules.ttl_s), KeyKind.SPARED)
        elif rules.preload:
            until = ends_at(why, at_s + rules.ttl_s)
            if held is None and len(writes.puts) >= room:
                writes.capped += 1
            elif held is None or kind is KeyKind.SPARED or _renewed(ends, until, at_s, rules):
                kept = KeyKind.DECIDED if kind is KeyKind.DECIDED else KeyKind.PRELOADED
                writes.add(_block(text, why, until), kept)
        elif kind is KeyKind.SPARED:
            writes.drops.append(text)
    writes.puts = with_ids(writes.puts, rules.names)
    return writes


def of_prefixes(
    written: dict[str, Held], wanted: PrefixKeys, rules: KeyRules, at_s: int
) -> tuple[list[Put], list[Put], list[str]]:
    """Return keys of prefixes: exceptions to write, then blocks to write, and keys to delete."""
    allows, blocks = [], []
    for text, why in wanted.items():
        held = written.get(text)
        name = f"{text}*"
        if why is None:
            until = at_s + 2 * rules.ttl_s
            if (
                held is None
                or held.action != ALLOW
                or held.expires_at_s - at_s < rules.ttl_s * 3 // 2
            ):
                allows.append(_allow(name, until))
        else:
            until = ends_at(why, at_s + rules.ttl_s)
            same = held is not None and held.action == BLOCK
            if held is None or not same or _renewed(held.expires_at_s, until, at_s, rules):
                blocks.append(_block(name, why, until))
    return (
        allows,
        with_ids(blocks, rules.names),
        [f"{text}*" for text in written.keys() - wanted.keys()],
    )


def _renewed(ends_s: int, until_s: int, at_s: int, rules: KeyRules) -> bool:
    """Return whether to write a key that ends at `ends_s` again, to end at `until_s`."""
    return until_s < ends_s - 1 or (until_s > ends_s and ends_s - at_s < rules.ttl_s // 2)


def _allow(text: str, ends_s: int) -> Put:
    return Put(text, ALLOW, "", "", "", ends_s, 0)


def _block(text: str, why: Blocked, ends_s: int) -> Put:
    return Put(text, BLOCK, why.reason, why.list, "", ends_s, 0)


def with_ids(puts: Iterable[Put], names: NumberIds) -> list[Put]:
    """Give each block that no call led to an id, by which its page is found."""
    held = list(puts)
    ids = names.ids([put.text for put in held])
    return [
        put._replace(decision_id=name) if put.action == BLOCK else put
        for put, name in zip(held, ids, strict=True)
    ]

"""What keys there are, in memory: which numbers to look at when lists change, and how many.

One integer a number, about 160 bytes of memory each (measured: 159 MB for 1M); so the cap on keys
bounds the memory too. A key that expired in Redis is forgotten at the next sweep.
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """Why a key is there."""

    DECIDED = 0
    """A call was decided."""
    PRELOADED = 1
    """A list holds the number; no call was seen yet."""
    SPARED = 2
    """The number may pass, inside a blocked prefix."""


class Book:
    """The keys of numbers. `keys_max`: no more are taken."""

    def __init__(self, keys_max: int) -> None:
        self.keys_max = keys_max
        self._held: dict[int, int] = {}
        self._counts = [0, 0, 0]

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, text: str) -> bool:
        return int(text[1:]) in self._held

    def count(self, kind: Kind) -> int:
        """How many keys are of that kind."""
        return self._counts[kind]

    def get(self, text: str) -> tuple[Kind, int] | None:
        """The kind and the end (seconds since the epoch) of a number's key; None: it has none."""
        found = self._held.get(int(text[1:]))
        return None if found is None else (Kind(found & 3), found >> 2)

    def takes(self, text: str, coming: int = 0, *, reserve: int = 0) -> bool:
        """Whether there is room for the number besides `coming` others and `reserve`."""
        return text in self or len(self._held) + coming + reserve < self.keys_max

    def put(self, text: str, kind: Kind, expires_at_s: int) -> None:
        """Its key was written."""
        code, counts = int(text[1:]), self._counts
        before = self._held.get(code)
        if before is not None:
            counts[before & 3] -= 1
        self._held[code] = expires_at_s << 2 | kind
        counts[kind] += 1

    def drop(self, text: str) -> None:
        """Its key was deleted."""
        found = self._held.pop(int(text[1:]), None)
        if found is not None:
            self._counts[found & 3] -= 1

    def forget_expired(self, now_s: int) -> None:
        """Keys that Redis let go by itself."""
        gone = [code for code, held in self._held.items() if held >> 2 <= now_s]
        for code in gone:
            self._counts[self._held.pop(code) & 3] -= 1

    def clear(self) -> None:
        """Nothing is known."""
        self._held.clear()
        self._counts = [0, 0, 0]

    def codes(self) -> NDArray[np.uint64]:
        """All numbers, as `core.codes` has them."""
        return np.fromiter(self._held, np.uint64, len(self._held))

    def missing(self, codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Those of `codes` that have no key."""
        held = self._held
        return np.array([code for code in codes.tolist() if code not in held], np.uint64)

    def beginning(self, prefixes: frozenset[str]) -> Iterator[str]:
        """The numbers that begin like one of `prefixes` ("+662123")."""
        starts = tuple(prefix[1:] for prefix in prefixes)
        for code in list(self._held) if starts else ():
            if str(code).startswith(starts):
                yield f"+{code}"

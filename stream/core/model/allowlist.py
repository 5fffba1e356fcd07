"""Numbers and prefixes that are never blocked, whatever a list says.

An allow entry ends a false block at once, while a Bloom filter that holds the number is still live.
So it is exact and checked before any list. Every entry names who made it and why.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream.core.model.entry import NEVER
from stream.core.numbers.e164 import Stretches, ordinals_of

PREFIX_DIGITS_MIN = 4
"""A shorter prefix would allow a whole country or network: that is a mistake."""


@dataclass(frozen=True, slots=True)
class AllowEntry:
    """One allowed number ("+6621234567") or prefix ("+662123*").

    `actor` made it for `reason`; times are seconds since the epoch, `expires_at_s` may be `NEVER`.
    `appeal` is the id of the appeal that it puts right, "" where there was none.
    Raises ValueError on a text that is neither, or a prefix below `PREFIX_DIGITS_MIN` digits.
    """

    text: str
    reason: str
    actor: str
    added_at_s: int
    expires_at_s: int = NEVER
    appeal: str = ""

    def __post_init__(self) -> None:
        digits = self.text.removesuffix("*")
        if not (digits.startswith("+") and digits[1:].isascii() and digits[1:].isdigit()):
            raise ValueError(
                f"{self.text!r} is neither an E.164 number (+6621234567) nor a prefix (+662123*)"
            )
        if len(digits) > 16:
            raise ValueError(f"{self.text!r} has more than the 15 digits of E.164")
        if self.is_prefix and len(digits) - 1 < PREFIX_DIGITS_MIN:
            raise ValueError(
                f"prefix {self.text!r} is shorter than {PREFIX_DIGITS_MIN} digits: it would allow "
                "a whole country; allow longer prefixes one by one"
            )

    @property
    def is_prefix(self) -> bool:
        """Return whether the entry covers every number that starts like it."""
        return self.text.endswith("*")

    def live(self, now_s: int) -> bool:
        """Return whether the entry still counts at `now_s`."""
        return self.expires_at_s == NEVER or now_s < self.expires_at_s


@dataclass(frozen=True, slots=True)
class Allowlist:
    """All allow entries of one moment, by their text without the `*`.

    `spans` are the numbers that any of them covers, live or not: a quick test of a batch.
    """

    numbers: Mapping[str, AllowEntry]
    prefixes: Mapping[str, AllowEntry]
    spans: Stretches = field(compare=False)

    @classmethod
    def of(cls, entries: Iterable[AllowEntry]) -> Self:
        """Return the allowlist of `entries`; of entries with one text the last counts."""
        numbers: dict[str, AllowEntry] = {}
        prefixes: dict[str, AllowEntry] = {}
        for entry in entries:
            if entry.is_prefix:
                prefixes[entry.text[:-1]] = entry
            else:
                numbers[entry.text] = entry
        return cls(numbers, prefixes, Stretches.of([*numbers, *(f"{one}*" for one in prefixes)]))

    def __len__(self) -> int:
        return len(self.numbers) + len(self.prefixes)

    def allowed(self, e164: NDArray[np.bytes_], now_s: int) -> NDArray[np.bool_]:
        """Return which of `e164` (S16, b"" for none) a live entry allows; bool, of their length.

        Only the few whose ordinal lies within an entry's are looked up one by one.
        """
        found = np.zeros(len(e164), np.bool_)
        if not len(self):
            return found  # as a rule; then a batch costs nothing here
        for place in np.flatnonzero(self.spans.hold(ordinals_of(e164))).tolist():
            found[place] = self.find(e164[place].decode("ascii"), now_s) is not None
        return found

    def entries(self) -> list[AllowEntry]:
        """Return every entry, numbers before prefixes, each in the order of its text."""
        return [held[text] for held in (self.numbers, self.prefixes) for text in sorted(held)]

    def find(self, e164: str, now_s: int) -> AllowEntry | None:
        """Return the live entry that allows `e164`: the number, else the longest live prefix."""
        exact = self.numbers.get(e164)
        if exact is not None and exact.live(now_s):
            return exact
        if self.prefixes:
            for length in range(len(e164), PREFIX_DIGITS_MIN, -1):
                entry = self.prefixes.get(e164[:length])
                if entry is not None and entry.live(now_s):
                    return entry
        return None


NOBODY = Allowlist.of(())
"""The allowlist that allows nothing."""

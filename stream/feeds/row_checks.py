"""Row checks: mark the rows that a feed may not bring. Pure: columns in, masks of rows out.

Also: what the checks are made with (`Surroundings`, `Bounds`), and a version that passed through
them (`VersionRead`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.model.agreement import Agreements, owner_of
from stream.core.model.allowlist import NOBODY, AllowEntry, Allowlist
from stream.core.model.entry import Columns
from stream.core.model.errors import ConfigInvalid
from stream.core.model.moments import rfc3339
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.list_scope import CODES, PLACES
from stream.feeds.cleaning import CleanedRows
from stream.feeds.detection.column_names import Says
from stream.feeds.detection.lookalikes import ColumnTally, Looks
from stream.feeds.diff import REMOVED, rows_of
from stream.feeds.feed import Feed
from stream.feeds.formats.rows import RejectedRow, Wrong
from stream.feeds.gate import NEVER_LIVE, GateReason
from stream.lists.snapshot.merge import empty_columns

Masks = dict[GateReason, NDArray[np.bool_]]
"""A bool a row, by reason; a row may be in several."""

TOO_WIDE: Final = frozenset({"prefix_too_short", "range_too_wide"})
"""Reasons of rows that parsing rejects. No release of a version lets such rows in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of all feeds and of this feed; `feed.Feed` explains the fields.

    `redressed` are numbers that no feed may bring back to a list of ours.
    """

    codes: frozenset[int] | None
    own: tuple[str, ...]
    speaks_for: frozenset[str]
    emergency: EmergencyNumbers
    allowlist: Allowlist = NOBODY
    redressed: Allowlist = NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that a feed is judged by besides its own file.

    `keys` are those of all circles, `emergency` the emergency numbers by country.
    `home` is the country whose lists are ours, `agreements` are those by which others share theirs.
    """

    keys: Mapping[str, bytes]
    emergency: Mapping[str, frozenset[str]]
    home: str = ""
    agreements: Agreements = field(default_factory=Agreements)

    def agreement_over(self, list_name: str, at_s: int) -> str:
        """Return a text on the agreement that shared the list and has ended; "": none has."""
        over = self.agreements.ended(list_name, self.home, at_s)
        if over is None:
            return ""
        at = rfc3339(over.valid_until_s)
        return f"{over.id} ended at {at}, and none shares {list_name} with {self.home} any more"

    def key_of(self, circle: str) -> bytes:
        """Return a circle's key. Raises ConfigInvalid."""
        if circle not in self.keys:
            raise ConfigInvalid((f"no key for circle {circle}: it needs [circles.{circle}]",))
        return self.keys[circle]

    def bounds(self, feed: Feed, allowed: Sequence[AllowEntry]) -> Bounds:
        """Return the bounds of the feed.

        A number whose wrong block was put right stays off our lists. Another country's list may go
        on naming it: its owner has the appeal, and the allowlist overrides it.
        """
        ours = owner_of(feed.list_name) == self.home
        redressed = [entry for entry in allowed if entry.appeal]
        return Bounds(
            codes=feed.codes,
            own=feed.own,
            speaks_for=feed.speaks_for,
            emergency=EmergencyNumbers(self.emergency),
            allowlist=Allowlist.of(entry for entry in allowed if not entry.appeal),
            redressed=Allowlist.of(redressed if ours else ()),
        )


@dataclass(slots=True)
class VersionRead:
    """The content of a version.

    `columns` has the reports that may go live, and tombstones (`REMOVED`). `unreadable` says why
    the file is not what its feed says, or is "". `too_coarse` says it if the reason is the false
    positives of its filter. `bad` rows were rejected for what they are, `expired` ones because they
    are over. `cleaned` counts rows whose number was cleaned. `found` counts rows by the gate's
    reasons, `dropped` those of them that are left out. `looks` says what the numbers look like if
    they are none.

    In a published version, `filter_data` is the owner's filter, if the entries are fingerprints
    that only it holds. `late` are fingerprints of entries that came after the filter was made.
    `bare`: the version is a filter without entries.
    """

    columns: Columns = field(default_factory=empty_columns)
    unreadable: str = ""
    too_coarse: str = ""
    good: int = 0
    passed_over: int = 0
    rejected: Counter[Wrong] = field(default_factory=Counter)
    adjusted: Counter[str] = field(default_factory=Counter)
    cleaned: CleanedRows = field(default_factory=CleanedRows)
    found: Counter[GateReason] = field(default_factory=Counter)
    dropped: Counter[GateReason] = field(default_factory=Counter)
    looks: dict[GateReason, str] = field(default_factory=dict)
    bare: bool = False
    filter_data: bytes = field(default=b"", repr=False)
    late: frozenset[int] = frozenset()

    def mark_allowed(
        self, masks: Masks, gone: NDArray[np.bool_], *, released: bool
    ) -> NDArray[np.bool_]:
        """Count the rows that `masks` forbid, and return a mask of those that may go live.

        `gone` are tombstones, which bring nothing. `released`: a person let the version in, so
        only rows of `NEVER_LIVE` are left out.
        """
        allowed = np.ones(len(gone), np.bool_)
        for reason, found in masks.items():
            forbidden = found & ~gone
            self.found[reason] += int(forbidden.sum())
            if not released or reason in NEVER_LIVE:
                allowed &= ~forbidden
                self.dropped[reason] += int(forbidden.sum())
        return allowed

    def split(self) -> tuple[Columns, Columns]:
        """Return the listed rows that the owner's filter holds or that need none, and the late."""
        listed = rows_of(self.columns, self.columns.category != np.uint8(REMOVED))
        late = np.array(sorted(self.late), np.uint64)
        mask: NDArray[np.bool_] = (listed.number == 0) & np.isin(listed.fingerprint, late)
        return rows_of(listed, ~mask), rows_of(listed, mask)

    @property
    def hashed(self) -> bool:
        """True if it lists numbers by their hashes alone, so the gate cannot see them."""
        listed = self.columns.category != np.uint8(REMOVED)
        return self.bare or bool(((self.columns.number == 0) & listed).any())

    @property
    def expired(self) -> int:
        """Rows that are over already."""
        return self.rejected[Wrong.EXPIRED]

    @property
    def bad(self) -> int:
        """Rows that mean nothing; not those that the gate has a reason of its own for."""
        # A published list has prefixes that are too short among its good rows, not the rejected.
        too_wide = sum(n for wrong, n in self.rejected.items() if wrong.label in TOO_WIDE)
        return self.rejected.total() - self.expired - too_wide


# Country calling codes by their place in PLACES; 0: no country.
_CODES: Final = np.array([0, *CODES], np.uint16)


def check_rows(
    texts: NDArray[np.bytes_],
    source: NDArray[np.uint16],
    sources: tuple[str, ...],
    bounds: Bounds,
    now_s: int,
) -> Masks:
    """Return masks of the rows that `bounds` forbid. `texts` (S16): numbers and prefix entries."""
    masks: Masks = {}
    if bounds.codes is not None:
        allowed = np.array(sorted(bounds.codes), np.uint16)
        masks[GateReason.COUNTRY_NOT_ALLOWED] = ~np.isin(_calling_codes(texts), allowed)
    if bounds.speaks_for:
        wrong = [_said(name) not in bounds.speaks_for | {""} for name in sources]
        masks[GateReason.OWNER_NOT_ALLOWED] = np.array(wrong or [False])[source]
    if bounds.own:
        masks[GateReason.OWN_SERVICE_NUMBER] = _under(texts, bounds.own)
    masks[GateReason.ALLOW_LISTED] = bounds.allowlist.allowed(texts, now_s)
    masks[GateReason.REDRESSED] = bounds.redressed.allowed(texts, now_s)
    masks[GateReason.EMERGENCY_NUMBER] = _emergency(texts, bounds.emergency)
    return {reason: mask for reason, mask in masks.items() if mask.any()}


def check_rejected(
    rows: Iterable[RejectedRow], emergency: EmergencyNumbers, region: str | None
) -> Counter[GateReason]:
    """Count the rejected rows that have a gate reason: prefixes too short, emergency numbers."""
    found: Counter[GateReason] = Counter()
    for row in rows:
        if row.wrong.label in TOO_WIDE:
            found[GateReason.PREFIX_TOO_SHORT] += 1
        elif row.wrong is Wrong.NOT_E164 and emergency.is_emergency(row.detail.strip(), region):
            found[GateReason.EMERGENCY_NUMBER] += 1
    return found


_LOOKS: Final = {
    Looks.DATES: GateReason.LOOKS_LIKE_DATES,
    Looks.IDS: GateReason.LOOKS_LIKE_IDS,
    Looks.AMOUNTS: GateReason.LOOKS_LIKE_AMOUNTS,
}
_NAMES: Final = {
    Says.DATE: GateReason.LOOKS_LIKE_DATES,
    Says.ID: GateReason.LOOKS_LIKE_IDS,
    Says.ACCOUNT: GateReason.LOOKS_LIKE_IDS,
    Says.AMOUNT: GateReason.LOOKS_LIKE_AMOUNTS,
    Says.PLACE: GateReason.LOOKS_LIKE_AMOUNTS,
    Says.OTHER_PARTY: GateReason.LOOKS_LIKE_VICTIMS,
}


def looks_of(
    tally: ColumnTally, name: str, said: Says, *, are_calls: bool = False
) -> dict[GateReason, str]:
    """Return what the numbers look like if they are none, by their texts and their column's `name`.

    `are_calls`: the file has calls, and so everybody who called.
    """
    found: dict[GateReason, str] = {}
    if are_calls:
        found[GateReason.LOOKS_LIKE_VICTIMS] = "its columns are those of call records"
    if (by_name := _NAMES.get(said)) is not None:
        found[by_name] = f"its column {name.strip()!r} is named as {said.value}"
    if (looks := tally.looks()) is not None:
        found[_LOOKS[looks[0]]] = looks[1]
    return found


def _said(source: str) -> str:
    """Return the row's own source: the part after the feed's name."""
    return source.partition("/")[2]


def _calling_codes(texts: NDArray[np.bytes_]) -> NDArray[np.uint16]:
    letters = np.ascontiguousarray(texts).view(np.uint8).reshape(-1, 16)[:, 1:4]
    # A prefix entry of two digits has a `*` or nothing in the third place: read as 0.
    digits = np.where((letters >= ord("0")) & (letters <= ord("9")), letters - ord("0"), 0)
    heads = digits.astype(np.int64) @ np.array([100, 10, 1])
    codes: NDArray[np.uint16] = _CODES[PLACES[heads]]
    return codes


def _under(texts: NDArray[np.bytes_], own: tuple[str, ...]) -> NDArray[np.bool_]:
    """Mark the texts that are one of `own`, lie under a prefix in it, or are a prefix over one."""
    found = np.zeros(len(texts), np.bool_)
    for text in own:
        bare = text.removesuffix("*").encode()
        found |= np.char.startswith(texts, bare) if text.endswith("*") else texts == bare
    covering = np.flatnonzero(np.char.endswith(texts, b"*"))
    for row in covering.tolist():
        prefix = texts[row][:-1].decode()
        found[row] |= any(text.startswith(prefix) for text in own)
    return found


def _emergency(texts: NDArray[np.bytes_], emergency: EmergencyNumbers) -> NDArray[np.bool_]:
    found = np.zeros(len(texts), np.bool_)
    short = np.char.str_len(texts) <= emergency.length_max
    for row in np.flatnonzero(short).tolist():
        found[row] = emergency.is_emergency(texts[row].decode(), None)
    return found

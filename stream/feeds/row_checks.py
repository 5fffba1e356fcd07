"""Row checks: mark the rows that a feed may not bring. Pure: columns in, masks of rows out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stream.core.model.allowlist import NOBODY, Allowlist
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.list_scope import CODES, PLACES
from stream.feeds.detection.column_names import Says
from stream.feeds.detection.lookalikes import Looks, Tally
from stream.feeds.formats.rows import RejectedRow, Wrong
from stream.feeds.gate import GateReason

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
    tally: Tally, name: str, said: Says, *, are_calls: bool = False
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
    """Return the row's own source: the part behind the feed's name."""
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

"""Marks that a country's operators put before the caller's number. Pure.

Thailand (NBTC, 2022): a gateway writes 697 before the number of a call from abroad over the
internet. It writes 698 before a Thai number that roams. So the callee sees it: +698812345678 is +66
81 234 5678 abroad. Neither is a country code, and elsewhere both mean nothing. Lists hold the
number after the mark, so calls are judged by it. Feeds are not read so: a number that a victim saw
after a mark was often forged.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

import numpy as np

from stream.core.numbers.dialled import is_assigned
from stream.core.numbers.number import Kind, Numbers, parse
from stream.core.numbers.parties import party_of


class Mark(StrEnum):
    """Marks of an operator on a caller's number; the values are names of rules."""

    VOIP_FROM_ABROAD = "voip_from_abroad_mark"
    ROAMING = "roaming_mark"


MARKS: Final[Mapping[str, Mapping[str, Mark]]] = {
    "TH": {"697": Mark.VOIP_FROM_ABROAD, "698": Mark.ROAMING}
}
"""By country: the digits in the place of a country code."""
_IN_ALL: Final = "69"
"""Digits that every mark has, so that other texts cost nothing."""


def mark_of(text: str, country: str) -> tuple[Mark, str] | None:
    """Return the mark in `text` on a trunk of `country`, and the digits after it; None: no mark."""
    marks = MARKS.get(country)
    if marks is None or _IN_ALL not in text:
        return None
    party = party_of(text)
    digits = party.dialled if party else None
    if digits is None:
        return None
    bare = digits.removeprefix("+") if digits.startswith("+") else digits.removeprefix("00")
    for begin, mark in marks.items():
        if bare.startswith(begin):
            return mark, bare[len(begin) :]
    return None


def hides_mark(text: str, number: str, country: str) -> bool:
    """Return whether `text`, read as `number` (E.164), is rather a mark and the number behind it.

    Without `+`, a mark and ten digits look like a long Thai number, and after 00 its `6` like a
    carrier's prefix. So the mark counts if no plan assigns `number`, and a number is behind it.
    """
    found = mark_of(text, country)
    if found is None or is_assigned(number):
        return False
    return parse(found[1], country).kind is Kind.E164


def without_marks(callers: Numbers, country_of: Callable[[int], str]) -> Numbers:
    """Return the same with marked numbers replaced by those after the mark; `marks` names the mark.

    Looks only at what is no number by itself; if nothing after the mark is one, it stays
    so. Changes the columns of `callers` in place.
    """
    if not callers.other_texts:  # a batch of nothing but numbers, as nearly all are
        return callers
    marks: dict[int, Mark] = {}
    others = dict(callers.other_texts)
    for row in np.flatnonzero(callers.kinds == Kind.INVALID).tolist():
        text = others.get(row, "")
        found = mark_of(text, country := country_of(row)) if _IN_ALL in text else None
        if found is None:
            continue
        mark, digits = found
        marks[row] = mark
        number = parse(digits, country)
        if number.kind is Kind.E164:
            callers.e164[row], callers.kinds[row] = number.text, number.kind
            del others[row]
    return replace(callers, other_texts=others, marks=marks) if marks else callers

"""Trunks that records name and the configuration does not. Pure.

Such a call is read in the home country, its side of the border is not known, and no rule of a trunk
holds for it. Where no trunk is named at all, as in a first try, nothing is said.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from stream.calls.batch import CallBatch
from stream.core.numbers.number import masked

LOOKED_AT = 256
"""Calls of a batch that are looked at, evenly spread: an unknown trunk has more than one call."""
NAME_MAX = 64
NUMBER_DIGITS = 7
"""A name with so many digits may be a subscriber's number."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """`calls` that name a trunk which the configuration does not have; `name` is the last one's."""

    calls: int
    name: str


def unknown_trunks(batch: CallBatch, named: Collection[str]) -> Unknown | None:
    """Look at some calls of `batch`; None: all name a trunk of `named`, or none at all."""
    count, name = 0, ""
    if not named:
        return None
    for call in range(0, len(batch), 1 + len(batch) // LOOKED_AT):
        located = batch.located
        trunk = batch.glances[call].trunk if located is None else located.text("trunk", call)
        if trunk and trunk not in named:
            count, name = count + 1, trunk
    return Unknown(count, shown(name)) if count else None


def shown(name: str) -> str:
    """A trunk's name for the log: bounded, on one line; what may be a number is masked."""
    cut = name[:NAME_MAX]
    try:
        return str(ip_address(cut))
    except ValueError:
        is_number = sum(map(str.isdecimal, cut)) >= NUMBER_DIGITS
        return ascii(masked(cut) if is_number else cut)[1:-1]

"""Trunks: whose numbers a trunk carries, and on which side of the border it lies. Pure.

Records may name trunks that the configuration does not have. Such a call is read in the home
country. Its side of the border is unknown, and no rule of a trunk applies to it. Where no trunk is
configured, as in a first try, none is reported.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING

from stream.core.model.call import Ingress

if TYPE_CHECKING:
    from stream.calls.call_batch import CallBatch


@dataclass(frozen=True, slots=True)
class Trunk:
    """One trunk: `country` (ISO 3166 alpha-2) whose national numbers it carries.

    `prefix` is what its switch writes before international numbers; "": as all trunks. `vouches` is
    whether the network behind it vouches for the identities that it asserts (RFC 3325: it is in our
    trust domain).
    """

    country: str
    ingress: Ingress = Ingress.UNKNOWN
    prefix: str = ""
    vouches: bool = False


@dataclass(frozen=True, slots=True)
class Trunks:
    """All trunks by name; calls of any other trunk count as `home_country`'s.

    `home_prefix` is the prefix of trunks that have none of their own; "": not known, then a number
    is read as dialled in its country.
    """

    home_country: str
    named: Mapping[str, Trunk] = field(default_factory=dict)
    home_prefix: str = ""

    @property
    def have_prefixes(self) -> bool:
        """True if the prefix of any trunk is known."""
        return bool(self.home_prefix) or any(one.prefix for one in self.named.values())

    def prefix(self, trunk: str | None) -> str:
        """Return the prefix of international numbers on `trunk`; "": not known."""
        known = self._known(trunk)
        return (known.prefix if known is not None else "") or self.home_prefix

    def country(self, trunk: str | None) -> str:
        """Return the country in which numbers of calls on `trunk` are read."""
        known = self._known(trunk)
        return known.country if known is not None else self.home_country

    def ingress(self, trunk: str | None, said: str | None) -> Ingress:
        """Return where a call came in: as its record says, else as the trunk's settings do."""
        if said in (Ingress.INTERNATIONAL, Ingress.DOMESTIC):
            return Ingress(said)
        known = self._known(trunk)
        return known.ingress if known is not None else Ingress.UNKNOWN

    def vouches(self, trunk: str | None) -> bool:
        """Return whether what a trunk asserts of its callers is believed; not of an unknown one."""
        known = self._known(trunk)
        return known is not None and known.vouches

    def _known(self, trunk: str | None) -> Trunk | None:
        return self.named.get(trunk) if trunk is not None else None


LOOKED_AT = 256
"""Calls of a batch that are looked at, evenly spread: an unknown trunk has more than one call."""
NAME_MAX = 64
"""Characters of a name in the log: a record chose it, and may be anybody's."""
NUMBER_DIGITS = 7
"""A name with so many digits may be a subscriber's number."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """`calls` that name a trunk which the configuration does not have; `name` is the last one's."""

    calls: int
    name: str


def unknown_trunks(batch: "CallBatch", named: Collection[str]) -> Unknown | None:
    """Look at some calls of `batch`; None: all name a trunk of `named`, or none at all."""
    count, name = 0, ""
    if not named:
        return None
    for call in range(0, len(batch), 1 + len(batch) // LOOKED_AT):
        trunk = batch.text("trunk", call)
        if trunk and trunk not in named:
            count, name = count + 1, trunk
    return Unknown(count, shown(name)) if count else None


def shown(name: str) -> str:
    """Write a trunk's name for the log: bounded, on one line; mask what may be a number."""
    # The settings import this module, and reading them is to cost no NumPy.
    from stream.core.numbers.number import masked

    cut = name[:NAME_MAX]
    try:
        return str(ip_address(cut))
    except ValueError:
        is_number = sum(map(str.isdecimal, cut)) >= NUMBER_DIGITS
        return ascii(masked(cut) if is_number else cut)[1:-1]

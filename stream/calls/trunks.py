"""Which country a trunk belongs to, and on which side of the border it lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.model.call import Ingress


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
        """Whether the prefix of any trunk is known."""
        return bool(self.home_prefix) or any(one.prefix for one in self.named.values())

    def prefix(self, trunk: str | None) -> str:
        """What stands before international numbers on `trunk`; "": not known."""
        known = self.named.get(trunk) if trunk is not None else None
        return (known.prefix if known is not None else "") or self.home_prefix

    def country(self, trunk: str | None) -> str:
        """The country in which numbers of calls on `trunk` are read."""
        known = self.named.get(trunk) if trunk is not None else None
        return known.country if known is not None else self.home_country

    def ingress(self, trunk: str | None, said: str | None) -> Ingress:
        """Where a call came in: as its record says, else as the trunk's configuration does."""
        if said in (Ingress.INTERNATIONAL, Ingress.DOMESTIC):
            return Ingress(said)
        known = self.named.get(trunk) if trunk is not None else None
        return known.ingress if known is not None else Ingress.UNKNOWN

    def vouches(self, trunk: str | None) -> bool:
        """Whether what a trunk asserts of its callers is believed; of an unknown one nothing is."""
        known = self.named.get(trunk) if trunk is not None else None
        return known is not None and known.vouches

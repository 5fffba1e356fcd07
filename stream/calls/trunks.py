"""Which country a trunk belongs to, and on which side of the border it lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.core.call import Ingress


@dataclass(frozen=True, slots=True)
class Trunk:
    """One trunk: `country` (ISO 3166 alpha-2) whose national numbers it carries."""

    country: str
    ingress: Ingress = Ingress.UNKNOWN


@dataclass(frozen=True, slots=True)
class Trunks:
    """All trunks by name; calls of any other trunk count as `home_country`'s."""

    home_country: str
    named: Mapping[str, Trunk] = field(default_factory=dict)

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

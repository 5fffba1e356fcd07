"""`[enforcement]`: how what lists did is counted, told to partners, and heard from them."""

from dataclasses import dataclass
from typing import Annotated

from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked

_Filled = Annotated[str, Checked(checks.filled)]
_Seconds = Annotated[float, Between(1, 86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerSection:
    """`[enforcement.partners.<COUNTRY>]`: the repository of a country that enforces our lists."""

    url: _Filled
    root: _Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementSection:
    """The whole section. `sighting_...`: what a partner's finding that a number of ours is no
    scammer's is worth.
    """

    publish_s: _Seconds
    read_s: _Seconds
    sighting_confidence: Annotated[int, Between(0, 100)]
    sightings_max: Annotated[int, Between(0, 1_000_000)]
    sighting_days: Annotated[float, Between(0.01, 3650)]
    kept_days: Annotated[int, Between(40, 3660)]
    http_port: Annotated[int, Between(0, 65_535)]
    partners: dict[Annotated[str, Checked(checks.country)], PartnerSection]

"""What the records of one switch do not say themselves: its time zone, and its trunk.

[calls.topics]
"calls.pbx" = "asterisk-csv:bkk"

[switches.bkk]
time_zone = "Asia/Bangkok"
trunk = "pbx-1"
"""

from dataclasses import dataclass
from datetime import tzinfo

from stream.core.model.time_zones import zone_named


@dataclass(frozen=True, slots=True)
class SwitchSettings:
    """One table `[switches.<name>]`.

    `time_zone`: of times that the switch writes without one. `trunk`: a name of `[trunks]`, which
    says the country and the side of the border of all its calls; empty: as each record says.
    """

    time_zone: str = ""
    trunk: str = ""

    def __post_init__(self) -> None:
        if self.time_zone:
            try:
                zone_named(self.time_zone)
            except ValueError as error:
                raise ValueError(f"time_zone: {error}") from error

    @property
    def zone(self) -> tzinfo | None:
        """The time zone; None: not known."""
        return zone_named(self.time_zone) if self.time_zone else None


UNSET = SwitchSettings()

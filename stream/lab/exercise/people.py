"""Who takes part, and all numbers of the exercise: generated, and different in every role.

The countries and their numbering plans are the demo's.
"""

from dataclasses import dataclass, field

import numpy as np

from stream.lab.demo.world import COUNTRIES, Country, numbers_of

ORDER = ("TH", "KH", "PH", "MM", "VN")
"""In which order countries join: the first three play most scenes."""
LEAST = 3
LISTED, INNOCENT, GANG = 40, 20, 10
SPARE = 60
BY_ISO = {country.iso: country for country in COUNTRIES}


@dataclass
class People:
    """The numbers of one country. `listed` are on its list from the start, `innocent` on none.

    `spare` are on none either, until a scene takes some and gives them a part.
    """

    listed: tuple[str, ...]
    innocent: tuple[str, ...]
    spare: list[str] = field(default_factory=list)

    def take(self, count: int) -> tuple[str, ...]:
        """Numbers that nobody has used yet."""
        assert len(self.spare) >= count, "a scene takes more numbers than there are"
        taken, self.spare = self.spare[:count], self.spare[count:]
        return tuple(taken)


def taking_part(count: int) -> tuple[Country, ...]:
    """The first `count` countries."""
    return tuple(BY_ISO[iso] for iso in ORDER[:count])


def people_of(country: Country, seed: int) -> People:
    """The numbers of a country, the same for the same seed."""
    rng = np.random.default_rng([seed, int(country.code)])
    made = numbers_of(country, LISTED + INNOCENT + SPARE, rng)
    listed, rest = made[:LISTED], made[LISTED:]
    return People(tuple(listed), tuple(rest[:INNOCENT]), rest[INNOCENT:])

"""Five simulated countries: their numbering plans, their people, and the lists that they share.

Everything comes from one seed. Numbers follow the plans of the real countries, so that the engine
parses what it would parse there. The listed numbers are made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LISTED_BLOCK_SHARE = 0.92
"""Share of a list that are its own country's numbers; the rest was reported abroad."""
OVERLAP = 500
"""Numbers of each list that stand on the next country's list as well."""
BANK_NUMBERS = 200
"""Lines of the bank, spoofed by gangs and therefore listed, but allowed by prefix."""
BANK_PREFIX = "+6621005"
PEOPLE = 40_000
"""Innocent numbers per country."""


class Mobile(NamedTuple):
    """Numbers that start with `prefix` (national, without trunk 0) and go on with `free` digits."""

    prefix: str
    free: int


@dataclass(frozen=True, slots=True)
class Country:
    """A country of the demo.

    `iso` ISO 3166 alpha-2; `code` its country code; `mobiles` ranges in use (all five countries
    write national numbers with a leading 0). `emergency` is a number that is never blocked; `trunk`
    the carrier's trunk there. `list` is the blocklist that it shares; `action` is what the policy
    lets that list cause.
    """

    iso: str
    name: str
    code: str
    mobiles: tuple[Mobile, ...]
    emergency: str
    trunk: str
    list: str
    action: str

    def national(self, e164: str) -> str:
        """`e164`, a number of this country, as its own switches write it."""
        assert e164.startswith(f"+{self.code}"), "a number of another country"
        return "0" + e164[1 + len(self.code) :]


COUNTRIES = (
    Country(
        "TH", "Thailand", "66", (Mobile("8", 8), Mobile("9", 8)),
        "191", "th-bkk-01", "TH/national", "block",
    ),
    Country(
        "MM", "Myanmar", "95", (Mobile("925", 7), Mobile("942", 7), Mobile("979", 7)),
        "199", "mm-rgn-01", "MM/scam", "block",
    ),
    Country(
        "KH", "Cambodia", "855", (Mobile("12", 6), Mobile("97", 7), Mobile("88", 7)),
        "117", "kh-pnh-01", "KH/scam", "block",
    ),
    Country(
        "PH", "Philippines", "63", (Mobile("917", 7), Mobile("906", 7), Mobile("998", 7)),
        "911", "ph-mnl-01", "PH/scam", "block",
    ),
    Country(
        "VN", "Viet Nam", "84", (Mobile("35", 7), Mobile("70", 7), Mobile("98", 7)),
        "113", "vn-sgn-01", "VN/spam", "flag",
    ),
)  # fmt: skip

CATEGORIES = ("call_centre", "impersonation", "investment", "romance", "loan", "parcel", "job")


@dataclass(frozen=True, slots=True)
class World:
    """People of the five countries, and the lists that hold them.

    `people` are innocent numbers by ISO code; `lists` members by list name; `holders` the names of
    the lists that hold a number. `allowed` are exact allow entries; `bank` listed numbers under the
    allowed prefix `BANK_PREFIX`. `to_add` is on no list, `to_remove` on one only, and no other call
    of the demo uses either. These are the two numbers that change while it runs.
    """

    people: Mapping[str, Sequence[str]]
    lists: Mapping[str, Sequence[str]]
    holders: Mapping[str, tuple[str, ...]]
    allowed: tuple[str, ...]
    bank: tuple[str, ...]
    to_add: str
    to_remove: str

    @property
    def allow_texts(self) -> tuple[str, ...]:
        """Entries for the product's allowlist: exact numbers and one prefix."""
        return (*self.allowed, f"{BANK_PREFIX}*")

    def is_allowed(self, e164: str) -> bool:
        """Return whether the allowlist holds the number or its prefix."""
        return e164 in self.allowed or e164.startswith(BANK_PREFIX)


def build_world(seed: int, numbers_per_list: int) -> World:
    """Return the world of `seed`, with at least `numbers_per_list` numbers on every list."""
    rng = np.random.default_rng(seed)
    own = max(1, round(numbers_per_list * LISTED_BLOCK_SHARE))
    abroad = numbers_per_list - own
    people: dict[str, Sequence[str]] = {}
    crooks: dict[str, list[str]] = {}
    for country in COUNTRIES:
        made = numbers_of(country, PEOPLE + own + abroad + 1, rng)
        people[country.iso] = made[:PEOPLE]
        crooks[country.iso] = made[PEOPLE:]
    bank = tuple(f"{BANK_PREFIX}{line:04d}" for line in range(BANK_NUMBERS))
    to_add = crooks["MM"].pop()
    lists: dict[str, Sequence[str]] = {}
    for at, country in enumerate(COUNTRIES):
        neighbour = COUNTRIES[(at + 1) % len(COUNTRIES)]
        shared = crooks[neighbour.iso][: min(OVERLAP, own // 2)]
        reported_abroad = crooks[neighbour.iso][own : own + abroad]
        banks = bank if country.iso in ("TH", "KH") else ()
        lists[country.list] = [*crooks[country.iso][:own], *reported_abroad, *shared, *banks]
    holders: dict[str, tuple[str, ...]] = {}
    for name, members in lists.items():
        for number in members:
            holders[number] = (*holders.get(number, ()), name)
    # Its own list's last own number: past the ones that the next country shares.
    to_remove = crooks["KH"][own - 1]
    allowed = tuple(crooks["PH"][min(OVERLAP, own // 2) :][:8])
    return World(people, lists, holders, allowed, bank, to_add, to_remove)


def numbers_of(country: Country, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different numbers of the country, in random order."""
    each = -(-count // len(country.mobiles))
    made: list[NDArray[np.int64]] = []
    for mobile in country.mobiles:
        assert each < 10**mobile.free // 2, f"{country.iso} {mobile.prefix} is too small a range"
        rest = rng.choice(10**mobile.free, each, replace=False, shuffle=False)
        made.append(int(f"{country.code}{mobile.prefix}") * 10**mobile.free + rest)
    digits = np.concatenate(made)
    rng.shuffle(digits)
    return [f"+{number}" for number in digits[:count].tolist()]


def write_list(members: Sequence[str], path: Path, reported_at: str) -> None:
    """The list as a CSV file that a ministry would send: number, category, date of the report."""
    lines = ["number,category,reported_at"]
    lines += [
        f"{number},{CATEGORIES[at % len(CATEGORIES)]},{reported_at}"
        for at, number in enumerate(members)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")

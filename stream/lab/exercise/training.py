"""All who take part, what they have agreed, and who follows whom: the cast of every scene."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from stream.lab.exercise.papers import BY_ISO, AgreementPaper
from stream.lab.exercise.station import CountryStation, HubStation, Station

HOME, SOURCE, POISONED, PLEDGED = "TH", "KH", "PH", "MM"
"""Countries whose calls are followed most, that have gangs, whose machine is attacked, and that
have only pledged data so far."""


def agreements_among(isos: tuple[str, ...]) -> list[AgreementPaper]:
    """Return the agreements of the countries: TH with each on its list, and the others with KH."""
    found = []
    for iso in isos:
        if iso == HOME:
            continue
        theirs = BY_ISO[iso]
        kind = "pledge" if iso == PLEDGED else "memorandum"
        shares = "numbers" if iso == POISONED else "fingerprints"
        found.append(AgreementPaper((HOME, iso), (theirs.list,), kind, theirs.action, shares))
        if iso != SOURCE:
            found.append(AgreementPaper((SOURCE, iso), (BY_ISO[SOURCE].list,)))
    return found


@dataclass
class Training:
    """The countries by ISO code in the order in which they joined, and the hub.

    `folder` is where all of it lies, one folder each.
    """

    ringfences: Mapping[str, CountryStation]
    hub: HubStation
    folder: Path
    agreements: dict[str, AgreementPaper] = field(default_factory=dict)
    began: date = field(default_factory=lambda: datetime.now(UTC).date())

    def __getitem__(self, iso: str) -> CountryStation:
        return self.ringfences[iso]

    @property
    def isos(self) -> tuple[str, ...]:
        """The countries that take part."""
        return tuple(self.ringfences)

    @property
    def by_hub(self) -> tuple[str, ...]:
        """The countries that follow KH through the hub; TH follows each country's own server."""
        return tuple(iso for iso in self.isos if iso not in (HOME, SOURCE))

    def following(self) -> Iterator[tuple[CountryStation, CountryStation]]:
        """Pairs of a follower and the owner of the list."""
        for iso in self.isos:
            if iso != HOME:
                yield self[HOME], self[iso]
        for iso in self.by_hub:
            yield self[iso], self[SOURCE]

    def sign(self, agreement: AgreementPaper) -> None:
        """Its parties put their copies, or the new text, into their folders."""
        self.agreements[agreement.id] = agreement
        for iso in agreement.parties:
            self[iso].signs(agreement)

    def between(self, one: str, other: str) -> AgreementPaper:
        """Return the agreement of two countries."""
        return self.agreements[f"{one}-{other}".lower()]

    def pids(self) -> dict[str, int]:
        """Return all running programs of the countries, by country and name."""
        return {
            f"{one.name} {name}": pid
            for one in self.ringfences.values()
            for name, pid in one.pids().items()
        }

    def close(self, keep: Path | None) -> None:
        """End everything; with `keep` each one's logs stay in its folder."""
        stations = (*self.ringfences.values(), self.hub)
        with ThreadPoolExecutor(len(stations)) as pool:
            list(pool.map(Station.stop, stations))
        for station in stations:
            station.close(station.folder if keep is not None else None)

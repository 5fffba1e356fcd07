"""A partner's publications, and what may be in force of them where its list is followed.

The reference of a feed: it knows each complete version that the partner published, and whether our
gate may let it through. It knows nothing of fetches, files, gates or states.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random

from stream.feeds.feed import VersionRecord
from tests.simulation.partners.web import Content
from tests.simulation.world import World

NUMBERS = [f"+4477009002{number:02d}" for number in range(30)]
OURS = "+447700900299"
"""A number of the carrier itself: no version that lists it may go live."""


@dataclass(frozen=True)
class Publication:
    """One version of a list: `names` are hashes by which a fetch of it is known."""

    numbers: frozenset[str]
    names: frozenset[str]
    at_s: float

    @property
    def barred(self) -> bool:
        """True if the gate may not let it through."""
        return OURS in self.numbers

    @property
    def good(self) -> bool:
        """True if the gate lets it through. A whole list without numbers waits for a person."""
        return bool(self.numbers) and not self.barred


@dataclass
class Publications:
    """All versions of one list, in their order.

    `name_of` gives the name by which the partner knows a version that was accepted. `forgets`: it
    is the list store alone that knows what came before, and a fail-over may lose that.
    """

    feed: str
    list_name: str
    name_of: Callable[[VersionRecord], str]
    forgets: bool
    versions: list[Publication] = field(default_factory=list)

    def add(self, version: Publication) -> None:
        """Take a new version; of the same numbers as the one before it is another name."""
        if self.versions and self.versions[-1].numbers == version.numbers:
            same = self.versions.pop()
            version = replace(same, names=same.names | version.names)
        self.versions.append(version)

    def place(self, name: str) -> int | None:
        """Return the newest place of a version by its hash; None: it is none of them."""
        places = range(len(self.versions) - 1, -1, -1)
        return next((n for n in places if name in self.versions[n].names), None)

    @property
    def newest(self) -> int:
        """The place of the newest version that is good; -1: there is none."""
        places = range(len(self.versions) - 1, -1, -1)
        return next((n for n in places if self.versions[n].good), -1)

    def due(self, now_s: float, within_s: float) -> int:
        """Return the last good version that stood longer than that as the newest; -1: none did."""
        ends = [*(one.at_s for one in self.versions[1:]), now_s]
        stood = zip(self.versions, ends, strict=True)
        due = [n for n, (one, end) in enumerate(stood) if one.good and end - one.at_s > within_s]
        return due[-1] if due else -1

    def numbers(self, place: int) -> frozenset[str]:
        """Return the numbers of a version; -1: of none."""
        return self.versions[place].numbers if place >= 0 else frozenset()

    def wrong(self, held: Iterable[str], accepted: int, *, exactly: bool) -> str:
        """Return what is wrong with the list's numbers; "": nothing.

        `accepted` is the place of the version that was accepted last. `exactly`: nothing of another
        one is on its way into the list.
        """
        found = frozenset(held)
        if exactly:
            right = self.numbers(accepted)
            return "" if found == right else f"it has {_told(found)}, and not {_told(right)}"
        later = [v.numbers for v in self.versions[accepted + 1 :] if not v.barred]
        may = [self.numbers(accepted), *later]
        for number in sorted(found | set(NUMBERS)):
            if not any((number in found) == (number in one) for one in may):
                return f"{number} is {'' if number in found else 'not '}on it, by no version"
        return ""


def _told(numbers: Iterable[str]) -> str:
    return " ".join(sorted(number[-2:] for number in numbers)) or "nothing"


class PlainPartner:
    """A partner with a list of numbers on a web server, and perhaps its checksum beside it."""

    HOST, PATH = "192.0.2.20", "/list.txt"

    def __init__(self, world: World, *, summed: bool) -> None:
        self.world, self.summed = world, summed
        self.rng: Random = world.rng
        self.said = Publications(
            "gb-list", "GB/robocalls", lambda record: record.sha256, forgets=True
        )
        self._body, self._at_s = b"", 0

    def publish(self, *, good: bool = False) -> None:
        """Publish another version; at times one that no gate may let through."""
        numbers = set(self.rng.sample(NUMBERS, self.rng.randint(1, 12)))
        if not good and self.rng.random() < 0.2:
            numbers.add(OURS)
        self._body = "".join(f"{number}\n" for number in sorted(numbers)).encode()
        self._at_s = int(self.world.loop.wall_s)
        name = hashlib.sha256(self._body).hexdigest()
        version = Publication(frozenset(numbers), frozenset({name}), self.world.loop.time())
        self.said.add(version)
        self.world.loop.note("published", self.said.list_name, _told(numbers))

    def content(self, path: str) -> Content | None:
        """Return a file of its server."""
        if path == self.PATH:
            return Content(self._body, self._at_s)
        if path == f"{self.PATH}.sha256" and self.summed:
            line = f"{hashlib.sha256(self._body).hexdigest()}  list.txt\n"
            return Content(line.encode(), garbled=False)
        return None

    def feed_file(self) -> str:
        """Return the feed's file."""
        url = f"http://{self.HOST}{self.PATH}"
        summed = f'sha256_url = "{url}.sha256"' if self.summed else ""
        return _FEED.format(url=url, summed=summed, large=LARGE)


LARGE = 20_000
"""Bytes of a list that are more than anybody takes."""
_FEED = """
list = "GB/robocalls"
format = "text"
category = "robocall"
may_list = ["*"]
[owner]
name = "GB"
contact = "noc@ofcom.example"
[from]
kind = "http"
url = "{url}"
{summed}
bytes_max = {large}
answer_s = 5
deadline_s = 20
slow_window_s = 5
[schedule]
every = "5s"
[gate]
shrink_percent_max = 100
looks_like_ids = "pass"
"""

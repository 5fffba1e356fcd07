"""The files of a country, as its people would write them: settings, feeds, agreements.

What they do not say keeps the product's default. Two settings are shorter than usual, so that
training does not wait: how soon a failed action is repeated and how often files are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from stream.lab.demo.product import Places, quoted
from stream.lab.demo.world import COUNTRIES, Country, numbers_of

ORDER = ("TH", "KH", "PH", "MM", "VN")
"""In which order countries join: the first three play most scenes."""
LEAST = 3
LISTED, INNOCENT, GANG_NUMBERS = 40, 20, 10
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
        """Numbers that are not in use yet."""
        assert len(self.spare) >= count, "a scene takes more numbers than there are"
        taken, self.spare = self.spare[:count], self.spare[count:]
        return tuple(taken)


def taking_part(count: int) -> tuple[Country, ...]:
    """Return the first `count` countries."""
    return tuple(BY_ISO[iso] for iso in ORDER[:count])


def people_of(country: Country, seed: int) -> People:
    """Return the numbers of a country, the same for the same seed."""
    rng = np.random.default_rng([seed, int(country.code)])
    made = numbers_of(country, LISTED + INNOCENT + SPARE, rng)
    listed, rest = made[:LISTED], made[LISTED:]
    return People(tuple(listed), tuple(rest[:INNOCENT]), rest[INNOCENT:])


CIRCLE = "exercise"
CIRCLE_KEY = "RINGFENCE_CIRCLE_EXERCISE"
"""The environment variable with the circle's key; each exercise makes a new key."""
PARTITIONS = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of a country's programs."""

    engine: int
    feeds: int
    exchange: int


def settings(
    country: Country,
    folder: Path,
    places: Places | None,
    ports: Ports,
    partners: Mapping[str, tuple[str, Path]],
) -> str:
    """Return a country's `ringfence.toml`; without `places` as long as there is no broker yet.

    `partners` are those whose enforcement documents it reads: address and root.json.
    """
    parts: dict[str, Mapping[str, object]] = {}
    if places is not None:
        parts |= {
            "kafka": {"bootstrap_servers": places.bootstrap, "idempotent": places.idempotent},
            "redis": {"url": places.redis_url, "require_aof": places.durable},
            "calls": {
                "group_id": places.group,
                "emit": "all",
                "home_country": country.iso,
                "decisions_topic": places.topics.decisions,
                "rejected_topic": places.topics.rejected,
                "partitions": PARTITIONS,
            },
            "calls.topics": {places.topics.calls: "ringfence"},
        }
    parts |= {
        f"trunks.{country.trunk}": {"country": country.iso, "ingress": "international"},
        f"circles.{CIRCLE}": {"key_env": CIRCLE_KEY},
        "lists": {"state_dir": str(folder / "state")},
        "feeds": {
            "dir": str(folder / "feeds"),
            "retry_s_first": 0.5,
            "retry_s_most": 2.0,
            "reload_s": 1.0,
            "http_port": ports.feeds,
        },
        "agreements": {"dir": str(folder / "agreements"), "reload_s": 1.0},
        "exchange": exchange(folder) | {"http_port": ports.exchange},
        "ops": {"http_port": ports.engine, "kernels": "off"},
    }
    for iso, (url, root) in partners.items():
        parts[f"enforcement.partners.{iso}"] = {"url": url, "root": str(root)}
    return toml(parts)


def exchange(folder: Path) -> dict[str, object]:
    """`[exchange]` of a country, or of a hub."""
    return {
        name: str(folder / "exchange" / place)
        for name, place in (
            ("dir", "repository"),
            ("keys_dir", "keys"),
            ("state_dir", "state"),
            ("circles_dir", "circles"),
        )
    }


def feed(list_name: str, url: str, root: Path) -> str:
    """Return a feed's file, as `ringfence exchange follow` writes it."""
    owner = list_name.partition("/")[0]
    head = {"list": list_name, "format": "snapshot", "circle": CIRCLE, "sources": "both"}
    head_lines = [f"{name} = {_value(value)}" for name, value in head.items()]
    parts: dict[str, Mapping[str, object]] = {
        "owner": {"name": owner, "contact": contact(owner)},
        "from": {"kind": "tuf", "url": url, "root": str(root), "targets": list_name},
    }
    return "\n".join([*head_lines, 'may_list = ["*"]', toml(parts)])


@dataclass(frozen=True, slots=True)
class AgreementPaper:
    """An agreement between two countries on lists of theirs, with invented terms.

    `until` and `confirmed` are moments, seconds since the epoch, or None. `shares` is what others
    get of the lists, `action` the most that a number on them may cause.
    """

    parties: tuple[str, str]
    lists: tuple[str, ...]
    kind: str = "memorandum"
    action: str = "block"
    shares: str = "fingerprints"
    until: int | None = None
    confirmed: int | None = None

    @property
    def id(self) -> str:
        """Its file's name, and what decisions call it."""
        return "-".join(self.parties).lower()

    def text(self) -> str:
        """Return its file."""
        lines = [
            "# Written for an exercise, with invented terms: no government has signed these words.",
            f"title = {quoted(' and '.join(self.parties) + ': an exercise (invented)')}",
            f'kind = "{self.kind}"',
            "valid_from = 2025-01-01",
            f'circle = "{CIRCLE}"',
            'response_target = "1m"',
        ]
        lines += [f"valid_until = {moment(self.until)}"] if self.until is not None else []
        lines += [f"confirmed = {moment(self.confirmed)}"] if self.confirmed is not None else []
        parts: dict[str, Mapping[str, object]] = {
            f"parties.{iso}": {"roles": ["owner", "enforcer"], "contact": contact(iso)}
            for iso in self.parties
        }
        parts["terms"] = {"action": self.action, "confidence_min": 50, "shares": self.shares}
        for place, name in enumerate(self.lists, 1):
            parts[f"lists.{quoted(name)}"] = {"reference": f"Article {place}"}
        parts["report"] = {"every": "month", "due_days": 10}
        return "\n".join([*lines, toml(parts)])


def contact(iso: str) -> str:
    """Return the contact of a country."""
    return f"unblock@{iso.lower()}-cert.example"


def moment(at_s: int) -> str:
    """Return a moment as TOML has it."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of plain values, by their dotted names."""
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if key.isidentifier() else quoted(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return quoted(value)
        case list():
            return f"[{', '.join(_value(each) for each in value)}]"
        case _:
            return str(value)

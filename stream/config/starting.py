"""A starting configuration: every setting with its comment, and what a site chose in force.

It is made from the file of defaults, so that it has each setting and nothing else.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.config.bundled_files import file_names

SETTINGS, SECRETS = "ringfence.toml", "secrets.env"
_HEAD: Final = """\
# Ringfence's settings, of `ringfence init`. Lines that begin with `#name =` are defaults: take the
# `#` away to change one. `ringfence check-config` finds mistakes; secrets are in {secrets}.
"""
_HEADER: Final = re.compile(r"\[(.+?)\]")
_VALUE: Final = re.compile(r"(\w+) = (.*?)(\s+# .*)?")


@dataclass(frozen=True, slots=True)
class SiteChoices:
    """Choices of a site; `state` is where processes keep theirs, by default in `folder`."""

    folder: Path
    state: Path | None
    kafka: str
    redis: str
    country: str
    topic: str
    dialect: str

    def chosen(self) -> dict[str, dict[str, str]]:
        """Return the settings that are in force in the file: table -> key -> value.

        Every folder is among them, absolute: a command finds the same from wherever it runs.
        """
        state = self.state or self.folder / "state"
        exchange = state / "exchange"
        return {
            "kafka": {"bootstrap_servers": self.kafka},
            "redis": {"url": self.redis},
            "calls": {"home_country": self.country},
            "calls.topics": {self.topic: self.dialect},
            "lists": {"state_dir": str(state)},
            "feeds": {"dir": str(self.folder / "feeds")},
            "agreements": {"dir": str(self.folder / "agreements")},
            "exchange": {
                "dir": str(exchange / "repository"),
                "keys_dir": str(exchange / "keys"),
                "state_dir": str(exchange / "state"),
                "circles_dir": str(exchange / "circles"),
            },
            "ingest": {"state_dir": str(state / "ingest")},
        }


def starting_settings(start: SiteChoices) -> str:
    """Return the text of the settings file."""
    chosen = start.chosen()
    table = ""
    (defaults,) = file_names("settings").values()
    # Its first paragraph is about itself.
    lines = [_HEAD.format(secrets=start.folder / SECRETS)]
    for line in defaults.read_text().partition("\n\n")[2].splitlines():
        if header := _HEADER.match(line):
            table = header[1]
            lines.append(line)
            # This table's keys are names of ours: the choice replaces the default's.
            if table == "calls.topics":
                lines += [
                    f"{_key(key)} = {json.dumps(value)}" for key, value in chosen[table].items()
                ]
        elif value := _VALUE.fullmatch(line):
            mine = chosen.get(table, {})
            if value[1] in mine and table != "calls.topics":
                lines.append(f"{value[1]} = {json.dumps(mine[value[1]])}{value[3] or ''}")
            else:
                lines.append(f"#{line}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def starting_files(start: SiteChoices) -> dict[Path, str]:
    """Return the files of a starting configuration, with their texts."""
    secrets = file_names("systemd")["systemd/secrets.env.example"].read_text()
    about = (
        "Feed files, one a feed: <name>.toml. `ringfence feeds detect FILE` drafts one; examples:\n"
    )
    terms = "Agreement files, one an agreement: <id>.toml. Examples:\n"
    return {
        start.folder / SETTINGS: starting_settings(start),
        start.folder / SECRETS: secrets,
        start.folder / "feeds" / "README": f"{about}ringfence assets export DIR feeds\n",
        start.folder / "agreements" / "README": f"{terms}ringfence assets export DIR agreements\n",
    }


def _key(name: str) -> str:
    """Return a key of TOML; JSON's quotes are TOML's for what a topic's name may hold."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)

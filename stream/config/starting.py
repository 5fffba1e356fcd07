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


@dataclass(frozen=True, slots=True)
class SiteChoices:
    """Choices of a site; None leaves the default, commented out.

    `state` is where processes keep theirs, by default in `folder`; `kernels` is for compiled code.
    """

    folder: Path
    state: Path | None = None
    kernels: Path | None = None
    kafka: str | None = None
    redis: str | None = None
    country: str | None = None
    topic: str = "calls"
    dialect: str = "ringfence"

    def chosen(self) -> dict[tuple[str, str], str]:
        """Return the settings that are in force in the file: table and key -> value.

        Every folder is among them, absolute: a command finds the same from wherever it runs.
        """
        state = self.state or self.folder / "state"
        exchange = state / "exchange"
        values: dict[tuple[str, str], str | Path | None] = {
            ("kafka", "bootstrap_servers"): self.kafka,
            ("redis", "url"): self.redis,
            ("calls", "home_country"): self.country,
            ("lists", "state_dir"): state,
            ("feeds", "dir"): self.folder / "feeds",
            ("agreements", "dir"): self.folder / "agreements",
            ("exchange", "dir"): exchange / "repository",
            ("exchange", "keys_dir"): exchange / "keys",
            ("exchange", "state_dir"): exchange / "state",
            ("exchange", "circles_dir"): exchange / "circles",
            ("ingest", "state_dir"): state / "ingest",
            ("ops", "kernels_dir"): self.kernels,
        }
        return {key: str(value) for key, value in values.items() if value is not None}


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
            # A table of names of ours: there, it replaces the default's, empty or not.
            if table == "calls.topics":
                lines.append(f"{_key(start.topic)} = {json.dumps(start.dialect)}")
        elif _is_setting(line):
            key, _, rest = line.partition(" = ")
            mine = chosen.get((table, key))
            lines.append(
                f"#{line}" if mine is None else f"{key} = {json.dumps(mine)}{_comment(rest)}"
            )
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


def _is_setting(line: str) -> bool:
    key, equals, _ = line.partition(" = ")
    return bool(equals) and key.isidentifier()


def _comment(rest: str) -> str:
    """Return the comment after a value, with the blanks before it. No default has a "#" in it."""
    value, mark, comment = rest.partition(" # ")
    return f"{' ' * (len(value) - len(value.rstrip()))}{mark}{comment}"


def _key(name: str) -> str:
    """Return a key of TOML; JSON's quotes are TOML's for what a topic's name may hold."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)

"""Whom to ask to take a number off a list."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream.config.sections import feed_paths
from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid


def contacts_of(settings: Settings) -> dict[str, str]:
    """Whom to ask, by owner (`KH`) and by feed (`feed:<name>`): settings and feed files."""
    contacts = {owner: section.contact for owner, section in settings.owners.items()}
    try:
        paths = feed_paths(Path(settings.feeds.dir))
    except ConfigInvalid:
        return contacts
    for name, path in paths.items():
        try:
            owner = tomllib.loads(path.read_text())["owner"]
            contacts[f"feed:{name}"] = str(owner["contact"])
            contacts.setdefault(str(owner["name"]), str(owner["contact"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # `feeds ls` is where a wrong feed file is told of
    return contacts


def way_off(held: Mapping[str, Any], contacts: Mapping[str, str]) -> list[str]:
    """Whom to ask to take a number off a list: its owner, and the feeds that report it."""
    asked = [f"{held['owner']}: {contacts[held['owner']]}"] if held["owner"] in contacts else []
    for report in held["reports"]:
        feed = report["source"].partition("/")[0]
        contact = contacts.get(f"feed:{feed}")
        if contact is not None and f"{feed}: {contact}" not in asked:
            asked.append(f"{feed}: {contact}")
    return asked

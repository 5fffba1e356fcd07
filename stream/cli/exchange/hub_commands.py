"""`ringfence exchange hub`: carry the lists of many countries, without a say in them."""

import time
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import settings_of
from stream.cli.exchange.exchange_commands import (
    Keys,
    Offline,
    RootFile,
    Threshold,
    Url,
    folder_of,
    note_closed,
    own_exchange,
    ring_of,
    root_in,
    signatory_of,
    validity_of,
)
from stream.cli.lazy_group import group
from stream.cli.options import ConfigFiles
from stream.cli.output import NOTHING_DONE, note, say
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.exchange import repository
from stream.exchange.mirror import COUNTRIES, Hub
from stream.exchange.signing import Signatory
from stream.feeds.tuf.tuf_client import TufLimits
from stream.ops.clock import now_s

app = group(help="Carry many countries' lists without the power to change them.")
above = group()
"""The same below its name: a part of `exchange`."""
above.add_typer(app, name="hub")


def hub_of(settings: Settings, keys: list[Path] | None) -> Hub:
    """Return the hub that the settings describe."""
    state = Path(settings.exchange.state_dir) / "hub"
    ring = ring_of(settings, keys)
    return Hub(folder_of(settings), ring, state, validity_of(settings), TufLimits())


@app.command()
def init(offline: Offline, threshold: Threshold = 1, config: ConfigFiles = None) -> None:
    """Make a hub: a repository that carries lists of others and owns none.

    Example: ringfence exchange hub init --offline stick-a --threshold 1
    """
    settings = settings_of(config)
    own_exchange(settings)
    folder = folder_of(settings)
    repository.init(folder, signatory_of(settings, offline), offline, threshold, hub=True)
    say(f"made {folder}; countries join with `ringfence exchange hub add`")
    note_closed(folder)


@app.command()
def add(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="The country, e.g. KH.")],
    url: Url,
    root: RootFile,
    keys: Keys = None,
    config: ConfigFiles = None,
) -> None:
    """Let a country join: verify its repository, delegate `OWNER/*` to its keys, carry its lists.

    Example: ringfence exchange hub add KH https://lists.cert.example/kh --root kh.root.json \
--keys stick-a
    """
    settings = settings_of(config)
    own_exchange(settings)
    hub = hub_of(settings, keys)
    hub.add(owner, url, root_in(root), now_s())
    say(f"{owner} has joined; its repository is {hub.folder / COUNTRIES / owner}")


@app.command()
def sync(
    every: Annotated[
        float, typer.Option(min=0, max=86_400, help="Repeat after this many seconds.")
    ] = 0.0,
    config: ConfigFiles = None,
) -> None:
    """Fetch the news of every country. If one fails, its last good version stays.

    Exit code 1: a country failed; it says why. With --every it reports only when this changes.

    Example: ringfence exchange hub sync --every 5
    """
    settings = settings_of(config)
    own_exchange(settings)
    hub = hub_of(settings, None)
    told: dict[str, str] = {}
    while True:
        failed = _synced(hub, told)
        if not every:
            break
        time.sleep(every)
    if failed:
        raise typer.Exit(NOTHING_DONE)


def _synced(hub: Hub, told: dict[str, str]) -> bool:
    """Sync once, and say what differs from `told`. Return whether anything failed."""
    outcome: dict[str, Fault | None] = {"hub": None}
    try:
        outcome |= hub.sync(now_s())
        repository.resign(hub.folder, Signatory(hub.ring, hub.validity, now_s()))
    except Fault as fault:  # of the hub itself: its disk, its keys; countries stay as they are
        outcome["hub"] = fault
    for owner, wrong in outcome.items():
        text = f"{owner}: {wrong or ('carried' if owner != 'hub' else 'works again')}"
        if told.get(owner, "hub: works again") != text:
            note(text) if wrong is not None else say(text)
        told[owner] = text
    return any(outcome.values())

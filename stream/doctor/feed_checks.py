"""Partners' feeds: their files, and what is kept of them on this machine."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from stream.config.feed_files import FeedContext, read_each
from stream.config.sections import feed_paths
from stream.core.model.errors import ConfigInvalid
from stream.doctor.result import CheckLine, fail, ok, warn
from stream.feeds.feed_sources import FeedSetup, place_of
from stream.feeds.state_store import FeedStateStore
from stream.feeds.version_files import VersionFiles
from stream.lists.store.settings import ListStoreSettings


def check_files(folder: Path, context: FeedContext) -> Iterator[CheckLine]:
    """List feed files of `folder` that cannot be used."""
    if not folder.is_dir():
        return  # who follows no feeds has none
    try:
        setups, wrong = read_each(folder, os.environ, context)
    except ConfigInvalid as error:
        for text in error.errors:
            yield fail("feeds", text, "ringfence check-config")
        return
    for errors in wrong.values():
        for text in errors:
            yield fail("feeds", text, "ringfence check-config")
    yield ok("feeds", f"{len(setups)} can be followed")
    yield from same_source(setups.values())


def same_source(setups: Iterable[FeedSetup]) -> Iterator[CheckLine]:
    """Feeds that fill one list from one place: each keeps what the other would take off."""
    held: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for setup in setups:
        source = setup.source
        if source.is_pushed:  # it has no place: partners may share a list
            continue
        held[setup.feed.list_name, source.kind, place_of(source)].append(setup.feed.name)
    for (name, _, place), feeds in held.items():
        if len(feeds) > 1:
            said = f"{' and '.join(feeds)} fill {name} from the same place, {place}"
            yield warn(
                "feeds", said, f"rm {feeds[-1]}.toml, then ringfence feeds forget {feeds[-1]}"
            )


async def check_orphans(folder: Path, list_store: ListStoreSettings) -> list[CheckLine]:
    """List feeds without a file that still have reports, and lists that a feed has to leave.

    Their reports stay until they expire.
    """
    try:
        paths = await asyncio.to_thread(feed_paths, folder)
    except ConfigInvalid:
        return []  # who follows no feeds has none
    async with FeedStateStore.open(list_store) as stored:
        states = await stored.states(await stored.names())
    found = []
    for name, state in states.items():
        last = state.accepted
        if name not in paths and last is not None and last.numbers:
            where = last.list_name or "its list"
            said = f"{name} has no file any more; {last.numbers:,} numbers of it stay on {where}"
            fix = f"ringfence feeds forget {name} --reason ..."
            found.append(warn("feeds", f"{said} until they expire", fix))
        elif last is not None and last.to_leave:
            said = f"{name} fills {last.list_name} and may still have reports on"
            text = f"{said} {', '.join(last.to_leave)}: until a whole version comes"
            found.append(warn("feeds", text, f"ringfence feeds pull {name}"))
    return found


def check_state(folder: Path) -> Iterator[CheckLine]:
    """List state that another user than the service's made: for example a command run as root."""
    kept = folder / "feeds"
    for feed in sorted(path.name for path in kept.iterdir()) if kept.is_dir() else ():
        if foreign := VersionFiles(folder, feed).foreign():
            said, _, fix = foreign.partition(": ")
            yield fail(f"feed {feed}", said, fix)

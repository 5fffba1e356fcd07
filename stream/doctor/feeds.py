"""Partners' feeds: their files, and what is kept of them on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from stream.config import Settings
from stream.core.faults import ConfigInvalid
from stream.doctor.line import Line, fail, ok
from stream.feed_files import house_of, read_each
from stream.lists.feed_shelf import Versions


def check_files(settings: Settings) -> Iterator[Line]:
    """Feed files that can not be used."""
    folder = Path(settings.feeds.dir)
    if not folder.is_dir():
        return  # who follows no feeds has none
    try:
        setups, wrong = read_each(folder, os.environ, house_of(settings))
    except ConfigInvalid as error:
        for text in error.errors:
            yield fail("feeds", text, "ringfence check-config")
        return
    for errors in wrong.values():
        for text in errors:
            yield fail("feeds", text, "ringfence check-config")
    yield ok("feeds", f"{len(setups)} can be followed")


def check_state(settings: Settings) -> Iterator[Line]:
    """State that another user than the service's made: a command that ran as root, say."""
    folder = Path(settings.lists.state_dir)
    kept = folder / "feeds"
    for feed in sorted(path.name for path in kept.iterdir()) if kept.is_dir() else ():
        if foreign := Versions(folder, feed).foreign():
            said, _, fix = foreign.partition(": ")
            yield fail(f"feed {feed}", said, fix)

"""`ringfence feeds forget`: a feed whose file is gone leaves nothing behind."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, own, settings_of
from stream.cli.list_store import USAGE, Actor, by, fail, now_s, say, with_list_store
from stream.cli.output import print_json
from stream.config.sections import feed_paths
from stream.config.settings import Settings
from stream.core.model.errors import SnapshotUnreadable
from stream.feeds.feed import Feed, VersionRecord
from stream.feeds.state_store import FeedStateStore
from stream.feeds.store import ListWriter, lists_to_leave
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.ops.schema import checks


def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The feed: its file's name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")],
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Take off all that a feed without a file still reports, and forget its versions.

    A feed whose file was removed is not followed any more; its reports stay until they expire.
    `ringfence doctor` names such feeds. What others report stays.

    Example: ringfence feeds forget kh-scam --reason "the partner has a new address"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    if (wrong := checks.feed_name(name)) is not None:
        fail(f"a feed {wrong}", USAGE)
    if name in feed_paths(Path(settings.feeds.dir)):
        fail(f"feed {name} has its file in {settings.feeds.dir}: remove that first", USAGE)

    async def work(register: ListStore) -> dict[str, int]:
        async with FeedStateStore.open(settings.list_store()) as book:
            known = name in await book.names()
            feed = Feed(name=name, list_name="", owner="", contact="", format="text")
            keys = settings.circle_keys()
            last, gone = (await book.state(name)).accepted, {}
            writer = ListWriter(register, feed, who, now_s())
            for one in await _lists(register, feed, last, keys):
                if count := await writer.leave(one, keys):
                    gone[one] = count
            if not known and not gone:
                fail(f"nothing is known of a feed {name}", USAGE)
            said = ", ".join(f"{count} off {one}" for one, count in gone.items()) or "nothing"
            await book.forget(name, next(iter(gone), ""), who, f"feed {name}: {said}")
            return gone

    gone = with_list_store(settings, work)
    _remove_files(settings, name)
    if as_json:
        print_json({"feed": name, "removed": gone})
        return
    for one, count in gone.items():
        say(f"{one}: {count:,} reports of {name} taken off")
    say(f"{name} is forgotten" if gone else f"{name} is forgotten; it had nothing on any list")


async def _lists(
    register: ListStore, feed: Feed, last: VersionRecord | None, keys: Mapping[str, bytes]
) -> Sequence[str]:
    """Where reports of the feed are; all lists are read where its last record does not say."""
    if last is not None and last.list_name:
        return lists_to_leave(last, "")
    found = []
    for name, head in sorted((await register.heads()).lists.items()):
        try:
            _, columns = await entries_of(register, name, keys.get(head.circle, b""))
        except SnapshotUnreadable:
            continue  # a bare filter, of which nobody can say whose it is; or no key is here
        if any(feed.owns(source) for source in columns.sources):
            found.append(name)
    return found


def _remove_files(settings: Settings, name: str) -> None:
    """Its versions on this machine hold numbers that nobody needs any more."""
    shutil.rmtree(Path(settings.lists.state_dir) / "feeds" / name, ignore_errors=True)

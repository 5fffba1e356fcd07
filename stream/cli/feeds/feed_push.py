"""`ringfence feeds push`: hand in a version of a feed, and print the gate's verdict on it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Final

import typer

from stream.cli.common import own, settings_of, text_in
from stream.cli.feeds.feed_check import setup_of
from stream.cli.feeds.feed_preview import ReadAsJson, read_as
from stream.cli.feeds.version_output import told_version
from stream.cli.options import Actor, ConfigFiles, FromPartner, Output, Reason, Strict, is_piped
from stream.cli.output import NOTHING_DONE, USAGE, Format, fail, render, say, warn_of_rejected
from stream.cli.store_access import T, by, with_list_store
from stream.config.settings import Settings
from stream.core.model.errors import FeedDown
from stream.feeds.feed import VersionRecord
from stream.feeds.follow.feed_follower import Follower, HandedIn
from stream.feeds.follow.subprocess_job import WorkFailed, prepare
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.list_store import ListStore
from stream.services.feeds import workplace_of

NAME_CHARS_MAX: Final = 200
_PRELOADED: Final = [
    "stream.feeds.apply",
    "stream.feeds.follow.feed_fetcher",
    "stream.feeds.transports.file",
]
"""Modules of the two processes that read the file: imported once, by the server that forks them."""
Unusable = FeedDown | WorkFailed
"""Faults of a file as a whole; nothing of it was stored."""


def push(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The feed: the name of its file.")],
    file: FromPartner,
    reason: Reason = "",
    called: Annotated[str, typer.Option("--called", help="The file's name at its source.")] = "",
    reading: ReadAsJson = "",
    actor: Actor = None,
    strict: Strict = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Hand in a whole version of a feed with `kind = "push"`. The gate decides at once.

    `PUT /v1/feeds/NAME/versions` does the same. Exit codes: 0 it is live, or was before,
    with a warning if rows were rejected (1 with --strict); 1 it was held or refused.

    Example: ringfence feeds push kh-police numbers.csv --reason "this week's numbers"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    setup = setup_of(settings, name)
    if not setup.source.is_pushed:
        text = f'is fetched from {setup.source.kind}; only [from] kind = "push" takes a file'
        fail(f"feed {name} {text}", USAGE)
    how = read_as(reading)
    prepare(_PRELOADED)
    said = text_in(called or ("stdin" if is_piped(file) else file.name), "--called", NAME_CHARS_MAX)
    of_file = replace(setup, source=setup.source.of_file(file))

    async def work(_: ListStore, feed_states: FeedStateStore) -> VersionRecord | Unusable:
        place = workplace_of(settings, feed_states)
        follower = Follower(of_file, place, quiet=True, sent=HandedIn(said, who, how))
        try:
            record = await follower.pull()
        except (FeedDown, WorkFailed) as fault:
            return fault
        assert record is not None, "nothing is remembered of such a file"
        return record

    record = with_states(settings, work)
    if isinstance(record, FeedDown | WorkFailed):
        why = f"{record.reason}: {record.detail.replace(str(file), said)}"
        value: dict[str, Any] = {"feed": name, "list": setup.feed.list_name, "verdict": "refused"}
        value |= {"reason": record.reason.value, "findings": [why]}
        render(form, value, lambda: say(f"{name}: refused: {why}"))
        raise typer.Exit(NOTHING_DONE)
    told_version(setup, record, settings, form)
    if warn_of_rejected(sum(record.rejected.values()), strict=strict):
        raise typer.Exit(NOTHING_DONE)


def with_states(settings: Settings, work: Callable[[ListStore, FeedStateStore], Awaitable[T]]) -> T:
    """Return the result of `work` on the list store and the feeds' states; a fault ends it."""

    async def whole(store: ListStore) -> T:
        async with FeedStateStore.open(settings.list_store()) as feed_states:
            return await work(store, feed_states)

    return with_list_store(settings, whole)

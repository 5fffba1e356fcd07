"""`ringfence lists delete`: a list is no more, and nothing of it blocks."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from stream.cli.common import AsJson, ConfigFiles, settings_of
from stream.cli.list_store import NOTHING_DONE, Actor, by, fail, note, now_s, say, with_list_store
from stream.cli.output import print_json
from stream.config.agreement_files import agreements_of
from stream.config.feed_files import house_of, read_each
from stream.config.settings import Settings
from stream.core.model.agreement import AgreementState
from stream.core.model.errors import ConfigInvalid
from stream.exchange.repository_files import METADATA
from stream.feeds.feed import FeedState
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.state_store import FeedStateStore
from stream.lists.store.list_content import head_of
from stream.lists.store.list_store import ListStore

app = typer.Typer()


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The list, e.g. TH/national.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the audit.")],
    force: Annotated[
        bool, typer.Option("--force", help="Though an agreement shares it, or a feed fills it.")
    ] = False,
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Delete a list with all it holds and its past; workers drop it at once. The audit stays.

    Exit code 1: an agreement that has not ended shares it, or a feed fills it, and nothing was
    done. With --force it is deleted all the same; a feed whose file is there fills it anew.

    Example: ringfence lists delete TH/trial --reason "the trial is over"
    """
    settings, who = settings_of(config), by(actor, reason)
    against = [*_shared_by(settings, name), *_filled_by(settings, name)]
    for text in against:
        note(text)
    if against and not force:
        fail(f"{name}: nothing was deleted; --force deletes it all the same", NOTHING_DONE)

    async def work(register: ListStore) -> int:
        await head_of(register, name)
        redis = settings.list_store()
        async with FeedStateStore.open(redis) as book:
            states = await book.states(await book.names())
            numbers = await register.delete(name, who)
            # What a feed remembers of its versions would keep it from filling the list again.
            for feed in _filling(states, name):
                await book.forget(feed, name, who, f"feed {feed}: its list {name} was deleted")
        return numbers

    numbers = with_list_store(settings, work)
    if as_json:
        print_json({"list": name, "deleted": True, "numbers": numbers})
    else:
        say(f"{name} is deleted: {numbers:,} numbers are not listed by it any more")
    if any((Path(settings.exchange.dir) / METADATA).glob(f"*.{name.replace('/', '~')}.json")):
        note(f"its last edition stays in {settings.exchange.dir}, and partners follow it")


def _shared_by(settings: Settings, name: str) -> Iterator[str]:
    """Agreements that share the list, now or later."""
    for one in agreements_of(settings).held:
        if one.state(now_s()) is not AgreementState.ENDED and any(
            c.list == name for c in one.clauses
        ):
            yield f"agreement {one.id} shares {name}"


def _filled_by(settings: Settings, name: str) -> Iterator[str]:
    """Feeds whose files fill the list."""
    setups: Mapping[str, FeedSetup]
    try:
        setups, _ = read_each(Path(settings.feeds.dir), os.environ, house_of(settings))
    except ConfigInvalid:
        return  # who follows no feeds has none
    for setup in setups.values():
        if setup.feed.list_name == name:
            yield f"feed {setup.feed.name} fills {name}: {setup.path}"


def _filling(states: Mapping[str, FeedState], name: str) -> Iterator[str]:
    """Feeds whose last versions were of the list."""
    for feed, state in states.items():
        records = (state.accepted, state.held, state.refused)
        if any(one is not None and one.list_name == name for one in records):
            yield feed

"""`ringfence feeds`: follow partners' lists, look at them, decide what waits."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import CollectorRegistry

from stream.cli.common import AsJson, ConfigFiles, own, settings_of
from stream.cli.feeds import feeds_check, feeds_detect, feeds_forget
from stream.cli.feeds.feeds_text import feed_json, print_feed, print_feeds, record_json
from stream.cli.list_store import (
    NOTHING_DONE,
    USAGE,
    Actor,
    T,
    by,
    fail,
    note,
    now_s,
    say,
    with_list_store,
)
from stream.cli.lists.export import Output, write_out
from stream.cli.output import print_json
from stream.config.feed_files import house_of, read_each, read_feed
from stream.config.sections import feed_paths
from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid, FeedDown, FeedFault
from stream.feeds.apply import Applier
from stream.feeds.feed import FeedState, VersionRecord
from stream.feeds.feed_follower import Follower, Workplace, in_words, put_away
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.gate import GateVerdict
from stream.feeds.state_store import FeedStateStore
from stream.feeds.subprocess_job import prepare
from stream.feeds.transports.folder import FolderTransport
from stream.feeds.transports.transport import Fetched
from stream.feeds.version_files import VersionFiles
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import VersionDiff
from stream.lists.store.history import FEED_PULLED
from stream.lists.store.list_store import ListStore
from stream.ops.metrics.feed import FeedMetrics
from stream.services import feeds

app = typer.Typer(no_args_is_help=True)
app.command("check")(feeds_check.check)
app.command("detect")(feeds_detect.detect_)
app.command("forget")(feeds_forget.forget)

FeedName = Annotated[str, typer.Argument(metavar="NAME", help="The feed: its file's name.")]
WhyText = Annotated[str, typer.Option("--reason", help="Why, for the audit.")]
VersionId = Annotated[
    str | None, typer.Option("--version", help="Only if it is this version that waits.")
]


@app.command()
def run(config: ConfigFiles = None) -> None:
    """Follow every feed of the folder that `feeds.dir` names, until SIGTERM or Ctrl-C.

    Lists are rebuilt when more of their numbers were changed than `rebuild_changes`. Changed
    feed files take effect without a restart. Logs to stderr. Exit codes: 0 stopped in order,
    1 died, 2 wrong configuration, 3 Redis or the port are not as they have to be.

    Example: ringfence feeds run --config carrier.toml
    """
    arguments = [word for path in config or [] for word in ("--config", str(path))]
    settings = settings_of(config)
    own(settings.lists.state_dir)
    raise typer.Exit(feeds.run(settings, arguments=arguments))


@app.command("ls")
def ls_(config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Show all feeds: when each was last heard of, what it has on its list, what is wrong.

    Exit code 1: a version waits, or a feed cannot be had; 2: a feed's file is wrong.

    Example: ringfence feeds ls
    """
    settings = settings_of(config)
    setups, wrong = _setups(settings)

    async def work(_: ListStore, book: FeedStateStore) -> list[FeedState]:
        return [await book.state(name) for name in setups]

    found = zip(setups, _with_book(settings, work), strict=True)
    states = [_with_state(settings, *pair) for pair in found]
    pairs = list(zip(setups.values(), states, strict=True))
    if as_json:
        broken = [{"feed": name, "file_wrong": errors} for name, errors in wrong.items()]
        print_json([*(feed_json(setup, state) for setup, state in pairs), *broken])
    else:
        print_feeds(pairs, wrong, now_s())
    _all_right(wrong)
    if any(state.held is not None or state.fault for _, state in pairs):
        raise typer.Exit(NOTHING_DONE)


def _with_state(settings: Settings, name: str, state: FeedState) -> FeedState:
    """The state with what is wrong with its files on this machine, whoever follows the feed."""
    try:
        foreign = VersionFiles(Path(settings.lists.state_dir), name).foreign()
    except OSError:
        return state  # who may not look there has nothing to say of it
    if not foreign:
        return state
    return replace(state, fault=FeedFault.STATE_FOREIGN.value, detail=foreign)


@app.command()
def show(name: FeedName, config: ConfigFiles = None, as_json: AsJson = False) -> None:
    """Show one feed: how it is followed, its last versions, and why one was not let in.

    Example: ringfence feeds show kh-scam
    """
    settings = settings_of(config)
    setup = _setup(settings, name)

    async def work(_: ListStore, book: FeedStateStore) -> FeedState:
        return await book.state(name)

    state = _with_state(settings, name, _with_book(settings, work))
    if as_json:
        print_json(feed_json(setup, state))
    else:
        print_feed(setup, state, VersionFiles(Path(settings.lists.state_dir), name), now_s())


@app.command()
def pull(
    name: FeedName,
    reason: WhyText = "",
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a feed once, now, whatever its schedule says, and let it in if the gate does.

    With --reason the audit keeps who asked for it, and why. Exit code 1: it could not be had, or it
    was held or refused.

    Example: ringfence feeds pull kh-scam
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    setup = _setup(settings, name)
    prepare([])

    async def work(register: ListStore, book: FeedStateStore) -> VersionRecord | None:
        if reason:
            await register.note(FEED_PULLED, f"feed {name}", by(actor, reason))
        place = Workplace(
            settings=settings.feeds,
            register=settings.list_store(),
            state_dir=Path(settings.lists.state_dir),
            around=feeds.around_of(settings),
            book=book,
            metrics=FeedMetrics(CollectorRegistry()),
            places=asyncio.Semaphore(1),
        )
        return await Follower(setup, place, quiet=True).pull()

    record = _with_book(settings, work)
    if record is None:
        print_json({"feed": name, "verdict": "same"}) if as_json else say(f"{name}: nothing new")
        return
    _told(setup, record, settings, as_json=as_json)


@app.command("held")
def held_(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One feed.")] = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Show the versions that wait for a person, and why. Exit code 1: there is one.

    Example: ringfence feeds held
    """
    settings = settings_of(config)
    setups, wrong = _setups(settings) if name is None else ({name: _setup(settings, name)}, {})

    async def work(_: ListStore, book: FeedStateStore) -> dict[str, VersionRecord]:
        states = {feed: await book.state(feed) for feed in setups}
        return {feed: state.held for feed, state in states.items() if state.held is not None}

    waiting = _with_book(settings, work)
    if as_json:
        print_json([{"feed": feed, **record_json(record)} for feed, record in waiting.items()])
    elif not waiting:
        say("nothing waits")
    for feed, record in waiting.items() if not as_json else ():
        say(f"{feed}: {in_words(record)}")
        versions = VersionFiles(Path(settings.lists.state_dir), feed)
        say(f"  its file: {versions.place(record.id) / 'file'}")
        say(f"  let it in: ringfence feeds release {feed} --version {record.id} --reason ...")
        say(f"  or not:    ringfence feeds refuse {feed} --version {record.id} --reason ...")
    _all_right(wrong)
    if waiting:
        raise typer.Exit(NOTHING_DONE)


@app.command("diff")
def diff_(
    name: FeedName,
    version: VersionId = None,
    form: Annotated[str, typer.Option("--format", help="text, json or csv.")] = "text",
    output: Output = None,
    config: ConfigFiles = None,
) -> None:
    """Show what the version that waits would change of its list, report by report.

    A report that would change stands as removed and as added. Nothing is stored.

    Example: ringfence feeds diff kh-scam
    """
    settings = settings_of(config)
    setup = _setup(settings, name)
    if form not in {"text", "json", "csv"}:
        fail(f"no format {form}: text, json or csv", USAGE)

    async def work(register: ListStore, book: FeedStateStore) -> VersionDiff:
        held = _waiting(await book.state(name), name, version)
        applier = _applier(register, book, settings, setup)
        if applier.versions.file(held.id) is None:
            fail(f"the file of version {held.id} is not on this machine: pull it again", USAGE)
        return await applier.would_change(held)

    found = _with_book(settings, work)
    write_out(output, (piece.encode() for piece in written(found, form)))  # type: ignore[arg-type]
    note(f"{name}: {len(found.added):,} reports would come or change, {len(found.removed):,} go")


@app.command("release")
def release_(
    name: FeedName,
    reason: WhyText,
    version: VersionId = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Let in the version that waits; enforced at once. The audit keeps who did it, and why.

    It goes live with the rows that held it, but for emergency numbers, your own, and prefixes that
    are too short.

    Example: ringfence feeds release kh-scam --reason "the partner confirms: 4,000 were cleared"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    setup = _setup(settings, name)

    async def work(register: ListStore, book: FeedStateStore) -> VersionRecord:
        applier = _applier(register, book, settings, setup)
        with applier.versions.deciding():
            held = _waiting(await book.state(name), name, version)
            if applier.versions.file(held.id) is None:
                fail(f"the file of version {held.id} is not on this machine: pull it again", USAGE)
            if not held.is_meant_as(setup.feed):
                text = f"the file of {name} has changed since version {held.id} was held"
                fail(f"{text}: `ringfence feeds pull {name}` judges it anew", NOTHING_DONE)
            record = await applier.release(held, who)
            await _put_away(setup, applier.versions, record)
            return record

    _told(setup, _with_book(settings, work), settings, as_json=as_json)


@app.command("refuse")
def refuse_(
    name: FeedName,
    reason: WhyText,
    version: VersionId = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    as_json: AsJson = False,
) -> None:
    """Say no to the version that waits; the same bytes are not asked about again.

    Example: ringfence feeds refuse kh-scam --reason "a test file went out, says the partner"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    setup = _setup(settings, name)

    async def work(register: ListStore, book: FeedStateStore) -> VersionRecord:
        applier = _applier(register, book, settings, setup)
        with applier.versions.deciding():
            held = _waiting(await book.state(name), name, version)
            record = await applier.refuse(held, who)
            await _put_away(setup, applier.versions, record)
            return record

    record = _with_book(settings, work)
    if as_json:
        print_json({"feed": name, **record_json(record)})
    else:
        say(f"{name}: version {record.id} is refused; the last good one stays")


def _applier(
    register: ListStore, states: FeedStateStore, settings: Settings, setup: FeedSetup
) -> Applier:
    return Applier(
        list_store=register,
        states=states,
        versions=VersionFiles(Path(settings.lists.state_dir), setup.feed.name),
        feed=setup.feed,
        around=feeds.around_of(settings),
        now_s=now_s(),
    )


async def _put_away(setup: FeedSetup, versions: VersionFiles, record: VersionRecord) -> None:
    """A drop folder's held file goes where it belongs now; if it is gone, nobody misses it."""
    transport = setup.source.transport()
    if isinstance(transport, FolderTransport):
        place = versions.place(record.id)
        fetched = Fetched(place, record.size, record.sha256, record.remember)
        try:
            await put_away(transport, fetched, record)
        except FeedDown as down:
            note(f"the partner's file could not be moved: {down}")


def _waiting(state: FeedState, name: str, wanted: str | None) -> VersionRecord:
    """The version that waits; it must be the one that was looked at, if that was named."""
    held = state.held
    if held is None:
        newer = ""
        if state.accepted is not None:
            newer = f": version {state.accepted.id} was let in and took the place of any before it"
        fail(f"{name}: nothing waits{newer}", NOTHING_DONE)
    if wanted is not None and held.id != wanted:
        text = (
            f"{name}: version {wanted} does not wait (any more); {held.id} does: {in_words(held)}"
        )
        fail(text, NOTHING_DONE)
    return held


def _told(setup: FeedSetup, record: VersionRecord, settings: Settings, *, as_json: bool) -> None:
    """Print what became of a version, and end with its exit code."""
    name = setup.feed.name
    if as_json:
        print_json({"feed": name, **record_json(record)})
    else:
        say(f"{name}: {in_words(record)}")
        rejects = VersionFiles(Path(settings.lists.state_dir), name).rejects(record.id)
        if record.rejected and rejects.exists():
            for label, count in record.rejected.items():
                say(f"  rejected {count:,}: {label}")
            say(f"  the rejected rows are in {rejects}")
        if record.verdict == GateVerdict.HELD:
            say(f"  see: ringfence feeds held {name}")
    if record.verdict in {GateVerdict.HELD, GateVerdict.REFUSED}:
        raise typer.Exit(NOTHING_DONE)


def _with_book(settings: Settings, work: Callable[[ListStore, FeedStateStore], Awaitable[T]]) -> T:
    async def whole(register: ListStore) -> T:
        async with FeedStateStore.open(settings.list_store()) as book:
            return await work(register, book)

    try:
        return with_list_store(settings, whole)
    except FeedDown as down:
        fail(str(down), NOTHING_DONE)


def _setups(settings: Settings) -> tuple[dict[str, FeedSetup], dict[str, tuple[str, ...]]]:
    """The feeds, and what is wrong with the files of the others."""
    return read_each(Path(settings.feeds.dir), os.environ, house_of(settings))


def _all_right(wrong: Mapping[str, tuple[str, ...]]) -> None:
    """Raises ConfigInvalid with all that is wrong with feed files, once the others were shown."""
    if wrong:
        raise ConfigInvalid(tuple(error for errors in wrong.values() for error in errors))


def _setup(settings: Settings, name: str) -> FeedSetup:
    folder = Path(settings.feeds.dir)
    paths = feed_paths(folder)
    if name not in paths:
        known = ", ".join(paths) or "there is none"
        raise ConfigInvalid((f"{folder}: no feed {name}; known: {known}",))
    return read_feed(paths[name], os.environ, house_of(settings))

"""`ringfence feeds`: follow partners' lists, show them, decide the versions that wait."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from stream.cli.common import own, settings_of, words_of
from stream.cli.feeds.feed_check import check, detect_, setup_of
from stream.cli.feeds.feed_preview import preview
from stream.cli.feeds.feed_push import push, with_states
from stream.cli.feeds.version_output import record_json, told_version
from stream.cli.lazy_group import group
from stream.cli.options import Actor, ConfigFiles, Output, Reason, Strict, ToFile
from stream.cli.output import (
    NOTHING_DONE,
    USAGE,
    Format,
    fail,
    note,
    print_table,
    render,
    say,
    warn_of_rejected,
    write_out,
)
from stream.cli.store_access import by
from stream.config.feed_files import around_of, feed_context, read_each
from stream.config.sections import feed_paths
from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid, FeedDown, FeedFault, SnapshotUnreadable
from stream.core.model.moments import rfc3339
from stream.feeds.apply import Applier
from stream.feeds.feed import Feed, FeedState, VersionRecord, in_words
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.follow.feed_fetcher import put_away
from stream.feeds.follow.feed_follower import Follower
from stream.feeds.follow.subprocess_job import prepare
from stream.feeds.state_store import FeedStateStore
from stream.feeds.store import ListWriter, lists_to_leave
from stream.feeds.transports.folder import FolderTransport
from stream.feeds.transports.transport import Fetched
from stream.feeds.version_files import VersionFiles
from stream.lists.snapshot.list_text import written
from stream.lists.snapshot.merge import VersionDiff
from stream.lists.store.history import FEED_PULLED
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.ops.clock import now_s
from stream.ops.schema import checks
from stream.ops.schema.durations import spelled
from stream.services import feeds

app = group()
app.command("check")(check)
app.command("detect")(detect_)
app.command("push")(push)
app.command("preview")(preview)

FeedName = Annotated[str, typer.Argument(metavar="NAME", help="The feed: its file's name.")]
VersionId = Annotated[str | None, typer.Option("--version", help="Only if this version waits.")]


@app.command()
def run(config: ConfigFiles = None) -> None:
    """Follow every feed in the folder `feeds.dir`. Runs until SIGTERM or Ctrl-C.

    It rebuilds a list after more than `rebuild_changes` of its numbers changed. Changed feed files
    take effect without a restart. Logs to stderr. Exit codes: 0 stopped in order, 1 crashed, 2
    wrong configuration, 3 Redis is not set up as required, or the port is in use.

    Example: ringfence feeds run --config carrier.toml
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    raise typer.Exit(feeds.run(settings, arguments=words_of(config)))


@app.command("list")
def list_(config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """List the feeds: last fetch, numbers on their list, and problems.

    Exit code 1: a version waits for a person or was refused, or a feed cannot be fetched; 2: a
    feed's file is wrong.

    Example: ringfence feeds list
    """
    settings = settings_of(config)
    setups, wrong = _setups(settings)

    async def work(_: ListStore, feed_states: FeedStateStore) -> list[FeedState]:
        return [await feed_states.state(name) for name in setups]

    found = zip(setups, with_states(settings, work), strict=True)
    states = [_with_state(settings, *pair) for pair in found]
    pairs = list(zip(setups.values(), states, strict=True))
    broken = [{"feed": name, "file_wrong": errors} for name, errors in wrong.items()]
    told = [*(_feed_json(*pair) for pair in pairs), *broken]
    render(form, told, lambda: _print_feeds(pairs, wrong, now_s()))
    _all_right(wrong)
    if any(state.held or state.fault or state.refused_last for _, state in pairs):
        raise typer.Exit(NOTHING_DONE)


def _with_state(settings: Settings, name: str, state: FeedState) -> FeedState:
    """Return the state with the faults of its files here, though another user follows the feed."""
    try:
        foreign = VersionFiles(Path(settings.lists.state_dir), name).foreign()
    except OSError:
        return state  # who may not look there has nothing to say of it
    if not foreign:
        return state
    return replace(state, fault=FeedFault.STATE_FOREIGN.value, detail=foreign)


@app.command()
def show(name: FeedName, config: ConfigFiles = None, form: Output = Format.TABLE) -> None:
    """Show one feed: how it is followed, its last versions, and why one was not accepted.

    Example: ringfence feeds show kh-scam
    """
    settings = settings_of(config)
    setup = setup_of(settings, name)

    async def work(_: ListStore, feed_states: FeedStateStore) -> FeedState:
        return await feed_states.state(name)

    state = _with_state(settings, name, with_states(settings, work))
    versions = VersionFiles(Path(settings.lists.state_dir), name)
    told = _feed_json(setup, state)
    render(form, told, lambda: _print_feed(setup, state, versions, now_s()))


@app.command()
def pull(
    name: FeedName,
    reason: Reason = "",
    actor: Actor = None,
    strict: Strict = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Ask for the whole list, not for what is new alone.")
    ] = False,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Fetch a feed once, now, and apply it if the gate accepts it.

    With --reason the audit log records who asked for it and why. Exit codes: 0 nothing is new, or
    it was accepted, with a warning if rows were rejected (1 with --strict); 1 it could not be
    fetched, or was held or refused.

    Example: ringfence feeds pull kh-scam
    """
    settings = settings_of(config)
    own(settings.lists.state_dir)
    setup = setup_of(settings, name)
    if setup.source.is_pushed:
        fail(f"feed {name} is handed in: `ringfence feeds push {name} FILE`", USAGE)
    prepare([])

    async def work(store: ListStore, feed_states: FeedStateStore) -> VersionRecord | None:
        if reason:
            await store.note(FEED_PULLED, f"feed {name}", by(actor, reason))
        place = feeds.workplace_of(settings, feed_states)
        return await Follower(setup, place, quiet=True).pull(whole=whole)

    record = with_states(settings, work)
    if record is None:
        told = {"feed": name, "verdict": "same"}
        render(form, told, lambda: say(f"{name}: nothing new"))
        return
    told_version(setup, record, settings, form)
    if warn_of_rejected(sum(record.rejected.values()), strict=strict):
        raise typer.Exit(NOTHING_DONE)


@app.command("held")
def held_(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A feed. Default: all.")
    ] = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Show the versions that wait for a person, and why. Exit code 1: at least one waits.

    Example: ringfence feeds held
    """
    settings = settings_of(config)
    setups, wrong = _setups(settings) if name is None else ({name: setup_of(settings, name)}, {})

    async def work(_: ListStore, feed_states: FeedStateStore) -> dict[str, VersionRecord]:
        states = {feed: await feed_states.state(feed) for feed in setups}
        return {feed: state.held for feed, state in states.items() if state.held is not None}

    waiting = with_states(settings, work)

    def draw() -> None:
        if not waiting:
            say("nothing waits")
        for feed, record in waiting.items():
            say(f"{feed}: {in_words(record)}")
            versions = VersionFiles(Path(settings.lists.state_dir), feed)
            say(f"  its file: {versions.place(record.id) / 'file'}")
            say(f"  let it in: ringfence feeds release {feed} --version {record.id} --reason ...")
            say(f"  or not:    ringfence feeds refuse {feed} --version {record.id} --reason ...")

    told = [{"feed": feed, **record_json(record)} for feed, record in waiting.items()]
    render(form, told, draw)
    _all_right(wrong)
    if waiting:
        raise typer.Exit(NOTHING_DONE)


@app.command("diff")
def diff_(
    name: FeedName,
    version: VersionId = None,
    form: Annotated[str, typer.Option("--format", help="text, json or csv.")] = "text",
    output: ToFile = None,
    config: ConfigFiles = None,
) -> None:
    """Show how the waiting version would change its list, report by report.

    A report that would change appears as removed and as added. Nothing is stored.

    Example: ringfence feeds diff kh-scam
    """
    settings = settings_of(config)
    setup = setup_of(settings, name)
    if form not in {"text", "json", "csv"}:
        fail(f"no format {form}: text, json or csv", USAGE)

    async def work(store: ListStore, feed_states: FeedStateStore) -> VersionDiff:
        held = _waiting(await feed_states.state(name), name, version)
        applier = _applier(store, feed_states, settings, setup)
        _need_file(applier.versions, held)
        return await applier.would_change(held)

    found = with_states(settings, work)
    write_out(output, (piece.encode() for piece in written(found, form)))  # type: ignore[arg-type]
    note(f"{name}: {len(found.added):,} reports would come or change, {len(found.removed):,} go")


@app.command("release")
def release_(
    name: FeedName,
    reason: Reason,
    version: VersionId = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Accept the waiting version. It is enforced at once; the audit log records who and why.

    The rows that held it go live too, except emergency numbers, your own numbers, and prefixes that
    are too short.

    Example: ringfence feeds release kh-scam --reason "the partner confirms: 4,000 were cleared"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    setup = setup_of(settings, name)

    async def work(store: ListStore, feed_states: FeedStateStore) -> VersionRecord:
        applier = _applier(store, feed_states, settings, setup)
        with applier.versions.deciding():
            held = _waiting(await feed_states.state(name), name, version)
            _need_file(applier.versions, held)
            if not held.is_meant_as(setup.feed):
                text = f"the file of {name} has changed since version {held.id} was held"
                fail(f"{text}: `ringfence feeds pull {name}` assesses it again", NOTHING_DONE)
            record = await applier.release(held, who)
            await _put_away(setup, applier.versions, record)
            return record

    told_version(setup, with_states(settings, work), settings, form)


@app.command("refuse")
def refuse_(
    name: FeedName,
    reason: Reason,
    version: Annotated[
        str | None, typer.Option("--version", help="The version that waits, or the live one.")
    ] = None,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Refuse the waiting version, or with --version the live one. The same bytes do not come again.

    A live version is not renewed any more. Its reports stay: `ringfence lists rollback` takes them
    off. The next version of its owner passes the gate as usual.

    Example: ringfence feeds refuse kh-scam --reason "a test file went out, says the partner"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    setup = setup_of(settings, name)

    async def work(store: ListStore, feed_states: FeedStateStore) -> tuple[VersionRecord, bool]:
        applier = _applier(store, feed_states, settings, setup)
        with applier.versions.deciding():
            state = await feed_states.state(name)
            live, held = state.accepted, state.held
            if live is not None and live.id == version and (held is None or held.id != version):
                return await applier.refuse(live, who), True
            record = await applier.refuse(_waiting(state, name, version), who)
            await _put_away(setup, applier.versions, record)
            return record, False

    record, was_live = with_states(settings, work)
    rest = "its reports stay until its list is rolled back"
    rest = rest if was_live else "the last good one stays"
    text = f"{name}: version {record.id} is refused; {rest}"
    render(form, {"feed": name, **record_json(record)}, lambda: say(text))


async def _put_away(setup: FeedSetup, versions: VersionFiles, record: VersionRecord) -> None:
    """Move a drop folder's held file where it belongs now; one that is gone is no fault."""
    transport = setup.source.transport()
    if isinstance(transport, FolderTransport):
        place = versions.place(record.id)
        fetched = Fetched(place, record.size, record.sha256, record.remember)
        try:
            await put_away(transport, fetched, record)
        except FeedDown as down:
            note(f"the partner's file could not be moved: {down}")


def _waiting(state: FeedState, name: str, wanted: str | None) -> VersionRecord:
    """Return the version that waits. Ends with 1 if it is not `wanted`, where one is named."""
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


def _applier(
    store: ListStore, states: FeedStateStore, settings: Settings, setup: FeedSetup
) -> Applier:
    return Applier(
        list_store=store,
        states=states,
        versions=VersionFiles(Path(settings.lists.state_dir), setup.feed.name),
        feed=setup.feed,
        around=around_of(settings),
        now_s=now_s(),
    )


def _need_file(versions: VersionFiles, held: VersionRecord) -> None:
    """End with 2 if the file of `held` is not on this machine, or damaged."""
    if versions.file(held) is None:
        text = f"the file of version {held.id} is not on this machine, or damaged"
        fail(f"{text}: pull it again", USAGE)


def _setups(settings: Settings) -> tuple[dict[str, FeedSetup], dict[str, tuple[str, ...]]]:
    """Return the feeds, and the errors in the files of the others."""
    return read_each(Path(settings.feeds.dir), os.environ, feed_context(settings))


def _all_right(wrong: Mapping[str, tuple[str, ...]]) -> None:
    """Raise ConfigInvalid with all errors of feed files, once the other feeds were shown."""
    if wrong:
        raise ConfigInvalid(tuple(error for errors in wrong.values() for error in errors))


@app.command()
def forget(
    name: FeedName,
    reason: Reason,
    actor: Actor = None,
    config: ConfigFiles = None,
    form: Output = Format.TABLE,
) -> None:
    """Remove all reports and versions of a feed that has no file.

    When the file of a feed is removed, its reports stay until they expire. `ringfence doctor` names
    such feeds. Reports of others stay.

    Example: ringfence feeds forget kh-scam --reason "the partner has a new address"
    """
    settings, who = settings_of(config), by(actor, reason)
    own(settings.lists.state_dir)
    if (wrong := checks.feed_name(name)) is not None:
        fail(f"a feed {wrong}", USAGE)
    if name in feed_paths(Path(settings.feeds.dir)):
        fail(f"feed {name} has its file in {settings.feeds.dir}: remove that first", USAGE)

    async def work(store: ListStore, feed_states: FeedStateStore) -> dict[str, int]:
        known = name in await feed_states.names()
        feed = Feed(name=name, list_name="", owner="", contact="", format="text")
        keys = settings.circle_keys()
        last, gone = (await feed_states.state(name)).accepted, {}
        writer = ListWriter(store, feed, who, now_s())
        for one in await _lists_of(store, feed, last, keys):
            if count := await writer.leave(one, keys):
                gone[one] = count
        if not known and not gone:
            fail(f"nothing is known of a feed {name}", USAGE)
        said = ", ".join(f"{count} off {one}" for one, count in gone.items()) or "nothing"
        await feed_states.forget(name, next(iter(gone), ""), who, f"feed {name}: {said}")
        return gone

    gone = with_states(settings, work)
    # Its versions on this machine hold numbers that nobody needs any more.
    shutil.rmtree(Path(settings.lists.state_dir) / "feeds" / name, ignore_errors=True)

    def draw() -> None:
        for one, count in gone.items():
            say(f"{one}: {count:,} reports of {name} taken off")
        say(f"{name} is forgotten" if gone else f"{name} is forgotten; it had nothing on any list")

    render(form, {"feed": name, "removed": gone}, draw)


async def _lists_of(
    store: ListStore, feed: Feed, last: VersionRecord | None, keys: Mapping[str, bytes]
) -> Sequence[str]:
    """Return the lists with reports of the feed; all are read where its last record has none."""
    if last is not None and last.list_name:
        return lists_to_leave(last, "")
    found = []
    for name, head in sorted((await store.heads()).lists.items()):
        try:
            _, columns = await entries_of(store, name, keys.get(head.circle, b""))
        except SnapshotUnreadable:
            continue  # a bare filter, of which nobody can say whose it is; or no key is here
        if any(feed.owns(source) for source in columns.sources):
            found.append(name)
    return found


def _feed_json(setup: FeedSetup, state: FeedState) -> dict[str, Any]:
    """Return a feed as plain values."""
    feed = setup.feed
    versions = {"accepted": state.accepted, "held": state.held, "refused": state.refused}
    return {
        "feed": feed.name,
        "list": feed.list_name,
        "owner": feed.owner,
        "contact": feed.contact,
        "from": setup.source.kind,
        "format": feed.format,
        "every_s": setup.every_s,
        "confirmed_at": rfc3339(state.confirmed_at_s),
        "tried_at": rfc3339(state.tried_at_s),
        "fault": state.fault or None,
        "detail": state.detail or None,
        "failures": state.failures,
        "numbers": state.accepted.numbers if state.accepted is not None else 0,
        **{name: record and record_json(record) for name, record in versions.items()},
    }


def _print_feeds(
    feeds: Sequence[tuple[FeedSetup, FeedState]], wrong: Iterable[str], at_s: int
) -> None:
    """Print all feeds, those whose file is `wrong` at the end."""
    rows: list[tuple[str, ...]] = []
    for setup, state in feeds:
        feed, accepted = setup.feed, state.accepted
        rows.append(
            (
                *(feed.name, feed.list_name, setup.source.kind, feed.format),
                f"{accepted.numbers:,}" if accepted is not None else "-",
                _ago(state.confirmed_at_s, at_s),
                _ago(accepted.at_s if accepted is not None else 0, at_s),
                _status(state),
            )
        )
    rows += [(name, *["-"] * 6, "its file is wrong, see below") for name in wrong]
    names = ("feed", "list", "from", "format", "numbers", "last heard", "last good", "")
    print_table(names, rows)
    for setup, state in feeds:
        if state.fault == FeedFault.STATE_FOREIGN:
            say(f"{setup.feed.name}: {state.detail}")


def _status(state: FeedState) -> str:
    """Return a feed's status in a few words."""
    said = []
    if state.fault:
        times = f" ({state.failures} times)" if state.failures > 1 else ""
        said.append(f"down: {state.fault}{times}")
    if state.held is not None:
        said.append(f"held: {state.held.reason}")
    if state.refused_last is not None:
        said.append(f"refused: {state.refused_last.reason}")
    if not said and state.accepted is None:
        said.append("no version yet")
    return ", ".join(said) or "ok"


def _print_feed(setup: FeedSetup, state: FeedState, versions: VersionFiles, at_s: int) -> None:
    """Print one feed, and its versions."""
    feed = setup.feed
    say(f"{feed.name}: fills {feed.list_name}; owner {feed.owner}, {feed.contact}")
    every = f"every {spelled(setup.every_s)}, up to {spelled(setup.jitter_s)} later"
    if setup.source.is_pushed:
        every = "handed in by its owner"
    say(f"  from {setup.source.kind}, {feed.format}, {every}; {setup.path}")
    heard = f"last heard {_ago(state.confirmed_at_s, at_s)}"
    say(f"  {_status(state)}; {heard}, last tried {_ago(state.tried_at_s, at_s)}")
    if state.fault:
        say(f"  {state.fault}: {state.detail}")
    for what, record in (
        ("last good", state.accepted),
        ("waits", state.held),
        ("last refused", state.refused),
    ):
        if record is not None:
            _print_record(what, record, versions, at_s)


def _print_record(what: str, record: VersionRecord, versions: VersionFiles, at_s: int) -> None:
    say(f"{what}: {in_words(record)}")
    size = f"{record.size:,} bytes" + (f" of {record.origin}" if record.origin else "")
    say(f"  fetched {_ago(record.at_s, at_s)} ({rfc3339(record.at_s)}), {size}")
    rows = [f"{record.good:,} good rows"]
    rows += [f"{count:,} {label}" for label, count in record.rejected.items()]
    rows += [f"{record.passed_over:,} passed over"] if record.passed_over else []
    rows += [f"{count:,} left out: {label}" for label, count in record.dropped.items()]
    rows += [f"{count:,} {label} adjusted" for label, count in record.adjusted.items()]
    rows += [f"{count:,} cleaned: {label}" for label, count in record.cleaned.items()]
    say(f"  {', '.join(rows)}")
    if record.by:
        say(f"  decided by {record.by}: {record.why}")
    if versions.place(record.id).exists():
        say(f"  {versions.place(record.id)}")


def _ago(then_s: int, at_s: int) -> str:
    return f"{spelled(max(0, at_s - then_s))} ago" if then_s else "never"

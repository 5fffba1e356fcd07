"""How `ringfence feeds` shows feeds and their versions."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.table import Column, Table

from stream.cli.list_store import say
from stream.cli.output import out
from stream.core.model.errors import FeedFault
from stream.core.model.moments import rfc3339
from stream.feeds.feed import FeedState, VersionRecord
from stream.feeds.feed_follower import in_words
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.version_files import VersionFiles
from stream.ops.schema.durations import spelled


def record_json(record: VersionRecord) -> dict[str, Any]:
    """A version for programs; what a transport remembers is its own affair."""
    found: dict[str, Any] = msgspec.to_builtins(record)
    found.pop("remember", None)
    for name in ("at_s", "decided_at_s", "as_of_s", "renewed_at_s"):
        if name in found:
            found[name.removesuffix("_s")] = rfc3339(found.pop(name) or 0)
    return found


def feed_json(setup: FeedSetup, state: FeedState) -> dict[str, Any]:
    """A feed for programs."""
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


def print_feeds(
    feeds: Sequence[tuple[FeedSetup, FeedState]], wrong: Iterable[str], now_s: int
) -> None:
    """All feeds as a table, those whose file is `wrong` at its end."""
    names = ("feed", "list", "from", "format", "numbers", "last heard", "last good", "")
    table = Table(*(Column(name, overflow="fold") for name in names), box=None, header_style="bold")
    for setup, state in feeds:
        feed, accepted = setup.feed, state.accepted
        table.add_row(
            feed.name,
            feed.list_name,
            setup.source.kind,
            feed.format,
            f"{accepted.numbers:,}" if accepted is not None else "-",
            _ago(state.confirmed_at_s, now_s),
            _ago(accepted.at_s if accepted is not None else 0, now_s),
            standing(state),
        )
    for name in wrong:
        table.add_row(name, *["-"] * 6, "its file is wrong, see below")
    out.print(table)
    for setup, state in feeds:
        if state.fault == FeedFault.STATE_FOREIGN:
            say(f"{setup.feed.name}: {state.detail}")


def standing(state: FeedState) -> str:
    """How a feed is doing, in a few words."""
    said = []
    if state.fault:
        times = f" ({state.failures} times)" if state.failures > 1 else ""
        said.append(f"down: {state.fault}{times}")
    if state.held is not None:
        said.append(f"held: {state.held.reason}")
    if not said and state.accepted is None:
        refused = state.refused
        said.append("not fetched yet" if refused is None else f"refused: {refused.reason}")
    return ", ".join(said) or "ok"


def print_feed(setup: FeedSetup, state: FeedState, versions: VersionFiles, now_s: int) -> None:
    """One feed, and its versions."""
    feed = setup.feed
    say(f"{feed.name}: fills {feed.list_name}; owner {feed.owner}, {feed.contact}")
    every = f"every {spelled(setup.every_s)}, up to {spelled(setup.jitter_s)} later"
    say(f"  from {setup.source.kind}, {feed.format}, {every}; {setup.path}")
    heard = f"last heard {_ago(state.confirmed_at_s, now_s)}"
    say(f"  {standing(state)}; {heard}, last tried {_ago(state.tried_at_s, now_s)}")
    if state.fault:
        say(f"  {state.fault}: {state.detail}")
    for what, record in (
        ("last good", state.accepted),
        ("waits", state.held),
        ("last refused", state.refused),
    ):
        if record is not None:
            _print_record(what, record, versions, now_s)


def _print_record(what: str, record: VersionRecord, versions: VersionFiles, now_s: int) -> None:
    say(f"{what}: {in_words(record)}")
    size = f"{record.size:,} bytes" + (f" of {record.origin}" if record.origin else "")
    say(f"  fetched {_ago(record.at_s, now_s)} ({rfc3339(record.at_s)}), {size}")
    rows = [f"{record.good:,} good rows"]
    rows += [f"{count:,} {label}" for label, count in record.rejected.items()]
    rows += [f"{record.passed_over:,} passed over"] if record.passed_over else []
    rows += [f"{count:,} left out: {label}" for label, count in record.dropped.items()]
    rows += [f"{count:,} {label} adjusted" for label, count in record.adjusted.items()]
    say(f"  {', '.join(rows)}")
    if record.by:
        say(f"  decided by {record.by}: {record.why}")
    if versions.place(record.id).exists():
        say(f"  {versions.place(record.id)}")


def _ago(at_s: int, now_s: int) -> str:
    return f"{spelled(max(0, now_s - at_s))} ago" if at_s else "never"

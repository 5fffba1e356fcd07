"""`ringfence replay`: recorded calls against a candidate, as a dry run.

Exit codes: 0 done, also if nothing would change; 1 the requested data is not kept any more; 2 wrong
usage or configuration, or an unreadable file; 3 Kafka or the list store is down.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.text import Text

from stream.cli.common import (
    key_of,
    moment_in,
    say_waiting,
    seconds_in,
    settings_of,
    since_ms,
    until_ms,
)
from stream.cli.feeds.feed_check import recognised_feed, setup_of
from stream.cli.feeds.feed_preview import ReadAsJson, read_as
from stream.cli.options import Actor, ConfigFiles, Reason, UntilTime
from stream.cli.output import STDOUT, USAGE, fail, note, print_table, say, write_out
from stream.cli.progress_bars import progress
from stream.cli.store_access import ROWS_FOR_KERNELS, behind_calls, by, with_list_store
from stream.config.agreement_files import agreements_of, read_agreement
from stream.config.settings import EngineSettings, Settings
from stream.core.filters.blocklists import LiveList
from stream.core.model.errors import FilterUnreadable, SnapshotUnreadable
from stream.core.model.on_trial import Target
from stream.engine.decider import decoder_for
from stream.engine.live_lists import lists_now
from stream.feeds.feed import ReadAs
from stream.insight.replay.candidates import ReplayWorld, content_of, file_read, key_for, live_list
from stream.insight.replay.recording import (
    ReplaySpan,
    Sides,
    look_for_calls_back,
    recording,
    replay,
)
from stream.insight.replay.replay_json import ReplayRun, told
from stream.insight.replay.replay_page import TITLES, page, sentences
from stream.insight.replay.totals import Sums
from stream.insight.report.words import many
from stream.kafka.topic_reader import Progress
from stream.lists.store.list_content import content, past_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import Stage
from stream.ops.clock import monotonic_s, now_s
from stream.ops.schema import checks

SHOWN: Final = 10
"""Rows of each table on the terminal; the page and JSON have more."""
LONG_CALL: Final = "2m"
PROMOTE: Final = "promote:"
_FIRST_AGREEMENT: Final = (
    "Production has no agreements: with one, lists of other countries that none covers are only "
    "observed."
)
_OTHER_FORMS: Final = (
    "The candidate has other topics, dialects, mappings or sizes of records. Both sides read the "
    "records with production's."
)
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="A topic of calls. Default: all of them.")
]
Candidates = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LIST@GENERATION|FILE|promote:THING",
        help="A generation of a list; a file of numbers (with --as) or an agreement "
        "(.toml); or promote:list:KH/scam for a trial in force.",
    ),
]
AsList = Annotated[
    str | None, typer.Option("--as", metavar="LIST", help="The list of a file of numbers.")
]
Trials = Annotated[bool, typer.Option("--enforce-trials", help="Put all trials in force.")]
PolicyFile = Annotated[Path | None, typer.Option(help="A settings file over --config.")]
At = Annotated[
    str | None, typer.Option(metavar="TIME", help="Decide as of this time. Default: now.")
]
CallsBack = Annotated[bool, typer.Option(help="Find numbers that were called back.")]
LongCall = Annotated[str, typer.Option(help="A call this long speaks for its caller.")]
Rate = Annotated[int, typer.Option(min=0, help="Most records a second. 0: no limit.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of the candidate, as they were typed."""

    candidates: Sequence[str]
    as_list: str | None
    feed: str | None
    policy: Path | None
    enforce_trials: bool
    read_as: ReadAs | None = None


def replay_command(
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="The start: 2026-11-24, or 1d.")
    ],
    until: UntilTime = "now",
    topic: Topics = None,
    candidate: Candidates = None,
    as_list: AsList = None,
    feed: Annotated[str | None, typer.Option(help="Read the file as this feed does.")] = None,
    reading: ReadAsJson = "",
    policy: PolicyFile = None,
    enforce_trials: Trials = False,
    at: At = None,
    long_call: LongCall = LONG_CALL,
    calls_back: CallsBack = True,
    rate: Rate = 0,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file for the HTML page.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="A file for JSON. `-`: stdout.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Whole numbers. Needs --reason.")] = False,
    reason: Reason = "",
    actor: Actor = None,
    config: ConfigFiles = None,
) -> None:
    """Decide recorded calls twice, as production does now and with a candidate, and compare.

    The candidate is production with the lists, policy or agreements of --candidate and --policy in
    place of its own. Without either it equals production, and nothing differs. Nothing is
    published, and no position of a group moves. Numbers are masked. With --full they are whole, and
    the audit log records who asked and why.

    Example: ringfence replay --from 1d --candidate KH/scam@412 --out replay.html
    """
    if output is not None and output == json_file:
        fail(f"{output}: the page and the JSON cannot both go there", USAGE)
    settings = settings_of(config)
    wanted = Wanted(candidate or (), as_list, feed, policy, enforce_trials, read_as(reading))
    asked = _asked(settings, topic, since, until, rate)
    at_s = now_s() if at is None else moment_in(at) // 1000
    if full:
        if not reason.strip():
            fail("--full shows whole numbers: --reason says why, and the audit keeps it", USAGE)
        _audit(settings, wanted, asked, actor, reason)
    behind_calls(settings, ROWS_FOR_KERNELS)
    sums = Sums(settings.trunks_by_name(), seconds_in(long_call))
    with tempfile.TemporaryDirectory(prefix="ringfence-replay-") as folder:
        notes: list[str] = []
        production = asyncio.run(_production(settings, notes))
        proposed, labels = _proposed(production, wanted, config, Path(folder), notes)
        sides = _sides(production, proposed, at_s)
        seconds, seconds_back = asyncio.run(
            _run(settings, asked, sides, sums, calls_back=calls_back)
        )
    made = ReplayRun(
        topics=tuple(asked.topics),
        from_s=asked.from_ms // 1000,
        until_s=asked.until_ms // 1000,
        at_s=at_s,
        made_at_s=now_s(),
        candidates=tuple(labels),
        lists=len(production.blocklists.lists),
        seconds=seconds,
        seconds_back=seconds_back,
        notes=tuple(notes),
    )
    _write(told(made, sums, full=full), output, json_file)


def _write(report: Mapping[str, Any], output: Path | None, json_file: Path | None) -> None:
    if json_file != STDOUT:
        print_report(report)
    if output is not None:
        write_out(output, [page(report).encode()])
        note(f"wrote {output}")
    if json_file is not None:
        whole = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
        write_out(json_file, [whole])


def _asked(
    settings: Settings, topic: list[str] | None, since: str, until: str, rate: int
) -> ReplaySpan:
    from_ms, end_ms = since_ms(since), until_ms(until)
    if not from_ms < end_ms:
        fail(f"--from {since} is not before --to {until}", USAGE)
    return ReplaySpan(
        topics=_topics(settings, topic),
        from_ms=from_ms,
        until_ms=end_ms,
        records_max=settings.calls.batch_records_max,
        rate_max=rate,
    )


def _topics(settings: Settings, named: list[str] | None) -> tuple[str, ...]:
    known = tuple(settings.calls.topics)
    unknown = [one for one in named or () if one not in known]
    if unknown:
        fail(
            f"{', '.join(unknown)}: no topic of calls; [calls.topics] has {', '.join(known)}", USAGE
        )
    return tuple(dict.fromkeys(named or known))


def _audit(
    settings: Settings, wanted: Wanted, asked: ReplaySpan, actor: str | None, reason: str
) -> None:
    what = ", ".join(wanted.candidates) or "production"

    async def work(store: ListStore) -> None:
        detail = f"whole numbers of calls in {', '.join(asked.topics)} against {what}"
        await store.note("replay", detail, by(actor, reason))

    with_list_store(settings, work)


async def _production(settings: Settings, notes: list[str]) -> ReplayWorld:
    blocklists, store_state = await lists_now(settings)
    if store_state != "in agreement":
        notes.append(f"List store: {store_state}.")
    notes += [
        f"{blocklists.lists[index].name} has no data here and was not asked."
        for index in blocklists.unusable
    ]
    return ReplayWorld(settings, blocklists, agreements_of(settings))


def _proposed(
    world: ReplayWorld, wanted: Wanted, config: list[Path] | None, folder: Path, notes: list[str]
) -> tuple[ReplayWorld, list[str]]:
    """The candidate, and what it is called."""
    labels = []
    if wanted.policy is not None:
        settings = settings_of([*(config or ()), wanted.policy])
        if _forms(settings) != _forms(world.settings):
            notes.append(_OTHER_FORMS)
        world = ReplayWorld(settings, world.blocklists, world.agreements)
        labels.append(f"policy of {wanted.policy.name}")
    for text in wanted.candidates:
        if text.startswith(PROMOTE):
            world = _promoted(world, text)
            labels.append(text)
            continue
        path = Path(text)
        if path.suffix == ".toml" and path.is_file():
            agreement = read_agreement(path)
            if not world.agreements:
                notes.append(_FIRST_AGREEMENT)
            world = world.with_agreement(agreement)
            labels.append(f"agreement {agreement.id} of {path.name}")
            continue
        live, label = _list(world, wanted, text, folder, notes)
        world = world.with_list(live, folder)
        labels.append(label)
    if wanted.enforce_trials:
        world = world.without_trials()
        labels.append("all trials in force")
    return world, labels or ["production itself"]


def _sides(production: ReplayWorld, proposed: ReplayWorld, at_s: int) -> Sides:
    """Return both sides; the candidate has a decoder of its own if it reads calls otherwise."""
    reads = proposed.as_read_by(production.settings)
    candidate = proposed.side(at_s)
    after = None
    if reads != production.settings:
        after = decoder_for(reads, attestation=candidate.asks_attestation)
    return Sides(production.side(at_s), candidate, at_s, after)


def _forms(settings: EngineSettings) -> tuple[object, ...]:
    """Return the settings that say which records are calls, and in which form."""
    calls = settings.calls
    return calls.topics, calls.record_bytes_max, settings.mappings, settings.switches


def _promoted(world: ReplayWorld, text: str) -> ReplayWorld:
    target = Target.read(text.removeprefix(PROMOTE))
    made = world if target is None else world.without_trials((target,))
    if made.blocklists.trials == world.blocklists.trials:
        fail(
            f"{text}: nothing of that name is on trial; `ringfence simulate list` has what is",
            USAGE,
        )
    return made


def _list(
    world: ReplayWorld, wanted: Wanted, text: str, folder: Path, notes: list[str]
) -> tuple[LiveList, str]:
    """The list that `text` names, as a generation of one that is there or as a file."""
    if Path(text).exists():
        return _file(world, wanted, Path(text), folder, notes)
    name, at_sign, generation = text.rpartition("@")
    if not at_sign or not generation.isdecimal() or checks.list_name(name) is not None:
        fail(f"{text!r} is no file that is here, and no generation of a list (KH/scam@412)", USAGE)

    async def work(store: ListStore) -> LiveList:
        past = await past_of(store, name)
        key = key_of(world.settings, past.head.circle)
        columns = await content(store, past, int(generation), key)
        head = past.head
        return await asyncio.to_thread(
            live_list, name, head.circle, key, columns, int(generation), now_s(), head.scope
        )

    return with_list_store(world.settings, work), text


def _file(
    world: ReplayWorld, wanted: Wanted, path: Path, folder: Path, notes: list[str]
) -> tuple[LiveList, str]:
    settings = world.settings
    if wanted.feed is not None:
        feed = setup_of(settings, wanted.feed).feed
        feed = feed if wanted.read_as is None else wanted.read_as.over(feed)
    else:
        feed = recognised_feed(settings, path)
    name = wanted.as_list or feed.list_name
    if not name:
        fail(f"{path}: --as LIST says which list it is to be, e.g. --as KH/scam", USAGE)
    if (wrong := checks.list_name(name)) is not None:
        fail(f"--as {name!r} {wrong}", USAGE)
    circle, key = key_for(settings, world.blocklists, name)
    emergency = {land: frozenset(texts) for land, texts in settings.policy.emergency.items()}
    before = next((live for live in world.blocklists.lists if live.name == name), None)
    held = before.generation if before is not None else 0
    now = before.scope if before is not None else None
    scope = feed.scope if wanted.feed is not None else now
    try:
        read = file_read(feed, path, folder / "rejects.csv", key, emergency, now_s())
        live = live_list(name, circle, key, content_of(read), held + 1, now_s(), scope)
    except (SnapshotUnreadable, FilterUnreadable) as fault:
        fail(str(fault), USAGE)
    out_of = read.rejected.total() + read.dropped.total()
    if out_of:
        was = "was" if out_of == 1 else "were"
        notes.append(
            f"{many(out_of, 'row')} of {path.name} cannot go onto a list and {was} left out: "
            f"`ringfence feeds check {path.name}` says why."
        )
    new = "" if held else " (a new list)"
    return live, f"{path.name} as {name}{new}"


async def _run(
    settings: Settings, asked: ReplaySpan, sides: Sides, sums: Sums, *, calls_back: bool
) -> tuple[float, float | None]:
    """Both passes; how long they took, in seconds (None: there was no second one)."""
    source = settings.calls.source("")
    with progress() as stage:
        async with recording(settings.kafka_client(), source, asked, say_waiting) as recorded:
            begun_s = monotonic_s()
            decode = decoder_for(settings, attestation=sides.candidate.asks_attestation)
            await replay(recorded, decode, sides, sums, _told(stage, "deciding"))
            seconds = monotonic_s() - begun_s
            seconds_back = None
            if calls_back:
                begun_s = monotonic_s()
                decode = decoder_for(settings, callees=True)
                await look_for_calls_back(recorded, decode, sums, _told(stage, "calls back"))
                seconds_back = monotonic_s() - begun_s
    return seconds, seconds_back


def _told(stage: Stage, name: str) -> Progress:
    return lambda done, whole: stage(name, done, whole)


def print_report(report: Mapping[str, Any]) -> None:
    """Print the sentences, the verdicts, and for each change what, where and who."""
    say(f"Calls from {report['from']} to {report['to']} against {', '.join(report['candidates'])}")
    for sentence in (*sentences(report), *report["notes"]):
        say(f"  {sentence}")
    _verdicts(report["verdicts"])
    for name, title in TITLES.items():
        change = report["changes"][name]
        if change["calls"]:
            counts = f"{many(change['calls'], 'call')} of {many(change['numbers'], 'number')}"
            say(Text(f"\n{title}", "bold").append(f": {counts}", "not bold"))
            for key in ("rule", "country", "trunk"):
                _most(change[f"by_{key}"], key)
            _callers(change["top_callers"])
    _estimate(report["false_positives"])
    speed = f", {report['records_per_s']:,} a second" if report["records_per_s"] else ""
    note(
        f"{report['records']:,} records ({report['rejected']:,} no calls) in "
        f"{report['seconds']:.1f} s{speed}"
    )


def _verdicts(verdicts: Mapping[str, Mapping[str, int]]) -> None:
    names = ("calls", "production", "candidate", "difference")
    before, after = verdicts["production"], verdicts["candidate"]
    rows = []
    for key, label in (
        ("block", "blocked"),
        ("flag", "flagged"),
        ("allow", "allowed"),
        ("on_trial", "on trial only"),
    ):
        moved = after[key] - before[key]
        rows.append((label, f"{before[key]:,}", f"{after[key]:,}", f"{moved:+,}" if moved else ""))
    print_table(names, rows, right=names[1:])


def _most(rows: list[dict[str, Any]], key: str) -> None:
    shown = [f"{row[key]} {row['calls']:,}" for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        shown.append(f"others {sum(row['calls'] for row in rows[SHOWN:]):,}")
    say(f"  by {key}: {', '.join(shown)}")


def _callers(callers: list[dict[str, Any]]) -> None:
    rows = []
    for caller in callers[:SHOWN]:
        signs = ["long call"] * caller["long_answered"] + ["called back"] * caller["called_back"]
        who, where = caller["number"] or "withheld", caller["country"] or ""
        rows.append((who, where, f"{caller['calls']:,}", caller["rule"], ", ".join(signs)))
    print_table(("number", "country", "calls", "by", "signs of a mistake"), rows, right={"calls"})


def _estimate(guess: Mapping[str, Any]) -> None:
    if not guess["newly_blocked_numbers"] and not guess["allow_listed"]:
        return

    def count(name: str) -> str:
        return "not measured" if guess[name] is None else f"{guess[name]:,}"

    head = Text("\nPerhaps blocked wrongly", "bold")
    say(head.append(", of the newly blocked numbers", "not bold"))
    say(f"  {count('estimated')} of {guess['newly_blocked_numbers']:,} show a sign of it:")
    say(f"  {count('long_answered')} with an answered call of {guess['long_answered_from_s']:g} s")
    say(f"  {count('called_back')} called back by somebody whom they had called")
    say(f"  besides, {count('allow_listed')} on the allowlist, which stay allowed")
    if guess["pairs_not_remembered"]:
        say(f"  {guess['pairs_not_remembered']:,} calls were too many to look for calls back")

"""`ringfence top`: rates, latency, lag and lists of our processes, in a terminal from 80x24 on."""

import asyncio
import contextlib
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Group
from rich.live import Live
from rich.text import Text

from stream import __version__
from stream.cli.calls.decisions_command import COLOURS
from stream.cli.common import quiet_clients, settings_of
from stream.cli.options import ConfigFiles, Output
from stream.cli.output import Format, out, render, say
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.kafka.call_events import CallEvent
from stream.kafka.decision_history import decision_in, last, without_numbers
from stream.kafka.topic_reader import follow, reader
from stream.ops.monitor.collect import Monitor, TrailPoint
from stream.ops.monitor.dashboard import ListOverview, Overview, ProcessState, ProcessStatus
from stream.ops.monitor.targets import STARTED_BY, ProcessKind
from stream.ops.schema.durations import spelled
from stream.ops.tasks import cancelled

DECISIONS_SHOWN = 50
ONCE_WAIT_S = 5.0
"""Time that a single picture waits for Kafka's last decisions."""
_ASK_AGAIN_S = 10.0
SPARKS = "▁▂▃▄▅▆▇█"
DIM, BOLD, BAD, GOOD = "bright_black", "bold", "bold red", "green"
UNKNOWN = "-"
_WHOLE_ROWS = 1000
"""Of a picture that is printed once: no list is left out for want of rows."""
_ONCE_DECISIONS = 10


class Sort(StrEnum):
    """Columns that the lists are sorted by."""

    BLOCKS = "blocks/s"
    AGE = "age"
    ENTRIES = "entries"
    NAME = "name"

    def next(self) -> "Sort":
        """The one that comes after it."""
        every: list[Sort] = [*Sort]
        return every[(every.index(self) + 1) % len(every)]

    def sorted(self, lists: Sequence[ListOverview]) -> list[ListOverview]:
        """The lists in this order; what is not known last."""
        return sorted(lists, key=lambda one: (-self._of(one), one.name))

    def _of(self, one: ListOverview) -> float:
        match self:
            case Sort.BLOCKS:
                return one.blocks_per_s or 0.0
            case Sort.AGE:
                return -1.0 if one.age_s is None else one.age_s
            case Sort.ENTRIES:
                return one.entries or 0
            case Sort.NAME:
                return 0.0


@dataclass(slots=True)
class View:
    """The figures that are shown, and how. `decisions` are masked, oldest first."""

    picture: Overview
    trail: Sequence[TrailPoint] = ()
    decisions: Sequence[Mapping[str, Any]] = ()
    decisions_why: str = ""
    sort: Sort = Sort.BLOCKS
    paused: bool = False
    version: str = ""
    notes: list[str] = field(default_factory=list)


def top(
    config: ConfigFiles = None,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=60, help="Seconds between two updates.")
    ] = 1.0,
    form: Output = Format.TABLE,
) -> None:
    """Show what our processes do: rates, latency, lag, lists, missing processes, decisions.

    Reads the metrics of the configured processes and of those in `[ops] watch`. Needs no
    Prometheus. Keys: q quit, p pause, s sort the lists by another column. If the output is not a
    terminal it prints one picture, as with --once. -o json has all figures. Exit codes: 0; with
    --once or --json, 1 if no engine answers.

    Example: ringfence top --config carrier.toml
    """
    quiet_clients()
    settings = settings_of(config)
    watch = Monitor(settings.watched())
    if form is not Format.TABLE:
        seen = asyncio.run(watch.look_twice(every_s))
        render(form, seen, lambda: None)
    elif once or not (out.is_terminal and sys.stdin.isatty()):
        seen = asyncio.run(_once(settings, watch, every_s))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_live(settings, watch, every_s))
        return
    raise typer.Exit(0 if seen.engine_answers else 1)


async def _once(settings: Settings, watch: Monitor, every_s: float) -> Overview:
    """One picture, printed."""
    newest = _Newest()
    task = asyncio.create_task(newest.follow(settings))
    seen = await watch.look_twice(every_s)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(newest.begun.wait(), ONCE_WAIT_S)
    await cancelled(task)
    view = View(seen, [*watch.trail], [*newest.held], newest.why, version=__version__)
    for line in lines_of(view, out.width, None):
        say(line)
    return seen


class _Newest:
    """The last decisions, masked, kept up to date; an absent Kafka becomes a text in `why`."""

    def __init__(self) -> None:
        self.held: deque[dict[str, Any]] = deque(maxlen=DECISIONS_SHOWN)
        self.why = "waiting for Kafka"
        self.begun = asyncio.Event()

    async def follow(self, settings: Settings) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._follow(settings)
            except (Fault, KafkaError) as error:
                self._say(f"cannot be read: {error}")
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _follow(self, settings: Settings) -> None:
        def waiting(event: CallEvent) -> None:
            if event is CallEvent.KAFKA_AWAITED:
                where = settings.kafka.bootstrap_servers
                self._say(f"Kafka at {where} does not answer: [kafka] bootstrap_servers")

        kafka, topic = settings.kafka_client(), settings.calls.decisions_topic
        async with reader(kafka, [topic], waiting) as consumer:
            found = await last(consumer, DECISIONS_SHOWN, 0, lambda _: True)
            self.held.extend(without_numbers(one.decision) for one in found)
            self._say("")
            async with contextlib.aclosing(follow(consumer)) as read:
                async for records in read:
                    new = [decision_in(record.value) for record in records[-DECISIONS_SHOWN:]]
                    self.held.extend(without_numbers(one) for one in new if one is not None)

    def _say(self, why: str) -> None:
        self.why = why
        self.begun.set()


async def _live(settings: Settings, watch: Monitor, every_s: float) -> None:
    """The picture until `q`."""
    newest, keys = _Newest(), asyncio.Queue[str]()
    view = View(await watch.look(), version=__version__)
    following = asyncio.create_task(newest.follow(settings))
    looking = asyncio.create_task(_look(watch, view, every_s, keys))
    try:
        with _keys(keys), Live(screen=True, console=out, auto_refresh=False) as live:
            while True:
                if not view.paused:
                    view.trail, view.decisions = [*watch.trail], [*newest.held]
                    view.decisions_why = newest.why
                live.update(Group(*lines_of(view, out.width, out.height)), refresh=True)
                key = await keys.get()
                if key == "q":
                    return
                if key == "p":
                    view.paused = not view.paused
                elif key == "s":
                    view.sort = view.sort.next()
    finally:
        await cancelled(following, looking)


async def _look(watch: Monitor, view: View, every_s: float, keys: "asyncio.Queue[str]") -> None:
    """Look again and again; each look ends the wait for keys."""
    while True:
        await asyncio.sleep(every_s)
        seen = await watch.look()
        if not view.paused:
            view.picture = seen
        keys.put_nowait("")


@contextlib.contextmanager
def _keys(keys: "asyncio.Queue[str]") -> Iterator[None]:
    """Keys as they are typed, without Enter; the terminal is left as it was."""
    loop, handle = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    tty.setcbreak(handle)
    loop.add_reader(handle, lambda: keys.put_nowait(sys.stdin.read(1)[:1].lower() or "q"))
    try:
        yield
    finally:
        loop.remove_reader(handle)
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def lines_of(view: View, width: int, height: int | None) -> list[Text]:
    """The picture in lines no longer than `width`; at most `height` of them (None: all)."""
    rows = _WHOLE_ROWS if height is None else max(height, 12)
    top = [*_header(view, width), *_rates(view, width), Text()]
    foot = [] if height is None else [_footer(view)]
    processes = [*_processes(view)]
    left = rows - len(top) - len(foot)
    kept = processes[: max(3, min(len(processes), left // 3))]
    left -= len(kept) + 1
    lists = [*_lists(view, min(len(view.picture.lists), max(1, left * 3 // 5 - 1)))]
    left -= len(lists) + 1
    rest = _ONCE_DECISIONS if height is None else max(1, left - 1)
    newest = [*_newest(view, rest)] if left > 1 else []
    found = [*top, *lists, Text(), *kept, Text(), *newest]
    if height is not None:
        room = rows - len(foot)
        found = found[:room] + [Text()] * (room - len(found)) + foot
    for line in found:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return found


def _header(view: View, width: int) -> Iterator[Text]:
    seen = view.picture
    line = Text("Ringfence", BOLD)
    line.append(f" {'/'.join(seen.versions) or view.version}")
    started = [one.started_s for one in seen.engine if one.started_s]
    if started:
        line.append(f"   up {spelled(seen.at_s - min(started))}")
    for name, up in (("Kafka", seen.kafka_up), ("Redis", seen.register_up)):
        line.append(f"   {name} ")
        line.append(*_up(up))
    if seen.workers_ready is not None:
        line.append(f"   {seen.workers_ready} workers ready", "" if seen.workers_ready else BAD)
    if seen.worker_restarts:
        line.append(f"   {seen.worker_restarts} restarts", "yellow")
    clock = datetime.fromtimestamp(seen.at_s, UTC).strftime("%H:%M:%SZ")
    line.append(clock.rjust(max(len(clock) + 2, width - len(line))), DIM)
    yield line
    yield Text("-" * width, DIM)


def _up(up: bool | None) -> tuple[str, str]:
    return {None: ("not known", "yellow"), True: ("up", GOOD), False: ("AWAY", BAD)}[up]


def _rates(view: View, width: int) -> Iterator[Text]:
    seen, trail = view.picture, view.trail
    decided = seen.decisions_per_s
    lag = sorted(seen.lag.items(), key=lambda one: -one[1])
    columns = max(8, min(60, width - 58))
    calls = spark([point.calls_per_s or 0.0 for point in trail], columns)
    verdicts = spark([point.decisions_per_s or 0.0 for point in trail], columns)
    first = Text(f"calls/s     {rate(seen.calls_per_s):>9}  ")
    first.append(f"{calls:{columns}}", "cyan")
    first.append(f"  latency p50 {_millis(seen.latency_p50_s):>9}")
    yield first
    second = Text("decisions/s ")
    second.append(f"{rate(sum(decided.values()) if decided else None):>9}  ")
    second.append(f"{verdicts:{columns}}", "magenta")
    second.append(f"          p99 {_millis(seen.latency_p99_s):>9}")
    yield second
    third = Text("  ")
    for verdict in ("block", "flag", "allow"):
        third.append(verdict, COLOURS[verdict])
        third.append(f" {rate(decided.get(verdict, 0.0) if decided else None)}   ")
    third.append(f"on trial {rate(_sum(seen.simulated_per_s, decided))}   ")
    third.append(f"rejected {rate(_sum(seen.rejected_per_s, decided))}   ")
    third.append(f"unasked {rate(seen.unasked_per_s)}")
    yield third
    behind = Text("lag      ")
    for topic, records in lag[:4]:
        behind.append(f"   {topic} {records:,}", "" if records < 10_000 else "yellow")
    if not lag:
        behind.append(f"   {UNKNOWN}")
    for sink, records in sorted(seen.sinks.lag.items()):
        behind.append(f"   sink {sink} {records:,}", DIM)
    if seen.partitions_stopped:
        behind.append(f"   {seen.partitions_stopped} partitions STOPPED", BAD)
    yield behind


def _sum(rates: Mapping[str, float], known: Mapping[str, float]) -> float | None:
    return sum(rates.values()) if rates or known else None


def _lists(view: View, count: int) -> Iterator[Text]:
    lists = view.sort.sorted(view.picture.lists)
    head = f"{'list':21}{'generation':>11}{'age':>9}{'entries':>12}{'changes':>9}"
    yield Text(f"{head}{'blocks/s':>9}{'flags/s':>9}", BOLD)
    if not lists:
        yield Text("  no list is enforced, or no engine answers", DIM)
    hidden = len(lists) - count if len(lists) > count else 0
    for one in lists[: count - 1 if hidden else count]:
        line = Text(f"{one.name[:20]:21}{_count(one.generation):>11}")
        old = one.age_s is not None and one.age_s > 60
        line.append(f"{_span(one.age_s):>9}", "yellow" if old else "")
        line.append(f"{_count(one.entries):>12}{_count(one.changes):>9}")
        line.append(f"{rate(one.blocks_per_s):>9}", "red" if one.blocks_per_s else "")
        line.append(f"{rate(one.flags_per_s):>9}")
        yield line
    if hidden:
        yield Text(f"  and {hidden + 1} more: s sorts them by another column", DIM)


def _processes(view: View) -> Iterator[Text]:
    """Processes in trouble first; those that were never heard of in one line at the end."""
    seen = view.picture
    order = [ProcessState.AWAY, ProcessState.NOT_READY, ProcessState.READY]
    heard = [one for one in seen.processes if one.state in order]
    for one in sorted(heard, key=lambda each: order.index(each.state)):
        yield _process(one, seen.at_s)
    unheard = [one for one in seen.processes if one.state is ProcessState.UNHEARD]
    if len([one for one in unheard if one in seen.engine]) == len(seen.engine):
        for one in seen.engine:
            yield Text(f"{one.place.name} at {one.place.url}: {one.why}", BAD)
        yield Text(
            f"  `{STARTED_BY[ProcessKind.ENGINE]}` starts it; elsewhere: its address in [ops] watch"
        )
        unheard = [one for one in unheard if one not in seen.engine]
    if unheard:
        yield Text(f"not running here: {', '.join(one.place.name for one in unheard)}", DIM)


def _process(one: ProcessStatus, at_s: float) -> Text:
    line = Text(f"{one.place.name:13}")
    style = {ProcessState.READY: GOOD, ProcessState.NOT_READY: "yellow", ProcessState.AWAY: BAD}[
        one.state
    ]
    if one.state is ProcessState.AWAY:
        since = datetime.fromtimestamp(one.since_s or at_s, UTC).strftime("%H:%M:%SZ")
        line.append(f"AWAY since {since}: {one.why}", style)
        line.append(f"; `{STARTED_BY.get(one.kind, 'start it')}`", "")
        return line
    line.append(f"{one.state:10}", style)
    if one.started_s:
        line.append(f"up {spelled(at_s - one.started_s):8}")
    if one.restarts:
        line.append(f"  restarted {one.restarts} times while watched", "yellow")
    if one.missing:
        line.append(f"  {'; '.join(one.missing)}", "yellow")
    return line


def _newest(view: View, count: int) -> Iterator[Text]:
    yield Text("last decisions (numbers masked)", BOLD)
    if view.decisions_why:
        yield Text(f"  {view.decisions_why}", DIM)
    elif not view.decisions:
        yield Text("  none yet", DIM)
    for decision in [*view.decisions][-count:][::-1]:
        yield decision_line(decision)


def decision_line(decision: Mapping[str, Any]) -> Text:
    """A masked decision in one line."""
    verdict = str(decision.get("verdict"))
    would = f" ({decision['would']})" if decision.get("simulated") else ""
    line = Text(f"{str(decision.get('decided_at'))[11:19]}  ")
    line.append(f"{verdict + would:6}", COLOURS.get(verdict, ""))
    line.append(f"  {decision.get('number') or 'withheld':14}  {decision.get('rule')}")
    reasons = decision.get("reasons")
    for reason in reasons if isinstance(reasons, list) else ():
        if isinstance(reason, dict):
            line.append(f"  {reason.get('list')} {reason.get('category') or ''}".rstrip(), DIM)
    return line


def _footer(view: View) -> Text:
    line = Text(" q ", "reverse")
    line.append(" quit  ")
    line.append(" p ", "reverse")
    line.append(" go on  " if view.paused else " pause  ", "yellow" if view.paused else "")
    line.append(" s ", "reverse")
    line.append(f" sorted by {view.sort}")
    for note in view.notes:
        line.append(f"   {note}", "yellow")
    return line


def rate(value: float | None) -> str:
    """A rate as few digits as say something."""
    if value is None:
        return UNKNOWN
    return (
        f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}" if value >= 0.1 else "<0.1"
    )


def _millis(value_s: float | None) -> str:
    if value_s is None:
        return UNKNOWN
    return f"{value_s * 1000:,.1f} ms" if value_s < 10 else f"{value_s:,.1f} s"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _span(value_s: float | None) -> str:
    return UNKNOWN if value_s is None else spelled(float(round(value_s)))


def spark(values: Sequence[float], width: int) -> str:
    """Return the last `width` values as a line of blocks, scaled to the largest of them."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return " " * width
    line = "".join(SPARKS[min(7, int(value / most * 7.99))] for value in shown)
    return line.rjust(width)

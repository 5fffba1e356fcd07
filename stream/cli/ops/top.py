"""`ringfence top`: what our processes do at the moment, in a terminal."""

import asyncio
import contextlib
import sys
import termios
import tty
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Group
from rich.live import Live

from stream import __version__
from stream.cli.common import AsJson, ConfigFiles, quiet_clients, settings_of
from stream.cli.ops.top_text import View, lines_of
from stream.cli.output import out, print_json
from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.kafka.call_events import CallEvent
from stream.kafka.decision_history import decision_in, last, without_numbers
from stream.kafka.topic_reader import reader
from stream.ops.monitor.collect import Watch
from stream.ops.monitor.dashboard import Picture, State
from stream.ops.tasks import cancelled

DECISIONS_SHOWN = 50
ONCE_WAIT_S = 5.0
"""How long a single picture waits for Kafka's last decisions."""
_ASK_AGAIN_S = 10.0


def top(
    config: ConfigFiles = None,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
    every_s: Annotated[
        float, typer.Option("--every", min=0.2, max=60, help="Seconds between two looks.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show what our processes do: rates, latency, lag, lists, who is away, the last decisions.

    Reads the metrics of the processes that the configuration has, and of those in `[ops] watch`;
    needs no Prometheus. Keys: q quit, p pause, s sort the lists by another column. Where the output
    is no terminal it prints one picture, as with --once; --json has all figures.
    Exit codes: 0, with --once or --json 1 if no engine answers.

    Example: ringfence top --config carrier.toml
    """
    quiet_clients()
    settings = settings_of(config)
    watch = Watch(settings.watched())
    if as_json:
        seen = asyncio.run(watch.look_twice(every_s))
        print_json(seen)
    elif once or not (out.is_terminal and sys.stdin.isatty()):
        seen = asyncio.run(_once(settings, watch, every_s))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_live(settings, watch, every_s))
        return
    raise typer.Exit(0 if _answers(seen) else 1)


def _answers(seen: Picture) -> bool:
    return any(one.state in {State.READY, State.NOT_READY} for one in seen.engine)


async def _once(settings: Settings, watch: Watch, every_s: float) -> Picture:
    """One picture, printed."""
    newest = _Newest()
    task = asyncio.create_task(newest.follow(settings))
    seen = await watch.look_twice(every_s)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(newest.begun.wait(), ONCE_WAIT_S)
    await cancelled(task)
    view = View(seen, [*watch.trail], [*newest.held], newest.why, version=__version__)
    for line in lines_of(view, out.width, None):
        out.print(line, soft_wrap=True)
    return seen


class _Newest:
    """The last decisions, masked, kept up to date; Kafka's absence is told, never raised."""

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
            while True:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    read = [decision_in(record.value) for record in records[-DECISIONS_SHOWN:]]
                    self.held.extend(without_numbers(one) for one in read if one is not None)

    def _say(self, why: str) -> None:
        self.why = why
        self.begun.set()


async def _live(settings: Settings, watch: Watch, every_s: float) -> None:
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


async def _look(watch: Watch, view: View, every_s: float, keys: "asyncio.Queue[str]") -> None:
    """Look again and again; each look wakes whoever waits for keys."""
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

"""One exercise, from its first line to its last; what it starts, `closing` ends."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit, urlunsplit

from aiokafka.errors import KafkaError
from rich.console import Console

from stream.core.model.errors import Fault
from stream.lab.demo.demo_kafka import Topics
from stream.lab.demo.product import DemoFailed, Places, child_environment, in_words
from stream.lab.demo.servers import Servers, get_servers, leave_no_trace, look_at
from stream.lab.demo.show import Steps
from stream.lab.demo.stop import Stop
from stream.lab.embedded.guarded_server import Say
from stream.lab.exercise import expect, quick
from stream.lab.exercise.command import Options
from stream.lab.exercise.papers import CIRCLE_KEY
from stream.lab.exercise.scenes import SCENES
from stream.lab.exercise.setup import cast, make_repositories, open_for_calls
from stream.lab.exercise.story import Story, as_json, summary
from stream.lab.exercise.training import Training


def servers_for(
    isos: tuple[str, ...], choice: tuple[str, str], mark: str, closing: ExitStack, say: Say
) -> dict[str, Servers]:
    """The same servers for each country, in its own database and topics; `choice`: broker, Redis.

    Of a Redis of the reader's own, the named database and those after it. Raises DemoFailed.
    """
    broker, redis = choice
    shared = get_servers(broker, redis, mark, closing, say)
    found = {}
    for place, iso in enumerate(isos):
        url = _database(shared.places.redis_url, place)
        if shared.redis_is_guest and place:
            asyncio.run(look_at(url))
        found[iso] = replace(shared, places=_places_of(shared, iso, url, mark))
    return found


def clear_up(servers: dict[str, Servers]) -> None:
    """Remove keys and topics from servers that are not ours. Raises DemoFailed."""
    for each in servers.values():
        asyncio.run(leave_no_trace(each))


def _places_of(shared: Servers, iso: str, url: str, mark: str) -> Places:
    before = f"ringfence-exercise-{mark}." if shared.broker_is_guest else ""
    name = iso.lower()
    return replace(
        shared.places,
        redis_url=url,
        topics=Topics.named(f"{before}{name}."),
        group=f"ringfence-exercise-{mark}-{name}",
    )


def _database(url: str, further: int) -> str:
    """The address of the database so much further than the one that `url` names."""
    parts = urlsplit(url)
    first = parts.path.strip("/") or "0"
    if not first.isdigit():
        raise DemoFailed(f"{parts.path!r} is no database: write redis://HOST:PORT/NUMBER")
    return urlunsplit(parts._replace(path=f"/{int(first) + further}"))


SEED = 2025


def session(options: Options, closing: ExitStack, stop: Stop, console: Console) -> bool:
    """Servers, countries, scenes, report; whether all held. Raises DemoFailed, Interrupted."""
    began_s = time.monotonic()
    os.environ.update(child_environment(os.environ))
    os.environ[CIRCLE_KEY] = secrets.token_hex(32)
    mark = secrets.token_hex(4)
    folder = _folder(options.keep, mark, closing)
    training = cast(options.countries, folder, SEED)
    quick.get_ready()
    pool, enough = ThreadPoolExecutor(1), Event()
    closing.callback(pool.shutdown, cancel_futures=True)
    closing.callback(enough.set)
    # Keys and repositories are made while the broker starts: both take some seconds.
    making = pool.submit(lambda: asyncio.run(make_repositories(training, enough)))
    with console.status("Starting a broker and a Redis ...") as status:
        choice = (options.broker, options.redis)
        servers = servers_for(training.isos, choice, mark, closing, status.update)
    closing.callback(clear_up, servers)
    closing.callback(training.close, options.keep)
    shared = servers[training.isos[0]]
    console.print(shared.line, soft_wrap=True)
    if shared.note:
        console.print(f"No better ones here: {shared.note}", style="bright_black", soft_wrap=True)
    plain = options.plain or not console.is_terminal
    steps, story = Steps(console, plain=plain), Story(console, plain=plain)
    try:
        stop.run(_whole(training, servers, options.scenes, making, enough, steps, story))
    except* (KafkaError, Fault, DemoFailed) as group:
        raise DemoFailed(in_words(group)) from group
    took_s = time.monotonic() - began_s
    console.print(summary(story, took_s))
    written = as_json(story, shared, training.isos, took_s)
    for path in (options.json, options.keep and options.keep / "exercise.json"):
        if path:
            path.write_bytes(written)
    return story.held


def _folder(keep: Path | None, mark: str, closing: ExitStack) -> Path:
    """An empty folder: the one to keep, or one that is removed at the end. Raises DemoFailed."""
    if keep is not None:
        if keep.exists() and any(keep.iterdir()):
            raise DemoFailed(f"{keep} is not empty: name a folder for what is kept")
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)
        return keep.absolute()
    folder = Path(tempfile.gettempdir()) / f"ringfence-exercise-{mark}"
    closing.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder


async def _whole(
    training: Training,
    servers: dict[str, Servers],
    scenes: Sequence[str],
    making: Future[None],
    enough: Event,
    steps: Steps,
    story: Story,
) -> None:
    try:
        with steps.shown():
            step = steps.begin("keys and repositories")
            await asyncio.wrap_future(making)
            step.done("two people's sticks each, one repository a country, one hub")
            await open_for_calls(training, servers, steps, enough)
        await played(training, story, scenes)
    finally:
        for ringfence in training.ringfences.values():
            await ringfence.close_lines()


async def played(training: Training, story: Story, names: Sequence[str]) -> None:
    """The scenes of these names, or all; one that breaks off has failed, the next is played."""
    for scene in SCENES:
        if names and scene.name not in names:
            continue
        missing = scene.needs - set(training.isos)
        if missing:
            story.leaves_out(scene.name, f"it needs {', '.join(sorted(missing))} (--countries)")
            continue
        with story.act(scene.name, scene.title, scene.text):
            before = training.pids()
            try:
                await scene.play(training, story)
            except (KafkaError, Fault, DemoFailed, OSError) as error:
                story.fails(f"{type(error).__name__}: {error}")
            expected = "no program of any country ended or restarted"
            story.check(expect.same_processes(before, training.pids(), expected))

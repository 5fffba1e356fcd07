"""One run of the demo, from an empty folder to the judge's verdicts.

Two measurements need two kinds of traffic. Recorded calls show the throughput. They are in the
topic before the engine starts, and it processes them at full speed, as after an outage. Live calls
show the latency. They arrive at the steady rate of a mid-sized carrier, since latency under a
backlog would only measure the backlog. The two changes fall into the live part.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import msgspec
import numpy as np
from aiokafka.errors import KafkaError
from rich.console import Console

from stream.core.filters.digests import Digests, elements
from stream.core.model.entry import NEVER, Category, Entry
from stream.core.model.errors import Fault
from stream.lab.demo.changes import Probe
from stream.lab.demo.demo_command import DemoOptions
from stream.lab.demo.demo_kafka import Admin, CallSender, listen
from stream.lab.demo.judge import TruthJudge
from stream.lab.demo.material import LIVE_S, PROBES_PER_S, Material, Scale, make_material
from stream.lab.demo.product import (
    DemoFailed,
    Engine,
    child_environment,
    in_words,
    run_command,
    write_config,
)
from stream.lab.demo.screen import summary
from stream.lab.demo.servers import Servers, get_servers, leave_no_trace
from stream.lab.demo.show import SetUpStep, Show, Steps, as_svg
from stream.lab.demo.stay import StayingPage
from stream.lab.demo.stop import Stop
from stream.lab.demo.watch import (
    DemoFigures,
    Enforced,
    Rate,
    RunPicture,
    RunResult,
    RunWatch,
    clock_ms,
    percentiles,
)
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings

ADD_AT_S, REMOVE_AT_S = 2.5, 6.0
"""When the two numbers change, counted from the first live call."""
TICK_S = 0.005
BY = By("demo", "a change while calls flow")


async def live_calls(
    sender: CallSender, settings: ListStoreSettings, material: Material, watch: RunWatch
) -> None:
    """Send the live calls, and change the two listings meanwhile, through the product's list store.

    The list store is called from here rather than by `lists add`: starting a command takes longer
    than the change that is timed.
    """
    added, removed = material.changes
    async with await ListStore.connect(settings) as store, asyncio.TaskGroup() as group:
        await store.heads()  # the connection is there before the clock starts
        group.create_task(_steady(sender, material, watch))
        group.create_task(_change(store, added, ADD_AT_S))
        group.create_task(_change(store, removed, REMOVE_AT_S))


async def _steady(sender: CallSender, material: Material, watch: RunWatch) -> None:
    records = material.live.records
    began_s = time.monotonic()
    sent = probes = 0
    elapsed_s = 0.0
    while elapsed_s < LIVE_S:
        await asyncio.sleep(TICK_S)
        elapsed_s = min(LIVE_S, time.monotonic() - began_s)
        due = round(len(records) * elapsed_s / LIVE_S)
        for record in records[sent:due]:
            await sender.send(record, watch.acknowledged)
        sent = due
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        probes_due = round(PROBES_PER_S * elapsed_s)
        for _ in range(probes, probes_due):
            for change in material.changes:
                await sender.send(change.next_call(stamp), watch.acknowledged)
        probes = probes_due
    await sender.flush()


async def _change(store: ListStore, change: Probe, at_s: float) -> None:
    await asyncio.sleep(at_s)
    fingerprint = int(Digests(elements(np.array([change.number], "S16"), b"")).fingerprints()[0])
    now_s = int(time.time())
    entry = Entry(change.number, fingerprint, Category.CALL_CENTRE, "demo", now_s, NEVER, 100)
    change.begun_ms = clock_ms()
    if change.kind == "add":
        await store.add(change.list, [entry], BY)
    else:
        await store.remove(change.list, [Removal(fingerprint, change.number)], BY)
    change.committed_ms = clock_ms()


ACTOR = "demo"
IMPORTS_AT_ONCE = 2
"""One per core of a small machine."""


async def set_up(
    servers: Servers, material: Material, config: Path, steps: Steps, sender: CallSender
) -> None:
    """Make topics and lists, and put the recorded calls on their topic, side by side."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_topics_and_calls(config, servers, material, steps, sender))
        group.create_task(_lists(config, material, steps))


async def _topics_and_calls(
    config: Path, servers: Servers, material: Material, steps: Steps, sender: CallSender
) -> None:
    step = steps.begin("topics create")
    await run_command(config, "topics", "create")
    if servers.appends_stamped:
        async with Admin(servers.places.bootstrap) as admin:
            await admin.stamp_on_append(servers.places.topics.all()[:2])
    step.done(", ".join(servers.places.topics.all()))
    records = material.recorded.records
    step = steps.begin("recorded calls")
    await sender.backlog(records, lambda sent: step.at(sent, len(records)))
    step.done(f"{len(records):,} wait for the engine")


async def _lists(config: Path, material: Material, steps: Steps) -> None:
    places = asyncio.Semaphore(IMPORTS_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for name, path, count in material.files:
            step = steps.begin(f"lists import {name}")
            group.create_task(_import(config, places, step, name, path, count))
    step = steps.begin("allow add")
    texts = material.world.allow_texts
    reason = "a bank's lines, and callers who appealed"
    await run_command(config, "allow", "add", *texts, "--actor", ACTOR, "--reason", reason)
    step.done(f"{len(texts) - 1} numbers and a bank's prefix")


async def _import(
    config: Path, places: asyncio.Semaphore, step: SetUpStep, name: str, path: Path, count: int
) -> None:
    by = ("--actor", ACTOR, "--reason", "simulated list")
    async with places:
        step.restart()
        await run_command(config, "lists", "create", name, *by)
        await run_command(config, "lists", "import", name, str(path), *by)
    step.done(f"{count:,} numbers")


LOOK_S = 0.2
RATE_OVER_S = 1.0
"""The rate shown is that of the last second: commits come in lumps."""
STUCK_S = 15.0
"""Without any progress for this long, the judge takes what there is."""
SETTLE_S = 0.4
"""After the last decision that is due, how long one too many has to show itself."""


class Run:
    """A run on servers that are there already; `folder` is its own, `began_s` is monotonic."""

    def __init__(
        self, servers: Servers, material: Material, scale: Scale, folder: Path, began_s: float
    ) -> None:
        self._servers = servers
        self._material = material
        self._scale = scale
        self._folder = folder
        self._began_s = began_s
        truth = material.recorded.truth | material.live.truth
        self._judge = TruthJudge(truth, material.changes)
        total = scale.recorded + scale.live + scale.probes
        self._picture = RunPicture(servers.broker, servers.redis, total, material.changes)
        self._flowing = True
        self._rate = Rate(scale.recorded)
        self._watch = RunWatch(self._judge, self._picture, self._rate, material.changes)

    async def run(
        self,
        console: Console,
        *,
        plain: bool,
        page: StayingPage | None,
        told: Callable[[RunResult], None],
    ) -> RunResult:
        """Set up, watch, judge. Raises DemoFailed where the product or a server gives up.

        With a `page` the result is `told` and everything stays, until cancelled.
        """
        places = self._servers.places
        config = self._folder / "ringfence.toml"
        engine = Engine(config)
        broken: BaseExceptionGroup[BaseException] | None = None
        try:
            write_config(config, places, self._folder / "state", engine.http_port)
            if page is not None:
                with config.open("a", encoding="utf-8") as file:
                    file.write(page.prepare())
            async with CallSender(places.bootstrap, places.topics.calls) as sender:
                steps = Steps(console, plain=plain)
                with steps.shown():
                    await set_up(self._servers, self._material, config, steps, sender)
                    step = steps.begin("run")
                    await engine.start()
                    step.done("lists loaded, partitions assigned")
                show = Show(console, self._picture, plain=plain)
                with show.shown():
                    await self._watched(engine, sender, show)
                sent = sender.sent
                if page is not None:
                    told(self._result(sent))
                    console.print(await page.start(self._material.world), soft_wrap=True)
                    await page.stay(engine, sender, self._material, int(time.time()))
            engine.stop()
        except* (KafkaError, Fault, DemoFailed) as group:
            broken = group  # what is raised here would come out in a group of its own
        finally:
            engine.close()
            if page is not None:
                page.close()
        if broken is not None:
            raise DemoFailed(in_words(broken)) from broken
        result = self._result(sent)
        told(result)
        return result

    async def _watched(self, engine: Engine, sender: CallSender, show: Show) -> None:
        """From the engine's start to its last decision, with the picture kept up to date."""
        places = self._servers.places
        picture = self._picture
        list_store = ListStoreSettings(places.redis_url, require_aof=places.durable)
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(listen(places.bootstrap, places.topics, self._watch)),
                group.create_task(self._follow(engine)),
                group.create_task(show.keep_up(self._began_s)),
            ]
            picture.phase = "Recorded calls, full speed"
            await self._until_done(sender.sent)
            show.draw(at_once=True)  # it may have been over before the second line was due
            rate = round((self._scale.live + self._scale.probes) / LIVE_S, -2)
            picture.phase = f"Live calls, {rate:,.0f}/s"
            await live_calls(sender, list_store, self._material, self._watch)
            picture.phase = "Last decisions"
            self._flowing = False
            picture.total = sender.sent
            await self._until_done(sender.sent)
            await self._until_settled()
            for task in background:
                task.cancel()
        picture.phase = "Done"
        picture.elapsed_s = time.monotonic() - self._began_s
        picture.settled_ms = inf

    async def _follow(self, engine: Engine) -> None:
        """Look at the engine and at what it has committed, again and again."""
        places = self._servers.places
        seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        async with Admin(places.bootstrap) as admin:
            partitions = await admin.partitions([places.topics.calls])
            while True:
                engine.check()
                done = await admin.committed(places.group, partitions)
                now_s = time.monotonic()
                seen.append((now_s, done))
                while len(seen) > 2 and seen[1][0] < now_s - RATE_OVER_S:
                    seen.popleft()
                then_s, before = seen[0]
                if self._flowing:
                    self._picture.rates.append((done - before) / (now_s - then_s))
                self._picture.done = done
                await asyncio.sleep(LOOK_S)

    async def _until_done(self, records: int) -> None:
        """Wait until the engine has committed so many records, or makes no progress any more."""
        done, since_s = self._picture.done, time.monotonic()
        while self._picture.done < records and time.monotonic() - since_s < STUCK_S:
            await asyncio.sleep(LOOK_S / 4)
            if self._picture.done != done:
                done, since_s = self._picture.done, time.monotonic()

    async def _until_settled(self) -> None:
        """Wait until all that is due was read, or nothing comes any more; then a moment longer."""
        due, since_s = -1, time.monotonic()
        while time.monotonic() - since_s < 10 * SETTLE_S:
            left = self._judge.decisions_due + self._judge.rejections_due
            if left <= 0:
                break
            if left != due:
                due, since_s = left, time.monotonic()
            await asyncio.sleep(LOOK_S / 4)
        await asyncio.sleep(SETTLE_S)

    def _result(self, sent: int) -> RunResult:
        verdicts = self._judge.verdicts()
        added, removed = self._material.changes
        figures = DemoFigures(
            calls=sent,
            listed_calls=verdicts.listed,
            blocked=verdicts.blocked,
            flagged=verdicts.flagged,
            missed=verdicts.missed,
            false_blocks=verdicts.false_blocks,
            rejected=verdicts.rejected,
            cdr_per_s=self._rate.per_s(),
            latency_ms=percentiles(self._watch.latencies_ms),
            change_to_enforced_ms=Enforced(
                _rounded(added.enforced_ms()), _rounded(removed.enforced_ms())
            ),
            broker=self._servers.broker,
            redis=self._servers.redis,
        )
        return RunResult(figures, verdicts, self._picture)


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def session(options: DemoOptions, closing: ExitStack, stop: Stop) -> bool:
    """Servers, material, run, figures; whether all was right. Raises DemoFailed, Interrupted."""
    began_s = time.monotonic()
    os.environ.update(child_environment(os.environ))
    console = Console(highlight=False)
    plain = options.plain or not console.is_terminal
    mark = secrets.token_hex(4)
    folder = Path(tempfile.gettempdir()) / f"ringfence-demo-{mark}"
    closing.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    scale = Scale(options.calls, options.numbers, options.seed)
    pool = ThreadPoolExecutor(1)
    closing.callback(pool.shutdown, cancel_futures=True)
    # Made while the broker starts: both take some seconds, and there are two cores.
    making = pool.submit(make_material, scale, folder, int(time.time()))
    with console.status("Starting a broker and a Redis ...") as status:
        servers = get_servers(options.broker, options.redis, mark, closing, status.update)
    console.print(servers.line, soft_wrap=True)
    if servers.note:
        console.print(f"No better ones here: {servers.note}", style="bright_black", soft_wrap=True)
    closing.callback(lambda: asyncio.run(leave_no_trace(servers)))
    run = Run(servers, making.result(), scale, folder, began_s)

    def told(result: RunResult) -> None:
        if options.json:
            figures = msgspec.json.format(msgspec.json.encode(result.figures))
            options.json.write_bytes(figures + b"\n")
        if options.picture:
            options.picture.write_text(as_svg(result.picture), encoding="utf-8")
        console.print(summary(result, time.monotonic() - began_s))

    page = StayingPage(folder) if options.stay else None
    result = stop.run(run.run(console, plain=plain, page=page, told=told))
    if not options.plain:
        console.print("To see it as a page: add --stay", style="bright_black")
    return result.verdicts.clean

"""One run of the demo, from an empty folder to the judge's verdicts.

Two measurements need two kinds of traffic. *How fast* is told by recorded calls that lie in the
topic before the engine starts: it works them off as fast as it goes, as after an outage. *How
quick* is told by live calls at a steady rate that a mid-sized carrier has: latency under a backlog
would only measure the backlog. The two changes fall into the live part.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path

from rich.console import Console

from stream.core.model.errors import Fault
from stream.lab.demo.figures import Enforced, Figures, Rate, figures_of
from stream.lab.demo.judge import Judge, Verdicts
from stream.lab.demo.kafka import Admin, KafkaError, Sender, listen
from stream.lab.demo.live import live_calls
from stream.lab.demo.material import LIVE_S, Material, Scale
from stream.lab.demo.picture import Picture
from stream.lab.demo.product import DemoFailed, Engine, in_words, write_config
from stream.lab.demo.servers import Servers
from stream.lab.demo.setup import set_up
from stream.lab.demo.show import Show
from stream.lab.demo.stay import Page
from stream.lab.demo.steps import Steps
from stream.lab.demo.watch import Watch
from stream.lists.store.settings import ListStoreSettings

LOOK_S = 0.2
RATE_OVER_S = 1.0
"""The rate shown is that of the last second: commits come in lumps."""
STUCK_S = 15.0
"""Without any progress for this long, the judge takes what there is."""
SETTLE_S = 0.4
"""After the last decision that is due, how long one too many has to show itself."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to; `picture` as it was last seen."""

    figures: Figures
    verdicts: Verdicts
    picture: Picture


class Run:
    """One run on servers that are there already; `folder` is its own, `began_s` is monotonic."""

    def __init__(
        self, servers: Servers, material: Material, scale: Scale, folder: Path, began_s: float
    ) -> None:
        self._servers = servers
        self._material = material
        self._scale = scale
        self._folder = folder
        self._began_s = began_s
        truth = material.recorded.truth | material.live.truth
        self._judge = Judge(truth, material.changes)
        total = scale.recorded + scale.live + scale.probes
        self._picture = Picture(servers.broker, servers.redis, total, material.changes)
        self._flowing = True
        self._rate = Rate.of(scale.recorded)
        self._watch = Watch(self._judge, self._picture, self._rate, material.changes)

    async def run(
        self, console: Console, *, plain: bool, page: Page | None, told: Callable[[Result], None]
    ) -> Result:
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
                    file.write(page.settings())
            async with Sender(places.bootstrap, places.topics.calls) as sender:
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
                    console.print(await page.start(), soft_wrap=True)
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

    async def _watched(self, engine: Engine, sender: Sender, show: Show) -> None:
        """From the engine's start to its last decision, with the picture kept up to date."""
        places = self._servers.places
        picture = self._picture
        register = ListStoreSettings(places.redis_url, require_aof=places.durable)
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
            await live_calls(sender, register, self._material, self._watch)
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

    def _result(self, sent: int) -> Result:
        verdicts = self._judge.verdicts()
        added, removed = self._material.changes
        figures = figures_of(
            verdicts,
            calls=sent,
            cdr_per_s=self._rate.per_s(),
            latency_ms=self._watch.latencies_ms,
            enforced=Enforced(_rounded(added.enforced_ms()), _rounded(removed.enforced_ms())),
            broker=self._servers.broker,
            redis=self._servers.redis,
        )
        return Result(figures, verdicts, self._picture)


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)

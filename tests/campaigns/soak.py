"""Run every process of a site under steady work for long, and see whether anything grows.

    python -m tests.campaigns.soak                              an hour at 100,000 CDR/s
    python -m tests.campaigns.soak --minutes 5 --rate 2000      less

On Apache Kafka and redis-server: a worker, `feeds run` with a feed that changes, `serve`,
`serve-sip` and `sink redis`. Meanwhile a number is put on a list or taken off each second, and
asked for over HTTP until that is enforced; SIP and HTTP lookups come, some by new connections;
/metrics of all are scraped; and probes measure how long a decision takes, by Kafka's clock.

Each process is sampled: memory, descriptors, threads, tasks. The quarters after the warm-up are
compared: memory of the first and the last; what is open must not rise in each of them.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from aiohttp import ClientSession, ClientTimeout, TCPConnector
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.feeds.import_file import import_file
from stream.lab.embedded.choose import best_broker, best_redis
from stream.lab.embedded.guarded_server import free_ports
from stream.lists.follower.lost_steps import STEPS_MAX
from stream.lists.store.heads import Removal
from stream.ops.tasks import cancelled
from tests.campaigns import soak_traffic as traffic
from tests.support.builders import entry
from tests.support.engine import Deployment, Engine
from tests.support.figures import record
from tests.support.lists import BY, opened, request
from tests.support.sip import message

TOKEN = "rf_soak"
CHANGED_LIST, FED_LIST = "XA/changed", "XB/fed"
STATIC_LISTS = 8
PROBE_S, LOOKUP_S, SCRAPE_S, FEED_S = 0.25, 0.1, 5.0, 15.0
REBUILD = 300
"""Numbers changed beside a list until it is rebuilt: the feed's list is each minute or two, the
other each five minutes. Memory rises until then, so a quarter of the run has to see several."""
MOVED = 30
"""Numbers that a version of the feed lacks and its last one had, and the other way round."""
KEPT = 200
"""Numbers that changes by hand leave on their list: then each one takes the oldest off."""
COUNTED = ("descriptors", "threads", "tasks")
GROWTH_MAX = 2.0
"""Percent of memory that no file backs, between the quarters."""
YOUNG = "GroupCoordinatorNotAvailableError"
"""Logged as an error by aiokafka while a broker makes its first group."""
TOPIC = {
    "message.timestamp.type": "LogAppendTime",
    "retention.bytes": str(256 << 20),
    "segment.bytes": str(64 << 20),
}
"""Kafka's own clock for latencies; and a disk that an hour at 100,000 CDR/s does not fill."""
FEED = """
list = "{name}"
format = "text"
category = "call_centre"
[owner]
name = "scam-tracker.example"
contact = "noc@scam-tracker.example"
[from]
kind = "file"
path = "{path}"
[schedule]
every = "5s"
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """Figures of a soak: `warm_s` are not compared, `sample_s` lie between two samples."""

    minutes: float = 60.0
    rate: int = 100_000
    warm_s: float = 600.0
    sample_s: float = 10.0


@dataclass(slots=True)
class Sample:
    """One process at one moment."""

    rss_mb: float
    anonymous_mb: float
    descriptors: int
    threads: int
    tasks: int


@dataclass(slots=True)
class Course:
    """All that was seen: samples by process, and by minute latencies in ms."""

    began_s: float = field(default_factory=time.monotonic)
    samples: dict[str, list[tuple[float, Sample]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    inside: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    delays: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    wrong: list[str] = field(default_factory=list)

    def at_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began_s

    def delayed(self, what: str, ms: float) -> None:
        """Note how long something took."""
        self.delays[what].append((self.at_s(), ms))
        self.counts[what] += 1


def sampled(pid: int, inside: dict[str, Any]) -> Sample:
    """The process as Linux counts it, without the threads of asyncio's pool.

    These come one by one as work overlaps, and stay; Python bounds them.
    """
    folder = Path(f"/proc/{pid}")
    held = dict.fromkeys(("Rss", "Anonymous", "Threads"), 0)
    for line in (folder / "smaps_rollup").read_text().splitlines()[1:] + (
        folder / "status"
    ).read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in held:
            held[name] = int(rest.split()[0])
    descriptors = len(os.listdir(folder / "fd"))  # noqa: PTH208 - counted, not looked at
    threads = held["Threads"] - sum(name.startswith("asyncio_") for name in inside["threads"])
    tasks = sum(inside["tasks"].values())
    return Sample(held["Rss"] / 1024, held["Anonymous"] / 1024, descriptors, threads, tasks)


class Soak:
    """A site, its processes, and what is done to them."""

    def __init__(self, plan: Plan, folder: Path, bootstrap: str, redis_url: str) -> None:
        self.plan = plan
        self.course = Course()
        self._folder = folder
        names = ("run", "feeds", "serve", "serve-sip", "sink")
        self._health = dict(zip(names, free_ports(len(names)), strict=True))
        self._http, self._sip = free_ports(2)
        self._feeds = folder / "feeds"
        self._feeds.mkdir()
        self._file = folder / "fed.txt"
        self.site = Deployment(folder, bootstrap, redis_url, self._settings(redis_url))
        self.site.config.write_text(
            self.site.config.read_text().replace(
                f"ops.http_port = {self.site.port}", f"ops.http_port = {self._health['run']}"
            )
        )
        self.engines: dict[str, Engine] = {}
        self._redis_url = redis_url

    def _settings(self, redis_url: str) -> str:
        return (
            f"serve.port = {self._http}\nserve.health_port = {self._health['serve']}\n"
            f"sip.port = {self._sip}\nsip.health_port = {self._health['serve-sip']}\n"
            f'sip.trunks = {{ "127.0.0.1" = "intl-1" }}\n'
            f'feeds.dir = "{self._feeds}"\nfeeds.http_port = {self._health["feeds"]}\n'
            f'feeds.reload_s = 1\nsinks.redis.url = "{redis_url.removesuffix("0")}1"\n'
            f"sinks.redis.http_port = {self._health['sink']}\n"
            f"lists.rebuild_changes = {REBUILD}\n"
        )

    async def prepare(self) -> None:
        """Make topics and lists."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.site.bootstrap)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(name, traffic.PARTITIONS, 1, topic_configs=TOPIC)
                    for name in (self.site.calls, self.site.decisions)
                ]
            )
        finally:
            await admin.close()
        self.site.types("topics", "create")
        static = traffic.numbers(traffic.STATIC)
        async with opened(self._redis_url) as store:
            for index in range(STATIC_LISTS):
                path = self._folder / f"{index}.txt"
                path.write_text("\n".join(static[index::STATIC_LISTS]))
                await store.create(f"XA/{index}", "plain", BY)
                await import_file(store, request(path, name=f"XA/{index}", replace=True), _now_s())
            for name in (CHANGED_LIST, FED_LIST):
                await store.create(name, "plain", BY)
        self._say_feed(0)
        (self._feeds / "fed.toml").write_text(FEED.format(name=FED_LIST, path=self._file))

    @contextmanager
    def running(self) -> Iterator[None]:
        """All processes, ready."""
        tokens = self._folder / "tokens"
        tokens.write_text(line_of(Client("soak", ClientRole.OPERATOR), TOKEN))
        commands = {
            "run": ("run",),
            "feeds": ("feeds", "run"),
            "serve": ("serve",),
            "serve-sip": ("serve-sip",),
            "sink": ("sink", "redis"),
        }
        for name, words in commands.items():
            engine = Engine(self.site.config, *words, port=self._health[name])
            told = ("-m", "tests.campaigns.inside", str(self._folder / f"{name}.json"))
            engine.command[1:3] = told
            self.engines[name] = engine
        tokens_file = patch.dict(os.environ, RINGFENCE_HTTP_TOKENS_FILE=str(tokens))
        with tokens_file, ExitStack() as stack:
            # One after the other: five that load at once take minutes on a busy machine.
            for engine in self.engines.values():
                engine.start()
                stack.callback(engine.stop)
                engine.until_ready()
            yield

    async def fill(self) -> None:
        """Fill what has a bound in memory, so that what grows later has none.

        Followers keep the last steps of each list. At one a second, that grows for 83 minutes.
        """
        numbers = traffic.numbers(traffic.PASSING)
        assert 2 * len(numbers) >= STEPS_MAX
        async with opened(self._redis_url) as store:
            for name in (CHANGED_LIST, FED_LIST):
                await store.add(name, [entry(number) for number in numbers], BY)
                gone = [Removal(entry(number).fingerprint, number) for number in numbers]
                await store.remove(name, gone, BY)

    async def soak(self) -> Course:
        """Do everything at once for so long."""
        self.course.began_s = time.monotonic()
        jobs = (
            self._sample,
            self._change,
            self._scrape,
            self._feed,
            self._ask_sip,
            self._probe,
            self._traffic,
        )
        tasks = [asyncio.create_task(job(), name=job.__name__) for job in jobs]
        done, _ = await asyncio.wait(
            tasks, timeout=60 * self.plan.minutes, return_when=asyncio.FIRST_COMPLETED
        )
        await cancelled(*tasks)
        for task in done:
            if (error := task.exception()) is not None:
                for name, engine in self.engines.items():
                    error.add_note(f"{name}: {engine.process.poll()}: {engine.last_words()}")
                raise error
        for name, engine in self.engines.items():
            self.course.wrong += [
                f"{name}: {line['event']}"
                for line in engine.events()
                if line["level"] in ("error", "critical") and YOUNG not in line["event"]
            ]
        return self.course

    async def _sample(self) -> None:
        while True:
            for name, engine in self.engines.items():
                inside = await self._inside(name, engine)
                self.course.inside[name].append(inside)
                sample = sampled(engine.process.pid, inside)
                self.course.samples[name].append((self.course.at_s(), sample))
            await asyncio.sleep(self.plan.sample_s)

    async def _inside(self, name: str, engine: Engine) -> dict[str, Any]:
        path = self._folder / f"{name}.json"
        path.unlink(missing_ok=True)
        engine.process.send_signal(signal.SIGUSR2)
        while not path.exists():
            assert engine.process.poll() is None, f"{name} ended: {engine.last_words()}"
            await asyncio.sleep(0.02)
        told: dict[str, Any] = json.loads(path.read_text())
        return told

    async def _change(self) -> None:
        """Each second a number on the list, or the oldest off it; asked for until it is so."""
        async with opened(self._redis_url) as store, _http(self._http) as client:
            held: list[str] = []
            waiting = itertools.cycle(traffic.numbers(traffic.CHANGED))
            due_s = time.monotonic()
            while True:
                began_s = time.monotonic()
                if len(held) < KEPT or int(due_s) % 2:
                    number, verdict = next(waiting), "block"
                    held.append(number)
                    await store.add(CHANGED_LIST, [entry(number)], BY)
                else:
                    number, verdict = held.pop(0), "allow"
                    await store.remove(
                        CHANGED_LIST, [Removal(entry(number).fingerprint, number)], BY
                    )
                while await self._verdict(client, number) != verdict:  # noqa: ASYNC110
                    await asyncio.sleep(LOOKUP_S)
                self.course.delayed("change", 1000 * (time.monotonic() - began_s))
                due_s += 1.0
                await self._ask_http(client, due_s)

    async def _ask_http(self, client: ClientSession, until_s: float) -> None:
        """Lookups until then, whose answers are known; one of ten by a connection of its own."""
        listed, innocent = traffic.numbers(traffic.STATIC), traffic.numbers(traffic.INNOCENT)
        while time.monotonic() < until_s:
            turn = self.course.counts["http"]
            number = listed[turn % len(listed)] if turn % 2 else innocent[turn % len(innocent)]
            began_s = time.monotonic()
            if turn % 10 == 0:
                async with _http(self._http) as other:
                    found = await self._verdict(other, number)
            else:
                found = await self._verdict(client, number)
            self.course.delayed("http", 1000 * (time.monotonic() - began_s))
            if found != ("block" if turn % 2 else "allow"):
                self.course.wrong.append(f"{number}: {found} by HTTP")
            await asyncio.sleep(LOOKUP_S)

    async def _verdict(self, client: ClientSession, number: str) -> str:
        asked = {"caller": number, "callee": "+447700900123", "trunk": "intl-1"}
        async with client.get("/v1/decision", params=asked) as answer:
            told = await answer.json()
        verdict: str = told["verdict"] if answer.status == 200 else f"status {answer.status}"
        return verdict

    async def _ask_sip(self) -> None:
        """Lookups by UDP, and one of ten by a TCP connection that is closed after it."""
        listed, innocent = traffic.numbers(traffic.STATIC), traffic.numbers(traffic.INNOCENT)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", self._sip))
            for turn in itertools.count():
                number = listed[turn % len(listed)] if turn % 2 else innocent[turn % len(innocent)]
                via = (
                    f"SIP/2.0/UDP 127.0.0.1:{client.getsockname()[1]};branch=z9hG4bK{turn};rport",
                )
                data = message(number, via=via, changed={"Call-ID": f"c{turn}@soak"})
                began_s = time.monotonic()
                if turn % 10:
                    await loop.sock_sendall(client, data)
                    answer = await loop.sock_recv(client, 65_535)
                else:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._sip)
                    writer.write(data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP"))
                    answer = await reader.readuntil(b"\r\n\r\n")
                    writer.close()
                    await writer.wait_closed()
                self.course.delayed("sip", 1000 * (time.monotonic() - began_s))
                code = int(answer.split(b" ", 2)[1])
                if code != (603 if turn % 2 else 404) or b"c%d@soak" % turn not in answer:
                    self.course.wrong.append(f"{number}: {answer[:40]!r} by SIP")
                await asyncio.sleep(LOOKUP_S)

    async def _scrape(self) -> None:
        """All pages, by new connections, as Prometheus does it by kept ones."""
        while True:
            for port in self._health.values():
                async with _http(port) as client, client.get("/metrics") as answer:
                    await answer.read()
                self.course.counts["scrapes"] += 1
            await asyncio.sleep(SCRAPE_S)

    async def _feed(self) -> None:
        for version in itertools.count(1):
            await asyncio.sleep(FEED_S)
            await asyncio.to_thread(self._say_feed, version)
            self.course.counts["feed versions"] += 1

    def _say_feed(self, version: int) -> None:
        """A file that lacks a tenth of the numbers: a window that moves on."""
        every = traffic.numbers(traffic.FED)
        begins = version * MOVED % len(every)
        gone = range(begins, begins + len(every) // 10)
        kept = [number for place, number in enumerate(every) if place not in gone]
        aside = self._file.with_suffix(".new")
        aside.write_text("\n".join(kept))
        aside.replace(self._file)

    async def _probe(self) -> None:
        """Calls of a listed caller, from their append until that of their decision."""
        probe = {"caller": traffic.number(traffic.STATIC[0], 0), "callee": "+447700900123"}
        sent: dict[str, int] = {}
        async with (
            AIOKafkaProducer(bootstrap_servers=self.site.bootstrap, acks=1) as producer,
            AIOKafkaConsumer(bootstrap_servers=self.site.bootstrap) as consumer,
        ):
            parts = [TopicPartition(self.site.decisions, n) for n in range(traffic.PARTITIONS)]
            consumer.assign(parts)
            await consumer.seek_to_end(*parts)

            async def send() -> None:
                for turn in itertools.count():
                    call = {"call_id": f"probe-{turn}", "trunk": "intl-1", **probe}
                    put = await producer.send_and_wait(
                        self.site.calls, msgspec.json.encode(call), partition=turn % 4
                    )
                    sent[f"probe-{turn}"] = put.timestamp
                    await asyncio.sleep(PROBE_S)

            async def read() -> None:
                while True:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        for one in records:
                            self.course.counts["decisions"] += 1
                            if b'"probe-' not in one.value:
                                continue
                            name = json.loads(one.value)["call_id"]
                            while name not in sent:  # noqa: ASYNC110 - on the way
                                await asyncio.sleep(0.001)
                            self.course.delayed("decision", one.timestamp - sent.pop(name))

            async with asyncio.TaskGroup() as group:
                group.create_task(send())
                group.create_task(read())

    async def _traffic(self) -> None:
        words = ("--bootstrap", self.site.bootstrap, "--topic", self.site.calls)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.campaigns.soak_traffic", *words),
            *("--rate", str(self.plan.rate)),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                sent, late_ms = line.split()
                self.course.counts["calls"] = int(sent)
                self.course.delays["load late"].append((self.course.at_s(), float(late_ms)))
            raise AssertionError("the load ended")
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _now_s() -> int:
    return int(time.time())


@asynccontextmanager
async def _http(port: int) -> AsyncIterator[ClientSession]:
    async with ClientSession(
        f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=ClientTimeout(60),
        connector=TCPConnector(limit=4),
    ) as client:
        yield client


def more(least: list[int]) -> int:
    """Return by how much a count rose, if it did so in each quarter; `least`: of each.

    What is open at one moment only is not in the least. A pool opens a connection when its work
    first overlaps, and keeps it: a step. A leak rises in each quarter.
    """
    return least[-1] - least[0] if all(a < b for a, b in itertools.pairwise(least)) else 0


def judged(plan: Plan, course: Course) -> dict[str, Any]:
    """Figures of each process: the quarters after the warm-up, and what is more."""
    end_s = 60 * plan.minutes
    quarter_s = (end_s - plan.warm_s) / 4
    processes = {}
    for name, samples in course.samples.items():
        quarters = [
            [one for at, one in samples if begin_s <= at < begin_s + quarter_s]
            for begin_s in (plan.warm_s + turn * quarter_s for turn in range(4))
        ]
        if not all(quarters):
            continue
        figures: dict[str, Any] = {}
        for what in ("rss_mb", "anonymous_mb"):
            before, _, _, after = (median(getattr(one, what) for one in part) for part in quarters)
            figures[what] = [round(before, 1), round(after, 1)]
            figures[what.replace("_mb", "_growth_percent")] = round(100 * (after / before - 1), 2)
        for what in COUNTED:
            figures[what] = [min(getattr(one, what) for one in part) for part in quarters]
        processes[name] = figures
    latencies = {}
    for what, delays in course.delays.items():
        first_ms = [ms for at, ms in delays if plan.warm_s <= at < plan.warm_s + quarter_s]
        last_ms = [ms for at, ms in delays if at >= end_s - quarter_s]
        if first_ms and last_ms:
            latencies[what] = {
                f"p{share}_ms": [
                    round(float(np.percentile(part, share)), 1) for part in (first_ms, last_ms)
                ]
                for share in (50, 99)
            }
    return {
        "minutes": plan.minutes,
        "rate": plan.rate,
        "calls_per_s": round(course.counts["calls"] / end_s),
        "counts": dict(course.counts),
        "growth_percent": max(one["anonymous_growth_percent"] for one in processes.values()),
        "more": sum(more(one[what]) for one in processes.values() for what in COUNTED),
        "processes": processes,
        "latencies": latencies,
        "wrong": len(course.wrong),
    }


async def run(plan: Plan, folder: Path) -> tuple[dict[str, Any], Course]:
    """Start servers and processes, soak, and stop them."""
    with best_broker("kafka") as broker, best_redis() as redis:
        soak = Soak(plan, folder, broker.bootstrap, redis.url())
        await soak.prepare()
        with soak.running():
            await soak.fill()
            course = await soak.soak()
    return judged(plan, course), course


def main() -> int:
    """Soak as the options say; 1 if something grew, an answer was wrong or an error was logged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=100_000, help="CDR/s")
    parser.add_argument("--warm-s", type=float, default=600.0, help="not compared")
    parser.add_argument("--sample-s", type=float, default=10.0)
    parser.add_argument("--samples", type=Path, help="a file for all samples, as JSON")
    options = parser.parse_args()
    plan = Plan(options.minutes, options.rate, options.warm_s, options.sample_s)
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        figures, course = asyncio.run(run(plan, Path(name)))
    record("soak", figures)
    if options.samples is not None:
        told = {"samples": course.samples, "inside": course.inside, "delays": course.delays}
        options.samples.write_bytes(msgspec.json.encode({**told, "wrong": course.wrong}))
    sys.stdout.write(json.dumps(figures, indent=1) + "\n" + "\n".join(course.wrong[:20]) + "\n")
    grew = figures["more"] > 0 or figures["growth_percent"] > GROWTH_MAX
    return int(bool(course.wrong) or grew)


if __name__ == "__main__":
    raise SystemExit(main())

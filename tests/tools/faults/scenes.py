"""The scenes: how each alert's fault is caused, and how it is fixed, as the runbook says."""

import asyncio
import json
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

from tests.tools.faults.certificate import for_a_year
from tests.tools.faults.place import BUSY, LISTED, SIGHTED, Place, called

Cause = Callable[[Place], AbstractAsyncContextManager[None]]


NOBODY = 65_534
WHY = ("--reason", "a mistake")


@dataclass(frozen=True, slots=True)
class Scene:
    """A fault (inside its context) and the alerts that it must raise; left, they must clear."""

    alerts: tuple[str, ...]
    cause: Cause
    fires_s: float = 120.0
    clears_s: float = 240.0
    lead_s: float = 45.0
    """So much before the fault is part of its recording: rates have a past then."""
    holds_s: float = 3.0
    """So long the fault goes on once its alerts fire; at least one sample sees it."""


def _stopped(pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def _going(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def engine_stopped(place: Place) -> AsyncIterator[None]:
    place.stop("engine")
    yield
    place.start("engine")


@asynccontextmanager
async def feeds_stopped(place: Place) -> AsyncIterator[None]:
    place.stop("feeds")
    yield
    place.start("feeds")


@asynccontextmanager
async def kafka_hangs(place: Place) -> AsyncIterator[None]:
    _stopped([place.broker.pid])
    place.write_calls(place.cdr, 30)
    yield
    _going([place.broker.pid])


@asynccontextmanager
async def register_hangs(place: Place) -> AsyncIterator[None]:
    _stopped([place.register.pid])
    yield
    _going([place.register.pid])


@asynccontextmanager
async def workers_die(place: Place) -> AsyncIterator[None]:
    async def kill() -> None:
        while True:
            for pid in place.workers()[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(2)

    task = asyncio.create_task(kill())
    yield
    task.cancel()


@asynccontextmanager
async def a_worker_hangs(place: Place) -> AsyncIterator[None]:
    one = place.workers()[:1]
    _stopped(one)
    await asyncio.to_thread(place.type, "lists", "add", "TH/national", "+66811111111")
    yield
    _going(one)


@asynccontextmanager
async def starved(place: Place) -> AsyncIterator[None]:
    """The machine gives the workers a sixtieth of its time, and many call."""
    workers = place.workers()
    numbers = random.Random(5)

    values = [called(f"+6687{n:07d}", numbers) for n in range(30_000)]

    async def squeeze() -> None:
        while True:
            await asyncio.sleep(2.95)
            _going(workers)
            await asyncio.sleep(0.05)
            _stopped(workers)

    async def crowd() -> None:
        while True:
            await place.send("calls", values)

    _stopped(workers)
    for _ in range(10):
        await place.send("calls", values)

    tasks = [asyncio.create_task(squeeze()), asyncio.create_task(crowd())]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)
    _going(workers)


@asynccontextmanager
async def slowed(place: Place) -> AsyncIterator[None]:
    """A batch is one record, so the engine is a hundred times slower, and many call."""
    numbers = random.Random(11)
    values = [called(f"+6687{n:07d}", numbers) for n in range(30_000)]

    async def crowd() -> None:
        while True:
            await place.send("calls", values)

    place.set("[calls]", "[calls]\nbatch_records_max = 1")
    await asyncio.to_thread(place.again, "engine")
    task = asyncio.create_task(crowd())
    yield
    task.cancel()
    place.set("[calls]\nbatch_records_max = 1", "[calls]")
    await asyncio.to_thread(place.again, "engine")


@asynccontextmanager
async def garbage(place: Place) -> AsyncIterator[None]:
    async def send() -> None:
        while True:
            await place.send("calls", [b"INVITE sip:+6621234567@192.0.2.1"] * 10)
            await asyncio.sleep(0.5)

    task = asyncio.create_task(send())
    yield
    task.cancel()


@asynccontextmanager
async def another_dialect(place: Place) -> AsyncIterator[None]:
    line = b'{"method":"INVITE","from_tag":"x","src_user":"+66812345670","dst_user":"+6621234567"}'
    await place.send("calls.other", [line] * 200)
    yield
    await place.send("calls.other", [called(f"+6687{n:07d}", random.Random(n)) for n in range(60)])


@asynccontextmanager
async def poisoned(place: Place) -> AsyncIterator[None]:
    await asyncio.to_thread(place.type, "lists", "add", "TH/national", BUSY)
    yield
    await asyncio.to_thread(place.type, "lists", "remove", "TH/national", BUSY, *WHY)


@asynccontextmanager
async def emptied(place: Place) -> AsyncIterator[None]:
    await asyncio.to_thread(place.type, "lists", "remove", "TH/national", LISTED, *WHY)
    yield
    await asyncio.to_thread(place.type, "lists", "add", "TH/national", LISTED)


@asynccontextmanager
async def nobody_calls(place: Place) -> AsyncIterator[None]:
    place.is_silent = True
    yield
    place.is_silent = False


@asynccontextmanager
async def damaged(place: Place) -> AsyncIterator[None]:
    """A byte of a record batch changes on the broker's disk, before the engine reads it."""
    place.stop("engine")
    await place.send("calls.other", [called("+66870000001", random.Random(1))] * 3)
    await asyncio.sleep(1)
    for log in place.broker.folder.rglob("calls.other-*/*.log"):
        data = bytearray(log.read_bytes())
        if data:
            data[-20] ^= 1
            with log.open("r+b") as file:
                file.write(data)
    place.start("engine")
    yield
    place.set("[calls]", '[calls]\ncorrupt_batches = "skip"')
    await asyncio.to_thread(place.again, "engine")


@asynccontextmanager
async def shrunk(place: Place) -> AsyncIterator[None]:
    whole = place.feed.read_text()
    place.feed.write_text("+855310000001\n")
    yield
    held = json.loads(await asyncio.to_thread(place.type, "feeds", "held", "kh", "--json", code=1))
    version = ("--version", held[0]["id"], *WHY)
    place.feed.write_text(whole)
    await asyncio.to_thread(place.type, "feeds", "refuse", "kh", *version)


@asynccontextmanager
async def a_page_for_a_feed(place: Place) -> AsyncIterator[None]:
    whole = place.feed.read_text()
    place.feed.write_bytes(b"PK\x03\x04" + os.urandom(2000))
    yield
    place.feed.write_text(whole)


@asynccontextmanager
async def no_feed(place: Place) -> AsyncIterator[None]:
    away = place.feed.with_suffix(".away")
    place.feed.rename(away)
    yield
    away.rename(place.feed)


@asynccontextmanager
async def wrong_feed_file(place: Place) -> AsyncIterator[None]:
    file = place.folder / "feeds" / "kh.toml"
    right = file.read_text()
    file.write_text(right.replace('format = "text"', 'format = "txt"'))
    yield
    file.write_text(right)


@asynccontextmanager
async def root_pulled(place: Place) -> AsyncIterator[None]:
    """Somebody pulled the feed as another user: its lock is that user's. Root alone can do that."""
    lock = place.folder / "state" / "feeds" / "kh" / "fetching.lock"
    os.chown(lock, NOBODY, -1)
    yield
    os.chown(lock, os.geteuid(), -1)


@asynccontextmanager
async def broken_agreement(place: Place) -> AsyncIterator[None]:
    file = place.folder / "agreements" / "th-kh.toml"
    file.write_text('parties = ["TH", "KH"\n')
    yield
    file.unlink()


@asynccontextmanager
async def unanswered(place: Place) -> AsyncIterator[None]:
    said = await asyncio.to_thread(
        place.type, "appeals", "new", LISTED, "--reason", "I call nobody", "--json"
    )
    yield
    appeal = json.loads(said)["appeal"]
    await asyncio.to_thread(place.type, "appeals", "reject", appeal, "--reason", "seen in the act")


@asynccontextmanager
async def evicting(place: Place) -> AsyncIterator[None]:
    with redis.Redis.from_url(place.proxies.url()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", used + 300_000)
        for number in range(3000):
            client.set(f"other:{number}", "x" * 500, ex=600)
        yield
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")


@asynccontextmanager
async def register_full(place: Place) -> AsyncIterator[None]:
    with redis.Redis.from_url(place.register.url()) as client:
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory", int(used * 1.05))
        yield
        client.config_set("maxmemory", 0)


@asynccontextmanager
async def proxies_hang(place: Place) -> AsyncIterator[None]:
    numbers = random.Random(7)
    _stopped([place.proxies.pid])

    async def fraud() -> None:
        while True:
            await place.send("calls", [called(LISTED, numbers) for _ in range(300)])
            await asyncio.sleep(0.5)

    task = asyncio.create_task(fraud())
    yield
    task.cancel()
    _going([place.proxies.pid])


@asynccontextmanager
async def more_keys_than_room(place: Place) -> AsyncIterator[None]:
    numbers = random.Random(9)
    many = [f"+66855500{n:03d}" for n in range(300)]
    await asyncio.to_thread(place.type, "lists", "add", "TH/national", *many)
    await asyncio.sleep(2)
    await place.send("calls", [called(number, numbers) for number in many])
    yield
    place.set("keys_max = 100", "keys_max = 4000")
    await asyncio.to_thread(place.again, "sink-redis")


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@asynccontextmanager
async def nobody_receives(place: Place) -> AsyncIterator[None]:
    yield
    server = ThreadingHTTPServer(("127.0.0.1", place.ports["hook"]), _Taking)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()


@asynccontextmanager
async def short_certificate(place: Place) -> AsyncIterator[None]:
    """`serve` has had it since its start; a year's takes its place."""
    yield
    for_a_year(place.folder)
    place.set("short", "long")
    await asyncio.to_thread(place.again, "serve")


@asynccontextmanager
async def nobody_signs(place: Place) -> AsyncIterator[None]:
    """Signatures by people end within the month, the machine's key is away."""
    yield
    Path(place.folder / "th" / "away").rename(place.keys)
    sticks = [word for stick in place.sticks for word in ("--keys", str(stick))]
    for key in ("root-1", "targets-1"):
        await asyncio.to_thread(place.type, "exchange", "key", "rotate", key, *sticks)
    await asyncio.to_thread(place.again, "exchange")
    await asyncio.to_thread(place.again, "enforcement")


@asynccontextmanager
async def a_partner_doubts(place: Place) -> AsyncIterator[None]:
    """KH publishes that a number on our list is innocent; our enforcement reads it."""
    why = ("--reason", "a hospital")
    for home in ("TH", "KH"):
        await asyncio.to_thread(place.type, "lists", "add", "TH/national", SIGHTED, home=home)
    sight = ("enforcement", "sight", "TH/national", SIGHTED, *why)
    await asyncio.to_thread(place.type, *sight, home="KH")
    await asyncio.to_thread(place.type, "enforcement", "publish", home="KH")
    yield


@asynccontextmanager
async def nobody_publishes(place: Place) -> AsyncIterator[None]:
    """The machine's keys are away: there is something to tell, and it cannot be signed."""
    away = place.keys.with_name("gone")
    place.keys.rename(away)
    sight = ("enforcement", "sight", "KH/scam", "+855310000007", "--reason", "a hospital")
    await asyncio.to_thread(place.type, *sight)
    await asyncio.to_thread(place.again, "enforcement")
    yield
    away.rename(place.keys)
    await asyncio.to_thread(place.again, "enforcement")


@asynccontextmanager
async def restored_from_nothing(place: Place) -> AsyncIterator[None]:
    """The register comes back empty, and the feeds make another one of it at once."""
    with redis.Redis.from_url(place.register.url()) as client:
        client.flushdb()
        yield
        writers = ("feeds", "exchange", "enforcement")
        for name in writers:
            await asyncio.to_thread(place.stop, name)
        client.flushdb()
        reason = ("--from-state", "--reason", "Redis came back empty")
        for name in ("TH/national", "KH/scam"):
            await asyncio.to_thread(place.type, "lists", "repair", name, *reason)
        for name in writers:
            place.start(name)

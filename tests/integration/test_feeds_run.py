"""`ringfence feeds run`: all feeds at once, none waiting for another, and stopped in order."""

import asyncio
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stream.feeds.follow.subprocess_job import JobLimits, WorkFailed, WorkFault, apart
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from tests.bench.machine import tree
from tests.support import waiting
from tests.support.engine import Engine
from tests.support.feeds import HEAD, kh
from tests.support.waiting import REDIS_S

HTTP = """
list = "KH/{name}"
format = "text"
[owner]
name = "KH"
contact = "x"
[from]
kind = "http"
url = "{url}"
[schedule]
every = "1s"
"""


class Site:
    """A folder of feeds, settings for it, and the process that follows them."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self.folder = folder
        self.feeds = folder / "feeds"
        self.feeds.mkdir()
        self.config = folder / "ringfence.toml"
        self.config.write_text(
            f'[redis]\nurl = "{url}"\ntimeout_s = {REDIS_S}\n'
            f'[lists]\nstate_dir = "{folder}/state"\n'
            f'[feeds]\ndir = "{self.feeds}"\nhttp_port = {port}\nreload_s = 0.2\n'
            f"retry_s_first = 0.2\nretry_s_most = 1\nversion_s_max = 3600\n"
            f"[ops]\nshutdown_s = 200\n"
        )
        self.engine = Engine(self.config, "feeds", "run", port=port)
        self.metric = self.engine.metric

    def file_feed(self, name: str, lines: list[str], extra: str = "") -> Path:
        path = self.folder / f"{name}.txt"
        path.write_text("".join(f"{line}\n" for line in lines))
        text = HEAD.format(format="text", extra=extra, path=path, tail='[schedule]\nevery = "1s"')
        (self.feeds / f"{name}.toml").write_text(text.replace("KH/scam", f"KH/{name}"))
        return path

    def http_feed(self, name: str, url: str) -> None:
        (self.feeds / f"{name}.toml").write_text(HTTP.format(name=name, url=url))

    @contextmanager
    def running(self) -> Iterator[Engine]:
        """The process, started; its log is that of this start."""
        with self.engine as engine:
            engine.start()
            yield engine


@pytest.fixture
def site(tmp_path: Path, redis_url: str, unused_tcp_port: int) -> Site:
    return Site(tmp_path, redis_url, unused_tcp_port)


async def until(true: Callable[[], bool]) -> None:
    await waiting.until(lambda: asyncio.to_thread(true), "what another process does", 0.05)


async def numbers_on(register: ListStore, name: str) -> set[str]:
    _, columns = await entries_of(register, name, b"")
    return {f"+{digits}" for digits in columns.number.tolist()}


@pytest.fixture
def hanging() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/list"


async def test_one_feeds_trouble_is_not_anothers(site, register, hanging):
    """A server that hangs, one that is not there and a file that is no list delay nobody else.

    Each is seen by its name in /metrics; SIGTERM ends all of it in order, the hanging one too.
    """
    site.http_feed("hangs", hanging)
    site.http_feed("away", "http://127.0.0.1:1/list")
    site.file_feed("good", kh(1, 2))
    (site.file_feed("broken", [])).write_bytes(b"\0\1\2" * 1000)
    with site.running() as engine:
        await until(lambda: site.metric("ringfence_feed_numbers", feed="good") == 2)
        assert await numbers_on(register, "KH/good") == set(kh(1, 2))
        refused = {"feed": "broken", "verdict": "refused", "reason": "not_the_format"}
        await until(lambda: site.metric("ringfence_feed_versions_total", **refused) == 1)
        await until(lambda: site.metric("ringfence_feed_consecutive_failures", feed="away") > 1)
        (site.folder / "good.txt").write_text("\n".join(kh(1, 2, 3)))
        await until(lambda: site.metric("ringfence_feed_numbers", feed="good") == 3)
        assert await asyncio.to_thread(engine.stop) == 0
        assert "stopping" in engine.log()


async def test_a_broken_feed_file_at_the_start_keeps_only_that_feed_down(site, register):
    """The others are followed; once it is corrected, it is too, without a restart."""
    site.file_feed("good", kh(1, 2))
    site.file_feed("bad", kh(3))
    broken = site.feeds / "bad.toml"
    right = broken.read_text()
    broken.write_text(right.replace('format = "text"', 'format = "txt"'))
    with site.running() as engine:
        await until(lambda: site.metric("ringfence_feed_numbers", feed="good") == 2)
        assert site.metric("ringfence_feed_file_wrong", feed="bad") == 1
        assert "this feed is not followed, the others are" in site.engine.log()
        assert "bad.toml: format" in site.engine.log()
        broken.write_text(right)
        await until(lambda: site.metric("ringfence_feed_numbers", feed="bad") == 1)
        assert site.metric("ringfence_feed_file_wrong", feed="bad") == 0
        assert engine.stop() == 0


async def test_a_changed_feed_file_takes_effect(site, register):
    """A new feed file is followed, a changed one read again, a wrong one changes nothing."""
    site.file_feed("one", kh(1))
    with site.running():
        await until(lambda: site.metric("ringfence_feed_numbers", feed="one") == 1)
        site.file_feed("two", ["+66812345678"])
        held = {"feed": "two", "reason": "country_not_allowed"}
        await until(lambda: site.metric("ringfence_feed_versions_total", **held) == 1)
        await until(lambda: site.metric("ringfence_feed_held", feed="two") == 1)
        site.file_feed("two", ["+66812345678"], 'may_list = ["TH"]')
        await until(lambda: site.metric("ringfence_feed_numbers", feed="two") == 1)
        (site.feeds / "one.toml").write_text("list = 1")
        await until(lambda: site.metric("ringfence_feed_file_wrong", feed="one") == 1)
        (site.folder / "one.txt").write_text("\n".join(kh(1, 2)))
        await until(lambda: site.metric("ringfence_feed_numbers", feed="one") == 2)
        assert 'feed_held{feed="two"}' in site.engine.page("/metrics")[1]
        (site.feeds / "two.toml").unlink()
        await until(lambda: "its file is gone" in site.engine.log())
        # An alert on it would fire until a restart.
        await until(lambda: 'feed_held{feed="two"}' not in site.engine.page("/metrics")[1])


async def test_a_killed_supervisor_leaves_nothing_half(site, register):
    """Kill -9 while versions come in: its processes end with it, and the next one goes on."""
    path = site.file_feed("one", kh(*range(300)))
    with site.running() as engine:
        await until(lambda: site.metric("ringfence_feed_numbers", feed="one") == 300)
        path.write_text("\n".join(kh(*range(50, 350))))
        await asyncio.sleep(0.4)
        children = tree(engine.process.pid)[1:]
        engine.kill()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    with site.running():

        async def right() -> bool:
            return await numbers_on(register, "KH/one") == set(kh(*range(50, 350)))

        await waiting.until(right, "the numbers of the last version")


def test_a_process_that_takes_too_much_is_ended():
    """Memory, CPU and time of the work on one version have a limit, and the fault names it."""
    for work, memory_mb, cpu_s, within_s, reason in (
        (eats, 600, 60, 60, WorkFault.MEMORY),
        (spins, 4096, 1, 600, WorkFault.CPU),
        (sleeps, 4096, 60, 0.3, WorkFault.DEADLINE),
        (dies, 4096, 60, 60, WorkFault.DIED),
    ):
        limits = JobLimits(memory_max=memory_mb << 20, cpu_s_max=cpu_s)
        with pytest.raises(WorkFailed) as caught:
            asyncio.run(apart(work, b"", limits, within_s=within_s))
        assert caught.value.reason is reason


def spins(_: bytes) -> bytes:
    """An expression without end: it holds the interpreter, and no signal handler gets a turn."""
    return bytes(re.fullmatch("(a*)*b", "a" * 64) is not None)


def eats(_: bytes) -> bytes:
    return bytes(4 << 30)


def sleeps(_: bytes) -> bytes:
    time.sleep(60)
    return b""


def dies(_: bytes) -> bytes:
    os._exit(7)

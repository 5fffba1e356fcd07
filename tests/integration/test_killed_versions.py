"""kill -9 of an import, a rebuild, a rollback or a repair at any step: the old list or the new."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from redis.asyncio.connection import AbstractConnection

from stream.core.filters.snapshot import read_snapshot
from stream.feeds.import_file import import_file
from stream.lists.follower.repair import look, put_back
from stream.lists.store.heads import Removal
from stream.lists.store.list_content import entries_of
from stream.lists.store.list_store import ListStore
from stream.lists.store.rewrite import rebuild, rollback
from tests.support.builders import NOW_S, entry
from tests.support.killed_importer import REBUILD
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    add,
    chained,
    held_numbers,
    numbers,
    opened,
    remove,
    request,
    running,
    until,
    write,
)
from tests.support.waiting import REDIS_S

STEPS_MAX = 60


class Killed(BaseException):
    """The process is gone: nothing that it does from here on reaches Redis."""


@contextlib.contextmanager
def killed_after(commands: int) -> Iterator[None]:
    """Of everything that is sent to Redis in here, only the first `commands` requests arrive."""
    send, sent = AbstractConnection.send_packed_command, 0

    async def counted(self, *args, **kwargs):
        nonlocal sent
        if sent >= commands:
            raise Killed
        sent += 1
        return await send(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", counted)
        yield


async def made(register: ListStore, name: str, load) -> None:
    """Create 1, import 2-3, change 4 and 5."""
    await register.create(name, "plain", BY)
    await load(register, BASE[:30], name=name)
    await changed(register, name)


async def changed(register: ListStore, name: str) -> None:
    await register.add(name, [entry(BASE[30])], BY)
    await register.remove(name, [Removal(entry(BASE[0]).fingerprint, BASE[0])], BY)


OLD, BACK = set(BASE[1:31]), set(BASE[:30])


async def held(register: ListStore, name: str) -> set[str]:
    _, columns = await entries_of(register, name, b"")
    return {f"+{digits}" for digits in columns.number.tolist()}


@pytest.fixture(autouse=True)
def _always_a_base(monkeypatch):
    monkeypatch.setattr("stream.feeds.import_file.CHANGES_MAX", 0)
    monkeypatch.setattr(
        "stream.lists.snapshot.build.TRIED", 1 << 10
    )  # false positives are not the subject


@pytest.mark.parametrize("way", ["rebuild", "rollback"])
async def test_killed_at_every_command(redis_url, raw, load, way):
    """After whichever command it is killed: old or new, whole; the next one cleans up behind it."""
    async with opened(redis_url) as register:
        for commands in range(STEPS_MAX):
            name = f"TH/k{commands}"
            await made(register, name, load)
            ended = False
            with contextlib.suppress(Killed), killed_after(commands):
                async with opened(redis_url) as dying:
                    if way == "rebuild":
                        await rebuild(dying, name, b"", BY, NOW_S)
                    else:
                        await rollback(dying, name, 3, b"", BY, NOW_S)
                    ended = True
            now = await held(register, name)
            head = (await register.heads()).lists[name]
            assert now in ((OLD,) if way == "rebuild" else (OLD, BACK)), commands
            assert head.count == len(now)
            assert not ended or now == (OLD if way == "rebuild" else BACK)
            await rebuild(register, name, b"", BY, NOW_S)
            assert await held(register, name) == now
            kept = {f"{base.generation}" for base in await register.past.bases(name)}
            bases = {
                key.split(":base:")[1].split(":")[0] for key in raw.keys(f"rf:*{name}*:base:*")
            }
            assert bases == kept, commands
            if ended:
                break
        assert ended, "more commands than expected"
        assert commands > 10


async def test_a_repair_killed_at_every_command(redis_url, load, worker):
    """A repair that is killed has changed nothing or all, and can be done again."""
    name = "TH/national"
    async with opened(redis_url) as register:
        await register.create(name, "plain", BY)
        await load(register, BASE[:30], name=name)
        with redis.Redis.from_url(redis_url) as client:
            older = {key: client.dump(key) for key in client.keys("*")}
        await changed(register, name)
        async with running(worker):
            journal = worker.state_dir / "lists" / name / "changes.jsonl"
            await until(lambda: journal.exists() and BASE[0] in journal.read_text())
        for commands in range(STEPS_MAX):
            with redis.Redis.from_url(redis_url) as client:
                client.flushdb()
                for key, value in older.items():
                    client.restore(key, 0, value)
            ended = False
            with contextlib.suppress(Killed), killed_after(commands):
                async with opened(redis_url) as dying:
                    found = await look(dying, name, worker.state_dir, {"plain": b""})
                    await put_back(dying, found, b"", BY, NOW_S)
                    ended = True
            assert await held(register, name) in (OLD, BACK)
            if ended:
                break
        assert ended
        assert await held(register, name) == OLD


async def test_a_process_killed_for_real(redis_url, raw, load, tmp_path):
    """`lists rebuild` killed by the system while it writes leaves the list as it was."""
    config = tmp_path / "ringfence.toml"
    config.write_text(
        f'[redis]\nurl = "{redis_url}"\ntimeout_s = {REDIS_S}\n'
        f'[lists]\nstate_dir = "{tmp_path}/state"\n'
    )
    async with opened(redis_url) as register:
        await made(register, "TH/real", load)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stream", "lists", "rebuild", "TH/real"),
            *("--config", str(config)),
            stdout=asyncio.subprocess.DEVNULL,
        )
        await until(lambda: raw.exists("rf:list:{TH/real}:writing") == 1)
        os.kill(process.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert await held(register, "TH/real") == OLD
        await rebuild(register, "TH/real", b"", BY, NOW_S)
        assert await held(register, "TH/real") == OLD


LISTED, IMPORTED = numbers(300, 1), numbers(310, 2)
STEPS_MIN = 40


class Program:
    """The program whose children die one step later each time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def dies(self, work: object) -> bool:
        """Report whether the child that did this work was killed; else it finished the work."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer in {"killed", "done 0"}, answer
        return answer == "killed"


@contextmanager
def program(url: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "tests.support.killed_importer", url]
    pipe, root = subprocess.PIPE, Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:
        yield Program(process)
        assert process.stdin is not None
        process.stdin.close()


async def whole(register) -> set[str]:
    """Return the numbers on the list, after a check that it is in order."""
    await register.heads()  # whatever the dead had sent was done before this is answered
    held = await held_numbers(register)
    head = (await register.heads()).lists[NAME]
    assert head.count == len(held)
    read_snapshot(await register.read_base(NAME, head.base), key=b"")
    await chained(register)
    return held


def left_over(raw) -> set[str]:
    """The bases in Redis that the list does not know of."""
    kept = set(raw.lrange(f"rf:list:{{{NAME}}}:bases", 0, -1))
    return {key.split(":base:")[1].split(":")[0] for key in raw.keys("rf:*:base:*")} - kept


async def test_kill_the_importer_at_every_step(register, raw, redis_url, tmp_path):
    """Wherever the importer dies, the list is wholly the old or wholly the new generation, it can
    be read, its chain is whole; and the next import leaves nothing of those that died.
    """
    files = {"old": write(tmp_path / "old", LISTED), "new": write(tmp_path / "new", IMPORTED)}
    content = {"old": set(LISTED), "new": set(IMPORTED)}
    await import_file(register, request(files["old"], replace=True), NOW_S)
    now, killed, published, died = "old", 0, 0, True
    with program(redis_url) as importer:
        while died:
            wanted = "old" if now != "old" else "new"
            died = importer.dies(files[wanted])
            held = await whole(register)
            assert held in (content[now], content[wanted]), f"a mix after step {killed}"
            published += died and held == content[wanted]
            now = wanted if held == content[wanted] else now
            killed += died
    assert killed >= STEPS_MIN
    assert published  # some died after it was live, and before they had said so
    assert not left_over(raw)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


async def test_kill_a_rebuild_at_every_step(register, raw, redis_url, tmp_path):
    """Wherever it dies, what is listed is what was listed; and the next one leaves nothing."""
    await import_file(register, request(write(tmp_path / "old", LISTED), replace=True), NOW_S)
    await add(register, *IMPORTED[:5])
    await remove(register, *LISTED[:5])
    listed, killed = {*LISTED[5:], *IMPORTED[:5]}, 0
    with program(redis_url) as rebuilder:
        while rebuilder.dies(REBUILD):
            assert await whole(register) == listed, f"after step {killed}"
            killed += 1
    assert await whole(register) == listed
    assert killed >= STEPS_MIN
    assert not left_over(raw)

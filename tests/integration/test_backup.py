"""`ringfence backup` and `restore`: one moment of a list store that changes, and all of it back."""

import asyncio
import contextlib
import fcntl
import io
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.core.model.allowlist import AllowEntry
from stream.core.model.enforcement_document import CallOutcome
from stream.core.model.errors import BackupUnreadable, FormatNewer, RestoreRefused
from stream.core.model.on_trial import Target, TrialKind, TrialStatus, Turned
from stream.lists.backup.backup_keys import opening_key
from stream.lists.backup.backup_records import BackupList, BackupSummary
from stream.lists.backup.copy_store import StoreCopy
from stream.lists.backup.newer_states import NEVER_THERE
from stream.lists.backup.restore_store import checked, restore
from stream.lists.backup.sealed_file import SealedWriter
from stream.lists.follower.follow_promotions import last_known
from stream.lists.follower.local_state import known, last_good
from stream.lists.store.audit_entries import Verification
from stream.lists.store.enforcement_counts import Cell, DecisionCounts
from stream.lists.store.enforcement_store import EnforcementStore
from stream.lists.store.heads import By
from stream.lists.store.list_content import content, entries_of, past_of
from stream.lists.store.list_store import AUDIT_MAX, ListStore
from stream.lists.store.promotions import TrialStore
from stream.lists.store.redis_client import Closing, client
from stream.lists.store.rewrite import rebuild
from stream.lists.store.settings import ListStoreSettings
from stream.ops.tasks import cancelled
from tests.support import waiting
from tests.support.builders import NOW_S, entry, fingerprint_of
from tests.support.commands import Operator, command
from tests.support.engine import ROOT
from tests.support.lists import (
    BASE,
    BY,
    NAME,
    ONE,
    THREE,
    TWO,
    Worker,
    add,
    enforced,
    held_numbers,
    numbers,
    opened,
    removal,
    running,
    until,
)

FAST = "KH/scam"
PROMOTED = Target(TrialKind.LIST, FAST)
DAY = date(2026, 11, 25)


class Site:
    """A list store, an empty one, a key, and the commands that go from one to the other."""

    def __init__(self, folder: Path, urls: list[str]) -> None:
        self.folder = folder
        self.here, self.there = urls
        self.file = folder / "lists.rfb"
        self.key = folder / "backup.pem"
        (folder / "here").mkdir()
        (folder / "there").mkdir()
        self.ours = Operator.at(folder / "here", self.here)
        self.theirs = Operator.at(folder / "there", self.there)

    def makes_key(self) -> None:
        assert command("backup-key", str(self.key)).code == 0

    def backs_up(self) -> Any:
        public = str(self.key.with_suffix(".pub"))
        return self.ours.asks("backup", str(self.file), "--key", public)

    def restores(self, *words: str) -> Any:
        return self.theirs.asks("restore", str(self.file), "--key", str(self.key), *words)


@pytest.fixture
def site(tmp_path: Path, urls: list[str]) -> Site:
    made = Site(tmp_path, urls)
    made.makes_key()
    return made


def raw(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


async def backed_up(site: Site) -> BackupSummary:
    """Back up in this very loop, beside what changes the list store."""
    redis, key = client(settings_of(site.here)), opening_key(site.key)
    async with Closing(redis):
        with site.file.open("wb") as file:
            writer = SealedWriter(file, key.sealing, "", NOW_S)
            summary = await StoreCopy(redis, writer.add).run()
            writer.end(summary)
    return summary


async def restored(site: Site) -> None:
    redis, key = client(settings_of(site.there)), opening_key(site.key)
    async with Closing(redis):
        with site.file.open("rb") as file:
            whole = checked(file, "the backup", key)
            await restore(redis, file, "the backup", key, whole, replace=False)


async def audit_of(store: ListStore) -> Verification:
    head = await store.past.audit_head()
    found = Verification(head, AUDIT_MAX)
    async for identity, fields in store.past.audit_items(head.last_id):
        found.take(identity, fields)
    found.finish()
    return found


def settings_of(url: str) -> ListStoreSettings:
    return ListStoreSettings(url, timeout_s=waiting.REDIS_S)


@contextlib.asynccontextmanager
async def changing(url: str) -> AsyncIterator[None]:
    """Change everything that a list store holds, without a pause."""

    async def lists(store: ListStore) -> None:
        for n in count():
            number = f"+66{n % 400:09d}"
            await asyncio.sleep(0.002)
            await store.add(FAST, [entry(number)], BY)
            if n % 3 == 0:
                await store.remove(FAST, [removal(number)], BY)

    async def bases(store: ListStore) -> None:
        for n in count():
            await store.add(NAME, [entry(f"+662{n % 90:08d}")], BY)
            await rebuild(store, NAME, b"", By("rebuilder"), NOW_S)

    async def born(store: ListStore) -> None:
        for n in count():
            await asyncio.sleep(0.01)
            await store.create(f"LA/l{n % 5}", "plain", BY)
            await store.add(f"LA/l{n % 5}", [entry(ONE)], BY)
            await store.delete(f"LA/l{n % 5}", BY)

    async def allows(store: ListStore) -> None:
        for n in count():
            await asyncio.sleep(0.005)
            await store.allow_add([AllowEntry(f"+667{n % 50:08d}", "", "x", NOW_S, 0)], BY)

    async def counts() -> None:
        async with EnforcementStore.open(settings_of(url)) as enforced_store:
            at, _ = await enforced_store.progress("decisions/0")
            for n in count((at.offset or 0) + 1):
                batch = DecisionCounts(
                    ids=[n.to_bytes(8, "big")],
                    calls=Counter({(Cell(NAME, DAY, "scam"), CallOutcome.BLOCKED): 1}),
                )
                made = await enforced_store.count("decisions/0", at, n, batch)
                assert made is not None
                at = made

    async with opened(url) as store:
        jobs = (*(job(store) for job in (lists, bases, born, allows)), counts())
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            with raw(url) as client:
                before = int(client.hget("rf:audit:head", "count") or 0)
                await waiting.until(
                    lambda: int(client.hget("rf:audit:head", "count") or 0) > before + 100,
                    "a hundred changes",
                )
            yield
            assert not [task for task in tasks if task.done()], "a change failed"
        finally:
            await cancelled(*tasks, again_s=0.2)


async def test_a_backup_is_one_moment_of_a_store_that_changes(site: Site, load) -> None:
    """Lists, history, audit and counts of a restored store are as they were at one moment, though
    every one of them changed all the time: each list is what its generation was at home, the
    audit ends with that very generation, and as many calls are counted as the position says.
    """
    async with opened(site.here) as home:
        for name in (NAME, FAST):
            await home.create(name, "plain", BY)
        await load(home, BASE)
        for _ in range(3):
            with raw(site.there) as client:
                client.flushdb()
            async with changing(site.here):
                summary = await backed_up(site)
            await restored(site)
            async with opened(site.there) as away:
                await _is_moment_of(home, away, site.there, summary)


async def _is_moment_of(home: ListStore, away: ListStore, url: str, told: BackupSummary) -> None:
    heads = await away.heads()
    assert heads.identity == told.list_store
    assert {
        name: BackupList(head.generation, head.count) for name, head in heads.lists.items()
    } == (told.lists)
    last: dict[str, int] = {}
    async for one in away.past.audit():
        last.setdefault(one.list_name, one.generation)
    for name, head in heads.lists.items():
        _, there = await entries_of(away, name, b"")
        assert there.numbers == head.count
        if name == FAST:  # without a base, so all of its past is known
            then = await content(home, await past_of(home, name), head.generation, b"")
            assert there.number.tolist() == then.number.tolist()
            assert head.generation == last[name]
    audit = await audit_of(away)
    assert not audit.troubles
    async with EnforcementStore.open(settings_of(url)) as counted:
        at, ids = await counted.progress("decisions/0")
        figures = await counted.figures(NAME, DAY)
    blocked = figures.by_category["scam"].blocked
    assert blocked == at.offset == len(ids)
    assert heads.allow.generation == told.allow_generation


def test_a_lost_store_comes_back_from_a_backup_and_what_workers_know(site: Site, load) -> None:
    """Changes after the backup come from a worker's state directory: lists, one that the
    backup does not have, the allowlist and promotions. What nobody holds is named.
    """
    asyncio.run(_lost(site, load))


async def _lost(site: Site, load) -> None:
    state = site.folder / "worker"
    async with opened(site.here) as home:
        for name in (NAME, FAST):
            await home.create(name, "plain", BY)
        await load(home, BASE)
        await add(home, ONE)
        site.backs_up()
        worker = Worker(site.here, state)
        async with running(worker):
            await home.create("LA/late", "plain", BY)
            await home.add("LA/late", [entry(THREE)], BY)
            await add(home, TWO)
            await home.allow_add([AllowEntry("+6621111111", "a clinic", "x", NOW_S, 0)], BY)
            async with TrialStore.open(settings_of(site.here)) as trials:
                made = Turned(standing=TrialStatus.FORCE, at_s=NOW_S, actor="x", reason="y")
                await trials.turn(PROMOTED, None, made, BY, "promote", "")
            await enforced(worker, TWO)
            await waiting.until(lambda: _is_kept(state), "what the worker writes down")
        await home.create("VN/unseen", "plain", BY)  # no worker saw it, and no backup
    told = site.restores("--state", str(state))
    async with opened(site.there) as away:
        heads = await away.heads()
        assert await held_numbers(away) == {*BASE, ONE, TWO}
        assert set(heads.lists) == {NAME, FAST, "LA/late"}
        assert [one.text for one in (await away.allow_all())[1]] == ["+6621111111"]
        assert not (await audit_of(away)).troubles
    async with TrialStore.open(settings_of(site.there)) as trials:
        assert (await trials.read()).trials.turned[PROMOTED].standing is TrialStatus.FORCE
    by_name = {one["name"]: one for one in told["restored"]}
    assert by_name[NAME]["in_state"] > by_name[NAME]["in_backup"]
    assert by_name[NAME]["generation"] >= by_name[NAME]["in_state"]
    assert by_name["LA/late"]["in_backup"] is None
    assert (told["allow_entries_put_back"], told["promotions_put_back"]) == (1, 1)
    assert told["missing"] == [f"{NEVER_THERE} after {told['moment']}"]
    # The very worker takes the restored list store for its own, which went on.
    worker = Worker(site.there, state)
    async with running(worker):
        await until(lambda: not worker.refresher.behind)
        assert worker.listed(TWO)


def _is_kept(state: Path) -> bool:
    held, _ = last_good(state, {"plain": b""}, 0)
    entries = {change for one in held.values() for change in one.live.overlay.entries}
    wanted = {fingerprint_of(TWO), fingerprint_of(THREE)}
    at = known(state).head.generation
    return wanted <= entries and at == 1 and bool(last_known(state).trials.turned)


def test_only_an_empty_store_is_restored_or_one_that_is_to_be_replaced(site: Site) -> None:
    """Without --replace a store that holds anything is left as it is; with it, all of it goes."""
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    site.backs_up()
    site.theirs.types("lists", "create", FAST, "--circle", "plain")
    before = dump(site.there)
    with pytest.raises(RestoreRefused, match=r"not empty .*--replace"):
        site.restores()
    assert dump(site.there) == before
    site.restores("--replace")
    assert [one["list"] for one in site.theirs.asks("lists", "list")] == [NAME]


def test_a_change_sent_again_after_a_restore_is_made_again(site: Site) -> None:
    """Answers kept for repeated requests are of changes that --replace undoes, so they go too. They
    are no list: a store that holds nothing else is empty.
    """
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    site.backs_up()
    kept = {b"rf:once:a1", b"rf:once"}
    with raw(site.there) as client:
        client.set("rf:once:a1", "an answer")
        client.zadd("rf:once", {"a1": NOW_S})
        client.set("rf:session:b2", "a session")
    site.restores()
    assert kept <= dump(site.there).keys()
    site.restores("--replace")
    assert not kept & dump(site.there).keys()
    assert b"rf:session:b2" in dump(site.there)


def test_a_damaged_backup_restores_nothing(site: Site) -> None:
    """A changed byte, a cut, bytes behind the end, another key: each is named with its offset."""
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    site.ours.types("lists", "add", NAME, ONE)
    site.backs_up()
    whole = site.file.read_bytes()
    for at in range(0, len(whole), 7):
        spoilt = whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        for data in (spoilt, whole[:at], whole[:at] + whole[at + 1 :]):
            with pytest.raises(BackupUnreadable, match=r"byte \d+: .*Nothing was restored; "):
                checked(io.BytesIO(data), "lists.rfb", opening_key(site.key))
    with pytest.raises(BackupUnreadable, match="bytes follow its last chunk"):
        checked(io.BytesIO(whole + b"x"), "lists.rfb", opening_key(site.key))
    newer = whole[:9] + b"\2" + whole[10:]
    with pytest.raises(BackupUnreadable, match="of version 2, and this Ringfence reads up to 1"):
        checked(io.BytesIO(newer), "lists.rfb", opening_key(site.key))
    with site.file.open("wb") as file:
        writer = SealedWriter(file, opening_key(site.key).sealing, "", NOW_S)
        writer.end(BackupSummary("x", 1, {}, 0, 0, 0, "", 0, format="2"))
    with pytest.raises(FormatNewer, match=r"the list store in .*lists.rfb has format 2, .* to 1"):
        site.restores()
    other = site.folder / "other.pem"
    assert command("backup-key", str(other)).code == 0
    site.file.write_bytes(whole[:-1])
    with pytest.raises(BackupUnreadable, match="cut off"):
        site.restores()
    with pytest.raises(BackupUnreadable, match=r"sealed for key backup .* other .* was given"):
        site.theirs.asks("restore", str(site.file), "--key", str(other))
    assert dump(site.there) == {}


def test_a_killed_restore_leaves_the_store_as_it_was(site: Site, tmp_path: Path) -> None:
    """Whatever moment kill -9 comes, the list store is the old one or the new one, whole; the next
    restore goes through.
    """
    rows = tmp_path / "many.txt"
    rows.write_text("\n".join(numbers(30_000)))
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    site.ours.types("lists", "import", NAME, str(rows))
    for n in range(30):
        site.ours.types("allow", "add", f"+66711111{n:03d}")
    site.backs_up()
    site.theirs.types("lists", "create", FAST, "--circle", "plain")
    before = dump(site.there)
    whole = set()
    with killed_at_steps(site) as restore:
        for step in count(1):
            ended = restore(step)
            if set(dump(site.there)) != set(before):  # killed after the step that moves all of it
                whole = set(dump(site.there))
                break
            assert ended == -signal.SIGKILL
            assert dump(site.there) == before
    assert step > 3
    assert set(dump(site.here)) <= whole
    site.restores("--replace")
    assert [one["list"] for one in site.theirs.asks("lists", "list")] == [NAME]
    with raw(site.there) as client:
        assert not client.keys("rf:restoring:*")


@contextlib.contextmanager
def killed_at_steps(site: Site) -> Iterator[Callable[[int], int]]:
    """Restore in a process of its own that ends by SIGKILL at one of its steps; its exit code."""
    words = [
        *("restore", str(site.file), "--key", str(site.key), "--replace"),
        *("--config", str(site.theirs.config)),
    ]
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "tests.support.killed_restore", *words]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, exit_codes = process.stdin, process.stdout

        def restore(step: int) -> int:
            told.write(f"{step}\n")
            told.flush()
            return int(exit_codes.readline())

        yield restore


def dump(url: str) -> dict[bytes, bytes]:
    """All keys but those of an unfinished restore, as they are."""
    with raw(url) as client:
        keys = [key for key in client.keys("*") if not key.startswith(b"rf:restoring:")]
        return {key: client.dump(key) for key in keys}


def test_a_user_who_may_only_read_makes_backups(site: Site) -> None:
    """The rights that the how-to gives are enough, and no right to write is among them."""
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    page = (ROOT / "docs/how-to/operate/backup.md").read_text()
    told = re.search(r"ACL SETUSER backup on >PASSWORD ([^`]+)`", page)
    assert told is not None
    with raw(site.here) as client:
        client.execute_command("ACL", "SETUSER", "backup", "on", ">pw", *told[1].split())
        try:
            user = {"RINGFENCE_REDIS_USERNAME": "backup", "RINGFENCE_REDIS_PASSWORD": "pw"}
            words = ("backup", str(site.file), "--key", str(site.key.with_suffix(".pub")))
            done = command(*words, "--config", str(site.ours.config), env=user)
        finally:
            client.execute_command("ACL", "DELUSER", "backup")
    assert done.code == 0, done.output
    assert site.theirs.asks("restore", str(site.file), "--key", str(site.key))["lists"].keys() == {
        NAME
    }


def test_a_backup_is_a_stream(site: Site) -> None:
    """`-` writes to stdout, byte for byte a backup, and `restore -` reads one."""
    site.ours.types("lists", "create", NAME, "--circle", "plain")
    public = str(site.key.with_suffix(".pub"))
    words = [sys.executable, "-m", "stream", "backup", "-", "--key", public]
    done = subprocess.run(
        [*words, "--config", str(site.ours.config)], check=True, capture_output=True
    )
    assert b"1 list as of" in done.stderr
    words = [sys.executable, "-m", "stream", "restore", "-", "--key", str(site.key)]
    subprocess.run([*words, "--config", str(site.theirs.config)], check=True, input=done.stdout)
    assert [one["list"] for one in site.theirs.asks("lists", "list")] == [NAME]


def test_two_backups_do_not_write_one_file_together(site: Site) -> None:
    """Cron begins one while the last still runs: the file that is left has to be restorable."""
    public = str(site.key.with_suffix(".pub"))
    aside = site.folder / ".lists.rfb.writing"
    with aside.open("wb") as first:
        first.write(b"of the first one")
        first.flush()
        fcntl.flock(first, fcntl.LOCK_EX)
        said = site.ours.types("backup", str(site.file), "--key", public, code=1)
        assert "another `ringfence backup` writes it; nothing was done" in said
        assert aside.read_bytes() == b"of the first one"
        assert not site.file.exists()
    site.backs_up()  # the first one was killed, and its part is longer than nothing
    site.restores()
    assert not aside.exists()


def test_a_backup_into_a_pipe_leaves_the_pipe(site: Site) -> None:
    """A file in the place of a pipe, or of /dev/null, would take it from everybody else."""
    os.mkfifo(site.file)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(site.file.read_bytes)
        site.backs_up()
        assert site.file.is_fifo()
        site.file.unlink()
        site.file.write_bytes(reading.result())
    site.restores()


def test_a_key_is_not_made_beside_the_half_of_another(site: Site) -> None:
    """The new half could not open a backup that the older one seals."""
    site.key.unlink()
    said = command("backup-key", str(site.key))
    assert said.code == 1
    assert "backup.pub is there already" in said.err
    assert not site.key.exists()


async def test_workers_that_run_take_a_restored_store_over(site: Site, load) -> None:
    """A worker that follows the very Redis enforces all the time, and is not behind afterwards:
    with its state directory, what was changed after the backup is in the list store again.
    """
    state = site.folder / "worker"
    async with opened(site.here) as home:
        await home.create(NAME, "plain", BY)
        await load(home, BASE)
        await add(home, ONE)
        worker = Worker(site.here, state)
        async with running(worker):
            site.backs_up()
            await add(home, TWO)
            await enforced(worker, TWO)
            await waiting.until(
                lambda: fingerprint_of(TWO) in _overlay(state), "what the worker writes down"
            )
            words = ("restore", str(site.file), "--key", str(site.key), "--replace")
            restoring = asyncio.create_task(
                asyncio.to_thread(site.ours.asks, *words, "--state", str(state))
            )
            while not restoring.done() or worker.refresher.behind:
                assert worker.listed(TWO)
                await asyncio.sleep(0.001)
            told = restoring.result()
            assert worker.listed(TWO)
            assert await held_numbers(home) == {*BASE, ONE, TWO}
            await add(home, THREE)
            await enforced(worker, THREE)
    assert not [one for one in told["restored"] if one["generation"] is None]


def _overlay(state: Path) -> set[int]:
    held, _ = last_good(state, {"plain": b""}, 0)
    return {one for of_list in held.values() for one in of_list.live.overlay.entries}

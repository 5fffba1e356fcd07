"""Formats that we keep: bytes of the version before are read, a newer number is refused."""

import errno
import json
import os
import re
import shutil
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from stream.appeals.appeal_store import AppealStore
from stream.core.filters.snapshot import FORMAT, FORMATS, MANIFEST_PART, decode_manifest
from stream.core.model import enforcement_document
from stream.core.model.appeal import AppealState
from stream.core.model.decision import read_decision
from stream.core.model.errors import DocumentNotYet, FormatNewer, SnapshotUnreadable
from stream.core.model.on_trial import Target, TrialKind, TrialStatus
from stream.edge.ingest.position_file import PositionFile, PositionFileUnusable
from stream.feeds.formats import change_file
from stream.feeds.formats.rows import InputUnreadable
from stream.lists.backup import sealed_file
from stream.lists.follower.list_events import EventKind
from stream.lists.follower.local_state import last_good
from stream.lists.store.audit_entries import Verification
from stream.lists.store.list_store import AUDIT_MAX
from stream.lists.store.promotions import TrialStore
from stream.lists.store.settings import ListStoreSettings
from stream.ops import stored_format
from tests.support import waiting
from tests.support.builders import fingerprint_of
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
    opened,
    running,
    until,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "formats"
"""Written by the version before formats were numbered: tests/tools/old_formats.py."""
PAGE = Path(__file__).parents[2] / "docs/how-to/operate/upgrade.md"
CLINIC = "+6621111111"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / "state-dir", tmp_path / "state")


@pytest.fixture
def old_store(redis_url: str) -> str:
    """A list store as the version before wrote it."""
    with redis.Redis.from_url(redis_url) as client:
        for key, (kind, items) in json.loads((GOLDEN / "list-store.json").read_text()).items():
            _put(client, key, kind, items)
    return redis_url


def _put(client: redis.Redis, key: str, kind: str, items: list[Any]) -> None:
    verb = {"hash": "HSET", "string": "SET", "set": "SADD", "list": "RPUSH", "zset": "ZADD"}
    if kind == "stream":
        for identity, *words in items:
            client.execute_command("XADD", key, bytes.fromhex(identity), *map(bytes.fromhex, words))
    else:
        client.execute_command(verb[kind], key, *map(bytes.fromhex, items))


def dumped(url: str) -> dict[bytes, object]:
    with redis.Redis.from_url(url) as client:
        return {key: client.dump(key) for key in client.keys("*")}


async def test_a_list_store_of_the_version_before_is_read(old_store: str, raw) -> None:
    """Lists, allowlist, appeals, promotions and the audit are what they were, and go on."""
    async with opened(old_store) as store:
        assert await held_numbers(store) == {TWO, THREE}
        assert [one.text for one in (await store.allow_all())[1]] == [CLINIC]
        head = await store.past.audit_head()
        audit = Verification(head, AUDIT_MAX)
        async for identity, fields in store.past.audit_items(head.last_id):
            audit.take(identity, fields)
        audit.finish()
        assert not audit.troubles
        raw.hdel("rf:register", "format")  # as the first versions left it
        await store.create("TH/new", "plain", BY)
        assert raw.hget("rf:register", "format") == str(stored_format.LIST_STORE)
    settings = ListStoreSettings(old_store, timeout_s=waiting.REDIS_S)
    async with AppealStore.open(settings, 730) as appeals:
        (appeal,) = await appeals.in_state(AppealState.RECEIVED)
        assert appeal.number == TWO
    async with TrialStore.open(settings) as trials:
        turned = (await trials.read()).trials.turned
        assert turned[Target(TrialKind.LIST, NAME)].standing is TrialStatus.TRIAL


async def test_a_state_directory_of_the_version_before_is_read(old_store: str, state: Path) -> None:
    """Its lists are enforced without Redis; with Redis it goes on, and gets its number."""
    worker = Worker(old_store, state)
    worker.refresher.load_last_good()
    assert [worker.listed(number) for number in (ONE, TWO, THREE)] == [False, True, True]
    assert not (state / stored_format.FILE).exists()
    async with running(worker):
        await waiting.until((state / stored_format.FILE).exists, "the number of the format")
        assert [worker.listed(number) for number in (ONE, TWO, THREE)] == [False, True, True]
    mark = json.loads((state / stored_format.FILE).read_text())
    assert mark["format"] == stored_format.STATE_DIR


async def test_a_newer_list_store_is_refused_and_left_alone(old_store: str, raw) -> None:
    """The error names place, number and what to do."""
    raw.hset("rf:register", "format", stored_format.LIST_STORE + 1)
    before = dumped(old_store)
    with pytest.raises(
        FormatNewer, match=r"rf:register in Redis\) has format 2, .* up to 1\. .*run"
    ):
        async with opened(old_store):
            pass
    assert dumped(old_store) == before


def test_a_newer_state_directory_is_refused_and_left_alone(redis_url: str, state: Path) -> None:
    """A worker does not start on it, whatever Redis holds; nothing in it is touched."""
    mark = {"format": stored_format.STATE_DIR + 1, "ringfence": "9.0"}
    (state / stored_format.FILE).write_text(json.dumps(mark))
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    with pytest.raises(FormatNewer, match=re.escape(f"{state} has format 2")):
        Worker(redis_url, state).refresher.load_last_good()
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == before


def test_positions_of_the_version_before_are_read_and_newer_ones_refused(tmp_path: Path) -> None:
    """A position is where it was; a newer file keeps its bytes."""
    file = Path(shutil.copy(GOLDEN / "position.sqlite", tmp_path / "position.sqlite"))
    with PositionFile(file, "/var/log/cdr") as position:
        place = position.place()
        assert place is not None
        assert (place.at, position.done()) == (400, {"done.csv": 7})
    with sqlite3.connect(file) as base:
        base.execute("UPDATE about SET value = '2' WHERE key = 'version'")
    base.close()
    before = file.read_bytes()
    with pytest.raises(PositionFileUnusable, match=r"position.sqlite has format 2, .* up to 1"):
        PositionFile(file, "/var/log/cdr").__enter__()
    assert file.read_bytes() == before


def test_a_newer_snapshot_is_refused_with_its_number() -> None:
    """Of an exchange or of a state directory: the manifest says its format first."""
    manifest = next(GOLDEN.rglob(MANIFEST_PART)).read_bytes()
    assert decode_manifest(manifest).format in FORMATS
    newer = msgspec.json.decode(manifest) | {"format": FORMAT + 1}
    with pytest.raises(SnapshotUnreadable, match=f"format {FORMAT + 1}, this version reads"):
        decode_manifest(msgspec.json.encode(newer))


def test_what_is_handed_on_by_the_version_before_is_read() -> None:
    """A decision on its topic, a change file, an enforcement document; newer ones name their
    number.
    """
    told = read_decision((GOLDEN / "decision.json").read_bytes())
    assert told is not None
    assert (told.verdict, told.number, told.reasons[0].list) == ("block", "+85523900123", "KH/scam")
    first, *_ = (GOLDEN / "changes.jsonl").read_text().splitlines()
    assert change_file.read_header(first).list == NAME
    with pytest.raises(InputUnreadable, match="a change file of version 2, 1 is known"):
        change_file.read_header(first.replace('"version":1', '"version":2'))
    data = (GOLDEN / "enforcement.json").read_bytes()
    document = json.loads(data)
    target = enforcement_document.target_of("TH", "KH/scam", date.fromisoformat(document["day"]))
    held = enforcement_document.read(data, target)
    assert held.by_category is not None
    assert held.by_category["parcel"].blocked == 7
    newer = json.dumps(document | {"format": "ringfence-enforcement/2"}).encode()
    with pytest.raises(DocumentNotYet, match=r"ringfence-enforcement/2.*is known"):
        enforcement_document.read(newer, target)


def test_the_page_has_the_number_of_every_format() -> None:
    """The table of formats agrees with the numbers that the code writes."""
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.count("|") == 6]
    told = {row[1].strip(): row[3].strip() for row in rows[2:]}
    assert told == {
        "list store": str(stored_format.LIST_STORE),
        "state directory": str(stored_format.STATE_DIR),
        "positions of `ingest`": str(stored_format.POSITIONS),
        "snapshot (state directory, exchange)": str(FORMAT),
        "change file (exchange, feeds)": str(change_file.VERSION),
        "enforcement document": enforcement_document.FORMAT,
        "backup": str(sealed_file.VERSION),
        "calls, decisions, rejected records": "by topic",
        "repository of the exchange (TUF)": "1.0",
    }


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device. Free some room there"),
        (errno.EACCES, "Permission denied: .* belongs to .*, and this is "),
    ],
)
async def test_a_state_directory_that_takes_no_files_is_named(
    register, redis_url: str, tmp_path: Path, monkeypatch, number: int, said: str
) -> None:
    """The event names the file, or its folder, and why. Changes are enforced all the same, and when
    there is room again nothing is missing.
    """
    real, refused = os.fsync, False

    def full(handle: int) -> None:
        if refused:
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    worker = Worker(redis_url, tmp_path / "state")
    async with running(worker):
        await add(register, ONE)
        await enforced(worker, ONE)
        refused = True
        await add(register, TWO)
        await enforced(worker, TWO)
        await until(lambda: bool(worker.told(EventKind.STATE_DIR_FAILED)))
        for one in worker.told(EventKind.STATE_DIR_FAILED):
            assert re.search(f"{re.escape(str(tmp_path / 'state'))}[/:].*{said}", one), one
        refused = False
        await waiting.until(lambda: _written_down(tmp_path / "state", TWO), "what was refused")
        told = worker.told(EventKind.STATE_DIR_FAILED)
        assert len(told) == len(set(told))
    later = Worker("redis://127.0.0.1:1", tmp_path / "state")
    later.refresher.load_last_good()
    assert later.listed(ONE)
    assert later.listed(TWO)


async def test_a_first_start_on_a_full_disk(
    register, redis_url: str, tmp_path: Path, monkeypatch, load
) -> None:
    """The whole list is enforced from memory, and named. With room again it is written, so that a
    start without the list store has it.
    """
    await load(register, BASE[:50])
    real, full = os.fsync, True

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    worker = Worker(redis_url, tmp_path / "state")
    async with running(worker):
        assert worker.listed(BASE[49])
        await until(lambda: bool(worker.told(EventKind.STATE_DIR_FAILED)))
        assert "in memory alone" in worker.told(EventKind.STATE_DIR_FAILED)[0]
        assert not worker.told(EventKind.SNAPSHOT_REFUSED)
        await add(register, ONE)
        await enforced(worker, ONE)
        full = False
        await waiting.until(lambda: _written_down(tmp_path / "state", ONE), "what was refused")
    later = Worker("redis://127.0.0.1:1", tmp_path / "state")
    later.refresher.load_last_good()
    assert later.listed(BASE[49])
    assert later.listed(ONE)


def _written_down(state: Path, number: str) -> bool:
    held, _ = last_good(state, {"plain": b""}, 0)
    return NAME in held and fingerprint_of(number) in held[NAME].live.overlay.entries

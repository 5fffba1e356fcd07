"""Writes tests/golden/formats by an older Ringfence: bytes that a newer one has to read.

    git archive dfb0c7d9 | tar -x -C OLD
    PYTHONPATH=OLD .venv/bin/python tests/tools/old_formats.py tests/golden/formats

It imports that version alone, the last one before the formats were numbered.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import redis

import stream
from stream.core.model import enforcement_document
from stream.core.model.decision import Decision, Reason
from stream.edge.ingest.file_lines import DoneFile, FilePosition, LineBatch
from stream.edge.ingest.position_file import PositionFile
from stream.lab.embedded import best_redis
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.settings import ListStoreSettings

OLD = Path(stream.__file__).parents[1]
COMMANDS = (
    "lists create TH/national --circle plain --reason first",
    "lists add TH/national +66812345671 +66812345672 --category parcel --reason police",
    "lists rebuild TH/national --reason test",
    "lists add TH/national +66812345673 --category parcel --reason police",
    "lists remove TH/national +66812345671 --reason wrong",
    "allow add +6621111111 --reason clinic",
    "appeals create +66812345672 --reason mine",
    "demote list:TH/national --reason tried --no-figures",
)
READ = {
    "hash": lambda store, key: _flat(store.hgetall(key)),
    "string": lambda store, key: [_hex(store.get(key))],
    "set": lambda store, key: [_hex(one) for one in sorted(store.smembers(key))],
    "list": lambda store, key: [_hex(one) for one in store.lrange(key, 0, -1)],
    "zset": lambda store, key: [
        word
        for member, score in store.zrange(key, 0, -1, withscores=True)
        for word in (_hex(repr(score).encode()), _hex(member))
    ],
    "stream": lambda store, key: [
        [_hex(identity), *_flat(fields)] for identity, fields in store.xrange(key)
    ],
}


def _hex(value: Any) -> str:
    return bytes(value).hex()


def _flat(pairs: Any) -> list[str]:
    return [_hex(word) for pair in sorted(pairs.items()) for word in pair]


async def _followed(url: str, state: Path) -> None:
    settings = RefreshSettings(ListStoreSettings(url), state, keys={"plain": b""})
    refresher = Refresher(settings, print)
    refresher.load_last_good()
    task = asyncio.create_task(refresher.run())
    while not (state / "register.json").exists() or not list(state.glob("lists/*/*/changes.jsonl")):
        assert not task.done()
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)  # nobody else waits for this
    task.cancel()


def _records(into: Path) -> None:
    """Write a decision and an enforcement document."""
    made = datetime(2026, 11, 27, 3, tzinfo=UTC)
    document = enforcement_document.Enforcement(
        country="TH",
        list="KH/scam",
        day=made.date() - timedelta(1),
        made_at=made,
        by_category={"parcel": enforcement_document.Counts(blocked=7, entries=3)},
    )
    (into / "enforcement.json").write_bytes(enforcement_document.written(document))
    told = Decision(
        decision_id="ECNTF3KFSK3JD",
        verdict="block",
        simulated=False,
        rule="agreement:th-kh",
        number="+85523900123",
        role="caller",
        call_id="c-1",
        caller="+85523900123",
        callee="+6621234567",
        reasons=[
            Reason(
                list="KH/scam",
                agreement="th-kh",
                category="parcel",
                confirmed=True,
                confidence=90,
                generation=4,
                expires_at=None,
            )
        ],
        sip=None,
        called_at=None,
        decided_at="2026-11-27T03:00:00.000Z",
        expires_at=None,
        origin="calls/0/1",
    )
    (into / "decision.json").write_bytes(msgspec.json.encode(told))


def main() -> None:
    """Write all of them."""
    into = Path(sys.argv[1]).absolute()
    assert not (OLD / "stream/ops/stored_format.py").exists(), f"{OLD} has numbers already"
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, best_redis() as server:
        state, config = Path(folder, "state"), Path(folder, "ringfence.toml")
        config.write_text(f'[redis]\nurl = "{server.url(0)}"\n[lists]\nstate_dir = "{state}"\n')
        for words in COMMANDS:
            line = [sys.executable, "-m", "stream", *words.split(), "--config", str(config)]
            subprocess.run([*line, "--actor", "golden"], check=True, cwd=OLD)
        export = ["lists", "export", "TH/national", "--format", "changes", "-o"]
        line = [sys.executable, "-m", "stream", *export, str(into / "changes.jsonl")]
        subprocess.run([*line, "--config", str(config)], check=True, cwd=OLD)
        _records(into)
        asyncio.run(_followed(server.url(0), state))
        for passing in (*state.rglob("*.lock"), *state.rglob(".*.lock"), state / "tables"):
            shutil.rmtree(passing) if passing.is_dir() else passing.unlink(missing_ok=True)
        shutil.copytree(state, into / "state-dir")
        with redis.Redis.from_url(server.url(0)) as store:
            keys = sorted(store.keys("*"))
            kinds = {key: store.type(key).decode() for key in keys}
            held = {key.decode(): [kinds[key], READ[kinds[key]](store, key)] for key in keys}
        (into / "list-store.json").write_text(json.dumps(held, indent=1) + "\n")
        place = FilePosition(1, 2, 3, "ab", 400, 5, 6)
        with PositionFile(into / "position.sqlite", "/var/log/cdr") as position:
            position.keep(LineBatch((), place, [DoneFile("done.csv", 7)], ()))


if __name__ == "__main__":
    main()

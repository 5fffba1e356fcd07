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
from pathlib import Path
from typing import Any

import redis

from stream.edge.ingest.file_lines import DoneFile, FilePosition, LineBatch
from stream.edge.ingest.position_file import PositionFile
from stream.lab.embedded import best_redis
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.lists.store.settings import ListStoreSettings

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


def main() -> None:
    """Write all of them."""
    into = Path(sys.argv[1])
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder, best_redis() as server:
        state, config = Path(folder, "state"), Path(folder, "ringfence.toml")
        config.write_text(f'[redis]\nurl = "{server.url(0)}"\n[lists]\nstate_dir = "{state}"\n')
        for words in COMMANDS:
            line = [sys.executable, "-m", "stream", *words.split(), "--config", str(config)]
            subprocess.run([*line, "--actor", "golden"], check=True)
        asyncio.run(_followed(server.url(0), state))
        for passing in (*state.rglob("*.lock"), *state.rglob(".*.lock"), state / "tables"):
            shutil.rmtree(passing) if passing.is_dir() else passing.unlink(missing_ok=True)
        shutil.copytree(state, into / "state")
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

"""A Redis that comes back from an older copy of its append-only file, as after a bad restore."""

import asyncio
import shutil
from pathlib import Path

import redis

from stream.lab.embedded import RedisServer
from tests.support.waiting import until_now


class Copy:
    """A copy of a Redis' append-only file, taken while it runs, and put back over a dead one."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self.server, self.folder = server, folder
        with redis.Redis.from_url(server.url(0), decode_responses=True) as client:
            self.place = Path(client.config_get("dir")["dir"])
            # Redis answers before it writes, while the last fsync takes long (by "everysec").
            until_now(
                lambda: client.info("persistence")["aof_buffer_length"] == 0,
                "the file's last bytes",
            )
        shutil.copytree(self.place, folder)

    async def restore(self) -> None:
        await asyncio.to_thread(self.server.kill)
        for found in self.place.glob("appendonly*"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
        shutil.copytree(
            self.folder, self.place, dirs_exist_ok=True, ignore=lambda *_: ["server.log"]
        )
        await asyncio.to_thread(self.server.start)

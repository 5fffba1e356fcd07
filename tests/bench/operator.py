"""An operator in the benches: `ringfence` commands, measured; a worker that follows."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis

from stream.ops.kernels import FOLDER
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.process import ROOT, python

SAMPLE_S = 0.01
FOLLOW_S = 300.0
"""The longest wait for a generation to be enforced."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a command: seconds of the clock and of CPU, its largest memory in MB, and bytes
    sent to Redis. `answer` is its JSON, if it gives any; `began_at` seconds since the epoch.
    """

    began_at: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    redis_bytes: int
    answer: Any


class Resident:
    """The most memory that a process had resident while this is entered, in MB."""

    def __init__(self, pid: int) -> None:
        self.most_mb = 0.0
        self._path = Path(f"/proc/{pid}/statm")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                pages = int(self._path.read_text().split()[1])
            except (OSError, IndexError):
                return  # it has ended
            self.most_mb = max(self.most_mb, pages * 4096 / 2**20)


class Operator:
    """Types commands with one settings file, on `cores` (default: the broker's)."""

    def __init__(self, lab: Lab, settings: str = "", cores: tuple[int, ...] = ()) -> None:
        self._cores = cores or (lab.cores.broker,)
        self._redis = redis.Redis.from_url(lab.redis.url())
        self.config = lab.run / f"{lab.new_name('operator')}.toml"
        lab.kernels  # noqa: B018  compiled once, for commands too
        self.config.write_text(
            f'[redis]\nurl = "{lab.redis.url()}"\n[lists]\nstate_dir = "{lab.run}/operator"\n'
            f'[ops]\nkernels_dir = "{ROOT / "state" / FOLDER}"\n{settings}'
        )

    def memory(self) -> int:
        """Bytes that Redis' data take."""
        return int(self._info()["used_memory"])

    def types(self, *words: str) -> Cost:
        """`ringfence WORDS`."""
        before = int(self._info()["total_net_input_bytes"])
        command = python("stream", *words, "--config", str(self.config))
        began_at = time.time()
        with on_core(*self._cores):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        # Not ru_maxrss: that of a process begins with what its parent had.
        with Resident(process.pid) as resident:
            said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.time() - began_at
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"ringfence {' '.join(words)}: {said[-500:]}"
        sent = int(self._info()["total_net_input_bytes"]) - before
        cpu_s = used.ru_utime + used.ru_stime
        answer = json.loads(said) if "--json" in words else None
        return Cost(began_at, wall_s, cpu_s, resident.most_mb, sent, answer)

    def _info(self) -> dict[str, Any]:
        info: dict[str, Any] = self._redis.info()
        return info


class Following:
    """A follower (follower.py) that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def until(self, name: str, generation: int) -> dict[str, float]:
        """Its observations until that generation of the list is enforced."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name} {generation}\n".encode())
        return await self.said()

    async def said(self) -> dict[str, float]:
        """Its next line."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), FOLLOW_S)
        said: dict[str, float] = json.loads(line)
        return said


@asynccontextmanager
async def following(lab: Lab, state: Path) -> AsyncIterator[Following]:
    """A follower on the engine's core, its lists loaded."""
    with on_core(lab.cores.engine):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.follower", "--redis", lab.redis.url()),
            *("--state", str(state), "--kernels", str(ROOT / "state" / FOLDER)),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    try:
        follower = Following(process)
        await follower.said()
        yield follower
    finally:
        process.kill()
        await process.wait()

"""The real engine as a process: `python -m stream run --config FILE`, watched from outside.

What a test knows of it is what an operator knows: its exit code, its log, /ready and /metrics.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import HANGS_S

ROOT = Path(__file__).parents[2]
START_S = HANGS_S
"""Longest wait for anything that follows a start, on a machine that is busy with other tests."""
POLL_S = 0.02


class Engine:
    """One engine, started as often as wanted; ended when the context is left."""

    def __init__(self, config: Path, *words: str) -> None:
        """`words` follow `run --config FILE`."""
        self._command = [sys.executable, "-m", "stream", "run", "--config", str(config), *words]
        self.config = config
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of now, or the last one."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def _log(self) -> Path:
        return self.config.with_suffix(f".{self._starts}.log")

    def start(self) -> None:
        """Start it, and wait for nothing."""
        assert self._process is None or self._process.poll() is not None, "it still runs"
        self._starts += 1
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    async def ready(self) -> Self:
        """Start it, and wait until it says that it is ready."""
        self.start()
        await self.until(lambda: self.readiness()[0] == 200, "to be ready")
        return self

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()

    async def stop(self, within_s: float = START_S) -> int:
        """End it by SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.exit_code(within_s)

    async def exit_code(self, within_s: float = START_S) -> int:
        """Wait until it ends by itself."""
        deadline = time.monotonic() + within_s
        while (code := self.process.poll()) is None:
            assert time.monotonic() < deadline, f"it runs on: {self.last_words()}"
            await asyncio.sleep(POLL_S)
        return code

    async def until(
        self,
        condition: Callable[[], object | Awaitable[object]],
        what: str,
        within_s: float = START_S,
    ) -> None:
        """Wait for a condition; fail with the engine's last words if it does not come."""
        deadline = time.monotonic() + within_s
        while True:
            holds = await asyncio.to_thread(condition)
            if isinstance(holds, Awaitable):
                holds = await holds
            if holds:
                return
            code = self.process.poll()
            assert code is None, f"waited for it {what}, it ended with {code}: {self.last_words()}"
            assert time.monotonic() < deadline, f"waited for it {what}: {self.last_words()}"
            await asyncio.sleep(POLL_S)

    async def logged(self, pattern: str, within_s: float = START_S) -> None:
        """Wait for a log line that matches."""
        await self.until(lambda: self.said(pattern), f"to say {pattern!r}", within_s)

    def said(self, pattern: str) -> list[str]:
        """The log lines of this start that match."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if re.search(pattern, line)]

    def events(self) -> list[dict[str, Any]]:
        """This start's log, line by line: all of it has to be JSON."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def errors(self) -> list[dict[str, Any]]:
        """What it logged as an error, but for a broker that makes its first group."""
        return [
            line
            for line in self.events()
            if line["level"] in ("error", "critical")
            and "GroupCoordinatorNotAvailableError" not in line["event"]
        ]

    def last_words(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def readiness(self) -> tuple[int, str]:
        """Status and text of /ready; 0 while nobody answers."""
        return self._get("/ready")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all label sets that contain `labels`; 0 where there is none."""
        status, text = self._get("/metrics")
        if status != 200:
            return 0.0
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def metrics(self) -> str:
        """All of /metrics that is ours and not 0."""
        lines = self._get("/metrics")[1].splitlines()
        return "\n".join(
            line for line in lines if line.startswith("ringfence_") and not line.endswith(" 0.0")
        )

    def _get(self, path: str) -> tuple[int, str]:
        found = self.said(r"http://[\d.]+:\d+/metrics")
        if not found:
            return 0, ""
        address = re.findall(r"http://[\d.]+:\d+", found[0])[0]
        try:
            with urllib.request.urlopen(address + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def command(
    *words: str, env: Mapping[str, str] | None = None, within_s: float = START_S
) -> "subprocess.CompletedProcess[str]":
    """Run another command of the product to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stream", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=within_s,
    )


def toml(tables: Mapping[str, Mapping[str, object]]) -> str:
    """Tables of plain values as TOML: JSON's texts, numbers, booleans and arrays are TOML's."""
    lines: list[str] = []
    for name, values in tables.items():
        lines += [f"[{name}]", *(f'"{key}" = {json.dumps(one)}' for key, one in values.items())]
    return "\n".join(lines) + "\n"


def merged(
    base: Mapping[str, Mapping[str, object]], changes: Mapping[str, Mapping[str, object]]
) -> dict[str, dict[str, object]]:
    """`base` with `changes` laid over it, table by table."""
    names: Sequence[str] = [*base, *(name for name in changes if name not in base)]
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in names}

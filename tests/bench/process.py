"""One peer under test: a process of its own on its own core, its words kept for the post-mortem."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.bench.machine import on_core

ROOT = Path(__file__).parents[2]
STOP_S = 30.0


class PeerFailed(Exception):
    """A peer ended by itself or did not do its work; the message ends with its last words."""


def python(module: str, *arguments: str) -> list[str]:
    """The command line of `python -m MODULE ARGUMENTS`."""
    return [sys.executable, "-m", module, *arguments]


class Process:
    """`command` on some cores; ended when the context is left."""

    def __init__(self, title: str, command: Sequence[str], cores: Sequence[int], log: Path) -> None:
        self.title = title
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.started_at_s = time.time()
        self.is_ready = False
        with log.open("wb") as file, on_core(*cores):
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file
            )
        self.pid = self._process.pid

    def check(self) -> None:
        """Raise PeerFailed if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise PeerFailed(f"{self.title} ended with {code}: {self.last_words()}")

    def wait(self, timeout_s: float) -> None:
        """Wait for a process that ends by itself; PeerFailed unless it ended well."""
        if self._process.wait(timeout_s):
            self.check()

    def wait_until_ready(self, port: int, timeout_s: float) -> float:
        """Seconds from its start until /ready answered 200."""
        while time.time() - self.started_at_s < timeout_s:
            self.check()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1):
                    self.is_ready = True
                    return time.time() - self.started_at_s
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.01)
        raise PeerFailed(f"{self.title} was not ready in {timeout_s} s: {self.last_words()}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough; may be called twice."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def kill(self) -> None:
        """SIGKILL, as a machine that is gone."""
        self._process.kill()
        self._process.wait()

    def last_words(self, chars_max: int = 1_500) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-chars_max:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

"""Services as forks of a process that has them loaded: Python's imports are a second of CPU each.

A run of the tests starts more than a hundred. It is the same program with the same words,
environment and exit code. Supervised workers, the demo and all else load it themselves.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from itertools import count
from pathlib import Path
from threading import Condition, Lock, Thread
from typing import Any

from tests.support.waiting import HANGS_S

ROOT = Path(__file__).parents[2]
SERVICES = (
    *(f"stream.cli.calls.{name}" for name in ("service_commands", "ingest_command")),
    *("stream.cli.calls.sink_commands", "stream.cli.exchange.enforcement_commands"),
    *(f"stream.services.{name}" for name in ("worker", "http", "sip", "supervisor")),
)


class _Loaded:
    """The process that has them loaded; it ends with ours."""

    def __init__(self) -> None:
        start = [sys.executable, "-c", "from tests.support.forked import main; main()"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(start, cwd=ROOT, stdin=pipe, stdout=pipe)
        self._numbers = count()
        self._one = Lock()
        self.told = Condition()
        self.pids: dict[int, int] = {}
        self.codes: dict[int, int] = {}
        Thread(target=self._listen, daemon=True).start()
        atexit.register(self._end)

    def fork(self, words: Sequence[str], log: Path) -> int:
        """Begin a process that logs into a file; return its number here."""
        assert self._process.stdin is not None
        number = next(self._numbers)
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        asked = {"number": number, "words": words, "log": str(log), "env": env}
        with self._one:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            with self.told:
                assert self.told.wait_for(lambda: number in self.pids, HANGS_S), "none begins"
        return number

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            kind, number, value = json.loads(line)
            with self.told:
                (self.pids if kind == "pid" else self.codes)[number] = value
                self.told.notify_all()


_loaded = cache(_Loaded)


class Forked:
    """One service, with the methods of subprocess.Popen that tests use."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._of = _loaded()
        self._number = self._of.fork(words, log)
        self.pid = self._of.pids[self._number]

    @property
    def returncode(self) -> int | None:
        """Its exit code, once it has ended; of one that was killed, less than 0."""
        return self._of.codes.get(self._number)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._of.told:
            self._of.told.wait_for(lambda: self.returncode is not None, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("ringfence", timeout or 0)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, signum)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def main() -> None:
    """Load the services. Fork one for each line of stdin; say its pid, and at its end its code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in SERVICES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    asked = _next_of(selectors.DefaultSelector())
    if asked is not None:
        _become(asked)


def _next_of(waiting: selectors.BaseSelector) -> dict[str, Any] | None:
    """Return in each child what it is to be, and None where no more will be asked for."""
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.data is None:
                line = sys.stdin.readline()  # one at a time: the next is asked for after an answer
                if not line:
                    return None
                asked: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    return asked
                _say("pid", asked["number"], pid)
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (asked["number"], pid))
            else:
                number, pid = key.data
                _, status = os.waitpid(pid, 0)
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                _say("code", number, os.waitstatus_to_exitcode(status))


def _say(*words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _become(asked: dict[str, Any]) -> None:
    """Be `python -m stream` with these words, as if begun now."""
    os.closerange(3, 1 << 16)
    nothing, log = os.open(os.devnull, os.O_RDWR), os.open(asked["log"], os.O_WRONLY | os.O_APPEND)
    for number, file in enumerate((nothing, nothing, log)):
        os.dup2(file, number)
    os.closerange(3, 5)
    os.environ.clear()
    os.environ.update(asked["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = asked["words"]
    runpy.run_module("stream", run_name="__main__", alter_sys=True)

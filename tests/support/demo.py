"""The demo and the exercise as processes of their own, and what they leave behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import HANGS_S, Patience

ROOT = Path(__file__).parents[2]

_STARTED: list["Played"] = []


def end_all() -> None:
    """End all that tests played; those that ended by themselves are not touched."""
    while _STARTED:
        _STARTED.pop().close()


class Played:
    """A command as a process of its own whose temporary files all lie in `folder`."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        _STARTED.append(self)
        self.folder = folder
        self.printed = ""
        self._process = subprocess.Popen(
            list(command),
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def until(self, words: str) -> None:
        """Read what it prints until `words` were said."""
        assert self._process.stdout is not None
        patience = Patience(f"the words {words!r}")
        while words not in self.printed:
            line = self._process.stdout.readline().decode()
            assert line, f"it ended and never said {words!r}:\n{self.printed}"
            patience.check(self.printed)
            self.printed += line

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        self._process.send_signal(signum)

    def ended(self) -> int:
        """Its exit code, once it ended by itself."""
        rest, _ = self._process.communicate(timeout=HANGS_S)
        self.printed += rest.decode()
        return self._process.returncode

    def processes(self) -> list[int]:
        """All processes of this machine that work in its folder, by pid."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"TMPDIR={self.folder}".encode() in environment:
                found.append(int(entry.name))
        return found

    def engine(self) -> int:
        """The engine's pid."""
        wanted = b"\0".join([sys.executable.encode(), b"-m", b"stream", b"run"])
        (pid,) = (
            pid
            for pid in self.processes()
            if (Path("/proc") / str(pid) / "cmdline").read_bytes().startswith(wanted)
        )
        return pid

    def close(self) -> None:
        """End it, and what it left behind, after a test that failed in the middle."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def leaves_nothing(self) -> None:
        """Wait until its processes and files are gone; the last of them go a moment after it."""
        patience = Patience("the end of all its processes and files")
        while left := [*self.processes(), *map(str, self.folder.rglob("*"))]:
            patience.check(left)
            time.sleep(0.05)

"""The machine: which core does what, and what a process costs, read from /proc (Linux)."""

import os
import platform
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import numpy as np

PACKAGES = ("ringfence", "numpy", "aiokafka", "msgspec", "pybloom-live", "rbloom", "redis")
SAMPLE_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """`broker` carries broker, Redis, load and harness; `engine` the peer under test."""

    broker: int
    engine: int

    @property
    def pinned(self) -> bool:
        """Report whether there were two cores to keep apart."""
        return self.broker != self.engine


def cores() -> Cores:
    """The first two cores that this process may use; the same one twice if there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[min(1, len(usable) - 1)])


@contextmanager
def on_core(*chosen: int) -> Iterator[None]:
    """Whatever is started inside runs on these cores only, with all its threads."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def moved(pid: int, chosen: Iterable[int]) -> Iterator[None]:
    """A process that runs already, with all its threads, runs on these cores inside."""
    before = os.sched_getaffinity(pid)
    _move(pid, chosen)
    try:
        yield
    finally:
        _move(pid, before)


def _move(pid: int, chosen: Iterable[int]) -> None:
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), chosen)


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in _text(task).split()]
    return found


def cpu_s(pid: int) -> float:
    """Seconds of CPU, user and system, that a process and its descendants have used."""
    ticks = 0
    for each in tree(pid):
        fields = _text(Path(f"/proc/{each}/stat")).rpartition(")")[2].split()
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


@dataclass(frozen=True, slots=True)
class Memory:
    """MB (2^20 bytes) of a process: resident, its share of it, of that private and not a file's."""

    rss_mb: float
    pss_mb: float
    anonymous_mb: float
    file_mb: float
    peak_mb: float


def memory(pid: int) -> Memory:
    """The memory of a process and its descendants now, and the sum of their peaks."""
    sums = dict.fromkeys(("Rss", "Pss", "Anonymous", "Pss_File", "VmHWM"), 0)
    for each in tree(pid):
        text = _text(Path(f"/proc/{each}/smaps_rollup")) + _text(Path(f"/proc/{each}/status"))
        for line in text.splitlines():
            name, _, rest = line.partition(":")
            if name in sums:
                sums[name] += int(rest.split()[0])
    rss, pss, anonymous, file, peak = (kilobytes / 1024 for kilobytes in sums.values())
    return Memory(rss, pss, anonymous, file, peak)


class Sampler:
    """Notes a process's CPU time every 20 ms of wall-clock time while it is entered."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._note, daemon=True)
        self._at: list[float] = []
        self._cpu: list[float] = []
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_mb = memory(self._pid).peak_mb

    def cpu_between(self, start_s: float, stop_s: float) -> float:
        """CPU seconds used between two moments (seconds since the epoch)."""
        start, stop = np.interp([start_s, stop_s], self._at, self._cpu)
        return float(stop - start)

    def _note(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._cpu.append(cpu_s(self._pid))
            self._at.append(time.time())


def described() -> dict[str, object]:
    """The machine of the figures."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in _text(Path("/proc/cpuinfo")).splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1_5_15": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _text(path: Path) -> str:
    """The text of a file in /proc, "" when its process is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""

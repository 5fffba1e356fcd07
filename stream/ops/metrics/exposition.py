"""`/metrics` as a page: in the text format, or in OpenMetrics if the scraper accepts it.

With several workers each keeps its values in files that are named by its place ("slot"), not by
its process. A restarted worker goes on counting where the dead one stopped, so that no counter ever
goes down. The supervisor serves the sum. A value that a full disk has no room for is in no page.
"""

import asyncio
import logging
import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest, values
from prometheus_client.exposition import choose_encoder
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from stream.ops.clock import monotonic_s

log = logging.getLogger(__name__)

FILES_ENV = "PROMETHEUS_MULTIPROC_DIR"
"""The folder of the workers' files in prometheus_client; the supervisor sets it for each worker."""
_REST: Final = 20
"""In a crowd a page is used for so many times as long as it took: 5 % of the time at most."""
_GOOD_S_MAX: Final = 1.0
_FORMATS_MAX: Final = 8
"""Scrapers choose the content type, so its number is bounded."""
_FILE_BYTES: Final = 65_536
"""Of a new file, as prometheus_client has it; it doubles as often as needed."""
_ENTRY_BYTES: Final = 32
"""Of an entry beside its key, at most: length, padding, value, time."""
_CROWD: Final = 50
"""Scrapes in a second from which on pages are shared with those that come later."""


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """One page for a scraper."""

    content_type: str
    body: bytes


class MetricsPages:
    """The pages of one registry, made as seldom as scrapers allow.

    One page is made at a time, in a thread beside the loop, for all requests from before it was
    begun. In a crowd it serves later requests too: for `_REST` times as long as making it took, and
    `_GOOD_S_MAX` at most.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: dict[str, _Made] = {}
        # Two scrapes at once: the second one waits, and gets the page of the first.
        self._making = asyncio.Lock()
        self._asked_s: deque[float] = deque(maxlen=_CROWD)

    async def page(self, accept: str) -> MetricsPage:
        """Return all of it, in the best format that the scraper's Accept header names.

        Native histograms exist in neither of the two: prometheus_client has no protobuf exposition.
        """
        encode, content_type = choose_encoder(accept)
        asked_s = monotonic_s()
        self._asked_s.append(asked_s)
        async with self._making:
            made = self._made.get(content_type)
            crowd = len(self._asked_s) == _CROWD and asked_s - self._asked_s[0] < 1.0
            if made is not None and made.serves(asked_s, crowd=crowd):
                return made.page
            begun_s = monotonic_s()
            page = MetricsPage(content_type, await asyncio.to_thread(encode, self._registry))
            if len(self._made) >= _FORMATS_MAX:
                self._made.clear()
            self._made[content_type] = _Made(page, begun_s, monotonic_s())
            return page


@dataclass(frozen=True, slots=True)
class _Made:
    page: MetricsPage
    begun_s: float
    ended_s: float

    def serves(self, asked_s: float, *, crowd: bool) -> bool:
        """Return whether it may answer a request of that moment."""
        good_s = min(_GOOD_S_MAX, (self.ended_s - self.begun_s) * _REST)
        return self.begun_s >= asked_s or (crowd and monotonic_s() < self.ended_s + good_s)


def exposition(registry: CollectorRegistry) -> bytes:
    """Return all of it in Prometheus' text format."""
    return generate_latest(registry)


def keep_in_files(slot: int) -> None:
    """Keep this process' metrics in the supervisor's files, under its slot; before any is made.

    By default prometheus_client names the files by process id: each restart would leave one more.
    """
    assert FILES_ENV in os.environ, "the supervisor says where"
    # prometheus_client has no types for its multi-process part.
    chosen: Any = values.MultiProcessValue(lambda: slot)  # type: ignore[no-untyped-call]
    values.MmapedDict = _ReservedFile  # type: ignore[attr-defined]
    values.ValueClass = chosen


class _ReservedFile(MmapedDict):
    """Values in a file whose room on the disk is taken before it is used.

    prometheus_client makes files of holes. On a full disk the kernel ends a process that writes
    into a hole (SIGBUS), and the next one at the same place. A value without room is kept in memory
    alone, until a restart finds room.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self._in_memory: dict[str, tuple[float, float]] = {}
        self._has_file = True
        path, size = Path(filename), 0
        try:
            with path.open("a+b") as file:
                size = file.seek(0, os.SEEK_END)
                os.posix_fallocate(file.fileno(), 0, size or _FILE_BYTES)
        except OSError as error:
            self._has_file, self._f, self._positions = False, None, {}  # type: ignore[assignment]
            self._tell(filename, error)
            if not size:
                path.unlink(missing_ok=True)  # the supervisor cannot read an empty file
        else:
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def read_value(self, key: str) -> tuple[float, float]:
        """Return a value and its time."""
        if self._has_room(key):
            return super().read_value(key)  # type: ignore[no-any-return, no-untyped-call]
        return self._in_memory.setdefault(key, (0.0, 0.0))

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set a value."""
        if self._has_room(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        else:
            self._in_memory[key] = value, timestamp

    def _has_room(self, key: str) -> bool:
        """Return whether the file has a place for the value; it grows where it has to."""
        if key in self._positions:
            return True
        if not self._has_file or key in self._in_memory:
            return False
        if self._used + len(key.encode()) + _ENTRY_BYTES > self._capacity:
            try:
                os.posix_fallocate(self._f.fileno(), 0, 2 * self._capacity)
            except OSError as error:
                self._tell(self._fname, error)
                return False
        return True

    def _tell(self, filename: str, error: OSError) -> None:
        if not self._in_memory:
            text = "%s: %s: further metrics of this process are missing in /metrics"
            log.warning(text, filename, error.strerror)


def forget_gauges_of(slot: int, folder: Path) -> None:
    """Remove the gauges of a dead worker, which has no lag and no lists; its counters stay."""
    mark_process_dead(slot, str(folder))  # type: ignore[no-untyped-call]


def sum_of_workers(folder: Path, registry: CollectorRegistry) -> None:
    """Let `registry` serve the sum of the workers whose files are in `folder`."""
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]

"""Notes of the records in hand, which tell a successor which record stops workers.

No record should stop a worker: what is no call is rejected, and an exception is a bug. This is for
the bugs that are left, and for deaths without an exception (a library's crash, a killed process).

A worker notes what it works on. Its successor finds the note and

1. after one exception, or after two deaths within the same records, probes these one by one. Each
   has its own note. Then it decides them together;
2. sets a record aside whose own note it finds, after an exception that followed another crash
   there, or after two deaths. Then it goes to `calls.rejected` with its bytes.

A death may be anybody's kill -9 or a machine without memory, so it counts less than an exception.
Two deaths at one record alone are no accident. And where many records seem to stop workers it is
not the records: `SET_ASIDE_MAX` within `SET_ASIDE_S` are the most. Then the worker stops as before,
and a person has to look.

Notes outlive the worker, in `<state_dir>/crashes`. Each worker has a file of its own, mapped into
memory. So a note costs microseconds and is there after kill -9 (after a power cut perhaps not: then
a crash counts once less). The worker holds a lock on it; the kernel lets go when it dies. So a
worker that gets the lock of a file with a note in it has found a crash. What was found is in
`crashes.json`, for all workers of the machine: a partition may go on to another one.

    <state byte><lines>NUL    state: 0 nothing, 1 at work, 2 an exception came out
    <topic> <partition> <first offset> <last offset> <Kafka's time in ms of one record alone, or -1>

Kafka's time of a record may be missing, which is -1 too. It is -2 here.
"""

import fcntl
import logging
import mmap
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import msgspec

from stream.kafka.batch import Partition, RawBatch
from stream.ops.untrusted_folders import open_plain

log = logging.getLogger(__name__)

SET_ASIDE_MAX = 5
SET_ASIDE_S = 3600.0
"""So many records within so long; with more it is not the records, and calls would be lost."""
FOLDER = "crashes"
"""In the state directory, which outlives a worker."""
_FILE, _LOCK = "crashes.json", "lock"
_BYTES = 1 << 16
"""Of a note: some thousand partitions; the rest is not noted."""
_IDLE, _AT_WORK, _RAISED = 0, 1, 2
CRASHES_MAX = 500
"""The last ones are kept."""
KEPT_S = 7 * 86_400
"""An older crash proves nothing about the record that is at that position now."""


_TOGETHER, _NO_TIME = -1, -2
"""In place of Kafka's time: of records that were worked on together, and of one that has none."""


def time_ms_of(raw: RawBatch, row: int) -> int:
    """Return Kafka's time of a record in a batch, as notes have it."""
    time_ms = int(raw.timestamps_ms[row])
    return time_ms if time_ms >= 0 else _NO_TIME


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker stopped while it worked on the records `first` to `last` of a partition.

    `timestamp_ms` is Kafka's time of a single record, as `time_ms_of` has it, else -1. The offset
    alone may be that of another record, in a topic that was deleted and created again. `raised`: it
    was an exception, else the worker died. `at_ms` is when that was found.
    """

    topic: str
    partition: int
    first: int
    last: int
    timestamp_ms: int
    raised: bool
    at_ms: int

    @property
    def place(self) -> Partition:
        """The partition."""
        return Partition(self.topic, self.partition)

    @property
    def alone(self) -> bool:
        """Return whether the worker worked on this record alone."""
        return self.first == self.last and self.timestamp_ms != _TOGETHER

    def holds(self, record: "NotedRecord") -> bool:
        """Return whether the worker worked on `record`."""
        return self.place == record.place and self.first <= record.offset <= self.last


@dataclass(frozen=True, slots=True)
class NotedRecord:
    """One record, by where it lies and when it was written."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def place(self) -> Partition:
        """The partition."""
        return Partition(self.topic, self.partition)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that is set aside, since `at_ms`."""

    record: NotedRecord
    at_ms: int


Ranges = Mapping[Partition, Sequence[tuple[int, int]]]
"""First and last offsets, by partition."""


def suspected(crashes: Sequence[Crash]) -> Ranges:
    """Return the records of which one may stop a worker."""
    found: dict[Partition, list[tuple[int, int]]] = {}
    for crash in crashes:
        if crash.raised:
            found.setdefault(crash.place, []).append((crash.first, crash.last))
    for one, other in combinations((each for each in crashes if not each.raised), 2):
        first, last = max(one.first, other.first), min(one.last, other.last)
        if one.place == other.place and first <= last:
            found.setdefault(one.place, []).append((first, last))
    return found


def convicted(crashes: Sequence[Crash]) -> list[NotedRecord]:
    """Return the records that stopped workers, one place each."""
    raised: Counter[NotedRecord] = Counter()
    died: Counter[NotedRecord] = Counter()
    for crash in crashes:
        if crash.alone:
            record = NotedRecord(crash.topic, crash.partition, crash.first, crash.timestamp_ms)
            (raised if crash.raised else died)[record] += 1
    return [
        record
        for record in raised | died
        if died[record] >= 2
        or (raised[record] and sum(crash.holds(record) for crash in crashes) >= 2)
    ]


def set_aside(
    before: Iterable[SetAside], records: Iterable[NotedRecord], now_ms: int
) -> tuple[list[SetAside], list[NotedRecord]]:
    """Return all that is set aside now, and those of `records` that would be too many."""
    kept = list(before)
    known = {one.record for one in kept}
    left = []
    for record in records:
        if record in known:
            continue
        lately = sum(now_ms - one.at_ms < SET_ASIDE_S * 1000 for one in kept)
        if lately < SET_ASIDE_MAX:
            kept.append(SetAside(record, now_ms))
        else:
            left.append(record)
    return kept, left


def passed(crashes: Iterable[Crash], positions: Mapping[Partition, int]) -> list[Crash]:
    """Return those of `crashes` that have a record at or after `positions`."""
    return [crash for crash in crashes if crash.last >= positions.get(crash.place, 0)]


class CrashFile(msgspec.Struct):
    """The content of `crashes.json`."""

    format: int = 1
    crashes: list[Crash] = msgspec.field(default_factory=list)
    aside: list[SetAside] = msgspec.field(default_factory=list)


def read_crashes(folder: Path) -> CrashFile:
    """Read the crashes of this machine's workers; none where there is no file. Raises OSError."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=CrashFile)
    except FileNotFoundError:
        return CrashFile()
    except msgspec.DecodeError as error:
        # It is a help for odd times. A damaged one must not stop a worker.
        log.warning("%s is damaged and starts empty: %s", folder / _FILE, error)
        return CrashFile()


class CrashLog:
    """One worker's note, and what all have found. All but `begin`, `end` and `failed` block."""

    def __init__(self, folder: Path, clock_ms: Callable[[], int]) -> None:
        """Take a note of our own. Raises OSError where the folder cannot be used."""
        self._folder = folder
        self._clock_ms = clock_ms
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path, self._handle = self._taken()
        self._note = mmap.mmap(self._handle, _BYTES)
        self.suspected: Ranges = {}
        self.aside: frozenset[NotedRecord] = frozenset()

    def _taken(self) -> tuple[Path, int]:
        """Take the first file that no process holds."""
        number = 0
        while True:
            path = self._folder / f"worker-{number}.note"
            handle = _locked(path, create=True)
            if handle is not None:
                # Room for all of it: where a mapped file has none the process is killed.
                os.posix_fallocate(handle, 0, _BYTES)
                return path, handle
            number += 1

    def close(self) -> None:
        """Give the note back."""
        self._note.close()
        os.close(self._handle)

    def begin(self, raw: RawBatch, *, alone: bool = False) -> None:
        """We work on `raw` from now on."""
        offset = raw.offsets.item  # an int at once: a NumPy number takes twice as long to write
        time_ms = time_ms_of(raw, 0) if alone else _TOGETHER
        lines = [
            f"{one.partition.topic} {one.partition.number} "
            f"{offset(one.start)} {offset(one.stop - 1)} {time_ms}\n"
            for one in raw.segments
            if one.start < one.stop
        ]
        text = "".join(lines).encode()[: _BYTES - 2]
        # The state last: half a note must not be taken for a whole one.
        self._note[1 : len(text) + 2] = text + b"\0"
        self._note[0] = _AT_WORK

    def end(self) -> None:
        """Remove the note: the step succeeded."""
        self._note[0] = _IDLE

    def failed(self) -> None:
        """Note that an exception came out; the worker ends."""
        self._note[0] = _RAISED

    def look(self, positions: Mapping[Partition, int]) -> None:
        """Find the crashes of workers that are gone; forget those of records before `positions`.

        Raises OSError where the notes cannot be read. What cannot be written down is known to this
        worker alone.
        """
        with _exclusive(self._folder / _LOCK):
            # Read, change and write under one lock: two workers that start together each find some
            # notes, and neither may write over what the other found.
            before = read_crashes(self._folder)
            found = [crash for path in self._notes() for crash in self._crashes_in(path)]
            oldest_ms = self._clock_ms() - KEPT_S * 1000
            crashes = passed([*before.crashes, *found], positions)
            crashes = [one for one in crashes if one.at_ms > oldest_ms][-CRASHES_MAX:]
            aside = [one for one in before.aside if one.at_ms > oldest_ms]
            aside, left = set_aside(aside, convicted(crashes), self._clock_ms())
            now = CrashFile(1, crashes, aside)
            if now != before:
                try:
                    self._write(now)
                except OSError as error:  # a full disk must not stop the calls
                    log.warning("a successor will not know which records stop workers: %s", error)
        self.suspected = suspected(crashes)
        self.aside = frozenset(one.record for one in aside)
        if found:
            log.warning("a worker stopped before: %s", ", ".join(map(_told, found)))
        if left:
            log.critical(
                "more records than can be are found to stop workers, so it is not the records; "
                "none of these is set aside: %s",
                ", ".join(f"{one.topic}/{one.partition}/{one.offset}" for one in left),
            )

    def _notes(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("worker-*.note"))

    def _crashes_in(self, path: Path) -> list[Crash]:
        """Return what a dead worker worked on, and clear its note. Ours is our predecessor's."""
        if path == self._path:
            return self._cleared(self._handle)
        handle = _locked(path, create=False)
        if handle is None:
            return []
        try:
            return self._cleared(handle)
        finally:
            os.close(handle)

    def _cleared(self, handle: int) -> list[Crash]:
        note = os.pread(handle, _BYTES, 0)
        if not note or note[0] not in (_AT_WORK, _RAISED):
            return []
        # Cleared before the crash is written down: killed in between we forget one crash, where the
        # other order could count one twice and set aside a good record.
        os.pwrite(handle, bytes([_IDLE]), 0)
        lines = note[1:].partition(b"\0")[0].decode("ascii", "replace").splitlines()
        return [crash for line in lines if (crash := self._crash(line, note[0] == _RAISED))]

    def _crash(self, line: str, raised: bool) -> Crash | None:
        """Read the crash in a line of a note; None: the line was cut off."""
        topic, *numbers = line.split(" ")
        try:
            partition, first, last, time_ms = map(int, numbers)
        except ValueError:
            return None
        return Crash(topic, partition, first, last, time_ms, raised, self._clock_ms())

    def _write(self, now: CrashFile) -> None:
        part = self._folder / f"{_FILE}.part"
        with os.fdopen(open_plain(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(now), indent=1))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / _FILE)


def _told(crash: Crash) -> str:
    how = "by an exception" if crash.raised else "killed"
    return f"{crash.topic}/{crash.partition} {crash.first}-{crash.last} {how}"


def _locked(path: Path, *, create: bool) -> int | None:
    """Open and lock a file; None: another process holds it, or it is gone."""
    try:
        # O_NOFOLLOW: a link in this folder would let a note be written over another file of ours.
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    try:
        # The kernel lets go when its holder dies: a lock that is free means a worker that is gone.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CREAT, 0o600)
    try:
        # Workers of one machine read and write one file of crashes; each holds it for a moment.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

"""Finished files of records on a server, over faults of the server and of the files."""

import bz2
import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable, Generator, Iterator

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.edge.ingest import remote_folder as folders
from stream.edge.ingest.file_lines import FileEvent, FileLine, FilePosition
from stream.edge.ingest.remote_folder import RemoteFolder, RemotePace
from stream.ops.remote.remote_files import RemoteFile

LINES = [b"record %05d" % n for n in range(20_000)]


class Store:
    """Files in memory; `broken` breaks a file off after so many bytes, once."""

    settles = False

    def __init__(self, **files: bytes) -> None:
        self.files = files
        self.broken: dict[str, int] = {}
        self.down = False
        self.asked: list[tuple[str, int]] = []

    def listed(self) -> Iterator[RemoteFile]:
        if self.down:
            raise FeedDown(FeedFault.DOWN, "the server is away")
        for number, (name, data) in enumerate(self.files.items()):
            mark = f"{hash(data)}:{len(data)}"
            yield RemoteFile(name, name, len(data), mark, 1_600_000_000.0 + number)

    def pieces(self, file: RemoteFile, at: int = 0) -> Generator[bytes]:
        self.asked.append((file.name, at))
        data = self.files[file.name]
        end = self.broken.pop(file.name, len(data))
        for place in range(at, end, 4096):
            yield data[place : min(place + 4096, end)]
        if end < len(data):
            raise FeedDown(FeedFault.TRUNCATED, "the connection is gone")

    def close(self) -> None:
        pass


class Reading:
    """The records that a reader of `store` returns, and what a restart would know."""

    def __init__(self, store: Store, *, patient: bool = True) -> None:
        self.store, self.patient = store, patient
        self.done: dict[str, int] = {}
        self.place: FilePosition | None = None
        self.lines: list[FileLine] = []
        self.events: Counter[FileEvent] = Counter()
        self.start()

    def start(self) -> None:
        pace = RemotePace(0.0, 2.0, self.patient)
        done = dict(self.done)
        self.folder = RemoteFolder(self.store, done, self.place, 100, pace, self._event)

    def _event(self, event: FileEvent) -> None:
        self.events[event] += 1

    def batch(self) -> bool:
        self.folder._due_s = 0.0  # the wait is no matter of these tests
        batch = self.folder.next()
        if batch is None:
            return False
        self.lines += batch.lines
        self.place = batch.place or self.place
        self.done.update(batch.done)
        for name in batch.gone:
            self.done.pop(name, None)
        return True

    def all(self) -> list[bytes]:
        while self.batch():
            pass
        return [line.value for line in self.lines]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_kill_reads_on_from_the_last_line_that_was_sent(pack: Callable[[bytes], bytes]) -> None:
    """Packed or plain, after each batch: no line is lost, none is read twice, numbers go on."""
    store = Store(a=pack(b"\n".join(LINES)), b=pack(b"last"))
    reading = Reading(store)
    while reading.batch():
        reading.start()
    assert [line.value for line in reading.lines] == [*LINES, b"last"]
    assert [line.number for line in reading.lines] == [*range(1, 20_001), 1]
    assert [line.at for line in reading.lines[:3]] == [0, 13, 26]
    assert reading.done.keys() == {"a", "b"}
    assert reading.folder.behind() == 0


@pytest.mark.parametrize("pack", [bytes, lambda data: gzip.compress(data, 0)])
def test_a_connection_that_breaks_costs_no_line(pack: Callable[[bytes], bytes]) -> None:
    """The next look goes on where it broke off; of a plain file only the rest is asked for."""
    store = Store(a=pack(b"\n".join(LINES)))
    store.broken["a"] = 150_000
    reading = Reading(store)
    assert reading.all() != LINES
    assert reading.all() == LINES
    assert reading.events[FileEvent.UNREADABLE] == 1
    assert len(store.asked) == 2
    assert (store.asked[1][1] > 0) is (pack is bytes)


def test_each_version_of_a_file_is_read_once() -> None:
    """A new content is read, a name that is gone is forgotten, JSON documents are whole."""
    store = Store(a=json.dumps([{"n": 1}, {"n": 2}], indent=1).encode())
    reading = Reading(store)
    assert [json.loads(value) for value in reading.all()] == [{"n": 1}, {"n": 2}]
    store.files["a"] = b"other"
    assert reading.all()[2:] == [b"other"]
    reading.start()
    assert len(reading.all()) == 3
    del store.files["a"]
    reading.all()
    assert reading.done == {}


def test_a_server_that_is_away_is_asked_again_or_its_fault_is_raised() -> None:
    """With patience nothing is forgotten; without it the fault says what is wrong."""
    store = Store(a=b"one\n")
    reading = Reading(store)
    assert reading.all() == [b"one"]
    store.down = True
    assert (reading.batch(), set(reading.done)) == (False, {"a"})
    store.down = False
    store.files["b"] = b"two\n"
    assert reading.all() == [b"one", b"two"]
    store.down = True
    with pytest.raises(FeedDown, match="away"):
        Reading(store, patient=False).batch()


@pytest.mark.expects_errors("left alone")
def test_damaged_files_and_bombs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records before the damage are sent; damaged files are counted, and not read again."""
    monkeypatch.setattr(folders, "UNPACKED_MIN", 500_000)
    packed = gzip.compress(b"\n".join(LINES) + b"\n" + b"".join(LINES)[::-1], 0)
    store = Store(half=packed[:30_000], bomb=gzip.compress(b"0" * 5_000_000), right=b"right\n")
    reading = Reading(store)
    values = reading.all()
    assert values[: len(values) - 1] == LINES[: len(values) - 1]
    assert (len(values) > 2000, values[-1]) == (True, b"right")
    assert reading.events[FileEvent.DAMAGED] == 2
    asked = len(store.asked)
    reading.all()
    assert len(store.asked) == asked


def test_a_line_without_an_end_fills_no_memory() -> None:
    """It comes as its beginning and its size."""
    reading = Reading(Store(a=b"x" * 1_000_000 + b"\nnext\n"))
    reading.all()
    assert [(line.size, len(line.value)) for line in reading.lines] == [(1_000_000, 100), (4, 4)]

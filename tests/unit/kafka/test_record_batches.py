"""Record batches become columns: what is read, what is passed over, and where reading stops."""

import gzip
import os
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Literal

import cramjam
import numpy as np
import pytest
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from stream.core import kernels
from stream.core.model.byte_strings import PADDING
from stream.kafka.record_batches import (
    Corrupt,
    OldFormat,
    Records,
    Room,
    Stretch,
    TooLarge,
    read_records,
)
from tests.support import record_batches as made
from tests.support.record_batches import Row, batch, marker, padded

A, B, C = (Row(delta, letter * 9) for delta, letter in enumerate((b"a", b"b", b"c")))
T_MS = 1_700_000_000_000
CODECS = pytest.mark.parametrize("codec", range(5), ids=("none", "gzip", "snappy", "lz4", "zstd"))


@pytest.fixture(params=("compiled", "plain"), autouse=True)
def _both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    with kernels.reference_only() if request.param == "plain" else nullcontext():
        yield


def read(*batches: bytes, offset: int = 0, aborted: tuple[tuple[int, int], ...] = ()) -> Records:
    """All of one partition, with a room of 1 MiB."""
    content = b"".join(batches)
    stretch = Stretch(0, len(content), offset, aborted)
    return read_records(padded(content), [stretch], Room(1024 * 1024))


def fault(*batches: bytes) -> object:
    """Why reading stopped."""
    return read(*batches).faults[0]


def test_records_of_several_partitions_come_in_the_order_of_their_stretches() -> None:
    """Values, offsets, times and counts side by side, a stretch without records among them."""
    first, second = batch(10, [A, B]), batch(5, [C])
    answer = padded(b"head" + first + b"between" + second)
    middle = 4 + len(first)
    stretches = [
        Stretch(4, middle, 10),
        Stretch(middle, middle, 77),
        Stretch(middle + 7, middle + 7 + len(second), 0),
    ]
    found = read_records(answer, stretches, Room())
    assert list(found.values) == [A.value, B.value, C.value]
    assert found.offsets.tolist() == [10, 11, 7]
    assert found.timestamps_ms.tolist() == [T_MS] * 3
    assert found.counts == [2, 0, 1]
    assert found.next_offsets == [12, 77, 8]
    assert found.faults == [None] * 3
    assert found.rest == [None] * 3


def test_nothing_is_nothing() -> None:
    """An answer without partitions."""
    found = read_records(padded(b""), [], Room())
    assert len(found.values) == len(found.offsets) == len(found.timestamps_ms) == 0
    assert not any((found.counts, found.next_offsets, found.faults, found.rest))


def test_what_is_not_compressed_is_not_copied() -> None:
    """The values lie in the answer."""
    content = batch(0, [A, B])
    answer, room = padded(content), Room()
    found = read_records(answer, [Stretch(0, len(content), 0)], room)
    assert found.values.data is answer
    assert room.used == 0


@CODECS
def test_every_codec(codec: int) -> None:
    """Records of a compressed batch lie in the room, with all that kernels may touch behind."""
    long = Row(3, os.urandom(200_000), b"key", [("name", b"x" * 99), ("", None)], 5)
    found = read(batch(0, [A, B, C, long], codec))
    assert list(found.values) == [A.value, B.value, C.value, long.value]
    assert found.timestamps_ms.tolist()[3] == T_MS + 5
    last = int(found.values.starts[3] + found.values.sizes[3])
    assert last + PADDING <= len(found.values.data)


def test_one_compressed_batch_takes_the_others_into_the_room() -> None:
    """All values lie in one buffer."""
    batches = batch(0, [A]), batch(1, [B._replace(delta=0)], made.ZSTD), batch(2, [A])
    found = read(*batches)
    assert list(found.values) == [A.value, B.value, A.value]
    assert found.offsets.tolist() == [0, 1, 2]


def test_snappy_without_the_blocks_of_java() -> None:
    """Other producers write one block and nothing before it."""
    body = bytes(cramjam.snappy.compress_raw(made.record(A)))
    found = read(batch(0, [A], made.SNAPPY, body=body))
    assert list(found.values) == [A.value]


def test_a_tombstone_is_not_an_empty_value() -> None:
    """None and b"" stay what they are."""
    found = read(batch(0, [Row(0, None, b"key"), Row(1, b"", b"key")]))
    assert list(found.values) == [None, b""]


def test_times_are_the_producers_or_the_brokers() -> None:
    """Log-append time stands for all records of a batch; -1 is no time."""
    rows = [Row(0, b"a", later_ms=-5), Row(1, b"b", later_ms=7)]
    assert read(batch(0, rows)).timestamps_ms.tolist() == [T_MS - 5, T_MS + 7]
    assert read(batch(0, rows, made.LOG_APPEND)).timestamps_ms.tolist() == [T_MS + 999] * 2
    without = batch(0, [A], times_ms=(-1, -1))
    assert read(without).timestamps_ms.tolist() == [-1]


def test_holes_and_empty_batches_of_compaction_are_passed() -> None:
    """The next offset comes from the batch, not from its last record."""
    found = read(batch(3, [B], last=9), batch(20, [], last=4), batch(30, [], last=0))
    assert found.offsets.tolist() == [4]
    assert found.next_offsets == [31]


def test_records_below_the_wanted_offset_are_left_out() -> None:
    """A broker sends the whole batch that holds the offset; the position never goes back."""
    found = read(batch(0, [A, B, C]), batch(3, [A]), offset=2)
    assert found.offsets.tolist() == [2, 3]
    assert read(batch(0, [A, B, C]), offset=50).next_offsets == [50]


@CODECS
def test_a_batch_cut_short_is_left_for_the_next_fetch(codec: int) -> None:
    """Wherever it was cut: no fault, and what came before is there."""
    whole, cut = batch(0, [A], codec), batch(1, [B, C], codec)
    for size in range(len(cut)):
        found = read(whole, cut[:size])
        assert found.next_offsets == [1]
        assert list(found.values) == [A.value]
        assert found.faults == [None]


def test_control_batches_are_no_records() -> None:
    """Nobody sees the ends of transactions, nor what brokers say to each other."""
    found = read(marker(0, 7, made.COMMIT), batch(1, [A]), marker(2, -1, 2), marker(3, 7, 0))
    assert found.offsets.tolist() == [1]
    assert found.next_offsets == [4]


def test_aborted_transactions_are_left_out() -> None:
    """Only the producer's own records, and only up to its abort marker."""
    part = made.TRANSACTIONAL
    log = (
        batch(0, [A], part, producer=7),  # aborted at 3
        batch(1, [B], part, producer=8),  # committed at 4
        batch(3, [C], 0, producer=7),  # not part of its transaction
        marker(6, 7, made.ABORT),
        marker(7, 8, made.COMMIT),
        batch(8, [A], part, producer=7),  # committed
        marker(9, 7, made.COMMIT),
        batch(10, [A, B], part, producer=8),  # aborted
        marker(12, 8, made.ABORT),
    )
    aborted = ((8, 10), (7, 0))
    assert read(*log, aborted=aborted).offsets.tolist() == [2, 5, 8]
    assert read(*log, aborted=aborted).next_offsets == [13]
    assert read(*log).offsets.tolist() == [0, 2, 5, 8, 10, 11]  # read_uncommitted


def test_an_end_of_a_transaction_that_can_not_be_read_is_a_fault() -> None:
    """Going on would lose records or read what was aborted."""
    bits = made.TRANSACTIONAL | made.CONTROL
    log = batch(0, [A], made.TRANSACTIONAL, 7), batch(1, [Row(0, b"", b"\0")], bits, 7)
    stopped = read(*log, aborted=((7, 0),))
    assert stopped.faults == [Corrupt(1, "the marker of a transaction's end cannot be read", 2)]
    assert stopped.next_offsets == [1]


def test_a_wrong_checksum_stops_its_partition_alone() -> None:
    """Batches before it are read; other partitions go on. The next batch gives the next offset."""
    damaged = bytearray(batch(1, [B, C], last=1))
    damaged[-3] ^= 1
    content = batch(0, [A]) + damaged + batch(3, [A])
    stretches = [Stretch(0, len(content), 0), Stretch(0, len(batch(0, [A])), 0)]
    found = read_records(padded(content), stretches, Room())
    assert found.faults == [Corrupt(1, "its checksum is wrong", 3), None]
    assert found.counts == [1, 1]
    assert found.next_offsets == [1, 1]


def test_nothing_certain_behind_a_damaged_batch() -> None:
    """Then the next offset is one further, wherever the damaged batch says that it ends."""
    damaged = bytearray(batch(1, [B, C], last=1_000_000))
    damaged[-3] ^= 1
    for behind in (b"", batch(9, [A])[:-1], bytes(damaged), batch(0, [A])):
        found = read(batch(0, [A]), bytes(damaged), behind)
        assert found.faults == [Corrupt(1, "its checksum is wrong", 2)]


@pytest.mark.parametrize(
    ("wrong", "what", "beyond"),
    [
        (batch(5, [A, B], last=0), "its records' offsets do not ascend within its own", 6),
        (batch(5, [B, A], last=1), "its records' offsets do not ascend within its own", 7),
        (batch(5, [A, A], last=1), "its records' offsets do not ascend within its own", 7),
        (batch(5, [A], count=2), "one of its records is malformed", 6),
        (batch(5, [A, B], count=1), "bytes follow its last record", 7),
        (batch(5, [A], count=-1), "it cannot have as many records as it says", 6),
        (batch(5, [A], count=2**31 - 1), "it cannot have as many records as it says", 6),
        (batch(5, [], body=b"\x01", bits=5), "bytes follow its last record", 6),
        (batch(5, [A], bits=made.ZSTD, body=b"\x01"), "it cannot be unpacked", 6),
        (batch(5, [A], last=-1), "its offsets cannot be right", 1),
        (batch(-5, [A]), "its offsets cannot be right", 1),
        (batch(2**63 - 5, [A]), "its offsets cannot be right", 1),
        (batch(0, [A]), "its offsets cannot be right", 1),  # behind another at 0
        (batch(5, [A])[:16] + b"\3" + batch(5, [A])[17:], "its format is unknown", 1),
        (made.sealed(batch(5, [A])[:60]), "it is shorter than a batch's head", 1),
        (
            struct.pack(">qi", 5, -(2**31)) + batch(5, [A])[12:],
            "it is shorter than a batch's head",
            1,
        ),
    ],
)
def test_a_batch_that_can_not_be_right_is_refused_whole(
    wrong: bytes, what: str, beyond: int
) -> None:
    """Though its checksum may be right."""
    found = read(batch(0, [A]), wrong)
    assert found.faults == [Corrupt(1, what, max(beyond, 2))]
    assert found.next_offsets == [1]
    assert list(found.values) == [A.value]


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_compression_is_a_fault(codec: int) -> None:
    """Kafka has given four numbers away."""
    content = bytearray(batch(0, [A]))
    content[22] = codec
    assert fault(made.sealed(bytes(content))) == Corrupt(0, "its compression is unknown", 1)


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_named(magic: Literal[0, 1]) -> None:
    """From where they begin, an ordinary consumer has to read."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=999)
    builder.append(0, timestamp=T_MS, key=None, value=b"old")
    found = read(batch(0, [A]), bytes(builder.build()), batch(9, [A]))
    assert found.faults == [OldFormat(1, magic)]
    assert found.next_offsets == [1]


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (made.GZIP, gzip.compress(bytes(50_000_000), 9)),
        (made.SNAPPY, bytes(cramjam.snappy.compress_raw(bytes(5_000_000)))),
        (made.SNAPPY, b"\xff\xff\xff\xff\x0f" + bytes(9)),  # says 4 GiB
        (made.LZ4, bytes(cramjam.lz4.compress(bytes(50_000_000)))),
        (made.ZSTD, bytes(cramjam.zstd.compress(bytes(50_000_000)))),
    ],
    ids=("gzip", "snappy", "snappy-says", "lz4", "zstd"),
)
def test_a_bomb_takes_no_more_than_the_room(codec: int, body: bytes) -> None:
    """A batch that unpacks to more than 1 MiB is named, and nothing larger was ever filled."""
    bomb = batch(0, [A], codec, body=body)
    tracemalloc.start()
    try:
        assert fault(bomb) == TooLarge(0, 1024 * 1024, 1)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024 + len(bomb)
    finally:
        tracemalloc.stop()


def test_a_full_room_leaves_the_rest_for_the_next_call() -> None:
    """Also which transactions are still open there, and not which were aborted before it."""
    part, large = made.TRANSACTIONAL | made.ZSTD, Row(0, b"x" * 600)
    log = (
        batch(0, [A], part, producer=7),  # aborted
        marker(1, 7, made.ABORT),
        batch(2, [B._replace(delta=0)], part, producer=8),  # aborted
        batch(3, [large], made.ZSTD),
        batch(4, [large], part, producer=7),  # committed
        batch(5, [large], part, producer=8),
        marker(6, 8, made.ABORT),
        batch(7, [large], made.ZSTD),
    )
    content = b"".join(log)
    stretch = Stretch(0, len(content), 0, ((7, 0), (8, 2)))
    room = Room(1000)
    first = read_records(padded(content), [stretch, stretch], room)
    assert first.offsets.tolist() == [3]
    rest = first.rest[0]
    assert rest == Stretch(len(b"".join(log[:4])), len(content), 4, [(8, 0)])
    assert first.rest[1] is not None
    second = read_records(padded(content), [rest], room)
    assert second.offsets.tolist() == [4]
    assert second.rest == [Stretch(len(b"".join(log[:7])), len(content), 7, [])]
    third = read_records(padded(content), [r for r in second.rest if r], room)
    assert third.offsets.tolist() == [7]
    assert third.rest == [None]


def test_a_room_that_holds_enough_takes_no_more() -> None:
    """Though it may grow: what is read later is not even looked at now."""
    packed = [batch(base, [Row(0, b"x" * 600)], made.LZ4) for base in range(4)]
    damaged = bytearray(packed[2])
    damaged[-3] ^= 1
    content = b"".join((*packed[:2], damaged, packed[3]))
    room = Room(bytes_wanted=1000)
    first = read_records(padded(content), [Stretch(0, len(content), 0)], room)
    assert (first.offsets.tolist(), first.faults) == ([0, 1], [None])
    second = read_records(padded(content), [rest for rest in first.rest if rest], room)
    assert (second.offsets.tolist(), second.rest) == ([], [None])
    assert second.faults == [Corrupt(2, "its checksum is wrong", 3)]


def test_a_room_is_used_again() -> None:
    """It grows once; a second answer of the size takes no memory."""
    content = batch(0, [Row(0, os.urandom(300_000))], made.LZ4)
    room = Room()
    for _ in range(2):
        found = read_records(padded(content), [Stretch(0, len(content), 0)], room)
        assert np.shares_memory(found.values.data, room.data)
        kept = room.data
    assert room.data is kept

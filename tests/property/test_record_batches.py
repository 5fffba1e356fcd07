"""Whatever the bytes of a record batch are: read as aiokafka reads it, or refused; never outside.

`MUTANTS` broken batches are read in each run; more, from other seeds:
`RECORDS_SEEDS=20 pytest tests/property/test_record_batches.py` reads twenty times as many.
"""

import ctypes
import mmap
import os
import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.core import kernels
from stream.core.kernels import plain_records as plain
from stream.kafka.record_batches import Corrupt, Fault, Room, Stretch, read_records
from tests.support import record_batches as made
from tests.support.record_batches import Read, Row, by_aiokafka, padded

MUTANTS = 20_000
SEEDS = range(int(os.environ.get("RECORDS_SEEDS", "1")))
AT_ONCE = 200
# Numbers of one byte and of several, the largest, some beyond, and zigzag's odd ones.
BYTES = (0, 1, 2, 3, 0x40, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF)

TEXTS = st.none() | st.binary(max_size=80) | st.just(b"x" * 20_000)
HEADERS = st.lists(st.tuples(st.text(max_size=9), TEXTS), max_size=3)
KINDS = st.sampled_from((0, made.LOG_APPEND, made.TRANSACTIONAL))


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[bytes], list[tuple[int, int]], int]:
    """Batches of one partition, the transactions that were aborted in it, and where it ends."""
    batches: list[bytes] = []
    aborted: list[tuple[int, int]] = []
    opened: dict[int, int] = {}
    base = draw(st.integers(0, 2**40))
    for _ in range(draw(st.integers(1, 6))):
        base += draw(st.integers(0, 3))  # compaction took whole batches
        rows, delta = [], -1
        for _ in range(draw(st.integers(0, 5))):
            delta += draw(st.integers(1, 3))  # and records
            late_ms = draw(st.integers(-(2**35), 2**35))
            rows.append(Row(delta, draw(TEXTS), draw(TEXTS), draw(HEADERS), late_ms))
        last = max(delta, 0) + draw(st.integers(0, 2))
        bits = draw(KINDS) | draw(st.integers(0, 4))
        producer = draw(st.integers(1, 3))
        if bits & made.TRANSACTIONAL:
            opened.setdefault(producer, base)
        batches.append(made.batch(base, rows, bits, producer, last))
        base += last + 1
        ends = draw(st.booleans())
        if opened and ends:
            producer, first = opened.popitem()
            kind = draw(st.sampled_from((made.ABORT, made.COMMIT)))
            if kind == made.ABORT:
                aborted.append((producer, first))
            batches.append(made.marker(base, producer, kind))
            base += 1
    return batches, draw(st.permutations(aborted)), base


@given(logs(), st.data())
def test_logs_are_read_as_aiokafka_reads_them(
    log: tuple[list[bytes], list[tuple[int, int]], int], data: st.DataObject
) -> None:
    """Same records, offsets, times and position, from any offset, compiled and not."""
    batches, aborted, end = log
    content = b"".join(batches)
    offset = data.draw(st.integers(max(end - 30, 0), end - 1))
    expected = by_aiokafka(content, offset, aborted)
    assert not expected.wrong
    # aiokafka goes back where whole batches lie before the offset; a broker sends none.
    rows = [row for row in expected.rows if row[0] >= offset]
    stretch = Stretch(0, len(content), offset, aborted)
    assert ours(content, [stretch]) == [Read(rows, end, wrong=False)]
    with kernels.reference_only():
        assert ours(content, [stretch]) == [Read(rows, end, wrong=False)]


@given(logs(), st.integers(1, 60_000))
def test_a_small_room_makes_several_answers_of_one(
    log: tuple[list[bytes], list[tuple[int, int]], int], bytes_max: int
) -> None:
    """Reading on in `rest` brings what a large room would have brought, aborted ones left out."""
    batches, aborted, _ = log
    content = b"".join(batches)
    at_once = read_records(padded(content), [Stretch(0, len(content), 0, aborted)], Room())
    room, left, values = Room(bytes_max), Stretch(0, len(content), 0, aborted), []
    while True:
        found = read_records(padded(content), [left], room)
        assert len(room.data) <= bytes_max + 64
        values += list(found.values)
        rest = found.rest[0]
        if rest is None:
            break
        assert rest.start > left.start
        assert rest.offset == found.next_offsets[0]
        left = rest
    if found.faults[0] is None:
        assert values == list(at_once.values)
        assert found.next_offsets == at_once.next_offsets
    else:
        assert values == list(at_once.values)[: len(values)]


def ours(content: bytes, stretches: Sequence[Stretch]) -> list[Read]:
    """The result of our reader for each stretch."""
    return [read for read, _ in ours_and_why(content, stretches)]


def ours_and_why(content: bytes, stretches: Sequence[Stretch]) -> list[tuple[Read, Fault | None]]:
    """And why it stopped where it did; None also where a batch asks for more than there is left."""
    found = read_records(padded(content), stretches, Room())
    rows = list(
        zip(found.offsets.tolist(), found.timestamps_ms.tolist(), found.values, strict=True)
    )
    reads, at = [], 0
    for count, following, fault, rest in zip(
        found.counts, found.next_offsets, found.faults, found.rest, strict=True
    ):
        wrong = fault is not None or rest is not None
        reads.append((Read(rows[at : at + count], following, wrong), fault))
        at += count
    assert at == len(rows)
    return reads


def originals(rng: random.Random, codecs: Sequence[int]) -> list[bytes]:
    """Sound batches to break."""
    batches = []
    for _ in range(60):
        rows, delta = [], -1
        for _ in range(rng.randrange(6)):
            delta += rng.choice((1, 1, 1, 3))
            value = rng.choice((None, b"", b"x" * rng.randrange(70), b"{}" * rng.randrange(200)))
            headers = rng.choice(((), (), (("h", b"v"), ("", None))))
            key, late_ms = rng.choice((None, b"", b"key")), rng.randrange(-5, 100_000)
            rows.append(Row(delta, value, key, headers, late_ms))
        bits = rng.choice(codecs) | rng.choice((0, made.LOG_APPEND, made.TRANSACTIONAL))
        batches.append(made.batch(rng.randrange(1000), rows, bits, last=rng.choice((None, 20))))
    return batches


def broken(rng: random.Random, batch: bytes) -> bytes:
    """The batch with a few bytes changed, lost or put in; mostly with a checksum that fits."""
    damaged = bytearray(batch)
    for _ in range(rng.randrange(1, 4)):
        first = rng.choice((21, 61, 61, 61))
        at = rng.randrange(min(first, len(damaged) - 1), len(damaged))
        what = rng.random()
        if what < 0.5:
            damaged[at] = rng.choice((*BYTES, rng.randrange(256)))
        elif what < 0.7:
            damaged[at] = (damaged[at] + rng.choice((1, -1, 2, -2))) & 0xFF
        elif what < 0.85:
            del damaged[at : at + rng.randrange(1, 4)]
        else:
            damaged[at:at] = bytes(rng.choices(BYTES, k=rng.randrange(1, 12)))
    damaged[21:23] = batch[21:23]  # the attributes' own tests are in tests/unit
    whole = len(damaged) >= plain.HEAD and rng.random() < 0.97
    return made.sealed(bytes(damaged)) if whole else bytes(damaged)


def mutants(seed: int, count: int, codecs: Sequence[int]) -> Iterator[list[tuple[bytes, int]]]:
    """Broken batches, `AT_ONCE` together, each with an offset from which it is read."""
    rng = random.Random(seed)
    sound = originals(rng, codecs)
    for _ in range(count // AT_ONCE):
        yield [(broken(rng, rng.choice(sound)), rng.choice((0, 3, 500))) for _ in range(AT_ONCE)]


def side_by_side(group: Sequence[tuple[bytes, int]]) -> tuple[bytes, list[Stretch]]:
    """Each batch as a stretch of one answer."""
    stretches, at = [], 0
    for batch, offset in group:
        stretches.append(Stretch(at, at + len(batch), offset))
        at += len(batch)
    return b"".join(batch for batch, _ in group), stretches


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_batch_is_refused_or_read_as_aiokafka_reads_it(seed: int) -> None:
    """Never another value. What only aiokafka refuses are names of headers that are no UTF-8."""
    compared = refused = 0
    for group in mutants(seed, MUTANTS, (0, 0, 0, 0, 1, 2, 3, 4)):
        content, stretches = side_by_side(group)
        for (batch, offset), (read, fault) in zip(
            group, ours_and_why(content, stretches), strict=True
        ):
            expected = by_aiokafka(batch, offset)
            if read.wrong:
                assert not read.rows
                assert read.next_offset == offset
                refused += 1
            elif expected.wrong:
                assert any(byte >= 0x80 for byte in batch[plain.HEAD :]), (batch, read)
                assert "UnicodeDecodeError" in expected.error, (batch, read, expected)
            elif len(batch) >= plain.HEAD + 8:
                at_least = max(expected.next_offset, offset)
                assert read == expected._replace(next_offset=at_least), batch
                compared += 1
            assert not isinstance(fault, Corrupt) or fault.beyond > offset
    assert compared > MUTANTS / 20
    assert refused > MUTANTS / 3


@pytest.mark.parametrize("seed", SEEDS)
def test_compiled_and_plain_agree_on_broken_batches(seed: int) -> None:
    """Same records or the same fault for the same reason."""
    for group in mutants(-1 - seed, MUTANTS // 5, (0, 0, 0, 4)):
        content, stretches = side_by_side(group)
        compiled = ours_and_why(content, stretches)
        with kernels.reference_only():
            assert ours_and_why(content, stretches) == compiled


@pytest.fixture
def guarded() -> Iterator[NDArray[np.uint8]]:
    """64 KiB behind which no byte can be read: a read there ends the process."""
    size, page = 64 * 1024, mmap.PAGESIZE
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(address + size), page, 0) == 0
    yield np.frombuffer(memory, np.uint8, size)
    libc.mprotect(ctypes.c_void_p(address + size), page, mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.skipif(not kernels.compiled(), reason="without Numba there is nothing to guard")
def test_the_kernels_read_nothing_behind_the_bytes(guarded: NDArray[np.uint8]) -> None:
    """Broken and cut batches, 8 bytes before the end of what may be read: those of a last word."""
    from stream.core.kernels import parse_batches

    rng, n = random.Random(5), 0
    for group in mutants(5, MUTANTS // 3, (0,)):
        for batch, _ in group:
            content = batch[: rng.randrange(len(batch) + 1)] if rng.random() < 0.3 else batch
            guarded[-8:] = rng.choice((0x00, 0x80, 0xFF))
            answer = guarded[len(guarded) - 8 - len(content) : -8]
            answer[:] = np.frombuffer(content, np.uint8)
            table = np.zeros((len(content) // plain.HEAD + 1, plain.COLUMNS), np.int64)
            table = table[: parse_batches.frame(answer, np.array([[0, len(content)]]), table)]
            if len(table):
                # Records may also lie at the end though the batch's head does not say so.
                table[:, plain.STATUS] = plain.TAKE
                columns = np.empty((4, len(content)), np.int64)
                n += parse_batches.parse(answer, table, *columns, np.array([[0, 0, 0]]))
    assert n > MUTANTS / 20

"""A fetch's bytes, either way, against aiokafka's own codec; and bytes that nobody wrote."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core import kernels
from stream.kafka.batch import Partition
from stream.kafka.fetch.messages import (
    FetchAnswer,
    FetchSizes,
    Garbled,
    fetch_answer,
    fetch_request,
)
from tests.support.record_batches import Row, batch, by_aiokafka, padded

briefly = settings(max_examples=50)
i64 = st.integers(-(2**63), 2**63 - 1)
i32 = st.integers(-(2**31), 2**31 - 1)
topics = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=9)
partitions = st.builds(Partition, topics, st.integers(0, 2**31 - 1))


@briefly
@given(
    st.dictionaries(partitions, st.integers(0, 2**63 - 1), max_size=9), st.integers(0, 2**31 - 1)
)
def test_a_request_is_what_aiokafka_reads(wanted: dict[Partition, int], correlation: int) -> None:
    """Every partition with its offset, grouped by topic in the order of the first of each."""
    data = fetch_request(correlation, "us", wanted, FetchSizes(4096, 1024, 50))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert data[4:14] == b"\0\1\0\x0b" + correlation.to_bytes(4, "big") + b"\0\2"
    body = BytesIO(data[16:])
    request: Any = FetchRequest_v11.decode(body)
    assert not body.read()
    asked = [(Partition(topic, row[0]), row[2]) for topic, rows in request.topics for row in rows]
    by_topic = sorted(
        wanted, key=lambda name: list(dict.fromkeys(t for t, _ in wanted)).index(name.topic)
    )
    assert asked == [(name, wanted[name]) for name in by_topic]
    assert (request.max_wait_time, request.min_bytes, request.max_bytes) == (50, 1, 4096)
    assert request.isolation_level == 1
    assert {row[4] for _, rows in request.topics for row in rows} <= {1024}


parts = st.tuples(
    st.integers(0, 2**31 - 1),
    st.integers(-1, 119),
    i64,
    i64,
    i64,
    st.none() | st.lists(st.tuples(i64, i64), max_size=3),
    i32,
    st.none() | st.binary(max_size=40),
)
answers = st.builds(
    lambda throttle_ms, error, told: FetchResponse_v11(throttle_ms, error, 0, told).encode(),
    i32,
    st.integers(-1, 119),
    st.lists(st.tuples(topics, st.lists(parts, max_size=4)), max_size=3),
)


def framed(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "big") + b"\0\0\0\7" + body


@briefly
@given(answers)
def test_an_answer_is_what_aiokafka_wrote(body: bytes) -> None:
    """Errors, high waters, aborted transactions, and where each partition's batches lie."""
    data = framed(body)
    answer = fetch_answer(data, len(data))
    told: Any = FetchResponse_v11.decode(BytesIO(body))
    assert answer.correlation == 7
    assert (answer.throttle_ms, answer.error) == (told.throttle_time_ms, told.error_code)
    expected = [
        (Partition(topic, number), error, high, tuple(aborted or ()), records or b"")
        for topic, rows in told.topics
        for number, error, high, _, _, aborted, _, records in rows
    ]
    found = [(*part[:4], data[part.start : part.stop]) for part in answer.parts]
    assert found == expected


@briefly
@given(answers, st.data())
def test_any_bytes_are_an_answer_or_garbled(body: bytes, data: st.DataObject) -> None:
    """However they were changed or cut, nothing else is raised and nothing lies outside."""
    content = bytearray(framed(body))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(4, len(content)))]
    try:
        answer = fetch_answer(content, len(content))
    except Garbled:
        return
    assert all(0 <= part.start <= part.stop <= len(content) for part in answer.parts)


@briefly
@given(answers, st.data())
def test_the_head_of_an_answer_names_its_first_parts(body: bytes, data: st.DataObject) -> None:
    """As of an answer that is too large: all parts whose beginning is in the head."""
    content = framed(body)
    head = content[: data.draw(st.integers(4, len(content)))]
    whole = fetch_answer(content, len(content))
    try:
        answer = fetch_answer(head, len(content))
    except Garbled:
        return
    assert answer.parts == whole.parts[: len(answer.parts)]


def test_the_part_that_is_too_large_is_found() -> None:
    """Small ones before it are passed over."""
    rows: list[Any] = [
        (number, 0, 0, 0, 0, [], -1, bytes(size)) for number, size in enumerate((5, 90, 99))
    ]
    data = framed(FetchResponse_v11(0, 0, 0, [("t", rows)]).encode())
    answer: FetchAnswer = fetch_answer(data, len(data))
    assert answer.oversized(90) == answer.parts[2]
    assert answer.oversized(99) is None


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels")
@briefly
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=6), st.data())
def test_a_stretch_reaches_as_far_as_aiokafka_reads_it(
    holes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """With holes between and within batches, from any offset, cut anywhere."""
    from stream.core.kernels.parse_batches import reaches

    content, end = b"", 0
    for hole, last in holes:
        content += batch(end + hole, [Row(0, b"x")], last=last)
        end += hole + last + 1
    content = content[: data.draw(st.integers(0, len(content)))]
    offset = data.draw(st.integers(0, end))
    read = by_aiokafka(content, offset)
    assert not read.wrong
    beyond = reaches(padded(content), 0, len(content), offset)
    assert beyond == max(read.next_offset, offset)


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels")
@briefly
@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes_reach_somewhere(content: bytes, offset: int) -> None:
    """Whatever they are, it ends, and not before where it began."""
    from stream.core.kernels.parse_batches import reaches

    assert reaches(padded(content), 0, len(content), offset) >= offset
    header = bytearray(batch(3, [Row(0, b"abc")]) + content)
    for place in content[:5]:
        header[place % 61] = place
    assert reaches(np.frombuffer(bytes(header) + bytes(64), np.uint8), 0, len(header), offset) >= 0

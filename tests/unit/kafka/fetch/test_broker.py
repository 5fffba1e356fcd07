"""The fetcher against brokers that send what they should not: bounded, said, nothing made up."""

import asyncio
import logging
import struct
from collections.abc import Callable

import pytest

from stream.core.model.byte_strings import PADDING
from stream.kafka.call_events import CallEvent
from stream.kafka.fetch import broker, connection
from stream.kafka.fetch.connection import BUFFER_BYTES_MIN, Buffer, FetchConnection
from tests.support.record_batches import Row, batch
from tests.support.scripted_broker import P0, P1, Cluster, Spoil, fetching


def sent_instead(change: Callable[[bytes], bytes]) -> Spoil:
    """A broker that sends `change(message)` where it should send `message`."""

    async def spoil(message: bytes, writer: asyncio.StreamWriter) -> bytes:
        return change(message)

    return spoil


async def half(message: bytes, writer: asyncio.StreamWriter) -> bytes:
    writer.write(message[: len(message) // 2])
    await writer.drain()
    writer.transport.close()
    return b""


async def reset(message: bytes, writer: asyncio.StreamWriter) -> bytes:
    writer.transport.abort()
    return b""


def size(count: int) -> bytes:
    return struct.pack(">i", count)


SPOILS: dict[str, Spoil] = {
    "garbage": sent_instead(lambda _: size(1020) + bytes(range(255)) * 4),
    "nothing in it": sent_instead(lambda _: bytes(4)),
    "negative": sent_instead(lambda message: size(-5) + message[4:]),
    "two gigabytes": sent_instead(lambda message: size(2**31 - 1) + message[4:] + bytes(70_000)),
    "longer": sent_instead(lambda message: message + b"more"),
    "shorter": sent_instead(lambda message: size(len(message) - 14) + message[4:-10]),
    "trailing": sent_instead(lambda message: size(len(message)) + message[4:] + bytes(4)),
    "of another question": sent_instead(lambda message: message[:4] + size(77_777) + message[8:]),
    "of another topic": sent_instead(lambda message: message.replace(b"calls", b"cells")),
    "nameless": sent_instead(lambda message: message.replace(b"calls", b"c\xff\xfels")),
    "half": half,
    "reset": reset,
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
async def test_an_answer_that_is_none_is_said_and_asked_again(
    spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is given up, another one made, and every record comes once."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a", b"b"])
        cluster.spoils += [spoil, spoil]
        async with fetching(cluster) as lab:
            with caplog.at_level(logging.INFO):
                await lab.until(2)
                await lab.quiet(30)
            assert lab.found == {P0: [(0, b"a"), (1, b"b")]}
            assert not cluster.spoils
            told = [one.message for one in caplog.records if one.message.startswith("broker 0")]
            assert "it is tried again and again" in told[0]
            assert told[-1] == "broker 0 answers again"


async def test_a_broker_that_stalls_in_mid_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No byte for long enough, and the connection is of no use."""
    monkeypatch.setattr(broker, "ANSWER_S_MAX", 0.05)

    async def stalls(message: bytes, writer: asyncio.StreamWriter) -> bytes:
        writer.write(message[:9])
        await asyncio.sleep(0.2)
        return message[9:]

    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.spoils += [stalls]
        async with fetching(cluster) as lab:
            await lab.until(1)
            assert lab.found == {P0: [(0, b"a")]}


async def test_an_answer_that_comes_byte_by_byte_is_an_answer() -> None:
    """Where it is cut does not matter."""

    async def drips(message: bytes, writer: asyncio.StreamWriter) -> bytes:
        for place in range(40):
            writer.write(message[place : place + 1])
            await asyncio.sleep(0)
        return message[40:]

    async with Cluster() as cluster:
        cluster.records(P0, [b"a" * 5000])
        cluster.spoils += [drips]
        async with fetching(cluster) as lab:
            await lab.until(1)
            assert lab.found == {P0: [(0, b"a" * 5000)]}


async def test_a_throttled_client_waits() -> None:
    """The broker says for how long it wants no more of us."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.throttle_ms += [200]
        async with fetching(cluster) as lab:
            await lab.until(1)
            cluster.records(P0, [b"b"])
            await lab.quiet(100)
            await lab.until(2)
            assert lab.events == [CallEvent.THROTTLED]


def damaged(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


async def test_a_batch_that_was_damaged_on_its_way_is_fetched_again() -> None:
    """A batch that came once wrong and then right raises no alarm."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.records(P0, [b"b"])
        cluster.spoils += [sent_instead(damaged)] * 2
        async with fetching(cluster) as lab:
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a"), (1, b"b")]}
            assert not lab.events


@pytest.mark.expects_errors("calls/0: reading stopped at offset 1: ")
async def test_a_damaged_batch_stops_its_partition_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Batches before it are read, none behind it; topic, partition and offset are logged."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.add(P0, damaged(batch(1, [Row(0, b"b")])))
        cluster.records(P0, [b"c"])
        cluster.records(P1, [b"d"])
        async with fetching(cluster) as lab:
            await lab.until(2, lambda: lab.reader.stopped)
            cluster.records(P1, [b"e"])
            await lab.until(3)
            await lab.quiet(50)
            assert lab.found == {P0: [(0, b"a")], P1: [(0, b"d"), (1, b"e")]}
            assert lab.events == [CallEvent.PARTITION_STOPPED]


@pytest.mark.expects_errors("calls/0: the batch at offset 1 is skipped: ")
async def test_a_damaged_batch_is_skipped_where_the_settings_say_so() -> None:
    """Counted, said, and read on behind it."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.add(P0, damaged(batch(1, [Row(0, b"b"), Row(1, b"c")])))
        cluster.records(P0, [b"d"])
        async with fetching(cluster, skip_corrupt=True) as lab:
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a"), (3, b"d")]}
            assert lab.events == [CallEvent.BATCH_SKIPPED]


@pytest.mark.expects_errors("calls/0: reading stopped at offset 0: .*CorruptRecord")
async def test_a_broker_that_finds_its_own_records_damaged_is_believed() -> None:
    """After it said so as often as a damaged batch is fetched."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.errors[P0] += [2] * 4
        async with fetching(cluster) as lab:
            await lab.until(holds=lambda: lab.reader.stopped)


def unpacks_to(size: int) -> bytes:
    return batch(1, [Row(0, bytes(size))], bits=4)


def of_bytes(size: int) -> bytes:
    return batch(1, [Row(0, bytes(size))])


@pytest.mark.expects_errors(
    "calls/0: reading stopped at offset 1: it (has|unpacks to) [0-9]+ bytes"
)
@pytest.mark.parametrize("make", [unpacks_to, of_bytes])
async def test_a_batch_beyond_every_limit_stops_its_partition(
    make: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large as sent or as unpacked: it is never held in memory, and the log says where it lies."""
    grown: list[int] = []
    grow = Buffer.grow

    def watched(buffer: Buffer, capacity: int, filled: int) -> None:
        grown.append(capacity)
        grow(buffer, capacity, filled)

    monkeypatch.setattr(Buffer, "grow", watched)
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.add(P0, make(3 * 2**20))
        cluster.records(P0, [b"c"])
        cluster.records(P1, [b"d"])
        async with fetching(cluster) as lab:
            await lab.until(2, lambda: lab.reader.stopped)
            cluster.records(P1, [b"e"])
            await lab.until(3)
            assert lab.found == {P0: [(0, b"a")], P1: [(0, b"d"), (1, b"e")]}
    assert not grown


def test_what_a_backlog_needed_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once answers stay small; while every third is large, the buffer stays as it is."""
    monkeypatch.setattr(connection, "ANSWERS_LOOKED_AT", 3)
    buffer, large = Buffer(), 16 * BUFFER_BYTES_MIN
    buffer.grow(large, 0)
    for used in (large, 1, 1, 1, 1, large):
        buffer.give_back(used)
        assert buffer.capacity == large
    for used in (1, 2 * BUFFER_BYTES_MIN, 1):
        buffer.give_back(used)
    assert buffer.capacity == 4 * BUFFER_BYTES_MIN == len(buffer.view) - PADDING
    for _ in range(3):
        buffer.give_back(1)
    assert buffer.capacity == BUFFER_BYTES_MIN


@pytest.mark.expects_errors("calls/0: the batch at offset 1 is skipped: it (has|unpacks to)")
@pytest.mark.parametrize("make", [unpacks_to, of_bytes])
async def test_a_batch_beyond_every_limit_can_be_skipped(make: Callable[[int], bytes]) -> None:
    """Its head says where the next one begins."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        cluster.add(P0, make(3 * 2**20))
        cluster.records(P0, [b"c"])
        async with fetching(cluster, skip_corrupt=True) as lab:
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a"), (2, b"c")]}
            assert CallEvent.BATCH_SKIPPED in lab.events


async def test_a_buffer_grows_to_what_comes_and_no_further() -> None:
    """An answer larger than the buffer, and smaller than may be."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a" * 700_000, b"b"])
        async with fetching(cluster, answer_bytes_max=2**20) as lab:
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a" * 700_000), (1, b"b")]}


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    """Bytes between two questions belong to nothing."""
    ended: list[str] = []
    connection = FetchConnection(1000, lambda *_: None, ended.append)
    buffer = connection.get_buffer(-1)
    assert len(buffer) == 1
    connection.buffer_updated(1)
    assert ended == ["it sent what nobody asked for"]


async def test_calls_that_come_after_a_small_answer_come_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A few calls are not worth a batch each: more is asked for once the pace is over."""
    monkeypatch.setattr(broker, "PACE_S", 3600.0)
    monkeypatch.setattr(broker, "PAUSE_S", 3600.0)
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        async with fetching(cluster) as lab:
            await lab.until(1)
            cluster.records(P0, [b"b"])
            cluster.records(P0, [b"c"])
            await lab.quiet(30)
            (asked,) = lab.reader._brokers.values()
            assert asked._paced is not None
            asked._paced.cancel()
            asked._end_pace()
            await lab.until(3)
            assert [count for count in lab.batches if count] == [1, 2]


async def test_the_first_call_after_a_pause_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its fetch is on its way already: the pace begins with an answer, not with a question."""
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        async with fetching(cluster) as lab:
            await lab.until(1)
            (asked,) = lab.reader._brokers.values()
            await lab.until(holds=lambda: asked._paced is None and asked._receiving is not None)
            monkeypatch.setattr(broker, "PACE_S", 3600.0)
            cluster.records(P0, [b"b"])
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a"), (1, b"b")]}


async def test_after_a_pause_more_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was long in coming has no other close behind it: no timer wakes the process."""
    monkeypatch.setattr(broker, "PACE_S", 3600.0)
    monkeypatch.setattr(broker, "PAUSE_S", 0.0)
    async with Cluster() as cluster:
        cluster.records(P0, [b"a"])
        async with fetching(cluster) as lab:
            await lab.until(1)
            cluster.records(P0, [b"b"])
            await lab.until(2)
            assert lab.found == {P0: [(0, b"a"), (1, b"b")]}


async def test_a_backlog_is_asked_for_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is worth a batch is followed at once."""
    monkeypatch.setattr(broker, "PACE_S", 3600.0)
    async with Cluster() as cluster:
        for letter in b"abc":
            cluster.records(P0, [bytes([letter]) * broker.SMALL_BYTES])
        async with fetching(cluster, answer_bytes=8 * broker.SMALL_BYTES) as lab:
            await lab.until(3)
            assert len(lab.found[P0]) == 3

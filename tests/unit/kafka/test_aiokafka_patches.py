"""Changes to aiokafka: metadata at a pace, waits for answers, connections, names of headers."""

import asyncio
import socket
import struct
from types import SimpleNamespace
from typing import Any

import aiokafka.client
import aiokafka.conn
import aiokafka.consumer.fetcher
import pytest
from aiokafka.codec import gzip_decode, gzip_encode
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from stream.kafka.aiokafka_patches import ANSWER_S, PACE_S, pace_metadata
from tests.support.scripted_broker import METADATA, Cluster

THEIRS: Any = aiokafka.conn.AIOKafkaConnection.__base__
"""aiokafka's own connection."""


async def test_metadata_are_asked_for_at_a_pace_and_none_is_dropped() -> None:
    """Its fetcher asks at once where a partition has no leader; what is too soon comes late."""
    loop = asyncio.get_running_loop()
    asked = 0

    def force_metadata_update() -> asyncio.Future[bool]:
        nonlocal asked
        asked += 1
        answer: asyncio.Future[bool] = loop.create_future()
        answer.set_result(False)
        return answer

    client = SimpleNamespace(force_metadata_update=force_metadata_update, cluster="its own")
    consumer = SimpleNamespace(_client=client, _fetcher=SimpleNamespace(_client=client))
    pace_metadata(consumer)
    paced = consumer._fetcher._client
    assert paced.cluster == "its own"
    began_s = loop.time()
    for _ in range(5):
        await paced.force_metadata_update()
    assert 1 < asked <= 2 + (loop.time() - began_s) / PACE_S
    before = asked
    paced.force_metadata_update()
    await paced.force_metadata_update()
    assert asked > before


async def test_small_questions_are_given_up_early_and_others_are_not(monkeypatch):
    """A heartbeat waits 10 s. A join may wait for the group, and a heartbeat behind it too."""
    monkeypatch.setattr(aiokafka.conn, "wait_for", lambda _, seconds: seconds)
    link = aiokafka.conn.AIOKafkaConnection(
        "broker", 9092, request_timeout_ms=40_000, on_close=lambda *_: None
    )
    link._writer = SimpleNamespace(write=lambda _: None)
    link._versions = {12: (0, 1), 14: (0, 3)}
    heartbeat = HeartbeatRequest("ringfence", 1, "worker")
    join = SyncGroupRequest("ringfence", 1, "worker", "", [])
    assert [link.send(one) for one in (heartbeat, join, heartbeat)] == [ANSWER_S, 40, 40]
    link._requests.clear()
    assert link.send(heartbeat) == ANSWER_S


async def test_a_broker_that_acknowledges_nothing_is_given_up_by_the_kernel():
    """A request would wait 40 s for its answer, though nobody has it."""
    async with Cluster() as cluster:
        opened: Any = await aiokafka.conn.create_conn("127.0.0.1", cluster.addresses[0])
        made = opened._writer.get_extra_info("socket")
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == ANSWER_S * 1000
        opened.close()


class Closed:
    """A socket whose other end is gone."""

    def write(self, data: memoryview) -> None:
        raise ConnectionResetError("reset")

    def close(self) -> None:
        """Nothing is left to close."""


def link_at(version: int, writer: Any) -> Any:
    """A connection of ours to a broker that knows Produce up to this version."""
    link: Any = aiokafka.conn.AIOKafkaConnection("broker", 9092, client_id="ringfence")
    link._writer, link._versions = writer, {ProduceRequest.API_KEY: (0, version)}
    return link


@pytest.mark.parametrize(
    ("version", "transaction"), [(2, None), (3, None), (3, "ringfence-\u0e17"), (7, None)]
)
async def test_a_produce_request_has_the_bytes_that_aiokafka_sends(version, transaction):
    """Batches of our encoder and of aiokafka's, an empty one, several topics and partitions."""
    topics: Any = [
        ("decisions", [(0, b"one"), (3, memoryview(bytearray(b"other")))]),
        ("\u0e17.rejected", [(1, b"")]),
    ]
    request = ProduceRequest(transaction, -1, 30_000, topics)
    written = []
    for send in (aiokafka.conn.AIOKafkaConnection.send, THEIRS.send):
        data = bytearray()
        link = link_at(version, SimpleNamespace(write=data.extend))
        send(link, request).close()
        ((_, made, _),) = link._requests
        assert (made.API_VERSION, made.topics) == (version, topics)
        written.append(bytes(data))
    assert written[0] == written[1] != b""


async def test_a_produce_request_that_a_socket_does_not_take_ends_its_connection():
    """As any other request: the sender tries again on another one."""
    link = link_at(7, Closed())
    link._reader = SimpleNamespace()
    link._read_task = asyncio.get_running_loop().create_future()
    with pytest.raises(KafkaConnectionError, match="broker:9092 broken: reset"):
        link.send(ProduceRequest(None, -1, 30_000, [("decisions", [(0, b"one")])]))
    assert link._writer is None
    assert not link._requests


@pytest.mark.parametrize("codec", [0, 1])
def test_a_header_whose_name_is_no_text_is_read(codec):
    """Between others, packed or not; offsets, keys, values and the other batches stay."""
    first, second, third = (DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 9999) for _ in "123")
    first.append(0, 1, b"a", b"0", [("x", b"1")])
    several: Any = [[("y", b"2")], [("NAME", b"3"), ("z", None)], []]
    for offset, headers in enumerate(several):
        second.append(offset, 1, None, b"%d" % offset, headers)
    third.append(0, 1, None, b"4", [])
    batches = [bytearray(one.build()) for one in (first, second, third)]
    # A builder takes text only: what it wrote is unpacked, changed and packed again.
    records = bytes(batches[1][61:])
    if codec:
        records = gzip_decode(records)
    records = records.replace(b"NAME", b"\xffx\xfe\0")
    batches[1][61:] = gzip_encode(records) if codec else records
    for base, batch in zip((0, 1, 4), batches, strict=True):
        struct.pack_into(">qi", batch, 0, base, len(batch) - 12)
        struct.pack_into(">I", batch, 17, calc_crc32c(bytes(batch[21:])))
    theirs: Any = aiokafka.consumer.fetcher
    made = theirs.MemoryRecords(b"".join(batches) + b"half a batch")
    tp = aiokafka.TopicPartition("calls", 0)
    read = theirs.PartitionRecords(tp, made, [], 0, None, None, True, 1)
    found = [(one.offset, one.key, one.value, one.headers) for one in read]
    assert found == [
        (0, b"a", b"0", (("x", b"1"),)),
        (1, None, b"0", (("y", b"2"),)),
        (2, None, b"1", (("\ufffdx\ufffd\0", b"3"), ("z", None))),
        (3, None, b"2", ()),
        (4, None, b"4", ()),
    ]


async def test_a_client_that_is_cancelled_at_its_start_closes_its_first_connection(monkeypatch):
    """The connection that asks for the brokers is in no client yet: nothing else would close it."""
    asked, made = asyncio.Event(), []

    class Silent(Cluster):
        async def _answer(self, node: int, message: bytes, writer: asyncio.StreamWriter) -> bytes:
            if message[1] == METADATA:
                asked.set()
                await asyncio.Event().wait()
            return await super()._answer(node, message, writer)

    connect = aiokafka.conn.create_conn

    async def kept(*place, **options):
        made.append(await connect(*place, **options))
        return made[-1]

    monkeypatch.setattr(aiokafka.client, "create_conn", kept)
    async with Silent() as cluster:
        client = aiokafka.client.AIOKafkaClient(
            bootstrap_servers=f"127.0.0.1:{cluster.addresses[0]}"
        )
        start = asyncio.create_task(client.bootstrap())
        await asked.wait()
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await client.close()
        assert [one.connected() for one in made] == [False]

"""The contract of the model: one suite of questions, asked of the model and of Apache Kafka.

Each case asks by bytes of the protocol, and compares the answers with those written here. So the
model is never kinder than the real one where a client can tell them apart.
"""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from io import BytesIO
from itertools import count
from typing import Any, Protocol
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol import commit, coordination, fetch, group, offset, produce, transaction
from crc32c import crc32c

from stream.kafka import aiokafka_patches, topic_ids
from tests.simulation.kafka.errors import Code
from tests.simulation.world import World
from tests.support.record_batches import TRANSACTIONAL, Row, batch
from tests.support.waiting import Patience

_RETRIED = {
    Code.COORDINATOR_LOADING,
    Code.COORDINATOR_NOT_AVAILABLE,
    Code.NOT_COORDINATOR,
    Code.CONCURRENT_TRANSACTIONS,
}


class Asked(Protocol):
    """A cluster that is asked, of either kind."""

    address: tuple[str, int]

    async def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""

    async def delete(self, topic: str) -> None:
        """Delete it."""


class Modelled:
    """The model, with one broker."""

    def __init__(self, world: World) -> None:
        self._world = world
        host, _, port = world.cluster.bootstrap.partition(":")
        self.address = host, int(port)

    async def create(self, topic: str, partitions: int) -> None:
        self._world.cluster.create(topic, partitions)

    async def delete(self, topic: str) -> None:
        self._world.cluster.delete(topic)


class Real:
    """Apache Kafka."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        host, _, port = bootstrap.partition(":")
        self.address = host, int(port)

    async def create(self, topic: str, partitions: int) -> None:
        async with self._admin() as admin:
            await admin.create_topics([NewTopic(topic, partitions, 1)])

    async def delete(self, topic: str) -> None:
        async with self._admin() as admin:
            await admin.delete_topics([topic])

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


class Client:
    """One connection. Questions are answered one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, asked: Any) -> Any:
        """Send a request; return its answer."""
        tags = b"\0" if asked.FLEXIBLE_VERSION else b""
        head = struct.pack(">hhih", asked.API_KEY, asked.API_VERSION, 1, 4) + b"test" + tags
        message = head + asked.encode()
        self._writer.write(struct.pack(">i", len(message)) + message)
        (size,) = struct.unpack(">i", await self._reader.readexactly(4))
        answer = await self._reader.readexactly(size)
        return asked.RESPONSE_TYPE.decode(BytesIO(answer[4 + len(tags) :]))


class Kafka:
    """The parts of a case: a cluster, connections to it, and names that no other case uses."""

    def __init__(self, asked: Asked, stack: AsyncExitStack) -> None:
        self.asked, self._stack = asked, stack
        self._names = count()
        self._run = uuid4().hex[:8]

    def name(self, kind: str) -> str:
        """Return a new name."""
        return f"{kind}-{self._run}-{next(self._names)}"

    async def client(self) -> Client:
        """Connect."""
        reader, writer = await asyncio.open_connection(*self.asked.address)
        self._stack.callback(writer.close)
        return Client(reader, writer)

    async def topic(self, partitions: int = 2) -> str:
        """Make a topic; return its name once its leaders are known."""
        name = self.name("topic")
        await self.asked.create(name, partitions)
        await self.led(name, partitions)
        # A broker knows that it leads a little before it has the log.
        client, patience = await self.client(), Patience(f"{name} can be read")
        while (found := await fetched(client, name, 0))[0]:
            patience.check(found[0])
        return name

    async def led(self, name: str, partitions: int) -> Any:
        """Wait until the broker knows a topic; return its id."""
        client, patience = await self.client(), Patience(f"{name} has leaders")
        while True:
            answer = await client.ask(metadata_of(name))
            (found,) = answer.topics
            codes = [code for code, *_ in found[4]]
            if found[0] == 0 and codes == [0] * partitions:
                return found[2]
            patience.check(found)
            await asyncio.sleep(0.05)


async def settled(ask: Callable[[], Awaitable[Any]], code: Callable[[Any], int]) -> Any:
    """Ask until the answer is no wait for a coordinator."""
    patience = Patience("a coordinator that answers")
    while code(answer := await ask()) in _RETRIED:
        patience.check(answer)
        await asyncio.sleep(0.02)
    return answer


# Questions.


def metadata_of(*topics: str) -> Any:
    """Ask for topics with their ids."""
    rows: list[Any] = [(topic_ids._NONE, topic, {}) for topic in topics]
    return topic_ids._MetadataRequest10(rows, False, False, False, {})


def sent(
    sequence: int, rows: int = 1, producer: int = -1, epoch: int = 0, *, bits: int = 0
) -> bytes:
    """A producer's batch."""
    now_ms = int(time.time() * 1000)  # what is older than retention would soon be gone
    values = [Row(delta, b"v") for delta in range(rows)]
    content = bytearray(batch(0, values, bits, producer, times_ms=(now_ms, now_ms)))
    if producer >= 0:
        struct.pack_into(">hi", content, 51, epoch, sequence)
        struct.pack_into(">I", content, 17, crc32c(bytes(content[21:])))
    return bytes(content)


async def produced(client: Client, topic: str, content: bytes, name: str | None = None) -> Any:
    """Write to partition 0; return the error and the first offset."""
    request = produce.ProduceRequest_v7(name, -1, 5000, [(topic, [(0, content)])])
    answer = await client.ask(request)
    ((_, ((_, code, first, *_),)),) = answer.topics
    return code, first


async def fetched(client: Client, topic: str, at: int, epoch: int = -1, *, level: int = 1) -> Any:
    """Fetch partition 0; return error, high water, last stable offset, aborted, bytes."""
    parts = [(topic, [(0, epoch, at, 0, 1 << 20)])]
    request = fetch.FetchRequest_v11(-1, 100, 1, 1 << 20, level, 0, -1, parts, [], "")
    answer = await client.ask(request)
    ((_, ((_, code, high, stable, _, aborted, _, content),)),) = answer.topics
    return code, high, stable, [tuple(one) for one in aborted or ()], content


async def offset_at(client: Client, topic: str, time_ms: int, *, level: int = 1) -> Any:
    """Ask for an offset by time; return the error and the offset."""
    answer = await client.ask(offset.OffsetRequest_v3(-1, level, [(topic, [(0, time_ms)])]))
    ((_, ((_, code, _, found),)),) = answer.topics
    return code, found


async def producer_id(client: Client, name: str | None = None, timeout_ms: int = 60_000) -> Any:
    """Begin as a producer; return id and epoch."""
    request = transaction.InitProducerIdRequest_v0(name, timeout_ms)
    answer = await settled(lambda: client.ask(request), lambda one: one.error_code)
    assert answer.error_code == 0
    return answer.producer_id, answer.producer_epoch


class Member:
    """A member of a group, on a connection of its own."""

    def __init__(self, client: Client, name: str, instance: str | None = None) -> None:
        self.client, self.group, self.instance = client, name, instance
        self.id, self.generation = "", -1

    async def join(self, metadata: bytes = b"m") -> Any:
        """Join; return the answer. A dynamic member's id is taken from the first one."""

        def ask() -> Awaitable[Any]:
            protocols = [("p", metadata)]
            settings = (self.group, 10_000, 10_000, self.id, self.instance, "consumer", protocols)
            return self.client.ask(group.JoinGroupRequest_v5(*settings))

        answer = await settled(ask, lambda one: one.error_code)
        if answer.error_code == Code.MEMBER_ID_REQUIRED and not self.id:
            self.id = answer.member_id
            return await self.join(metadata)
        if not answer.error_code:
            self.id, self.generation = answer.member_id, answer.generation_id
        return answer

    async def sync(self, parts: Sequence[tuple[str, bytes]] = ()) -> Any:
        """Give or get the assignment; return the error and our part."""
        ids = (self.group, self.generation, self.id, self.instance)
        answer = await self.client.ask(group.SyncGroupRequest_v3(*ids, list(parts)))
        return answer.error_code, answer.member_assignment

    async def beat(self) -> int:
        """Send a heartbeat; return the error."""
        request = group.HeartbeatRequest_v1(self.group, self.generation, self.id)
        found: int = (await self.client.ask(request)).error_code
        return found

    async def leave(self) -> int:
        """Leave; return the error."""
        request = group.LeaveGroupRequest_v1(self.group, self.id)
        found: int = (await self.client.ask(request)).error_code
        return found

    async def commit(self, topic: str, at: int, number: int = 0) -> int:
        """Commit a position; return the error of its partition."""
        positions = [(topic, [(number, at, "")])]
        ids = (self.group, self.generation, self.id, -1)

        def ask() -> Awaitable[Any]:
            return self.client.ask(commit.OffsetCommitRequest_v3(*ids, positions))

        answer = await settled(ask, lambda one: one.topics[0][1][0][1])
        code: int = answer.topics[0][1][0][1]
        return code

    async def committed(self, topic: str, *, stable: bool = False) -> Any:
        """Ask for the position of partition 0; return the error and the offset."""
        asked: list[Any] = [(topic, [0], {})]
        request = aiokafka_patches._StableOffsetsRequest7(self.group, asked, stable, {})
        answer = await settled(lambda: self.client.ask(request), lambda one: one.error_code)
        ((_, ((_, at, _, _, code, _),), _),) = answer.topics
        return code, at


# Cases.


async def topics_and_ids(kafka: Kafka) -> None:
    """An unknown topic is an error of its own; one that was made again has another id."""
    client, topic = await kafka.client(), await kafka.topic(3)
    answer = await client.ask(metadata_of(topic, kafka.name("none")))
    codes = sorted(row[0] for row in answer.topics)
    assert codes == [0, Code.UNKNOWN_TOPIC_OR_PARTITION]
    before = await kafka.led(topic, 3)
    await kafka.asked.delete(topic)
    await kafka.asked.create(topic, 2)
    assert await kafka.led(topic, 2) != before


async def idempotence(kafka: Kafka) -> None:
    """A batch that comes again is written once; a gap and an older epoch are refused."""
    client, topic = await kafka.client(), await kafka.topic()
    mine, epoch = await producer_id(client)
    assert await produced(client, topic, sent(0, 3, mine, epoch)) == (0, 0)
    assert await produced(client, topic, sent(3, 2, mine, epoch)) == (0, 3)
    assert await produced(client, topic, sent(0, 3, mine, epoch)) == (0, 0)
    assert await produced(client, topic, sent(3, 2, mine, epoch)) == (0, 3)
    assert (await produced(client, topic, sent(9, 1, mine, epoch)))[0] == Code.OUT_OF_ORDER_SEQUENCE
    for sequence in range(5, 12):
        assert await produced(client, topic, sent(sequence, 1, mine, epoch)) == (0, sequence)
    # Five batches are remembered; what is older is out of order, not known.
    assert (await produced(client, topic, sent(0, 3, mine, epoch)))[0] == Code.OUT_OF_ORDER_SEQUENCE
    assert (await produced(client, topic, sent(7, 1, mine, 1)))[0] == Code.OUT_OF_ORDER_SEQUENCE
    assert await produced(client, topic, sent(0, 1, mine, 1)) == (0, 12)
    code, _ = await produced(client, topic, sent(12, 1, mine, epoch))
    assert code == Code.INVALID_PRODUCER_EPOCH
    # Whose first batch the log has never seen may begin anywhere.
    other, _ = await producer_id(client)
    assert await produced(client, topic, sent(40, 1, other)) == (0, 13)


async def damage(kafka: Kafka) -> None:
    """A batch whose checksum is wrong is refused."""
    client, topic = await kafka.client(), await kafka.topic()
    content = bytearray(sent(0))
    content[-1] ^= 1
    assert (await produced(client, topic, bytes(content)))[0] == Code.CORRUPT_MESSAGE
    assert (await fetched(client, topic, 0))[1] == 0


async def fetches(kafka: Kafka) -> None:
    """Outside of the log an offset is out of range; unknown epochs and topics are refused."""
    client, topic = await kafka.client(), await kafka.topic()
    assert await produced(client, topic, sent(0, 3)) == (0, 0)
    code, high, stable, aborted, content = await fetched(client, topic, 0)
    assert (code, high, stable, aborted) == (0, 3, 3, [])
    assert len(content) == len(sent(0, 3))
    # From amid a batch the whole batch comes.
    assert len((await fetched(client, topic, 2))[4]) == len(sent(0, 3))
    assert (await fetched(client, topic, 3))[4] == b""
    assert (await fetched(client, topic, 4))[0] == Code.OFFSET_OUT_OF_RANGE
    assert (await fetched(client, topic, 0, 7))[0] == Code.UNKNOWN_LEADER_EPOCH
    assert (await fetched(client, kafka.name("none"), 0))[0] == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert await offset_at(client, topic, -2) == (0, 0)
    assert await offset_at(client, topic, -1) == (0, 3)
    now_ms = int(time.time() * 1000)
    assert await offset_at(client, topic, now_ms - 3_600_000) == (0, 0)
    assert await offset_at(client, topic, now_ms + 3_600_000) == (0, -1)


class Writer:
    """A transactional producer, by hand."""

    def __init__(self, client: Client, name: str) -> None:
        self.client, self.name = client, name
        self.id = self.epoch = self._sequence = 0

    async def init(self, timeout_ms: int = 60_000) -> None:
        """Get an id and an epoch."""
        self.id, self.epoch = await producer_id(self.client, self.name, timeout_ms)
        self._sequence = 0

    async def add(self, topic: str) -> int:
        """Add partition 0; return the error."""
        request = transaction.AddPartitionsToTxnRequest_v0(
            self.name, self.id, self.epoch, [(topic, [0])]
        )
        answer = await settled(lambda: self.client.ask(request), lambda one: one.errors[0][1][0][1])
        code: int = answer.errors[0][1][0][1]
        return code

    async def write(self, topic: str) -> Any:
        """Write a record to partition 0; return the error and the offset."""
        content = sent(self._sequence, 1, self.id, self.epoch, bits=TRANSACTIONAL)
        found = await produced(self.client, topic, content, self.name)
        self._sequence += found[0] == 0
        return found

    async def positions(self, name: str, topic: str, at: int) -> int:
        """Commit a position of a group in the transaction; return the error."""
        add = transaction.AddOffsetsToTxnRequest_v0(self.name, self.id, self.epoch, name)
        answer = await settled(lambda: self.client.ask(add), lambda one: one.error_code)
        if answer.error_code:
            return int(answer.error_code)
        request = transaction.TxnOffsetCommitRequest_v0(
            self.name, name, self.id, self.epoch, [(topic, [(0, at, "")])]
        )
        answer = await settled(lambda: self.client.ask(request), lambda one: one.errors[0][1][0][1])
        code: int = answer.errors[0][1][0][1]
        return code

    async def end(self, *, commits: bool) -> int:
        """Commit or abort; return the error."""
        request = transaction.EndTxnRequest_v0(self.name, self.id, self.epoch, commits)
        answer = await settled(lambda: self.client.ask(request), lambda one: one.error_code)
        return int(answer.error_code)


async def transactions(kafka: Kafka) -> None:
    """Readers of committed records stop at an open one, and hear of an aborted one."""
    client, topic = await kafka.client(), await kafka.topic()
    writer = Writer(client, kafka.name("tx"))
    await writer.init()
    assert (await writer.write(topic))[0] == Code.INVALID_TXN_STATE
    assert await writer.add(topic) == 0
    assert await writer.write(topic) == (0, 0)
    assert await produced(client, topic, sent(0)) == (0, 1)
    code, high, stable, _, content = await fetched(client, topic, 0)
    assert (code, high, stable, content) == (0, 2, 0, b"")
    assert len((await fetched(client, topic, 0, level=0))[4]) > 0
    assert await offset_at(client, topic, -1) == (0, 0)
    assert await offset_at(client, topic, -1, level=0) == (0, 2)
    assert await writer.end(commits=False) == 0
    patience = Patience("the marker")
    while (await fetched(client, topic, 0))[2] < 3:
        patience.check()
    assert (await fetched(client, topic, 0))[1:4] == (3, 3, [(writer.id, 0)])
    assert (await fetched(client, topic, 3))[3] == []
    assert await writer.end(commits=False) == 0, "asked again it is the same"
    assert await writer.end(commits=True) == Code.INVALID_TXN_STATE


async def fencing(kafka: Kafka) -> None:
    """The newest with a transactional id counts; what the older had open is aborted."""
    client, topic = await kafka.client(), await kafka.topic()
    name = kafka.name("tx")
    older, newer = Writer(client, name), Writer(client, name)
    await older.init()
    assert await older.end(commits=True) == Code.INVALID_TXN_STATE
    assert await older.add(topic) == 0
    assert await older.write(topic) == (0, 0)
    await newer.init()
    assert newer.id == older.id
    assert newer.epoch > older.epoch
    assert await older.end(commits=True) == Code.INVALID_PRODUCER_EPOCH
    assert await older.add(topic) == Code.INVALID_PRODUCER_EPOCH
    assert (await older.write(topic))[0] == Code.INVALID_PRODUCER_EPOCH
    assert (await fetched(client, topic, 0))[1:4] == (2, 2, [(older.id, 0)])
    stranger = Writer(client, name)
    stranger.id, stranger.epoch = older.id + 1_000_000, 0
    assert await stranger.end(commits=True) == Code.INVALID_PRODUCER_ID_MAPPING


async def time_outs(kafka: Kafka) -> None:
    """A transaction that is open for too long is aborted, and its producer fenced off."""
    client, topic = await kafka.client(), await kafka.topic()
    writer = Writer(client, kafka.name("tx"))
    await writer.init(1000)
    assert await writer.add(topic) == 0
    assert await writer.write(topic) == (0, 0)
    patience = Patience("the broker aborts")
    while (await fetched(client, topic, 0))[2] < 2:
        patience.check()
    assert await writer.end(commits=True) == Code.INVALID_PRODUCER_EPOCH


async def positions_in_transactions(kafka: Kafka) -> None:
    """Positions of an open one are not there, and who asks for stable ones has to wait."""
    client, topic = await kafka.client(), await kafka.topic()
    reader = Member(await kafka.client(), kafka.name("group"))
    assert await reader.committed(topic) == (0, -1)
    assert await reader.commit(topic, 3) == 0
    writer = Writer(client, kafka.name("tx"))
    await writer.init()
    assert await writer.positions(reader.group, topic, 7) == 0
    assert await reader.committed(topic) == (0, 3)
    assert (await reader.committed(topic, stable=True))[0] == Code.UNSTABLE_OFFSET_COMMIT
    assert await writer.end(commits=True) == 0
    patience = Patience("the marker")
    while (found := await reader.committed(topic, stable=True)) != (0, 7):
        patience.check(found)
    assert await writer.positions(reader.group, topic, 9) == 0
    assert await writer.end(commits=False) == 0
    while (found := await reader.committed(topic, stable=True))[0]:
        patience.check(found)
    assert found == (0, 7)


async def members(kafka: Kafka) -> None:
    """Members share a generation; who comes or goes begins another one."""
    name, topic = kafka.name("group"), await kafka.topic()
    one, other = Member(await kafka.client(), name), Member(await kafka.client(), name)
    stranger = Member(await kafka.client(), name)
    stranger.id, stranger.generation = "nobody", 1
    assert (await stranger.join()).error_code == Code.UNKNOWN_MEMBER_ID
    joined = await one.join()
    assert joined.error_code == 0
    assert joined.leader_id == one.id
    assert await one.commit(topic, 1) == Code.REBALANCE_IN_PROGRESS
    assert await one.sync([(one.id, b"all")]) == (0, b"all")
    assert await one.beat() == 0
    assert await one.commit(topic, 5) == 0
    assert await one.commit(kafka.name("none"), 5) == Code.UNKNOWN_TOPIC_OR_PARTITION
    assert await stranger.commit(topic, 9) == Code.UNKNOWN_MEMBER_ID
    assert await stranger.beat() == Code.UNKNOWN_MEMBER_ID
    joining = asyncio.create_task(other.join())
    patience = Patience("a rebalance")
    while (code := await one.beat()) == 0:
        patience.check()
        await asyncio.sleep(0.02)
    assert code == Code.REBALANCE_IN_PROGRESS
    # While others join the last generation may still commit.
    assert await one.commit(topic, 6) == 0
    before = one.generation
    assert (await one.join()).error_code == 0
    assert (await joining).error_code == 0
    assert one.generation == other.generation == before + 1
    following = asyncio.create_task(other.sync())
    assert await one.sync([(one.id, b"a"), (other.id, b"b")]) == (0, b"a")
    assert await following == (0, b"b")
    one.generation = before
    assert await one.beat() == Code.ILLEGAL_GENERATION
    assert await one.commit(topic, 7) == Code.ILLEGAL_GENERATION
    assert (await one.sync())[0] == Code.ILLEGAL_GENERATION
    assert await other.leave() == 0
    assert await other.beat() == Code.UNKNOWN_MEMBER_ID
    assert await one.committed(topic) == (0, 6)


async def static_members(kafka: Kafka) -> None:
    """A member that returns under an instance id gets its partitions; the former one is fenced."""
    name, topic = kafka.name("group"), await kafka.topic()
    first = Member(await kafka.client(), name, "w0")
    assert (await first.join()).error_code == 0
    assert await first.sync([(first.id, b"all")]) == (0, b"all")
    again = Member(await kafka.client(), name, "w0")
    joined = await again.join()
    assert joined.error_code == 0
    assert again.id != first.id
    assert again.generation == first.generation, "no rebalance"
    # It led, and is not told that it does: it would else have to assign.
    assert joined.leader_id != again.id
    assert await again.sync() == (0, b"all")
    assert (await first.join()).error_code == Code.FENCED_INSTANCE_ID
    assert (await first.sync())[0] == Code.FENCED_INSTANCE_ID
    assert await first.beat() == Code.UNKNOWN_MEMBER_ID
    assert await first.commit(topic, 3) == Code.UNKNOWN_MEMBER_ID
    assert await again.commit(topic, 4) == 0
    # With other metadata, too: a changed list of topics counts with the next rebalance.
    changed = Member(await kafka.client(), name, "w0")
    assert (await changed.join(b"other")).error_code == 0
    assert changed.generation == again.generation
    # While the leader assigns all join again: it knows the name before.
    name = kafka.name("group")
    leader, back = [Member(await kafka.client(), name, "w1") for _ in range(2)]
    assert (await leader.join()).error_code == 0
    assert (await back.join()).error_code == 0
    assert back.generation == leader.generation + 1


async def deleted_topics(kafka: Kafka) -> None:
    """A group forgets the positions of a topic that is deleted, also where it is made again."""
    topic, kept = await kafka.topic(), await kafka.topic()
    reader = Member(await kafka.client(), kafka.name("group"))
    assert await reader.commit(topic, 3) == 0
    assert await reader.commit(kept, 4) == 0
    await kafka.asked.delete(topic)
    await kafka.asked.create(topic, 2)
    await kafka.led(topic, 2)
    patience = Patience("the position is forgotten")
    while (found := await reader.committed(topic)) != (0, -1):
        patience.check(found)
        await asyncio.sleep(0.02)
    assert await reader.committed(kept) == (0, 4)


async def who_coordinates(kafka: Kafka) -> None:
    """There is a coordinator for groups and one for transactions."""
    client = await kafka.client()
    for kind in (0, 1):
        request = coordination.FindCoordinatorRequest_v1(kafka.name("key"), kind)
        answer = await settled(partial(client.ask, request), lambda one: one.error_code)
        assert (answer.error_code, answer.port) == (0, kafka.asked.address[1])


CASES = (
    topics_and_ids, idempotence, damage, fetches, transactions, fencing, time_outs,
    positions_in_transactions, members, static_members, deleted_topics, who_coordinates,
)  # fmt: skip
Case = Callable[[Kafka], Awaitable[None]]


async def asked(case: Case, kafka: Kafka) -> None:
    """Ask, once there are coordinators: Kafka makes their topics when it is first asked for one."""
    await who_coordinates(kafka)
    await case(kafka)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_model_keeps_the_contract(case: Case):
    """In virtual time, with one broker."""
    world = World(1, nodes=1)

    async def main(_: World) -> None:
        await world.start()
        async with AsyncExitStack() as stack:
            await asked(case, Kafka(Modelled(world), stack))

    world.run(main)


@pytest.mark.apache_kafka
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_apache_kafka_keeps_the_contract(case: Case, kafka: Any):
    """A statement here is true of the real one."""
    async with AsyncExitStack() as stack:
        await asked(case, Kafka(Real(kafka.bootstrap), stack))

"""Brokers in this process that hold what they are given and misbehave as ordered."""

import asyncio
import ssl
import struct
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from typing import Any, Self

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.metadata import MetadataResponse_v5

from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent
from stream.kafka.fetch.broker import FetchSettings
from stream.kafka.fetch.fetcher import Fetcher
from stream.kafka.fetch.messages import FetchSizes
from stream.kafka.settings import KafkaSettings
from tests.support.record_batches import Row, batch
from tests.support.waiting import HANGS_S

FETCH, METADATA, VERSIONS = 1, 3, 18
P0, P1, P2 = (Partition("calls", number) for number in range(3))
Spoil = Callable[[bytes, asyncio.StreamWriter], Awaitable[bytes]]
"""The fate of an answer with records: bytes that are sent instead."""


class Cluster:
    """Logs of record batches, who leads them, and what goes wrong next."""

    def __init__(
        self, nodes: int = 1, versions: tuple[int, int] = (4, 11), tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self.logs: dict[Partition, list[bytes]] = {}
        self.leaders: dict[Partition, int] = {}
        self.starts: dict[Partition, int] = defaultdict(int)
        self.aborted: dict[Partition, list[tuple[int, int]]] = {}
        self.errors: dict[Partition, deque[int]] = defaultdict(deque)
        self.spoils: deque[Spoil] = deque()
        self.throttle_ms: deque[int] = deque()
        self.asked: list[tuple[int, list[tuple[Partition, int]]]] = []
        self.addresses: dict[int, int] = {}
        self._nodes, self._versions = nodes, versions
        self._servers: dict[int, asyncio.Server] = {}
        self._writers: dict[int, set[asyncio.StreamWriter]] = defaultdict(set)
        self._serving: set[asyncio.Task[Any]] = set()
        self.connections = 0
        self.metadata_failures = 0
        """The number of the next questions for metadata that end their connection instead."""

    def add(self, partition: Partition, *batches: bytes, leader: int = 0) -> None:
        """Append batches to a partition's log."""
        self.logs.setdefault(partition, []).extend(batches)
        self.leaders.setdefault(partition, leader)

    def records(self, partition: Partition, values: Sequence[bytes], leader: int = 0) -> None:
        """Append one batch of records."""
        rows = [Row(delta, value) for delta, value in enumerate(values)]
        self.add(partition, batch(self.end(partition), rows), leader=leader)

    def end(self, partition: Partition) -> int:
        """The offset after the last record."""
        log = self.logs.get(partition)
        return _bounds(log[-1])[1] + 1 if log else self.starts[partition]

    async def start(self, node: int) -> None:
        """Let a broker listen, where it listened before if it did."""
        port = self.addresses.get(node, 0)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.CancelledError):
                await self._serve(node, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=self._tls)
        self._servers[node] = server
        self.addresses[node] = server.sockets[0].getsockname()[1]

    async def kill(self, node: int) -> None:
        """End a broker and all its connections."""
        self._servers.pop(node).close()
        for writer in self._writers.pop(node, set()):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    async def __aenter__(self) -> Self:
        for node in range(self._nodes):
            await self.start(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in list(self._servers):
            await self.kill(node)
        for task in self._serving:
            task.cancel()
        if self._serving:
            await asyncio.wait(self._serving)

    async def _serve(
        self, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        self._writers[node].add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                message = await reader.readexactly(size)
                writer.write(await self._answer(node, message, writer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
        finally:
            self._serving.discard(task)
            self._writers[node].discard(writer)

    async def _answer(self, node: int, message: bytes, writer: asyncio.StreamWriter) -> bytes:
        api, _, correlation, name_bytes = struct.unpack_from(">hhih", message)
        body = message[10 + name_bytes :]
        spoiled = False
        match api:
            case 18:
                found = ApiVersionResponse_v0(0, [(18, 0, 0), (3, 5, 5), (1, *self._versions)])
                answer = found.encode()
            case 3 if self.metadata_failures:
                self.metadata_failures -= 1
                raise ConnectionError("scripted")
            case 3:
                answer = self._metadata()
            case _:
                answer, spoiled = await self._fetched(node, body)
        message = struct.pack(">ii", len(answer) + 4, correlation) + answer
        if spoiled:
            return await self.spoils.popleft()(message, writer)
        return message

    def _metadata(self) -> bytes:
        topics: dict[str, list[Any]] = {}
        for (topic, number), leader in self.leaders.items():
            topics.setdefault(topic, []).append((0, number, leader, [leader], [leader], []))
        brokers = [(node, "127.0.0.1", port, None) for node, port in self.addresses.items()]
        told = [(0, name, False, rows) for name, rows in topics.items()]
        answer: bytes = MetadataResponse_v5(0, brokers, "scripted", 0, told).encode()
        return answer

    async def _fetched(self, node: int, body: bytes) -> tuple[bytes, bool]:
        request: Any = FetchRequest_v11.decode(BytesIO(body))
        left = request.max_bytes
        topics = []
        some = False
        asked = []
        for topic, wanted in request.topics:
            rows = []
            for number, _, offset, _, bytes_max in wanted:
                partition = Partition(topic, number)
                asked.append((partition, offset))
                error, records = self._records(node, partition, offset, min(left, bytes_max), some)
                some = some or bool(records)
                left -= len(records)
                aborted = self.aborted.get(partition, [])
                end = self.end(partition)
                rows.append((number, error, end, end, 0, aborted, -1, records))
                some = some or bool(error)
            topics.append((topic, rows))
        self.asked.append((node, asked))
        if not some:
            await asyncio.sleep(request.max_wait_time / 1000)
        throttle_ms = self.throttle_ms.popleft() if self.throttle_ms else 0
        spoiled = some and bool(self.spoils)
        return FetchResponse_v11(throttle_ms, 0, 0, topics).encode(), spoiled

    def _records(
        self, node: int, partition: Partition, offset: int, room: int, some: bool
    ) -> tuple[int, bytes]:
        """As a broker does it: the first batch of an answer whole, then as many bytes as fit."""
        if self.errors[partition]:
            return self.errors[partition].popleft(), b""
        if self.leaders.get(partition) != node:
            return 6, b""
        if not self.starts[partition] <= offset <= self.end(partition):
            return 1, b""
        due = [one for one in self.logs.get(partition, []) if _bounds(one)[1] >= offset]
        content = b"".join(due)
        if due and not some:
            room = max(room, len(due[0]))
        return 0, content[: max(room, 0)]


def _bounds(content: bytes) -> tuple[int, int]:
    """First and last offset of a batch."""
    (first,) = struct.unpack_from(">q", content)
    (delta,) = struct.unpack_from(">i", content, 23)
    return first, first + delta


class Member:
    """As much of aiokafka's consumer as the fetcher needs: a client, and where logs end."""

    def __init__(self, cluster: Cluster, client: Any) -> None:
        self._cluster, self._client = cluster, client
        self.resumed: dict[Partition, int] = {}
        self.fetched: deque[dict[Any, Any] | KafkaError] = deque()

    def pause(self, *tps: object) -> None:
        """Nothing is fetched here anyway."""

    def seek(self, tp: Any, offset: int) -> None:
        """Where aiokafka's reader would go on."""
        self.resumed[Partition(tp.topic, tp.partition)] = offset

    def resume(self, tp: Any) -> None:
        """Aiokafka's reader would begin."""
        assert Partition(tp.topic, tp.partition) in self.resumed

    async def getmany(self, *tps: Any, timeout_ms: int, max_records: int) -> dict[Any, Any]:
        """Return the records of aiokafka's reader, or the fault of the group."""
        found = self.fetched.popleft() if self.fetched else {}
        if isinstance(found, KafkaError):
            raise found
        return found

    async def beginning_offsets(self, tps: Sequence[Any]) -> dict[Any, int]:
        """Where the logs begin."""
        return {tp: self._cluster.starts[Partition(tp.topic, tp.partition)] for tp in tps}

    async def end_offsets(self, tps: Sequence[Any]) -> dict[Any, int]:
        """Where they end."""
        return {tp: self._cluster.end(Partition(tp.topic, tp.partition)) for tp in tps}

    def highwater(self, tp: object) -> int | None:
        """A word of the consumer's own."""
        return 4711

    def last_poll_timestamp(self, tp: object) -> int | None:
        """Never."""
        return None


class Lab:
    """A fetcher on a cluster, and what it told."""

    def __init__(self, reader: Fetcher, member: Member, events: list[CallEvent]) -> None:
        self.reader, self.member, self.events = reader, member, events
        self.found: dict[Partition, list[tuple[int, bytes | None]]] = defaultdict(list)
        self.batches: list[int] = []

    async def until(
        self, records: int = 0, holds: Callable[[], object] = lambda: True, records_max: int = 1000
    ) -> None:
        """Read until so many records were found in all and `holds` does."""
        async with asyncio.timeout(HANGS_S):
            while sum(map(len, self.found.values())) < records or not holds():
                found = await self.reader.take(records_max, 20)
                self.batches.append(len(found))
                values = list(found.values)
                for partition, start, stop in found.segments:
                    offsets = found.offsets[start:stop].tolist()
                    self.found[partition] += zip(offsets, values[start:stop], strict=True)

    async def quiet(self, wait_ms: int = 150) -> None:
        """Make sure that nothing more comes for a while."""
        before = sum(map(len, self.found.values()))
        ends_s = asyncio.get_running_loop().time() + wait_ms / 1000
        await self.until(holds=lambda: asyncio.get_running_loop().time() > ends_s)
        assert sum(map(len, self.found.values())) == before


@asynccontextmanager
async def fetching(
    cluster: Cluster,
    positions: dict[Partition, int] | None = None,
    answer_bytes: int = 4096,
    answer_bytes_max: int = 100_000,
    tls: ssl.SSLContext | None = None,
    **changes: Any,
) -> AsyncIterator[Lab]:
    """A fetcher that reads all of the cluster, from 0 unless `positions` says otherwise."""
    servers = [f"127.0.0.1:{port}" for port in cluster.addresses.values()]
    protocol = "SSL" if tls else "PLAINTEXT"
    client: Any = AIOKafkaClient(
        bootstrap_servers=servers, security_protocol=protocol, ssl_context=tls
    )
    await client.bootstrap()
    await client.set_topics({partition.topic for partition in cluster.leaders})
    member, events = Member(cluster, client), list[CallEvent]()
    sizes = FetchSizes(answer_bytes, answer_bytes // 2, 5)
    kafka = KafkaSettings(servers[0], "test", protocol, tls)
    chosen = {"start_at": "earliest", "skip_corrupt": False, **changes}
    reader = Fetcher(
        member,
        FetchSettings(kafka, sizes, answer_bytes_max, 2**20, observe=events.append, **chosen),
    )
    await reader.start()
    try:
        begun = positions or dict.fromkeys(cluster.leaders, 0)
        reader.hold(begun)
        reader.begin(1, begun)
        yield Lab(reader, member, events)
    finally:
        await reader.stop()
        await client.close()

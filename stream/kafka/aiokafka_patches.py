"""Ten changes to aiokafka 0.14, each where it has no option for it.

Metadata: while a partition has no leader, the fetcher of aiokafka asks again as soon as it is
answered. A running cluster got as many requests as it answers. With a broker that had left in
order, these were 4,000 connections a second, and a core of each worker.

Positions: since version 2 of the request (KIP-88), Kafka may answer with one error for the group.
It then names no partition, for example while a new coordinator loads. aiokafka reads partitions
only, takes this for no commit at all, and starts at `auto_offset_reset`. With "latest" calls are
lost, with "earliest" all are decided again, in transactions too. It also asks in version 3, which
answers with the last committed positions while a transaction with newer ones is open. If that is
committed afterwards, its records were read twice. Version 7 waits for its end (KIP-447, Kafka 2.5;
protocol guide, "OffsetFetch API", key 9). So it is used if the broker knows it. And a broker that
crashed returns older positions for a while, or none: see `SETTLED_S`.

Commits: a coordinator takes no position of a topic that was deleted. aiokafka repeats the whole
commit until the topic is there again. The positions of all other topics wait with it, and so does a
hand-over. Here a partition that the metadata do not have either counts as committed.

Joining: a coordinator that has just taken the group over may still load it when a member asks for
its partitions (SyncGroup, key 14). aiokafka takes that for an unexpected error, and stays
out of the group until its user is informed. It means the same as a coordinator that moved:
join again.

Connections: one that a firewall dropped silently is given up after the time of one question. That
is 40 s, since a member may wait so long for its group. Questions that are answered at once wait 10
s (docs/decisions/0210-small-questions-wait-10-s.md). So do data that no kernel acknowledges
(docs/decisions/0244-brokers-that-acknowledge-nothing.md).

Produce requests: aiokafka copies each batch seven times: at every level of its schema, with the
header, and with the size. The kernel must clear memory for each copy. Here a batch is copied once.

Names of headers: any client but Java's may write bytes that are no text. aiokafka's reader ends at
such a record each time, so nobody reads past it: no replay, no feed of a topic, no aiokafka reader.
Here such a batch is read again, with marks for what is no text.

Topics: asked for a topic by name, a broker makes it if it may, as Kafka is delivered: with one
partition, and settings that nobody chose. aiokafka lets it. So `serve` made the topic of calls, and
a worker made one again that had been deleted. Java's producer does so too, its admin client not.

Starts: a client's first connection asks for the brokers, and the client does not have it yet. A
start that was cancelled then left it open. Such a connection has no `on_close`.

Passwords of files: aiokafka takes a password as text when a client is made. It gives that text to
each connection that the client makes later. Its one hook is for OAUTHBEARER. So its function that
makes a connection is replaced by one that reads the file first. Other passwords are not affected.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Iterator
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any, Final, Self

import aiokafka.admin.client
import aiokafka.client
import aiokafka.conn
import aiokafka.consumer.fetcher
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import (
    CoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    NotCoordinatorError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.group import SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    String,
    TaggedFields,
)
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.util import wait_for

from stream.ops.renewed_secret import RenewedSecret

PACE_S = 0.1
"""Between two questions: as `retry.backoff.ms` of Kafka's own clients."""


class _PacedClient:
    """A client that asks for metadata at most every `PACE_S`; the rest is unchanged."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._asked_s = -PACE_S
        self._later: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def force_metadata_update(self) -> "asyncio.Future[Any]":
        """Ask now, or once it is time; the future ends with that question, or as it is asked."""
        wait_s = self._asked_s + PACE_S - self._loop.time()
        if wait_s <= 0:
            self._asked_s = self._loop.time()
            asked: asyncio.Future[Any] = self._client.force_metadata_update()
            return asked
        if self._later is None:
            self._later = self._loop.create_future()
            self._loop.call_later(wait_s, self._ask)
        return self._later

    def _ask(self) -> None:
        later, self._later = self._later, None
        self._asked_s = self._loop.time()
        self._client.force_metadata_update()
        # The fetcher looks at the metadata then, and asks again in `PACE_S` at the earliest.
        if later is not None and not later.done():
            later.set_result(None)


def pace_metadata(consumer: Any) -> None:
    """Give the fetcher of a consumer that was started a client with a pace."""
    consumer._fetcher._client = _PacedClient(consumer._client)  # noqa: SLF001 - no option has it


_UNSTABLE: Final = 88
"""UNSTABLE_OFFSET_COMMIT: a transaction with this partition's position is open. aiokafka has no
error for it."""


class _StableOffsetsResponse(Response):
    API_KEY = 9
    API_VERSION = 7
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("topic", CompactString()),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("offset", Int64),
                        ("leader_epoch", Int32),
                        ("metadata", CompactString()),
                        ("error_code", Int16),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("error_code", Int16),
        ("tags", TaggedFields),
    )


class _StableOffsetsRequest7(RequestStruct):
    API_KEY = 9
    API_VERSION = 7
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _StableOffsetsResponse
    SCHEMA = Schema(
        ("consumer_group", CompactString()),
        (
            "topics",
            CompactArray(
                ("topic", CompactString()),
                ("partitions", CompactArray(Int32)),
                ("tags", TaggedFields),
            ),
        ),
        ("require_stable", Boolean),
        ("tags", TaggedFields),
    )


class _StableOffsetsRequest(Request[_StableOffsetsRequest7]):
    API_KEY = 9

    def __init__(self, asked: Any) -> None:
        self._group, self._partitions = asked._consumer_group, asked._partitions  # noqa: SLF001

    def build(self, request_struct_class: type[_StableOffsetsRequest7]) -> _StableOffsetsRequest7:
        topics: list[Any] = [(topic, numbers, {}) for topic, numbers in self._partitions]
        return request_struct_class(self._group, topics, True, {})


SETTLED_S: Final = 5.0
"""Seconds for which a coordinator that came back must tell the same positions to be believed.

Apache Kafka 4 that crashed may answer while it still reads its topic of positions: with none, then
with ever newer ones, and without an error (docs/decisions/0245-positions-after-a-crash.md)."""
_AWAY_S: Final = 1.0
"""A coordinator that is found sooner has not crashed: its connection ended, and was made again.
Where authentications end after two seconds, no position would ever be believed else."""
_UNSETTLED: Final = frozenset(
    {GroupLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError}
)


def read_group_errors(consumer: Any, *, troubled: bool = False) -> None:
    """Let a started consumer join again, and ask for positions again, where it has to.

    So it begins only at positions that its coordinator can be sure of. `troubled`: Kafka did not
    answer just before.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - no option has it
    ask = getattr(coordinator, "_send_req", None)
    if ask is None:  # a consumer in no group
        return
    loop = asyncio.get_running_loop()
    known = coordinator.ensure_coordinator_known
    settled_s = loop.time() + SETTLED_S if troubled else 0.0
    told: dict[tuple[str, int], int] = {}

    def unsettled() -> None:
        nonlocal settled_s
        settled_s = loop.time() + SETTLED_S

    async def found() -> None:
        asked_s = loop.time()
        await known()
        if loop.time() > asked_s + _AWAY_S:
            unsettled()

    async def asked(request: Any) -> Any:
        answer = await ask(request)
        if for_code(getattr(answer, "error_code", 0)) in _UNSETTLED:
            unsettled()
        return answer

    async def answered(request: Any) -> Any:
        if isinstance(request, SyncGroupRequest):
            return _joined(await asked(request))
        if isinstance(request, OffsetCommitRequest):
            return _without_gone(await asked(request), consumer._client.cluster)  # noqa: SLF001
        if not isinstance(request, OffsetFetchRequest):
            return await asked(request)
        try:
            answer = _as_version_3(await asked(_StableOffsetsRequest(request)))
        except NotImplementedError:  # aiokafka's: the broker is older than Kafka 2.5
            answer = await asked(request)
        if answer.error_code:
            error = for_code(answer.error_code)
            if error in {CoordinatorNotAvailableError, NotCoordinatorError}:
                coordinator.coordinator_dead()
            raise error("committed positions cannot be asked")
        if loop.time() < settled_s:
            # By partition: the questions of one consumer are about other partitions in turn.
            offsets = {(topic, row[0]): row[1] for topic, rows in answer.topics for row in rows}
            if not offsets.items() <= told.items():  # it still reads: ever newer positions
                told.update(offsets)
                unsettled()
            raise GroupLoadInProgressError("the coordinator has only just come back")
        return answer

    coordinator._send_req = answered  # noqa: SLF001
    coordinator.ensure_coordinator_known = found


def _joined(answer: Any) -> Any:
    """Return an answer to SyncGroup. Raises an error after which aiokafka joins again."""
    if for_code(answer.error_code) is GroupLoadInProgressError:
        raise GroupLoadInProgressError("the group's new coordinator is loading it")
    return answer


def _without_gone(answer: Any, cluster: Any) -> Any:
    """Return an answer to a commit, without the partitions that neither it nor `cluster` knows."""
    topics = [
        (
            topic,
            [
                (number, code)
                for number, code in rows
                if code != UnknownTopicOrPartitionError.errno
                or number in (cluster.partitions_for_topic(topic) or ())
            ],
        )
        for topic, rows in answer.topics
    ]
    return SimpleNamespace(topics=topics)


def _as_version_3(answer: Any) -> Any:
    """Return an answer as aiokafka reads it. Raises an error after which it asks again."""
    topics: list[Any] = []
    for topic, partitions, _ in answer.topics:
        if any(code == _UNSTABLE for *_, code, _ in partitions):
            raise GroupLoadInProgressError(f"a transaction with positions of {topic} is open")
        rows = [(number, at, text, code) for number, at, _, text, code, _ in partitions]
        topics.append((topic, rows))
    return SimpleNamespace(topics=topics, error_code=answer.error_code)


ANSWER_S: Final = 10.0
"""Longest wait for a connection, as `socket.connection.setup.timeout.ms` of Kafka's own clients,
and for an answer that a broker has at once. Kafka's brokers take 5 s for a commit at most."""
_AT_ONCE: Final = frozenset({2, 3, 8, 9, 10, 12, 17, 18, 36})
"""API keys of ListOffsets, Metadata, OffsetCommit, OffsetFetch, FindCoordinator, Heartbeat, and of
what begins a connection (protocol guide, "Api Keys")."""


_TEXT: Final = String("utf-8")
_BODY_KNOWN: Final = 3
"""Version of Produce from which its fields are those of `_produced`; aiokafka knows up to 7."""


class _Connection(AIOKafkaConnection):
    """A connection that is given up after 10 s of a question that is answered at once.

    And where a broker's kernel acknowledges nothing for so long: a machine without power, or a
    firewall that forgot the connection (RFC 5482, section 1). A produce request would wait 40 s for
    its answer, and what is behind it longer. It writes such a request with one copy of its batches.
    """

    def __init__(self, *place: Any, **options: Any) -> None:
        super().__init__(*place, **options)  # type: ignore[no-untyped-call]
        self._longest_s: float = self._request_timeout

    async def connect(self) -> Any:
        """Connect, negotiate versions and authenticate."""
        self._request_timeout = min(ANSWER_S, self._longest_s)
        opened: Any = await super().connect()  # type: ignore[no-untyped-call]
        if self._writer is not None:
            made = self._writer.get_extra_info("socket")
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(ANSWER_S * 1000))
        return opened

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """Send a request. Brokers answer in order, so it waits for those before it too."""
        waiting = (request, *(one for _, one, _ in self._requests))
        prompt = all(getattr(one, "API_KEY", None) in _AT_ONCE for one in waiting)
        self._request_timeout = min(ANSWER_S, self._longest_s) if prompt else self._longest_s
        if isinstance(request, ProduceRequest) and expect_response and self._writer is not None:
            return self._produce(request, self._writer)
        answer = super().send(request, expect_response)  # type: ignore[no-untyped-call]
        return _closing(self, answer) if self._on_close_cb is None else answer

    def _produce(self, request: ProduceRequest, writer: asyncio.StreamWriter) -> Any:
        """Send a produce request, as `send` of aiokafka does."""
        made = request.prepare(self._versions)
        number = self._next_correlation_id()  # type: ignore[no-untyped-call]
        head = made.build_request_header(number, self._client_id).encode()
        body = _produced(made) if made.API_VERSION >= _BODY_KNOWN else [made.encode()]
        parts = [head, *body]
        size = struct.pack(">i", sum(map(len, parts)))
        try:
            # A view: what a socket does not take at once is not copied to be cut off.
            writer.write(memoryview(b"".join([size, *parts])))
        except OSError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)  # type: ignore[no-untyped-call]
            place = f"{self.host}:{self.port}"
            raise KafkaConnectionError(f"Connection at {place} broken: {error}") from error
        answer = self._loop.create_future()
        self._requests.append((number, made, answer))
        return wait_for(answer, self._request_timeout)


def _produced(made: Any) -> Iterator[bytes | memoryview]:
    """Yield the body of a produce request of version 3 to 7, as its schema has it."""
    yield _TEXT.encode(made.transactional_id)
    yield struct.pack(">hii", made.required_acks, made.timeout, len(made.topics))
    for topic, partitions in made.topics:
        yield _TEXT.encode(topic)
        yield struct.pack(">i", len(partitions))
        for partition, batch in partitions:
            yield struct.pack(">ii", partition, len(batch))
            yield batch


class _NoText(bytearray):
    """Bytes whose parts become text in any case."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return _NoText(part) if isinstance(key, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


class _Batch:
    """A batch whose records may have headers of any name."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch, self._data = batch, data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            # The class in Python, as the one in C has its text from C. It takes ten times as long.
            again = iter(_DefaultRecordBatchPy(self._data))
            again._buffer = _NoText(again._buffer)  # noqa: SLF001 - it makes the text itself
            yield from islice(again, read, None)


_SIZE_AT: Final = 8
"""Place of a batch's size, behind the base offset; it counts what follows it."""


class _Records:
    """Batches of an answer, as aiokafka's fetcher reads them."""

    def __init__(self, data: bytes) -> None:
        self._records, self._left = MemoryRecords(data), memoryview(data)
        self.size_in_bytes, self.has_next = self._records.size_in_bytes, self._records.has_next

    def next_batch(self) -> _Batch:
        """Return the next batch."""
        (size,) = struct.unpack_from(">i", self._left, _SIZE_AT)
        data, self._left = self._left[: _SIZE_AT + 4 + size], self._left[_SIZE_AT + 4 + size :]
        return _Batch(self._records.next_batch(), data)


async def _closing(connection: AIOKafkaConnection, answer: Awaitable[Any]) -> Any:
    """Wait for an answer; a cancelled wait closes a connection that no client has yet."""
    try:
        return await answer
    except asyncio.CancelledError:
        connection.close()
        raise


class RenewedPassword(str):
    """The password of now, as text for aiokafka's checks, and its file."""

    __slots__ = ("secret",)

    secret: RenewedSecret[str]

    def __new__(cls, secret: RenewedSecret[str]) -> Self:
        """Take the file's text of now."""
        made = super().__new__(cls, secret.now())
        made.secret = secret
        return made


async def _create_conn(*place: Any, **options: Any) -> Any:
    password = options.get("sasl_plain_password")
    if isinstance(password, RenewedPassword):
        options["sasl_plain_password"] = password.secret.now()
    return await create_conn(*place, **options)


_metadata_request = partial(MetadataRequest, allow_auto_topic_creation=False)

# Clients and fetchers look the names up in their modules each time.
aiokafka.client.create_conn = _create_conn  # type: ignore[attr-defined]
aiokafka.client.MetadataRequest = _metadata_request  # type: ignore[assignment, attr-defined]
aiokafka.admin.client.MetadataRequest = _metadata_request  # type: ignore[assignment, attr-defined]
aiokafka.conn.AIOKafkaConnection = _Connection  # type: ignore[misc]
aiokafka.consumer.fetcher.MemoryRecords = _Records  # type: ignore[assignment, attr-defined]

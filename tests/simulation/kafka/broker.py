"""One broker: connections, and an answer to each request that aiokafka and we make.

Requests and answers are read and written by aiokafka's own structs: a model of the protocol of its
own would be wrong in the same places as its client.
"""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from functools import lru_cache
from io import BytesIO
from typing import Any

from aiokafka.protocol import admin, commit, coordination, fetch, group, metadata, offset, produce
from aiokafka.protocol import transaction as transactional
from aiokafka.protocol.api import RequestStruct

from stream.kafka import aiokafka_patches, topic_ids
from tests.simulation.kafka.cluster import PORT, Cluster, host_of
from tests.simulation.kafka.errors import Code
from tests.simulation.kafka.groups import Joined, positions_of
from tests.simulation.loop import Process

_HEAD = struct.Struct(">hhi")
_NO_TAGS = b"\0"
_EARLIEST, _LATEST = -2, -1
_COMMITTED = 1
_RACK = "rack"
"""Not None: before Python 3.12 its hash is an address, another one in each process, and aiokafka
chooses among brokers in the order of a set."""
_CONFIGS = {"max.message.bytes": "1048588"}

_STRUCTS: dict[tuple[int, int], Any] = {
    (struct_.API_KEY, struct_.API_VERSION): struct_
    for module in (
        admin,
        commit,
        coordination,
        fetch,
        group,
        metadata,
        offset,
        produce,
        transactional,
        topic_ids,
        aiokafka_patches,
    )
    for struct_ in vars(module).values()
    if isinstance(struct_, type)
    and issubclass(struct_, RequestStruct)
    and hasattr(struct_, "API_KEY")
}
_VERSIONS = {
    0: (7, 7),  # Produce
    1: (11, 11),  # Fetch
    2: (3, 3),  # ListOffsets
    3: (5, 10),  # Metadata
    8: (3, 3),  # OffsetCommit
    9: (3, 7),  # OffsetFetch
    10: (1, 1),  # FindCoordinator
    11: (5, 5),  # JoinGroup
    12: (1, 1),  # Heartbeat
    13: (1, 1),  # LeaveGroup
    14: (3, 3),  # SyncGroup
    15: (0, 2),  # DescribeGroups
    18: (0, 2),  # ApiVersions
    22: (0, 0),  # InitProducerId
    24: (0, 0),  # AddPartitionsToTxn
    25: (0, 0),  # AddOffsetsToTxn
    26: (0, 0),  # EndTxn
    28: (0, 0),  # TxnOffsetCommit
    32: (0, 1),  # DescribeConfigs
}


class Broker:
    """One run of one broker: from a start to a kill."""

    def __init__(self, cluster: Cluster, node: int) -> None:
        self._cluster, self._node = cluster, node
        self._loop, self._rng = cluster.loop, cluster.rng
        self._process = Process(cluster.loop, host_of(node))
        self._answers: dict[int, Callable[[Any, str], Coroutine[Any, Any, Any]]] = {
            0: self._produce,
            1: self._fetch,
            2: self._offsets,
            3: self._metadata,
            8: self._commit,
            9: self._committed,
            10: self._coordinator,
            11: self._join,
            12: self._heartbeat,
            13: self._leave,
            14: self._sync,
            15: self._groups,
            18: self._versions,
            22: self._init,
            24: self._add_partitions,
            25: self._add_offsets,
            26: self._end,
            28: self._commit_in_transaction,
            32: self._configs,
        }

    async def start(self) -> None:
        """Listen, and join the cluster."""
        self._loop.note("start", self._process.name)
        await self._process.run(self._listen())
        self._cluster.joined(self._node, self._process)

    async def _listen(self) -> None:
        await asyncio.start_server(self._serve, port=PORT)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = writer.get_extra_info("peername")[0]
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                message = await reader.readexactly(size)
                answer = await self._answer(message, host)
                if answer is None:
                    break
                writer.write(struct.pack(">i", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.transport.abort()

    async def _answer(self, message: bytes, host: str) -> bytes | None:
        """Return the answer to one request; None: the connection ends instead."""
        api, version, correlation = _HEAD.unpack_from(message)
        (size,) = struct.unpack_from(">h", message, _HEAD.size)
        known = _STRUCTS[api, version]
        body = message[_HEAD.size + 2 + max(size, 0) + known.FLEXIBLE_VERSION :]
        if self._cluster.upset[api]:
            self._cluster.upset[api] -= 1
            self._loop.note(self._process.name, "hangs up on", known.__name__)
            return None
        answer = await self._answers[api](_decoded(known, body), host)
        tags = _NO_TAGS if known.FLEXIBLE_VERSION else b""
        return struct.pack(">i", correlation) + tags + _encoded(answer)

    async def _versions(self, asked: Any, host: str) -> Any:
        rows = [(api, *bounds) for api, bounds in _VERSIONS.items()]
        more = (0,) if asked.API_VERSION else ()
        return asked.RESPONSE_TYPE(0, rows, *more)

    # Topics and records.

    async def _metadata(self, asked: Any, host: str) -> Any:
        view = self._cluster.views[self._node]
        with_ids = asked.API_VERSION == 10
        names = [row[1] for row in asked.topics] if with_ids else asked.topics
        tags: tuple[Any, ...] = ({},) if with_ids else ()
        brokers = [(node, host_of(node), PORT, _RACK, *tags) for node in view.brokers]
        topics: list[Any] = []
        known = {name: (topic_id, partitions) for name, topic_id, partitions in view.topics}
        for name in list(known) if names is None else names:
            topic_id, partitions = known.get(name, (topic_ids._NONE, ()))
            rows = []
            for number, (leader, epoch) in enumerate(partitions):
                code = Code.NONE if leader >= 0 else Code.LEADER_NOT_AVAILABLE
                nodes = list(view.brokers)
                epochs = (epoch,) if with_ids else ()
                rows.append((code, number, leader, *epochs, nodes, nodes, [], *tags))
            code = Code.NONE if name in known else Code.UNKNOWN_TOPIC_OR_PARTITION
            if with_ids:
                topics.append((code, name, topic_id, False, rows, 0, {}))
            else:
                topics.append((code, name, False, rows))
        more: tuple[Any, ...] = (0, {}) if with_ids else ()
        first = view.brokers[0] if view.brokers else -1
        return asked.RESPONSE_TYPE(0, brokers, "simulated", first, topics, *more)

    def _refused(self, api: int) -> Code:
        """Return the error with which this question is answered, if it is to be refused."""
        codes = self._cluster.refusals[api]
        if not codes:
            return Code.NONE
        code = codes.pop()
        self._loop.note(self._process.name, "refuses", api, code.name)
        return code

    def _not_led(self, name: tuple[str, int]) -> Code:
        led = self._cluster.find(name)
        if led is None:
            return Code.UNKNOWN_TOPIC_OR_PARTITION
        known, epoch = self._cluster.views[self._node].partition(name)
        leads = led.leader == self._node == known and led.epoch == epoch
        return Code.NONE if leads else Code.NOT_LEADER

    async def _produce(self, asked: Any, host: str) -> Any:
        pace = self._cluster.pace
        await asyncio.sleep(self._rng.expovariate(1 / pace.replicate_s))
        topics = []
        for topic, partitions in asked.topics:
            rows: list[Any] = []
            for number, content in partitions:
                refused = self._refused(0)
                if refused and refused is not Code.REQUEST_TIMED_OUT:
                    rows.append((number, refused, -1, -1, 0))
                    continue
                code, first = self._append((topic, number), content, asked.transactional_id)
                code = code or refused
                rows.append((number, code, first, -1, 0))
            topics.append((topic, rows))
        self._cluster.wake()
        # A broker may die here: what was written is there, and nobody was told.
        await asyncio.sleep(self._rng.expovariate(1 / pace.replicate_s))
        return asked.RESPONSE_TYPE(topics, 0)

    def _append(
        self, name: tuple[str, int], content: bytes, transactional_id: str | None
    ) -> tuple[Code, int]:
        if code := self._not_led(name):
            return code, -1
        if transactional_id:
            producer, epoch = struct.unpack_from(">qh", content, 43)
            led = self._cluster.find(name)
            if led is not None and led.log.is_fenced(producer, epoch):
                return Code.INVALID_PRODUCER_EPOCH, -1
            if not self._cluster.transactions.holds(transactional_id, producer, name):
                return Code.INVALID_TXN_STATE, -1
        led = self._cluster.find(name)
        assert led is not None
        return led.log.append(content)

    async def _fetch(self, asked: Any, host: str) -> Any:
        ends_s = self._loop.time() + asked.max_wait_time / 1000
        while True:
            topics, some = self._records(asked)
            left_s = ends_s - self._loop.time()
            if some or left_s <= 0:
                return asked.RESPONSE_TYPE(0, 0, 0, tuple(topics))
            await self._cluster.news(left_s)

    def _records(self, asked: Any) -> tuple[list[Any], bool]:
        """Return the answer's topics in tuples, and whether there is anything in them."""
        left, some, topics = asked.max_bytes, False, []
        committed = asked.isolation_level == _COMMITTED
        for topic, partitions in asked.topics:
            rows: list[Any] = []
            for number, epoch, first, _, bytes_max in partitions:
                code = self._not_led((topic, number)) or self._refused(1)
                led = self._cluster.find((topic, number))
                if code or led is None:
                    rows.append((number, code, -1, -1, -1, (), -1, b""))
                    some = True
                    continue
                log = led.log
                if epoch >= 0 and epoch != led.epoch:
                    older = epoch < led.epoch
                    code = Code.FENCED_LEADER_EPOCH if older else Code.UNKNOWN_LEADER_EPOCH
                elif not log.start <= first <= log.end:
                    code = Code.OFFSET_OUT_OF_RANGE
                room = min(left, bytes_max)
                content = (
                    b""
                    if code
                    else log.read(first, room, committed=committed, whole_first=not some)
                )
                left -= len(content)
                stable = log.stable
                aborted = log.aborted_in(first, stable) if committed and content else ()
                rows.append((number, code, log.end, stable, log.start, tuple(aborted), -1, content))
                some = some or bool(content) or bool(code)
            topics.append((topic, tuple(rows)))
        return topics, some

    async def _offsets(self, asked: Any, host: str) -> Any:
        topics = []
        for topic, partitions in asked.topics:
            rows = []
            for number, time_ms in partitions:
                code = self._not_led((topic, number))
                found, at_ms = -1, -1
                led = self._cluster.find((topic, number))
                if not code and led is not None:
                    committed = asked.isolation_level == _COMMITTED
                    end = led.log.stable if committed else led.log.end
                    if time_ms == _EARLIEST:
                        found = led.log.start
                    elif time_ms == _LATEST:
                        found = end
                    else:
                        found, at_ms = led.log.at_time(time_ms)
                rows.append((number, code, at_ms, found))
            topics.append((topic, rows))
        return asked.RESPONSE_TYPE(0, topics)

    async def _configs(self, asked: Any, host: str) -> Any:
        rows = [(name, value, False, True, False) for name, value in _CONFIGS.items()]
        if asked.API_VERSION:
            rows = [(name, value, False, 5, False, []) for name, value in _CONFIGS.items()]  # type: ignore[misc]
        found = [(0, "", kind, name, rows) for kind, name, *_ in asked.resources]
        return asked.RESPONSE_TYPE(0, found)

    # Groups.

    async def _coordinator(self, asked: Any, host: str) -> Any:
        node = self._cluster.coordinator(asked.coordinator_key)
        if node not in self._cluster.views[self._node].brokers:
            return asked.RESPONSE_TYPE(0, Code.COORDINATOR_NOT_AVAILABLE, "", -1, "", -1)
        return asked.RESPONSE_TYPE(0, Code.NONE, "", node, host_of(node), PORT)

    def _not_coordinated(self, key: str) -> Code:
        if self._cluster.coordinator(key) != self._node:
            return Code.NOT_COORDINATOR
        loading = self._cluster.is_loading(key)
        return Code.COORDINATOR_LOADING if loading else Code.NONE

    async def _join(self, asked: Any, host: str) -> Any:
        if code := self._not_coordinated(asked.group):
            joined = Joined(code, member=asked.member_id)
        else:
            answer = self._cluster.group(asked.group).join(asked, host)
            joined = answer if isinstance(answer, Joined) else await answer
        return asked.RESPONSE_TYPE(
            0,
            joined.code,
            joined.generation,
            joined.protocol,
            joined.leader,
            joined.member,
            list(joined.members),
        )

    async def _sync(self, asked: Any, host: str) -> Any:
        if code := self._not_coordinated(asked.group) or self._refused(14):
            return asked.RESPONSE_TYPE(0, code, b"")
        answer = self._cluster.group(asked.group).sync(asked)
        code, part = answer if isinstance(answer, tuple) else await answer
        return asked.RESPONSE_TYPE(0, code, part)

    async def _heartbeat(self, asked: Any, host: str) -> Any:
        code = self._not_coordinated(asked.group)
        if not code:
            found = self._cluster.group(asked.group)
            code = found.heartbeat(asked.member_id, asked.generation_id)
        return asked.RESPONSE_TYPE(0, code)

    async def _leave(self, asked: Any, host: str) -> Any:
        code = self._not_coordinated(asked.group)
        return asked.RESPONSE_TYPE(
            0, code or self._cluster.group(asked.group).leave(asked.member_id)
        )

    async def _groups(self, asked: Any, host: str) -> Any:
        rows = []
        for name in asked.groups:
            found = self._cluster.group(name)
            members = [
                (one.name, "", f"/{one.host}", one.metadata, found.assignments.get(one.name, b""))
                for one in found.members.values()
            ]
            code = self._not_coordinated(name)
            rows.append((code, name, found.state.value, "consumer", found.protocol, members))
        throttle = (0,) if asked.API_VERSION else ()
        return asked.RESPONSE_TYPE(*throttle, rows)

    async def _commit(self, asked: Any, host: str) -> Any:
        code = self._not_coordinated(asked.consumer_group) or self._refused(8)
        if not code:
            code = self._cluster.group(asked.consumer_group).commit(asked, self._knows)
        return asked.RESPONSE_TYPE(0, self._told(asked.topics, code))

    def _knows(self, name: tuple[str, int]) -> bool:
        """Return whether there is such a partition, as far as this broker knows."""
        return self._cluster.views[self._node].partition(name) != (-1, -1)

    def _told(self, topics: Any, code: Code) -> list[Any]:
        """Return the answer about positions: none is taken of a partition that is not there."""
        unknown = Code.UNKNOWN_TOPIC_OR_PARTITION
        return [
            (topic, [(row[0], code if self._knows((topic, row[0])) else unknown) for row in rows])
            for topic, rows in topics
        ]

    async def _committed(self, asked: Any, host: str) -> Any:
        # As Kafka since version 2 of this request: an error of the group stands alone, with no
        # partition beside it.
        flexible = asked.API_VERSION >= 6
        tags: tuple[Any, ...] = ({},) if flexible else ()
        if code := self._not_coordinated(asked.consumer_group) or self._refused(9):
            return asked.RESPONSE_TYPE(0, [], code, *tags)
        group_ = self._cluster.group(asked.consumer_group)
        topics: list[Any] = []
        for topic, numbers, *_ in asked.topics:
            rows = []
            for number in numbers:
                offset_, text = group_.shown.get((topic, number), (-1, ""))
                code = Code.NONE
                if flexible and asked.require_stable and group_.is_pending((topic, number)):
                    offset_, code = -1, Code.UNSTABLE_OFFSET_COMMIT
                epochs = (-1,) if flexible else ()
                rows.append((number, offset_, *epochs, text, code, *tags))
            topics.append((topic, rows, *tags))
        return asked.RESPONSE_TYPE(0, topics, Code.NONE, *tags)

    # Transactions.

    async def _init(self, asked: Any, host: str) -> Any:
        name = asked.transactional_id
        if name and (code := self._not_coordinated(name) or self._refused(22)):
            return asked.RESPONSE_TYPE(0, code, -1, -1)
        found = self._cluster.transactions.init(name, asked.transaction_timeout_ms)
        return asked.RESPONSE_TYPE(0, *found)

    async def _add_partitions(self, asked: Any, host: str) -> Any:
        names = [(topic, number) for topic, numbers in asked.topics for number in numbers]
        code = self._not_coordinated(asked.transactional_id) or self._refused(24)
        if not code and any(self._cluster.find(name) is None for name in names):
            code = Code.UNKNOWN_TOPIC_OR_PARTITION
        code = code or self._cluster.transactions.add(asked, names)
        topics = [
            (topic, [(number, code) for number in numbers]) for topic, numbers in asked.topics
        ]
        return asked.RESPONSE_TYPE(0, topics)

    async def _add_offsets(self, asked: Any, host: str) -> Any:
        code = self._not_coordinated(asked.transactional_id) or self._refused(25)
        code = code or self._cluster.transactions.add(asked, group=asked.group_id)
        return asked.RESPONSE_TYPE(0, code)

    async def _end(self, asked: Any, host: str) -> Any:
        code = self._not_coordinated(asked.transactional_id) or self._refused(26)
        return asked.RESPONSE_TYPE(0, code or self._cluster.transactions.end(asked))

    async def _commit_in_transaction(self, asked: Any, host: str) -> Any:
        # The group's coordinator, which trusts the producer's id as far as its epoch goes.
        code = self._not_coordinated(asked.group_id) or self._refused(28)
        code = code or self._cluster.transactions.check_member(asked)
        if not code:
            pending = self._cluster.group(asked.group_id).pending
            positions = positions_of(asked.topics, self._knows)
            pending.setdefault(asked.producer_id, {}).update(positions)
        return asked.RESPONSE_TYPE(0, self._told(asked.topics, code))


# Clients ask the same again and again, and most answers are those of before.


@lru_cache(maxsize=1000)
def _decoded(known: Any, body: bytes) -> Any:
    """Return what is asked. No broker changes it."""
    return known.decode(BytesIO(body))


def _encoded(answer: Any) -> bytes:
    """Return the bytes of an answer."""
    try:
        return _encoded_once(answer.__class__, *vars(answer).values())
    except TypeError:  # it has lists
        encoded: bytes = answer.encode()
        return encoded


@lru_cache(maxsize=1000)
def _encoded_once(kind: Any, *values: Any) -> bytes:
    encoded: bytes = kind(*values).encode()
    return encoded

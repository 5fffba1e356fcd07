"""Reading whole topics back, as the broker keeps them: batches, with its own times of append.

What a transaction wrote counts from the moment when its commit was appended, because nobody who
reads committed records sees it before; what an aborted one wrote does not count. aiokafka's
consumer tells neither, so the fetches are made here, by aiokafka's client and its record parser.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import COMMIT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords
from numpy.typing import NDArray

from tests.bench.traffic import call_index

WAIT_MS = 500
FETCH_BYTES = 16 * 2**20
READ_UNCOMMITTED = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """Records of one topic, in the order of their append: whose call, when (ms), and what."""

    calls: NDArray[np.int64]
    at_ms: NDArray[np.int64]
    kinds: NDArray[np.uint8]


@dataclass(slots=True)
class PartitionLog:
    """The part read of a partition so far; `kind_of` gives a value's kind, a number below 256.

    calls, at_ms, kinds  of each record, as in `Appended`
    next_offset          where to read on
    """

    kind_of: Callable[[bytes], int]
    calls: list[int] = field(default_factory=list)
    at_ms: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    next_offset: int = 0
    _open: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def take(self, answer: bytes) -> None:
        """Read on in the record batches of a fetch's answer; a last, cut one is left for later."""
        batches: Any = MemoryRecords(answer)
        while (batch := batches.next_batch()) is not None:
            records = [record for record in batch if record.offset >= self.next_offset]
            self.next_offset = max(batch.next_offset, self.next_offset)
            if batch.is_control_batch:
                for record in records:
                    self._end(batch.producer_id, record.key, record.timestamp)
            elif batch.is_transactional:
                self._open[batch.producer_id] += [record.value for record in records]
            else:
                for record in records:
                    self._note(record.value, record.timestamp)

    def _end(self, producer_id: int, marker: bytes, at_ms: int) -> None:
        values = self._open.pop(producer_id, [])
        if ControlRecord.parse(marker) == COMMIT_MARKER:
            for value in values:
                self._note(value, at_ms)

    def _note(self, value: bytes, at_ms: int) -> None:
        self.calls.append(call_index(value))
        self.at_ms.append(at_ms)
        self.kinds.append(self.kind_of(value))


async def read_back(
    bootstrap: str, name: str, ends: Mapping[int, int], kind_of: Callable[[bytes], int]
) -> Appended:
    """Topic `name`, each partition up to its end offset; the broker has one node."""
    logs = {partition: PartitionLog(kind_of) for partition in ends}
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.set_topics([name])
        (node,) = client.cluster.brokers()
        while wanted := [
            (partition, log.next_offset, FETCH_BYTES)
            for partition, log in logs.items()
            if log.next_offset < ends[partition]
        ]:
            request = FetchRequest(WAIT_MS, 1, FETCH_BYTES, READ_UNCOMMITTED, [(name, wanted)])
            answer = await client.send(node.nodeId, request)
            for _, partitions in answer.topics:
                for partition, error, *_, records in partitions:
                    assert error == 0, f"{name}/{partition}: error {error}"
                    logs[partition].take(records)
    finally:
        await client.close()
    calls, at_ms, kinds = (
        np.concatenate([np.array(getattr(log, what), np.int64) for log in logs.values()])
        for what in ("calls", "at_ms", "kinds")
    )
    order = np.argsort(at_ms, kind="stable")
    return Appended(calls[order], at_ms[order], kinds[order].astype(np.uint8))

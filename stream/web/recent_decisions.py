"""The newest decisions, in memory: read from their topic while somebody looks, in no group."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import KafkaError

from stream.core.model.decision import Decision, read_decision
from stream.core.model.errors import Fault
from stream.kafka.settings import KafkaSettings
from stream.kafka.topic_reader import newest, reader, records_in
from stream.ops.clock import monotonic_s

log = logging.getLogger(__name__)

ROWS_MAX: Final = 20_000
"""About 1.5 KB each."""
IDLE_S: Final = 120.0
"""So long after the last look the topic is read on: whoever pages on has no gap."""
_FIRST: Final = 5_000
"""Of each partition, read at once when somebody begins to look."""
_AT_ONCE: Final = 500
"""Decoded without a pause, 1 to 2 ms: lookups of this process wait no longer."""
_AGAIN_S: Final = 5.0
_FIRST_S: Final = 5.0


@dataclass(slots=True)
class Recent:
    """The reader, and what it has: newest first, one of each id."""

    kafka: KafkaSettings
    topic: str
    idle_s: float = IDLE_S
    trouble: str = field(init=False, default="")
    _rows: deque[Decision] = field(init=False, default_factory=lambda: deque(maxlen=ROWS_MAX))
    _looked_s: float = field(init=False, default=0.0)
    _wanted: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _there: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def look(self) -> list[Decision]:
        """What is known, newest first; the first look waits a little for the topic's end."""
        self._looked_s = monotonic_s()
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_S):
                await self._there.wait()
        return list(self._rows)

    async def run(self) -> None:
        """Read while somebody looks, until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._read()
            except (Fault, KafkaError) as error:
                self.trouble = f"the decisions cannot be read now: {error!r}"
                self._there.set()
                await asyncio.sleep(_AGAIN_S)
            finally:
                self._rows.clear()  # what comes while nobody reads would be missing behind them

    async def _read(self) -> None:
        async with reader(self.kafka, [self.topic], lambda _: None) as consumer:
            first: list[tuple[int, Decision]] = []
            spans = await newest(consumer, _FIRST)
            async for fetched in records_in(consumer, spans, records_max=_AT_ONCE):
                first += _decisions(fetched)
            first.sort(key=lambda each: each[0])
            self.take(decision for _, decision in first)
            self.trouble = ""
            self._there.set()
            while monotonic_s() - self._looked_s < self.idle_s:
                fetched = await consumer.getmany(timeout_ms=500, max_records=_AT_ONCE)
                self.take(decision for _, decision in _decisions(fetched))
            self._wanted.clear()
            self._there.clear()

    def take(self, decisions: Iterable[Decision]) -> None:
        """Newer ones, in their order."""
        self._rows.extendleft(decisions)


def _decisions(fetched: Mapping[Any, list[Any]]) -> list[tuple[int, Decision]]:
    """Return decisions with their time in Kafka; what is no decision is left out."""
    return [
        (record.timestamp, decision)
        for records in fetched.values()
        for record in records
        if (decision := read_decision(record.value)) is not None
    ]

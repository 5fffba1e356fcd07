"""One broker: connected again and again, one fetch on its way, at most two answers in memory.

While one answer is worked on the next is fetched into the other buffer; the fetch after it goes out
when the first buffer is free. So memory is bounded whatever the broker has, and a worker that is
slow is not fetched for.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple, Protocol

from aiokafka.errors import KafkaError, for_code

from stream.kafka.batch import Partition
from stream.kafka.call_events import Event
from stream.kafka.fetch import messages
from stream.kafka.fetch.connection import Buffer, Connection
from stream.kafka.fetch.messages import Answer, FetchSizes, Garbled, Part
from stream.kafka.fetch.partition_state import BACK_OFF_S_MAX, BACK_OFF_S_MIN, Reading, State
from stream.kafka.record_batches import Stretch
from stream.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

ANSWER_S_MAX = 30.0
"""A broker that sends no byte of its answer for this long is given up."""
BUFFERS = 2

_BATCH_HEAD = Struct(">q15xi")  # base offset, and 23 bytes from the beginning the last delta


class Fetched(NamedTuple):
    """Bytes that came for a partition, and the offset that they seem to reach to."""

    reading: Reading
    stretch: Stretch
    beyond: int


class Owner(Protocol):
    """The one who is told what comes of a broker."""

    def arrived(self, broker: "Broker", buffer: Buffer, parts: list[Fetched]) -> None:
        """Records came; the buffer is the owner's until `let_go`."""
        ...

    def failed(self, reading: Reading, code: int) -> None:
        """The broker has an error instead of a partition's records."""
        ...

    def too_large(self, reading: Reading, size: int, beyond: int) -> None:
        """One batch of the partition is larger than may be; `beyond` is the offset after it."""
        ...

    def lost(self, broker: "Broker") -> None:
        """The broker cannot be reached: perhaps others lead its partitions now."""
        ...

    def background(self, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it beside; should it fail, the reader does."""
        ...

    def unable(self, broker: "Broker") -> None:
        """The broker does not know this kind of fetch."""
        ...


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Settings of all brokers. `answer_bytes_max` bounds what is received, whatever is asked."""

    kafka: KafkaSettings
    sizes: FetchSizes
    answer_bytes_max: int
    observe: Callable[[Event], None]


class Broker:
    """The way to one broker. `readings` is what it leads of ours, whose turn is first first."""

    def __init__(self, node: int, settings: BrokerSettings, owner: Owner) -> None:
        self.node = node
        self.readings: dict[Partition, Reading] = {}
        self.cannot = False
        """Whether it does not know our kind of fetch, as far as is known in this assignment."""
        self._settings = settings
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._connect_at_s = 0.0
        self._failures = 0
        self._free = [Buffer() for _ in range(BUFFERS)]
        self._receiving: Buffer | None = None
        self._asked: dict[Partition, Reading] = {}
        self._offsets: dict[Partition, int] = {}
        self._asked_s = 0.0
        self._correlation = 0
        self._not_before_s = 0.0
        self._known_down = False
        self.answered_s = self._loop.time()

    @property
    def waits(self) -> bool:
        """Whether it is the broker's turn: it was asked, or cannot even be asked."""
        if self.cannot or not self.readings:
            return False
        return self._connection is None or self._receiving is not None

    def pump(self) -> None:
        """Ask for what is due, if the last answer has come and there is room for another."""
        connection, now_s = self._connection, self._loop.time()
        if connection is None or self._receiving is not None or not self._free:
            return
        if now_s < self._not_before_s:
            return
        asked = {name: one for name, one in self.readings.items() if one.is_due(now_s)}
        if not asked:
            return
        self._correlation = (self._correlation + 1) % 2**31
        self._asked, self._asked_s = asked, now_s
        self._receiving = self._free.pop()
        request = messages.fetch_request(
            self._correlation,
            self._settings.kafka.client_id,
            {name: one.ask_at for name, one in asked.items()},
            self._settings.sizes,
        )
        self._offsets = {name: one.ask_at for name, one in asked.items()}
        connection.ask(request, self._receiving)

    def let_go(self, buffer: Buffer) -> None:
        """The owner is done with an answer: there is room for the next."""
        buffer.shrink()
        self._free.append(buffer)
        self.pump()

    def tend(self, broker: Any) -> None:
        """What is due by time alone. `broker` is where the cluster says it is, None: unknown."""
        now_s = self._loop.time()
        if self._connection is not None:
            heard_s = max(self._asked_s, self._connection.heard_s)
            if self._receiving is not None and now_s - heard_s > ANSWER_S_MAX:
                self._give_up(f"no answer for {ANSWER_S_MAX:g} s")
            self.pump()
        elif self._connecting is None and self.readings and not self.cannot:
            if now_s < self._connect_at_s:
                return
            if broker is None:
                self._failed("the cluster does not say where it is")
            else:
                self._connecting = self._owner.background(self._connect(broker.host, broker.port))

    async def close(self) -> None:
        """End it."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            await asyncio.sleep(0)  # the transport says good-bye in a turn of its own

    async def _connect(self, host: str, port: int) -> None:
        settings = self._settings
        connection = Connection(settings.answer_bytes_max, self._answered, self._give_up)
        try:
            await connection.open(settings.kafka, host, port)
        except (OSError, KafkaError, TimeoutError) as error:
            self._failed(f"{host}:{port} cannot be reached ({error!r})")
            return
        finally:
            self._connecting = None
        if connection.lost:  # it was closed at once, which has been told
            return
        if not connection.speaks(messages.FETCH, messages.VERSION):
            self.cannot = True
            connection.close()
            self._owner.unable(self)
            return
        self._connection = connection
        self.pump()

    def _failed(self, why: str) -> None:
        """Try again, later each time; said once an outage."""
        level = logging.DEBUG if self._known_down else logging.WARNING
        log.log(level, "broker %d: %s; it is tried again and again", self.node, why)
        self._known_down = True
        wait_s = min(BACK_OFF_S_MIN * 2**self._failures, BACK_OFF_S_MAX)
        self._failures = min(self._failures + 1, 10)
        self._connect_at_s = self._loop.time() + wait_s
        self._owner.lost(self)

    def _give_up(self, why: str) -> None:
        """The connection is of no use any more. What was asked is asked again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._asked = {}
        if self._receiving is not None:
            self._free.append(self._receiving)
            self._receiving = None
        self._failed(why)

    def _answered(self, buffer: Buffer, received: int, size: int) -> None:
        self._receiving = None
        asked, self._asked = self._asked, {}
        try:
            answer = messages.fetch_answer(buffer.view[:received], size)
            self._check(answer, asked)
        except Garbled as error:
            self._free.append(buffer)
            self._give_up(str(error))
            return
        self._heard(answer)
        if received < size:
            self._too_large(buffer.view[:received], answer, asked)
            self._free.append(buffer)
            self._give_up(f"an answer of {size} bytes is more than may be")
            return
        parts = [] if answer.error else self._parts(buffer, answer, asked)
        if parts:
            self._owner.arrived(self, buffer, parts)
            self.pump()
        else:
            self.let_go(buffer)

    def _check(self, answer: Answer, asked: dict[Partition, Reading]) -> None:
        if answer.correlation != self._correlation:
            raise Garbled(f"it answered {answer.correlation} when asked {self._correlation}")
        told = [part.partition for part in answer.parts]
        if not asked.keys() >= set(told) or len(set(told)) < len(told):
            raise Garbled("it told of partitions that it was not asked for, or twice")

    def _heard(self, answer: Answer) -> None:
        self.answered_s = self._loop.time()
        self._failures = 0
        if self._known_down:
            self._known_down = False
            log.info("broker %d answers again", self.node)
        if answer.throttle_ms > 0:
            self._not_before_s = self.answered_s + answer.throttle_ms / 1000
            self._settings.observe(Event.THROTTLED)
        if answer.error:
            log.warning("broker %d: a fetch failed: %s", self.node, name_of(answer.error))
            self._not_before_s = self.answered_s + BACK_OFF_S_MAX

    def _parts(
        self, buffer: Buffer, answer: Answer, asked: dict[Partition, Reading]
    ) -> list[Fetched]:
        """What there is to read; where each partition is fetched next is known from now on."""
        from stream.core.kernels.extents import reaches

        parts: list[Fetched] = []
        for part in answer.parts:
            reading = asked[part.partition]
            offset = self._offsets[part.partition]
            if reading.state is not State.READ or reading.ask_at != offset:
                continue  # it was sought elsewhere meanwhile
            if part.error:
                self._owner.failed(reading, part.error)
                continue
            reading.high_water = part.high_water
            if part.stop > part.start:
                beyond = reaches(buffer.data, part.start, part.stop, offset)
                if beyond > offset:
                    reading.ask_at = beyond
                    if part.partition in self.readings:  # else another broker leads it by now
                        # Its next turn is after all that got nothing this time.
                        self.readings[part.partition] = self.readings.pop(part.partition)
                else:
                    reading.state = State.UNJUDGED
                stretch = Stretch(part.start, part.stop, offset, part.aborted)
                parts.append(Fetched(reading, stretch, beyond))
        return parts

    def _too_large(self, head: memoryview, answer: Answer, asked: dict[Partition, Reading]) -> None:
        """Of an answer that is too large, `head` was received: whose is it?"""
        part: Part | None = messages.oversized(answer, self._settings.sizes.answer_bytes)
        if part is None:
            return
        reading, offset = asked[part.partition], self._offsets[part.partition]
        if reading.state is State.READ and reading.ask_at == reading.position == offset:
            beyond = offset + 1
            if part.start + _BATCH_HEAD.size <= len(head):
                first, last_delta = _BATCH_HEAD.unpack_from(head, part.start)
                beyond = max(beyond, first + last_delta + 1)
            self._owner.too_large(reading, part.stop - part.start, beyond)


def name_of(code: int) -> str:
    """An error code's name, as aiokafka has it."""
    return f"{for_code(code).__name__} ({code})"

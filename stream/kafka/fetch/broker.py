"""One broker: connected again and again, one fetch on its way, at most two answers in memory.

While one answer is processed, the next is fetched into the other buffer. The fetch after it goes
out when the first buffer is free. So memory is bounded whatever the broker has, and a slow worker
is not fetched for. Where answers of a few calls follow one another, the next fetch waits a
millisecond, so that it brings more. After a pause it does not wait: the next call is far away.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from struct import Struct
from typing import Any, Protocol

from aiokafka.errors import KafkaError, for_code

from stream.kafka.batch import Partition
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.fetch import messages
from stream.kafka.fetch.connection import Buffer, FetchConnection
from stream.kafka.fetch.fetched_batches import FetchedBatches, FetchedPart
from stream.kafka.fetch.messages import FetchAnswer, FetchSizes, Garbled
from stream.kafka.fetch.partition_state import (
    BACK_OFF_S_MAX,
    PartitionState,
    PartitionStatus,
    back_off_s,
)
from stream.kafka.record_batches import Stretch
from stream.kafka.settings import KafkaSettings

log = logging.getLogger(__name__)

ANSWER_S_MAX = 30.0
"""A broker that sends no byte of its answer for this long is given up."""
BUFFERS = 2
"""One is worked on while the other is filled; a third would only add memory and age."""

PACE_S = 0.001
"""From a small answer until more is asked for. A batch of one call costs as much as one of fifty,
so calls of a millisecond are one batch. Measured at 2,000 calls a second: 57 instead of 81 % of a
core, at the price of a millisecond at the median. With 2 ms it is 48 %, with a p99 that is longer
than before."""
PAUSE_S = 0.002
"""After an answer for which the broker waited so long, more is asked for at once. The next call is
probably as far away, so a timer would only wake the process once more for each call."""
SMALL_BYTES = 4096
"""An answer of a dozen calls. A larger one is worth its batch, and calls wait for nothing."""

_Asked = tuple[PartitionState, int]
"""A partition, and the offset that was asked for."""
_BATCH_HEAD = Struct(">q15xi")  # base offset, and 23 bytes from the beginning the last delta


class Owner(Protocol):
    """The fetcher, as its brokers know it."""

    def failed(self, state: PartitionState, code: int) -> None:
        """Take a broker's error in place of a partition's records."""

    def refuse(self, state: PartitionState, offset: int, what: str, beyond: int) -> None:
        """Pass over the batch at `offset`, up to `beyond`, or stop: as the settings say."""

    def lost(self) -> None:
        """Ask who leads: a broker cannot be reached, perhaps others have its partitions now."""

    def unable(self, broker: "Broker") -> None:
        """Leave the broker's partitions to aiokafka: it does not know this kind of fetch."""

    def background(self, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a job beside; should it fail, the fetcher does."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Settings of a fetcher for all its brokers.

    `answer_bytes_max` bounds what is received, whatever is asked; `room_bytes_max` what it unpacks
    to. `skip_corrupt`: a batch that cannot be right is passed over, else its partition stops.
    """

    kafka: KafkaSettings
    sizes: FetchSizes
    answer_bytes_max: int
    room_bytes_max: int
    start_at: str
    skip_corrupt: bool
    observe: Observe


class Broker:
    """Fetches from one broker, into `fetched`.

    `led` is what it leads of ours, in the order in which it is asked: whose turn is first first.
    `cannot`: in this assignment it has shown that it does not know our kind of fetch.
    """

    def __init__(
        self, node: int, settings: FetchSettings, fetched: FetchedBatches, owner: Owner
    ) -> None:
        self.node = node
        self.led: dict[Partition, PartitionState] = {}
        self.cannot = False
        self._settings = settings
        self._fetched = fetched
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._connection: FetchConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._connect_at_s = 0.0
        self._failures = 0
        self._free = [Buffer() for _ in range(BUFFERS)]
        self._receiving: Buffer | None = None
        self._asked: dict[Partition, _Asked] = {}
        self._asked_s = 0.0
        self._correlation = 0
        self._not_before_s = 0.0
        self._paced: asyncio.TimerHandle | None = None
        self._known_down = False
        self.answered_s = self._loop.time()

    @property
    def waits(self) -> bool:
        """True if it is the broker's turn: it was asked, or cannot even be asked."""
        if self.cannot or not self.led:
            return False
        return self._connection is None or self._receiving is not None

    def pump(self) -> None:
        """Ask for what is due, if the last answer has come and there is room for another."""
        connection, now_s = self._connection, self._loop.time()
        if connection is None or self._receiving is not None or not self._free:
            return
        if now_s < self._not_before_s or self._paced is not None:
            return
        # In the order of `led`: the broker fills its answer in the order in which it is asked.
        asked = {name: (one, one.ask_at) for name, one in self.led.items() if one.is_due(now_s)}
        if not asked:
            return
        self._correlation = (self._correlation + 1) % 2**31  # an int32 on the wire
        self._asked, self._asked_s = asked, now_s
        self._receiving = self._free.pop()
        request = messages.fetch_request(
            self._correlation,
            self._settings.kafka.client_id,
            {name: offset for name, (_, offset) in asked.items()},
            self._settings.sizes,
        )
        connection.ask(request, self._receiving)

    def tend(self, broker: Any) -> None:
        """Do what is due by time alone. `broker`: where the cluster says it is, None: unknown."""
        now_s = self._loop.time()
        if self._connection is not None:
            # By the last byte, not by the question: a large answer over a slow line may take long.
            heard_s = max(self._asked_s, self._connection.heard_s)
            if self._receiving is not None and now_s - heard_s > ANSWER_S_MAX:
                self._give_up(f"no answer for {ANSWER_S_MAX:g} s")
            self.pump()
        elif self._connecting is None and self.led and not self.cannot:
            if now_s < self._connect_at_s:
                return
            if broker is None:
                self._failed("the cluster does not say where it is")
            else:
                self._connecting = self._owner.background(self._connect(broker.host, broker.port))

    async def close(self) -> None:
        """Close the connection, or give up making one."""
        if self._paced is not None:
            self._paced.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            # `wait` and not `await`: how it ended does not matter any more, only that it has.
            await asyncio.wait([self._connecting])
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            await asyncio.sleep(0)  # the transport says good-bye in a turn of its own

    async def _connect(self, host: str, port: int) -> None:
        settings = self._settings
        connection = FetchConnection(settings.answer_bytes_max, self._answered, self._give_up)
        try:
            await connection.open(settings.kafka, host, port)
        except (OSError, KafkaError, TimeoutError) as error:
            self._failed(f"{host}:{port} cannot be reached ({error!r})")
            return
        finally:
            self._connecting = None
        if connection.lost:  # it was closed at once, which has been reported
            return
        if not connection.speaks(messages.FETCH, messages.VERSION):
            self.cannot = True
            connection.close()
            self._owner.unable(self)
            return
        self._connection = connection
        self.pump()

    def _failed(self, why: str) -> None:
        """Try again, later each time; log it once an outage."""
        level = logging.DEBUG if self._known_down else logging.WARNING
        log.log(level, "broker %d: %s; it is tried again and again", self.node, why)
        self._known_down = True
        self._connect_at_s = self._loop.time() + back_off_s(self._failures)
        self._failures += 1
        self._owner.lost()

    def _give_up(self, why: str) -> None:
        """Close a connection that is of no use any more. What was asked is asked again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._asked = {}
        # Its half answer is lost with it. Nothing was counted of it, so the same is asked again.
        if self._receiving is not None:
            self._free.append(self._receiving)
            self._receiving = None
        self._failed(why)

    def _answered(self, buffer: Buffer, received: int, size: int) -> None:
        # First of all: whatever follows may ask again, or give the connection up.
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
            # Added first, then asked on: so the next answer goes into the other buffer, and at most
            # two are in memory.
            self._fetched.add(buffer.data, parts, partial(self._release, buffer, received))
            if received < SMALL_BYTES and self.answered_s - self._asked_s < PAUSE_S:
                self._paced = self._loop.call_later(PACE_S, self._end_pace)
            self.pump()
        else:
            self._release(buffer, received)

    def _end_pace(self) -> None:
        """Ask on after a small answer: more calls have come meanwhile."""
        self._paced = None
        self.pump()

    def _release(self, buffer: Buffer, used: int) -> None:
        """Use a buffer again whose answer of `used` bytes is done with: the next has room."""
        buffer.give_back(used)
        self._free.append(buffer)
        self.pump()

    def _check(self, answer: FetchAnswer, asked: Mapping[Partition, object]) -> None:
        if answer.correlation != self._correlation:
            raise Garbled(f"it answered {answer.correlation} when asked {self._correlation}")
        told = [part.partition for part in answer.parts]
        # A partition that came twice would move its position twice.
        if not asked.keys() >= set(told) or len(set(told)) < len(told):
            raise Garbled("it answered for partitions that it was not asked for, or twice")

    def _heard(self, answer: FetchAnswer) -> None:
        self.answered_s = self._loop.time()
        self._failures = 0
        if self._known_down:
            self._known_down = False
            log.info("broker %d answers again", self.node)
        if answer.throttle_ms > 0:
            self._not_before_s = self.answered_s + answer.throttle_ms / 1000
            self._settings.observe(CallEvent.THROTTLED)
        if answer.error:
            log.warning("broker %d: a fetch failed: %s", self.node, name_of(answer.error))
            # Of the whole request, so every partition would fail again at once.
            self._not_before_s = self.answered_s + BACK_OFF_S_MAX

    def _parts(
        self, buffer: Buffer, answer: FetchAnswer, asked: Mapping[Partition, _Asked]
    ) -> list[FetchedPart]:
        """Return what there is to read; where each partition is fetched next is known from now."""
        from stream.core.kernels.parse_batches import reaches

        parts: list[FetchedPart] = []
        for part in answer.parts:
            state, offset = asked[part.partition]
            if state.status is not PartitionStatus.FETCHED or state.ask_at != offset:
                continue  # it was sought elsewhere meanwhile
            if part.error:
                self._owner.failed(state, part.error)
                continue
            state.high_water = part.high_water
            if part.stop > part.start:
                # By the heads of its batches alone: the next fetch must not wait for this one to be
                # read. A head that was wrong shows when it is read, and that fetch is dropped.
                beyond = reaches(buffer.data, part.start, part.stop, offset)
                if beyond > offset:
                    state.ask_at = beyond
                    if part.partition in self.led:  # else another broker leads it by now
                        # Its next turn is after all that got nothing this time.
                        self.led[part.partition] = self.led.pop(part.partition)
                else:
                    state.status = PartitionStatus.UNJUDGED
                stretch = Stretch(part.start, part.stop, offset, part.aborted)
                parts.append(FetchedPart(state, stretch, beyond))
        return parts

    def _too_large(
        self, head: memoryview, answer: FetchAnswer, asked: Mapping[Partition, _Asked]
    ) -> None:
        """Refuse the batch that makes an answer too large, of which `head` was received."""
        part = answer.oversized(self._settings.sizes.answer_bytes)
        if part is None:
            return
        state, offset = asked[part.partition]
        # Only if it is the next to be read: what lies before it in memory is not skipped with it.
        if state.status is PartitionStatus.FETCHED and state.ask_at == state.position == offset:
            beyond = offset + 1
            if part.start + _BATCH_HEAD.size <= len(head):
                first, last_delta = _BATCH_HEAD.unpack_from(head, part.start)
                beyond = max(beyond, first + last_delta + 1)
            most, size = self._settings.answer_bytes_max, part.stop - part.start
            what = f"it has {size} bytes, at most {most} may come"
            self._owner.refuse(state, offset, what, beyond)


def name_of(code: int) -> str:
    """Return an error code's name, as aiokafka has it."""
    return f"{for_code(code).__name__} ({code})"

"""The fetcher as one `Reader`: which broker leads what, and whose records are next.

Members, positions and commits stay with aiokafka's consumer, whose own fetcher is kept from our
partitions by pausing them. Its metadata say where leaders are.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from stream.core.model.errors import SourceDown
from stream.kafka.aiokafka_reader import AiokafkaReader
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.call_events import Event
from stream.kafka.fetch.broker import Broker, BrokerSettings, Fetched, name_of
from stream.kafka.fetch.connection import Buffer
from stream.kafka.fetch.fetched_batches import FetchedBatches
from stream.kafka.fetch.messages import FETCH, VERSION
from stream.kafka.fetch.partition_state import MEANINGS, Meaning, Reading, State
from stream.kafka.reader import no_records

log = logging.getLogger(__name__)

TEND_S = 0.1
"""How often it is looked what is due by time alone: back-offs, time-outs, new connections."""
METADATA_S = 0.25
"""Shortest time between two questions where leaders are."""
GROUP_S = 0.5
"""How often aiokafka is asked for records that it has none of: that keeps us a member whose
`max_poll_interval_ms` is met, and brings up the errors of its coordinator."""
ORDINARY_S = 0.02
"""How long `take` waits for our own records while aiokafka reads some partitions."""


@dataclass(frozen=True, slots=True)
class FetcherSettings:
    """`skip_corrupt`: a batch that cannot be right is passed over, else its partition stops."""

    broker: BrokerSettings
    start_at: str
    skip_corrupt: bool
    room_bytes_max: int


class Fetcher:
    """Fetches for one member of the group. `consumer` is untyped, therefore Any."""

    def __init__(self, consumer: Any, settings: FetcherSettings) -> None:
        self._consumer = consumer
        self._settings = settings
        self._observe: Callable[[Event], None] = settings.broker.observe
        # The consumer's client has the metadata; nothing public of the consumer says who leads.
        self._client: Any = consumer._client  # noqa: SLF001
        self._ordinary = AiokafkaReader(consumer)
        self._ordinary_last = False
        self._fetched = FetchedBatches(
            self, settings.room_bytes_max, settings.skip_corrupt, self._observe
        )
        self._epoch = -1
        self._readings: dict[Partition, Reading] = {}
        self._brokers: dict[int, Broker] = {}
        self._arrival: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaders_wanted = False
        self._leaders_at_s = 0.0
        self._group_at_s = 0.0
        self._fault: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._started = False

    async def start(self) -> None:
        """Follow the metadata, and the time."""
        self._started = True
        self._client.cluster.add_listener(self._settle_leaders)
        self.background(self._tend())

    async def stop(self) -> None:
        """Close every connection."""
        if not self._started:
            return
        self._started = False
        self._client.cluster.remove_listener(self._settle_leaders)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.gather(*(broker.close() for broker in self._brokers.values()))

    def hold(self, assigned: Iterable[Partition]) -> None:
        """Keep aiokafka's fetcher from what is ours."""
        self._consumer.pause(*(TopicPartition(*partition) for partition in assigned))

    def begin(self, epoch: int, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on."""
        self.end()
        self._fetched.drop()
        self._epoch = epoch
        self._ordinary.begin(epoch, {})
        self._readings = {name: Reading.at(name, offset) for name, offset in positions.items()}
        for broker in self._brokers.values():
            broker.cannot = False  # perhaps it was upgraded
        self._settle_leaders()

    def end(self) -> None:
        """Nothing is ours to read. What was handed out last stays readable until `begin`."""
        for reading in self._readings.values():
            reading.state = State.GONE
        self._readings = {}
        for broker in self._brokers.values():
            broker.readings = {}
        self._ordinary.end()

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from `positions`; whatever was fetched from elsewhere is dropped."""
        for partition, offset in {**self._fetched.unread(), **positions}.items():
            reading = self._readings.get(partition)
            if reading is None:  # it is no longer ours: its new reader starts there anyway
                continue
            reading.move(offset)
            if reading.state is State.ORDINARY:
                self._ordinary.seek({partition: offset})
        self._pump()

    def release(self, partitions: Iterable[Partition]) -> None:
        """These are not read on; the others go on."""
        gone = [one for one in partitions if one in self._readings]
        for partition in gone:
            self._readings.pop(partition).state = State.GONE
        self._ordinary.release(gone)
        self._settle_leaders()

    async def position(self, partition: Partition) -> int:
        """The first offset of a partition begun that was not handed out yet; holes are passed."""
        reading = self._readings[partition]
        if reading.state is State.ORDINARY:
            return await self._ordinary.position(partition)
        unread = self._fetched.first_unread(partition)
        return reading.position if unread is None else unread

    async def take(self, records_max: int, wait_ms: int) -> RawBatch:
        """The next piece of what was fetched. Raises SourceDown, and the group's KafkaError."""
        if self._fault is not None:
            raise self._fault
        now_s = self._loop.time()
        if not self._fetched.begun and self._asks_ordinary(now_s):
            batch = await self._ordinary.take(records_max, 0)
            if len(batch):
                self._ordinary_last = True
                return batch
        self._ordinary_last = False
        wait_s = min(wait_ms / 1000, ORDINARY_S) if self._ordinary.ordinary else wait_ms / 1000
        ends_s = now_s + wait_s
        epoch = self._epoch
        while True:
            found = self._fetched.next(records_max, epoch, self._loop.time())
            if found is not None:
                return found
            left_s = ends_s - self._loop.time()
            if left_s <= 0 or self._fault is not None:
                return no_records(epoch)
            await self._await_arrival(left_s)

    def high_water(self, partition: Partition) -> int | None:
        """As the partition's last answer had it."""
        reading = self._readings.get(partition)
        if reading is None:
            return None
        if reading.state is State.ORDINARY:
            return self._ordinary.high_water(partition)
        return reading.high_water

    @property
    def silent_s(self) -> float:
        """Since the last answer of any broker, if there is one that owes us an answer."""
        brokers = [broker for broker in self._brokers.values() if broker.readings]
        if not any(broker.waits for broker in brokers):
            return self._ordinary.silent_s
        return max(self._loop.time() - max(broker.answered_s for broker in brokers), 0.0)

    @property
    def stopped(self) -> int:
        """How many partitions wait for an operator."""
        return sum(one.state is State.STOPPED for one in self._readings.values())

    @property
    def ordinary(self) -> int:
        """How many partitions aiokafka reads."""
        return self._ordinary.ordinary

    # What brokers and fetched batches tell.

    def arrived(self, broker: Broker, buffer: Buffer, parts: list[Fetched]) -> None:
        """Records came."""
        self._fetched.add(broker, buffer, parts)
        self._wake()

    def failed(self, reading: Reading, code: int) -> None:
        """A broker has an error instead of a partition's records."""
        reading.back_off(self._loop.time())
        meaning = MEANINGS.get(code)
        match meaning:
            case Meaning.ELSEWHERE:
                self._leaders_wanted = True
            case Meaning.GONE:
                reading.state = State.RESETTING
                self.background(self._reset(reading))
            case Meaning.FORBIDDEN:
                self._fault = SourceDown(f"{reading}: may not be read: {name_of(code)}")
                self._wake()
            case Meaning.DAMAGED:
                self._fetched.damaged(reading, name_of(code), self._loop.time())
            case Meaning.LATER | None:
                pass
        # Moves and resets are usual; what lasts is said once.
        usual = meaning in {Meaning.ELSEWHERE, Meaning.GONE}
        level = logging.WARNING if reading.failures == 1 + usual else logging.DEBUG
        log.log(level, "%s: a fetch failed: %s", reading, name_of(code))

    def too_large(self, reading: Reading, size: int, beyond: int) -> None:
        """One batch is larger than may be received."""
        what = f"it has {size} bytes, at most {self._settings.broker.answer_bytes_max} may come"
        self._fetched.refuse(reading, reading.position, what, beyond)

    def lost(self, broker: Broker) -> None:
        """A broker cannot be reached: perhaps others lead its partitions now."""
        del broker
        self._leaders_wanted = True

    def unable(self, broker: Broker) -> None:
        """A broker does not know the lane's fetch: aiokafka reads its partitions."""
        why = f"broker {broker.node} does not answer version {VERSION} of request {FETCH}"
        for reading in list(broker.readings.values()):
            self.to_ordinary(reading, why)

    def to_ordinary(self, reading: Reading, why: str) -> None:
        """One partition leaves the lane until its assignment ends."""
        if reading.state not in {State.ORDINARY, State.GONE}:
            log.warning("%s is read in the ordinary, slower way: %s", reading, why)
            self._observe(Event.LANE_LEFT)
            reading.state = State.ORDINARY
            self._ordinary.add(reading.partition, reading.position)

    def background(self, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run it beside; should it fail, which is a bug, so does the next `take`."""
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    # Waiting, and what happens by itself.

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fault = error
            self._wake()

    def _asks_ordinary(self, now_s: float) -> bool:
        """Whether aiokafka's turn is now: for its partitions' records, or as a member."""
        if self._ordinary.ordinary and not self._ordinary_last:
            return True
        if now_s < self._group_at_s:
            return False
        self._group_at_s = now_s + GROUP_S
        return True

    async def _await_arrival(self, wait_s: float) -> None:
        arrival = self._arrival = self._loop.create_future()
        timer = self._loop.call_later(wait_s, self._wake)
        try:
            await arrival
        finally:
            timer.cancel()
            self._arrival = None

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def _pump(self) -> None:
        for broker in self._brokers.values():
            broker.pump()

    async def _tend(self) -> None:
        """Whatever is due by time alone."""
        while True:
            await asyncio.sleep(TEND_S)
            now_s = self._loop.time()
            if self._leaders_wanted and now_s >= self._leaders_at_s:
                self._leaders_at_s = now_s + METADATA_S
                self._client.force_metadata_update()
            for broker in self._brokers.values():
                broker.tend(self._client.cluster.broker_metadata(broker.node))

    def _settle_leaders(self, _: object = None) -> None:
        """Give each partition to the broker of its leader, as the metadata of now have it."""
        # Not when they are asked for: a question that fails would not be asked again.
        self._leaders_wanted = False
        led: dict[int, dict[Partition, Reading]] = {node: {} for node in self._brokers}
        for partition, reading in self._readings.items():
            node = self._client.cluster.leader_for_partition(TopicPartition(*partition))
            if node is None or node < 0:
                self._leaders_wanted = True
                continue
            led.setdefault(node, {})[partition] = reading
        for node, readings in led.items():
            broker = self._brokers.get(node)
            if broker is None:
                broker = self._brokers[node] = Broker(node, self._settings.broker, self)
            # Whose turn it is stays as it was.
            turns = [name for name in broker.readings if name in readings]
            broker.readings = {name: readings[name] for name in dict.fromkeys([*turns, *readings])}
            if broker.cannot:
                self.unable(broker)
            broker.pump()

    async def _reset(self, reading: Reading) -> None:
        """The position is gone, by retention or since the topic was made anew: go where we may."""
        tp = TopicPartition(*reading.partition)
        ends = self._consumer.end_offsets
        ask = ends if self._settings.start_at == "latest" else self._consumer.beginning_offsets
        try:
            offset = (await ask([tp]))[tp]
        except (KafkaError, IllegalStateError, KeyError) as error:
            log.warning("%s: where it begins cannot be asked: %r", reading, error)
            offset = reading.position
        else:
            self._observe(Event.POSITION_RESET)
            log.warning(
                "%s: offset %d is gone, reading goes on from the %s, %d: what lay between is lost",
                reading,
                reading.position,
                self._settings.start_at,
                offset,
            )
        if reading.state is State.RESETTING:
            reading.move(offset)
            self._pump()

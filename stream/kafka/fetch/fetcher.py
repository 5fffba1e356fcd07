"""The fetcher: which broker leads what, and whose records are next.

It only brings records, in the order of their offsets, from the positions that it is given. Members,
positions and commits stay with aiokafka's consumer, whose own fetcher is kept from our partitions
by pausing them. Its metadata say where leaders are. What cannot be read is judged here:
fetched again, passed over, stopped, or left to aiokafka.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, for_code

from stream.core import kernels
from stream.core.model.errors import SourceDown
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.clients import described
from stream.kafka.fetch.broker import Broker, FetchSettings, name_of
from stream.kafka.fetch.fetched_batches import FetchedBatches
from stream.kafka.fetch.messages import FETCH, VERSION, FetchSizes
from stream.kafka.fetch.partition_state import (
    MEANINGS,
    ErrorMeaning,
    PartitionState,
    PartitionStatus,
)
from stream.kafka.reader import AiokafkaReader, no_records
from stream.kafka.record_batches import Corrupt, Fault, OldFormat, TooLarge
from stream.kafka.settings import OLD_NAMES, KafkaSettings, SourceSettings

log = logging.getLogger(__name__)

ANSWER_BYTES, PARTITION_BYTES = 16 * 1024 * 1024, 1024 * 1024
"""Most that a broker answers aiokafka with, in all and of a partition; one larger batch comes
alone."""
_ANSWER_BYTES = 8 * 1024 * 1024
"""Most that it answers the fetcher with, which has two answers of each broker in memory: about
10 ms of work."""
_BATCH_BYTES_MAX = 64 * 1024 * 1024
"""Most that one batch may have, packed or unpacked: as the longest record that may be allowed."""
TEND_S = 0.1
"""Seconds between two looks at what is due by time alone: back-offs, time-outs, connections."""
METADATA_S = 0.25
"""Shortest time between two questions where leaders are: a cluster without one is not flooded."""
GROUP_S = 0.5
"""Seconds between two calls of aiokafka for records that it has none of. They keep our membership
within `max_poll_interval_ms`, and raise the errors of its coordinator."""
AIOKAFKA_S = 0.02
"""Longest wait of `take` for our own records while aiokafka reads some partitions."""
DAMAGES_MAX = 3
"""Times that a damaged batch is fetched again: perhaps only its way here damaged it."""


class Fetcher:
    """Fetches for one member of the group. `consumer` is untyped, therefore Any."""

    def __init__(self, consumer: Any, settings: FetchSettings) -> None:
        self._consumer = consumer
        self._settings = settings
        self._observe = settings.observe
        # The consumer's client has the metadata; nothing public of the consumer says who leads.
        self._client: Any = consumer._client  # noqa: SLF001
        self._aiokafka = AiokafkaReader(consumer)
        self._aiokafka_last = False
        self._fetched = FetchedBatches(self._fault_in, settings.room_bytes_max)
        self._epoch = -1
        self._begun_s = 0.0
        self._states: dict[Partition, PartitionState] = {}
        self._brokers: dict[int, Broker] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._leaders_wanted = False
        self._leaders_at_s = 0.0
        self._group_at_s = 0.0
        self._failure: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._started = False

    async def start(self) -> None:
        """Begin, with nothing to read yet: follow the metadata, and the time."""
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
        # These first: one that is making a connection would open it after `close`.
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.gather(*(broker.close() for broker in self._brokers.values()))

    def hold(self, assigned: Iterable[Partition]) -> None:
        """Keep aiokafka's fetcher from `assigned`, whose offsets are being asked.

        Paused and not unassigned: aiokafka still looks up their positions, and the group sees them.
        """
        self._consumer.pause(*(TopicPartition(*partition) for partition in assigned))

    def begin(self, epoch: int, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from these offsets on, under the assignment `epoch`."""
        # Ended first: dropping gives buffers back, and a broker would ask for what it led before.
        self.end()
        self._fetched.drop()
        self._epoch = epoch
        self._begun_s = self._loop.time()
        self._aiokafka.begin(epoch, {})
        self._states = {name: PartitionState.at(name, at) for name, at in positions.items()}
        for broker in self._brokers.values():
            broker.cannot = False  # perhaps it was upgraded
        self._settle_leaders()

    def end(self) -> None:
        """Read nothing more. What was handed out last stays readable until `begin`."""
        for state in self._states.values():
            state.status = PartitionStatus.GONE
        self._states = {}
        for broker in self._brokers.values():
            broker.led = {}
        self._aiokafka.end()

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read on from `positions`, of partitions begun; drop what was fetched from elsewhere."""
        # A group holds records of several partitions. Of those that are not sought, what was read
        # and not handed out is fetched again: simpler than to cut it out of the columns.
        wanted = {**self._fetched.unread(), **positions}
        self._fetched.forget()
        for partition, offset in wanted.items():
            state = self._states.get(partition)
            if state is None:  # it is no longer ours: its new reader starts there anyway
                continue
            state.move(offset)
            if state.status is PartitionStatus.AIOKAFKA:
                self._aiokafka.seek({partition: offset})
        self._pump()

    def release(self, partitions: Iterable[Partition]) -> None:
        """Read on without these."""
        gone = [one for one in partitions if one in self._states]
        for partition in gone:
            self._states.pop(partition).status = PartitionStatus.GONE
        self._aiokafka.release(gone)
        self._settle_leaders()

    async def position(self, partition: Partition) -> int:
        """Return the first offset of a partition begun that was not handed out; pass holes."""
        state = self._states[partition]
        if state.status is PartitionStatus.AIOKAFKA:
            return await self._aiokafka.position(partition)
        return self.passed(partition)

    def passed(self, partition: Partition) -> int:
        """Return `position` where no broker has to be asked for it; else 0."""
        state = self._states.get(partition)
        if state is None or state.status is PartitionStatus.AIOKAFKA:
            return 0
        return self._fetched.unread().get(partition, state.position)

    async def take(self, records_max: int, wait_ms: int) -> RawBatch:
        """Return the next records; wait `wait_ms` for the first. May be cancelled while it waits.

        The batch has the epoch under which it was fetched. Raises SourceDown, and the group's
        KafkaError.
        """
        if self._failure is not None:
            raise self._failure
        now_s = self._loop.time()
        if not self._fetched.begun and self._is_aiokafkas_turn(now_s):
            # 0 ms: our own records may be there already.
            batch = await self._aiokafka.take(records_max, 0)
            if len(batch):
                self._aiokafka_last = True
                return batch
        self._aiokafka_last = False
        wait_s = wait_ms / 1000
        if self._aiokafka.by_aiokafka:
            wait_s = min(wait_s, AIOKAFKA_S)
        ends_s = now_s + wait_s
        # Of now: a batch that is taken while an assignment ends is an old one.
        epoch = self._epoch
        while True:
            found = self._fetched.next(records_max, epoch, self._loop.time())
            if found is not None:
                return found
            left_s = ends_s - self._loop.time()
            if left_s <= 0 or self._failure is not None:
                return no_records(epoch)
            await self._fetched.wait(left_s)

    def high_water(self, partition: Partition) -> int | None:
        """Return the offset after the partition's last record, as its last answer had it."""
        state = self._states.get(partition)
        if state is None:
            return None
        if state.status is PartitionStatus.AIOKAFKA:
            return self._aiokafka.high_water(partition)
        return state.high_water

    @property
    def silent_s(self) -> float:
        """Since the last answer of any broker, if there is one that owes us an answer.

        A partition that nobody leads waits for one as well: a broker that goes away in order says
        that before it goes.
        """
        brokers = [broker for broker in self._brokers.values() if broker.led]
        led = {name for broker in brokers for name in broker.led}
        alone = any(
            name not in led and one.status is not PartitionStatus.AIOKAFKA
            for name, one in self._states.items()
        )
        # Where none is asked the silence is ours: answers wait, and there is no buffer for more.
        if not alone and not any(broker.waits for broker in brokers):
            return self._aiokafka.silent_s
        answered_s = max((one.answered_s for one in self._brokers.values()), default=self._begun_s)
        return max(self._loop.time() - answered_s, 0.0)

    @property
    def stopped(self) -> int:
        """Number of partitions that wait for an operator."""
        return sum(one.status is PartitionStatus.STOPPED for one in self._states.values())

    @property
    def by_aiokafka(self) -> int:
        """Number of partitions that aiokafka reads."""
        return self._aiokafka.by_aiokafka

    # What cannot be read.

    def failed(self, state: PartitionState, code: int) -> None:
        """Take a broker's error in place of a partition's records."""
        state.back_off(self._loop.time())
        meaning = MEANINGS.get(code, ErrorMeaning.LATER)
        match meaning:
            case ErrorMeaning.ELSEWHERE:
                self._leaders_wanted = True
            case ErrorMeaning.GONE:
                state.status = PartitionStatus.RESETTING
                self.background(self._reset(state))
            case ErrorMeaning.FORBIDDEN:
                error = for_code(code)(state.partition.topic)
                self._fail(SourceDown(f"{state}: {described(error, 'Read')}"))
            case ErrorMeaning.DAMAGED:
                at = state.position
                self._fault_in(state, Corrupt(at, name_of(code), at + 1))
            case ErrorMeaning.LATER:
                pass
        # Moves and resets are usual; what lasts is said once.
        usual = meaning in {ErrorMeaning.ELSEWHERE, ErrorMeaning.GONE}
        level = logging.WARNING if state.failures == 1 + usual else logging.DEBUG
        log.log(level, "%s: a fetch failed: %s", state, name_of(code))

    def _fault_in(self, state: PartitionState, fault: Fault) -> None:
        """Say how a partition goes on after a batch that cannot be read."""
        match fault:
            case OldFormat():
                self._leave(state, f"offset {fault.offset} has message format {fault.magic}")
            case TooLarge():
                self.refuse(state, fault.offset, f"it unpacks to {fault.bytes} bytes", fault.beyond)
            case Corrupt():
                state.move(state.position)
                state.damages += 1
                if state.damages > DAMAGES_MAX:
                    self.refuse(state, fault.offset, fault.what, fault.beyond)
                    return
                text = "%s: the batch at offset %d is damaged (%s); it is fetched again"
                log.warning(text, state, fault.offset, fault.what)
                state.back_off(self._loop.time())

    def refuse(self, state: PartitionState, offset: int, what: str, beyond: int) -> None:
        """Pass over the batch at `offset`, up to `beyond`, or stop: as the settings say."""
        if self._settings.skip_corrupt:
            log.error("%s: the batch at offset %d is skipped: %s", state, offset, what)
            self._observe(CallEvent.BATCH_SKIPPED)
            state.move(beyond)
            return
        log.error(
            "%s: reading stopped at offset %d: %s. Its calls are not decided until the worker is "
            'restarted; calls.corrupt_batches = "skip" passes over such batches',
            state,
            offset,
            what,
        )
        self._observe(CallEvent.PARTITION_STOPPED)
        state.status = PartitionStatus.STOPPED

    def unable(self, broker: Broker) -> None:
        """Leave the broker's partitions to aiokafka: it does not know this kind of fetch."""
        why = f"broker {broker.node} does not answer version {VERSION} of request {FETCH}"
        for state in list(broker.led.values()):
            self._leave(state, why)

    def _leave(self, state: PartitionState, why: str) -> None:
        """Leave one partition to aiokafka until its assignment ends."""
        if state.status not in {PartitionStatus.AIOKAFKA, PartitionStatus.GONE}:
            log.warning("%s is read by aiokafka, which is slower: %s", state, why)
            self._observe(CallEvent.LEFT_TO_AIOKAFKA)
            state.status = PartitionStatus.AIOKAFKA
            self._aiokafka.add(state.partition, state.position)

    # Leaders, and what happens by itself.

    def lost(self) -> None:
        """Ask who leads: a broker cannot be reached, perhaps others have its partitions now."""
        self._leaders_wanted = True

    def background(self, job: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a job beside; should it fail, which is a bug, so does the next `take`."""
        task = asyncio.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Let the next `take` raise."""
        self._failure = error
        self._fetched.wake()  # `take` may be waiting

    def _is_aiokafkas_turn(self, now_s: float) -> bool:
        """Return whether aiokafka is asked now: for its partitions' records, or as a member."""
        # By turns: a backlog in either would else keep the other's partitions waiting.
        if self._aiokafka.by_aiokafka and not self._aiokafka_last:
            return True
        if now_s < self._group_at_s:
            return False
        self._group_at_s = now_s + GROUP_S
        return True

    def _pump(self) -> None:
        for broker in self._brokers.values():
            broker.pump()

    async def _tend(self) -> None:
        """Do what is due by time alone."""
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
        led: dict[int, dict[Partition, PartitionState]] = {node: {} for node in self._brokers}
        for partition, state in self._states.items():
            node = self._client.cluster.leader_for_partition(TopicPartition(*partition))
            if node is None or node < 0:
                self._leaders_wanted = True
                continue
            led.setdefault(node, {})[partition] = state
        for node, states in led.items():
            broker = self._brokers.get(node)
            if broker is None:
                broker = Broker(node, self._settings, self._fetched, self)
                self._brokers[node] = broker
            # Whose turn it is stays as it was.
            turns = [name for name in broker.led if name in states]
            broker.led = {name: states[name] for name in dict.fromkeys([*turns, *states])}
            if broker.cannot:
                self.unable(broker)
            broker.pump()

    async def _reset(self, state: PartitionState) -> None:
        """Go where we may: the position is gone, by retention or with a topic that was deleted."""
        tp = TopicPartition(*state.partition)
        try:
            offset = (await self._consumer.beginning_offsets([tp]))[tp]
            # Only beyond the end `latest` counts. Before the beginning, by retention, it would pass
            # over all that Kafka still has, and a webhook's group always starts at the latest.
            if self._settings.start_at == "latest" and state.position >= offset:
                offset = (await self._consumer.end_offsets([tp]))[tp]
        except (KafkaError, IllegalStateError, KeyError) as error:
            log.warning("%s: where it begins cannot be asked: %r", state, error)
            offset = state.position
        else:
            self._observe(CallEvent.POSITION_RESET)
            text = "%s: offset %d is gone, reading goes on from %d: what lay between is lost"
            log.warning(text, state, state.position, offset)
        # Else its assignment ended, or it was sought, while the broker was asked.
        if state.status is PartitionStatus.RESETTING:
            state.move(offset)
            self._pump()


Reader = Fetcher | AiokafkaReader
"""Either keeps the promises of the other."""


def reader_for(
    consumer: Any, kafka: KafkaSettings, settings: SourceSettings, observe: Observe
) -> Reader:
    """Return a fetcher; or aiokafka's own, where that is set or the kernels cannot be used."""
    if settings.fetch in OLD_NAMES:
        log.warning(
            'calls.fetch = "%s" is an old name: write "%s"',
            settings.fetch,
            OLD_NAMES[settings.fetch],
        )
    if settings.by_aiokafka or not kernels.compiled():
        why = "calls.fetch says so" if settings.by_aiokafka else "there are no kernels"
        log.info("records are fetched by aiokafka, which is slower: %s", why)
        return AiokafkaReader(consumer)
    sizes = FetchSizes(_ANSWER_BYTES, PARTITION_BYTES, settings.fetch_max_wait_ms)
    chosen = FetchSettings(
        kafka=kafka,
        sizes=sizes,
        answer_bytes_max=_ANSWER_BYTES + _BATCH_BYTES_MAX,
        room_bytes_max=_BATCH_BYTES_MAX,
        start_at=settings.start_at,
        skip_corrupt=settings.corrupt_batches == "skip",
        observe=observe,
    )
    return Fetcher(consumer, chosen)

"""Call records from Kafka: batches in, positions committed, partitions handed over in good order.

This is the member of the group; a `Reader` fetches for it. No aiokafka type leaves the source and
its readers, and their errors leave as ours. Three facts about aiokafka 0.14 (group_coordinator.py)
matter. It only logs an exception inside a rebalance hook, so ours raises none and keeps the error
for the loop. While a rebalance lasts, `getmany` waits without limit, so it is not called. The
revoke hook is not called on `stop`, so the loop settles before it stops us.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from stream.core.model.errors import Fault, SourceDown
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.call_events import CallEvent, Observe
from stream.kafka.clients import connected, described
from stream.kafka.fetch.fetcher import ANSWER_BYTES, PARTITION_BYTES, Reader, reader_for
from stream.kafka.first_positions import FirstPositions, same_positions
from stream.kafka.instance_ids import forgotten, given_to_nobody, other_holder, shared
from stream.kafka.reader import no_records
from stream.kafka.settings import KafkaSettings, SourceSettings
from stream.kafka.topic_ids import TopicId, begins_of_former, begins_of_others, topic_ids
from stream.ops.tasks import cancelled

log = logging.getLogger(__name__)

METADATA_AGE_MS = 10_000
"""So long a partition that is added to a topic may stay unread; aiokafka's own are five minutes.

So long, too, one may be read on that belongs to another topic of the same name by now.
"""
_AGAIN_S = 0.1
"""Until brokers are asked again that did not say where to begin."""
_SHOWN_POLL_S = 0.002
"""Between two looks whether the group shows a position: see `await_shown`, up to 28 ms."""


class PartitionsLost(Fault):
    """The group gave our partitions away before we committed: others repeat what we did since."""


class KafkaSource:
    """One member of the consumer group. One loop uses it; it is not shared."""

    def __init__(self, kafka: KafkaSettings, settings: SourceSettings, observe: Observe) -> None:
        self._kafka = kafka
        self._settings = settings
        self._observe = observe
        self._consumer: Any = None
        self._first = FirstPositions(settings.start_at)
        self._topic_ids: dict[str, TopicId] = {}
        self._watch: asyncio.Task[None] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._late: asyncio.Task[None] | None = None
        self._reader: Reader | None = None
        self._epoch = 0
        self._assigned: frozenset[TopicPartition] | None = None
        self._starts: dict[Partition, int] | None = None
        self._taken: dict[Partition, int] = {}
        # Where partitions ended at the last look.
        self._ends: Mapping[Partition, int] = {}
        # Where partitions begin that went back, or had no position; until the loop has settled.
        self._back: dict[Partition, int] = {}
        # Where the same assignment begins once more, after one went back: all, and those that did.
        self._again: tuple[Mapping[Partition, int], Mapping[Partition, int]] | None = None
        self._changed = asyncio.Event()
        self._released = asyncio.Event()
        self._revoking = False
        self._stopped = False
        # Of a hook, which cannot raise: the next `next_batch` does.
        self._kept: Fault | None = None
        self._confirmed_s = self._joins_s = 0.0

    async def start(self) -> None:
        """Join the group, as soon as a broker answers. Raises SourceDown if it never will."""
        try:
            self._consumer = await connected(
                self._new_consumer, AIOKafkaConsumer.stop, self._kafka, self._observe
            )
        except KafkaError as error:
            raise SourceDown(f"Kafka at {self._kafka.bootstrap_servers}: {error!r}") from error
        self._reader = reader_for(self._consumer, self._kafka, self._settings, self._observe)
        await self._reader.start()
        # Subscribed only now, since `start` would else wait for partitions, which a group with
        # more members than partitions never has.
        self._consumer.subscribe(list(self._settings.topics), listener=_Listener(self))
        self._watch = asyncio.create_task(self._watch_topics())

    async def stop(self) -> None:
        """Leave the group; a member with an `instance_id` only if it is to (`leave_on_stop`).

        What the loop has not settled before, others repeat.
        """
        self._stopped = True
        self._released.set()
        for task in (self._watch, self._beginning, self._late):
            if task is not None:
                await cancelled(task)
        if self._reader is not None:
            await self._reader.stop()
        if self._consumer is not None:
            if self._settings.leave_on_stop:
                # aiokafka lets no static member leave; the group lets any go, by its member id.
                self._consumer._coordinator._group_instance_id = None  # noqa: SLF001
            await self._consumer.stop()

    @property
    def epoch(self) -> int:
        """Number of the assignment that we are in; what was fetched in an older one is not ours."""
        return self._epoch

    @property
    def assigned(self) -> bool:
        """True if we have partitions, for readiness."""
        return bool(self._assigned)

    @property
    def confirmed_s(self) -> float:
        """Monotonic seconds at which the group last had us as a member, by its own word.

        Our own clock cannot tell. After a pause aiokafka returns records that it had fetched
        before, and goes on fetching, until its next heartbeat is refused.
        """
        return self._confirmed_s

    @property
    def revoking(self) -> bool:
        """True while the group waits for us, or a partition went back: settle, then `released`."""
        return self._revoking

    @property
    def hand_over_s(self) -> float:
        """Longest time that settling may take from when `revoking` became true."""
        return self._settings.hand_over_s

    @property
    def starts(self) -> Mapping[Partition, int]:
        """Offsets from which the partitions are read; known with the first batch."""
        return self._starts or {}

    def released(self) -> None:
        """Let the partitions go: all that was begun is settled.

        Where they are still ours and one went back, they begin again in a new epoch.
        """
        assigned, starts, back = self._assigned, self._starts, self._back
        self._end_epoch()
        self._released.set()
        if back and assigned and starts:
            self._again = starts, back
            self._assigned = assigned
            self._reading.hold(map(_named, assigned))

    def lags(self) -> dict[Partition, int]:
        """Return the lag in records of each partition whose end is known."""
        lags = {}
        for partition, taken in self._taken.items():
            # An answer to a fetch is newer, but none comes while the loop waits.
            ends = (self._reading.high_water(partition), self._ends.get(partition))
            known = [end for end in ends if end is not None]
            if known:
                # Markers of transactions and aborted records are passed, and not taken.
                position = max(taken, self._reading.passed(partition))
                lags[partition] = max(max(known) - position, 0)
        return lags

    @property
    def silent_s(self) -> float:
        """Seconds since a broker last answered a fetch; 0 while nothing is ours to fetch."""
        return self._reader.silent_s if self._reader is not None and self._assigned else 0.0

    @property
    def partitions(self) -> int:
        """The number of partitions of all topics, ours and those of others; 0: not known yet."""
        return sum(
            len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._settings.topics
        )

    @property
    def stopped_partitions(self) -> int:
        """Number of our partitions that are not read on: a batch of theirs cannot be right."""
        return self._reader.stopped if self._reader is not None else 0

    @property
    def partitions_by_aiokafka(self) -> int:
        """Number of our partitions that aiokafka fetches, record by record."""
        return self._reader.by_aiokafka if self._reader is not None else 0

    async def next_batch(self, records_max: int, wait_ms: int) -> RawBatch:
        """Return what is there, at most `records_max` records; wait `wait_ms` for the first.

        Empty while nothing comes and while partitions are being assigned. Raises SourceDown.
        """
        if self._kept is not None:
            raise self._kept
        wait_s = wait_ms / 1000
        if self._assigned is None or self._revoking:
            await self._await_change(wait_s)
            await self._raise_group_error()
            return no_records(self._epoch)
        try:
            if self._starts is None:
                await self._begin(self._assigned, wait_s)
                return no_records(self._epoch)
            batch = await self._reading.take(records_max, wait_ms)
        except IllegalStateError:  # the partitions went while we asked about them
            return no_records(self._epoch)
        except KafkaError as error:
            raise await self._down(error) from error
        # A commit beside us was refused meanwhile, or the group asks for the partitions: then they
        # are another's records. What went back in them may not begin again (seed 160002809).
        if batch.epoch != self._epoch or self.revoking or self._went_back(batch):
            return no_records(self._epoch)
        for partition, _, stop in batch.segments:
            self._taken[partition] = int(batch.offsets[stop - 1]) + 1
        return batch

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        """Commit where reading shall go on after a restart; waits for a coordinator that is away.

        Raises PartitionsLost where the group has moved on, SourceDown where Kafka refuses.
        """
        told = self.told_of
        offsets = {TopicPartition(*one): (at, told(one.topic)) for one, at in positions.items()}
        epoch = self._epoch
        # Before it is asked: the group's word is as old as the question, not as its answer.
        asked_s = time.monotonic()
        try:
            await self._consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            self._observe(CallEvent.COMMIT_REFUSED)
            log.warning("the group moved on before we committed: %r", error)
            self._back = {}  # they are not ours to begin again
            # Not where the assignment has changed meanwhile: the new one must not be ended too. And
            # not in a revocation: `released` ends the epoch once the loop has settled.
            if epoch == self._epoch and not self._revoking:
                self._end_epoch()
            raise PartitionsLost(f"positions were not committed: {error!r}") from error
        except KafkaError as error:
            why = described(error, "Read")
            raise SourceDown(f"positions cannot be committed: {why}") from error
        self._confirmed_s = asked_s
        self._observe(CallEvent.COMMITTED)

    def told_of(self, topic: str) -> str:
        """Return what positions say of their topic; "": it has no id that is known."""
        return str(self._topic_ids.get(topic, ""))

    async def await_shown(self, positions: Mapping[Partition, int]) -> None:
        """Wait until the group shows `positions`, which a transaction that has ended committed.

        A broker reports a transaction as committed before it has informed the group's coordinator.
        aiokafka 0.14 cannot ask for stable positions only (KIP-447). Measured on one broker: 37 of
        100 readers that asked at once got the position before, for up to 28 ms. Raises SourceDown.
        """
        try:
            for partition, offset in positions.items():
                tp = TopicPartition(*partition)
                # Of a topic that was deleted meanwhile the group shows nothing any more.
                while tp.partition in (self._consumer.partitions_for_topic(tp.topic) or ()):
                    if (await self._consumer.committed(tp) or 0) >= offset:
                        break
                    await asyncio.sleep(_SHOWN_POLL_S)
        except KafkaError as error:
            raise SourceDown(f"committed positions cannot be read: {error!r}") from error

    def rewind(self, positions: Mapping[Partition, int]) -> None:
        """Read on from `positions`, which are partitions of the present assignment."""
        self._reading.seek(positions)
        self._taken.update(positions)

    async def positions_at(self, at_ms: int) -> dict[Partition, int]:
        """Return the first offset of each of our partitions from that time on (ms since the epoch).

        Its end where nothing came since. Raises SourceDown.
        """
        ends = await self.ends()
        wanted = {TopicPartition(*partition): at_ms for partition in ends}
        try:
            found = await self._consumer.offsets_for_times(wanted) if wanted else {}
        except KafkaError as error:
            raise SourceDown(f"positions cannot be looked up by time: {error!r}") from error
        offsets = {Partition(*tp): at.offset for tp, at in found.items() if at is not None}
        return {**ends, **offsets}

    async def ends(self) -> dict[Partition, int]:
        """Return where each partition of ours ends now. Raises SourceDown."""
        tps = [TopicPartition(*partition) for partition in self.starts]
        try:
            ends = await self._consumer.end_offsets(tps) if tps else {}
        except KafkaError as error:
            raise SourceDown(f"the ends of partitions cannot be looked up: {error!r}") from error
        return {Partition(*tp): end for tp, end in ends.items()}

    async def read_to(self, partition: Partition) -> int:
        """Return the offset up to which a partition was handed out, past holes; -1: not ours."""
        try:
            return await self._reading.position(partition)
        except (KeyError, AssertionError, IllegalStateError):  # it went a moment ago
            return -1

    @property
    def _client(self) -> Any:
        return self._consumer._client  # noqa: SLF001 - nothing public asks for ids

    @property
    def _reading(self) -> Reader:
        assert self._reader is not None, "start it first"
        return self._reader

    def _new_consumer(self) -> Any:
        settings = self._settings
        # aiokafka's assignor keeps its state in class attributes: two members in one process
        # (tests) would share it, so each source has a class of its own.
        assignor = type("StickyPartitionAssignor", (StickyPartitionAssignor,), {})
        return AIOKafkaConsumer(
            **self._kafka.options(),
            group_id=settings.group_id,
            group_instance_id=settings.instance_id or None,
            enable_auto_commit=False,
            auto_offset_reset=settings.start_at,
            isolation_level="read_committed",
            partition_assignment_strategy=(assignor,),
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            rebalance_timeout_ms=settings.rebalance_timeout_ms,
            max_poll_interval_ms=settings.poll_interval_ms,
            # A fetch holds at most this much, and a batch is taken from one fetch per partition;
            # a single record beyond it still arrives, alone.
            fetch_max_bytes=ANSWER_BYTES,
            max_partition_fetch_bytes=PARTITION_BYTES,
            fetch_min_bytes=1,
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
            check_crcs=True,
            metadata_max_age_ms=METADATA_AGE_MS,
        )

    async def _raise_group_error(self) -> None:
        """Raise what keeps us out of the group. Raises SourceDown.

        aiokafka raises it where records are asked for, and does nothing more until then. Without
        partitions nothing is asked for: such a worker would wait for ever.
        """
        try:
            self._consumer._coordinator.check_errors()  # noqa: SLF001 - public only with records
        except KafkaError as error:
            raise await self._down(error) from error

    async def _down(self, error: KafkaError) -> SourceDown:
        why = described(error, "Read")
        return await self._other() or SourceDown(f"call records cannot be read: {why}")

    async def _await_change(self, wait_s: float) -> None:
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()

    async def _begin(self, assigned: Iterable[TopicPartition], wait_s: float) -> None:
        """Wait a while for the positions of an assignment. Raises what `_read_starts` raises.

        They are asked for in parallel, and not again at each call. On a connection whose other end
        is gone no answer comes, and aiokafka gives it up only after the time of one question.
        """
        name = f"positions of assignment {self._epoch}"
        if self._beginning is not None and self._beginning.get_name() != name:
            await cancelled(self._beginning)
            self._beginning = None
        if self._beginning is None:
            work = self._read_starts(assigned, self._epoch)
            self._beginning = asyncio.create_task(work, name=name)
        done, _ = await asyncio.wait({self._beginning}, timeout=wait_s + 1.0)
        if done:
            ended, self._beginning = self._beginning, None
            ended.result()

    async def _read_starts(self, assigned: Iterable[TopicPartition], epoch: int) -> None:
        """Learn from where each partition is read, and begin there.

        A partition of a topic that was created again since is read from its beginning. Positions of
        the former topic say nothing of it.
        """
        tps = list(assigned)
        try:
            ids = await topic_ids(self._client, self._settings.topics)
            begins = await begins_of_others(self._consumer, tps, ids, self._topic_ids)
        except KafkaError as error:  # brokers are away, or a new topic's leaders are unknown: later
            log.debug("topic ids or beginnings cannot be asked: %r", error)
            await asyncio.sleep(_AGAIN_S)
            return
        again = self._again
        if again is None:
            positions = await self._first.of(self._consumer, tps)
            try:
                begins |= await begins_of_former(self._consumer, positions, ids)
            except KafkaError as error:
                log.debug("texts of positions cannot be asked: %r", error)
                await asyncio.sleep(_AGAIN_S)  # brokers are away: the next call asks all again
                return
        else:
            positions = await same_positions(self._consumer, tps, *again)
        if epoch != self._epoch or self._revoking or self._assigned is None:
            return  # these are another assignment's partitions, or go
        positions |= begins
        for tp, offset in begins.items():
            self._consumer.seek(tp, offset)
        for topic in sorted({tp.topic for tp in begins}):
            log.warning("%s was made again: it is read from its beginning", topic)
        for topic in self._settings.topics:
            if not self._consumer.partitions_for_topic(topic):
                log.warning(
                    "topic %s is gone, the others are read on: make it again, or take it out of "
                    "[calls.topics]; without it no worker starts",
                    topic,
                )
        # Of those we read: one that was made again while we have nothing of it is news later.
        self._topic_ids |= {tp.topic: ids[tp.topic] for tp in tps if tp.topic in ids}
        self._again = None
        self._starts = {_named(tp): offset for tp, offset in positions.items()}
        self._taken = dict(self._starts)
        self._reading.begin(epoch, self._starts)
        if late := [tp for tp in tps if tp not in positions]:
            log.warning("%s: no leader and no position: the others are read", _texts(late))
            self._late = asyncio.create_task(self._begin_late(late, epoch))

    async def _begin_late(self, late: Sequence[TopicPartition], epoch: int) -> None:
        """Begin the assignment once more, with those of `late` that have a position first."""
        while True:
            try:
                found = await self._first.of(self._consumer, late)
                break
            except KafkaError as error:
                log.debug("late positions cannot be asked: %r", error)
                await asyncio.sleep(_AGAIN_S)
        if epoch == self._epoch and not self._revoking:
            self._back = {_named(tp): offset for tp, offset in found.items()}
            self._revoking = True
            self._changed.set()

    async def _watch_topics(self) -> None:
        """See when a topic of ours was made again and no fetch was refused: it has more already.

        What was read amid it meanwhile is decided twice, with the same ids; nothing is passed over.
        """
        left = frozenset[TopicPartition]()
        while True:
            await asyncio.sleep(METADATA_AGE_MS / 1000)
            left = await self._read_all(left)
            assigned, epoch = self._assigned, self._epoch
            if not assigned or self._starts is None or self._revoking:
                continue
            try:
                ids = await topic_ids(self._client, self._settings.topics)
                begins = await begins_of_others(self._consumer, assigned, ids, self._topic_ids)
            except KafkaError as error:
                log.debug("topic ids or beginnings cannot be asked: %r", error)
                continue
            if begins and epoch == self._epoch and not self._revoking:
                self._back = {_named(tp): offset for tp, offset in begins.items()}
                self._revoking = True
                self._changed.set()
            elif epoch == self._epoch:
                await self._look_at_ends(epoch)

    async def _look_at_ends(self, epoch: int) -> None:
        """Learn where partitions end: of one that is not fetched now, no answer shows it."""
        try:
            async with asyncio.timeout(METADATA_AGE_MS / 1000):
                ends = await self._consumer.end_offsets(
                    [TopicPartition(*one) for one in self.starts]
                )
        except (KafkaError, TimeoutError) as error:
            log.debug("ends cannot be asked: %r", error)
            return
        if epoch == self._epoch:
            self._ends = {_named(tp): end for tp, end in ends.items()}

    async def _read_all(self, left: frozenset[TopicPartition]) -> frozenset[TopicPartition]:
        """Join again where partitions of `left` still are nobody's; return those that are now.

        Not at once: a leader that knows that it leads gives them away within the time of a look.
        """
        now = await given_to_nobody(self._consumer, self._settings)
        if left & now and self._assigned is not None and not self._revoking:
            log.warning("the group gave %s to nobody: joining again", _texts(left & now))
            # Where we lead the group it begins a rebalance, else it gives us what we had.
            self._consumer._coordinator.request_rejoin()  # noqa: SLF001 - nothing public does
        return now

    def _went_back(self, batch: RawBatch) -> bool:
        """Return whether a partition begins before where it was read to; then all begin again.

        Its position was gone, and Kafka has older offsets. The topic was created again, or an
        unclean election or a mirror has less of it. The positions of an assignment only grow. So
        this one ends once the loop has settled, and the same partitions begin another. That
        partition begins where its records begin now, the others where they are committed.
        """
        for partition, start, _ in batch.segments:
            first, taken = int(batch.offsets[start]), self._taken[partition]
            if first < taken:
                self._back[partition] = first
                log.warning(
                    "%s/%d went back from %d to %d: its topic was made again, or has lost its end; "
                    "it is read from there",
                    partition.topic,
                    partition.number,
                    taken,
                    first,
                )
        if self._back:
            self._revoking = True
        return bool(self._back)

    def _end_epoch(self) -> None:
        # The epoch first: whatever is awaited meanwhile finds its batch out of date.
        self._epoch += 1
        self._assigned = None
        self._starts = None
        self._taken = {}
        self._ends = {}
        self._back = {}
        self._again = None
        self._revoking = False
        if self._late is not None:
            self._late.cancel()
        if self._reader is not None:
            self._reader.end()
        self._changed.set()

    async def _revoke(self) -> None:
        """Let the loop settle, then end the epoch: the group asks for our partitions."""
        self._back = {}
        if forgotten(self._consumer) and (named := await self._other()) is not None:
            self._kept = named
            self._end_epoch()
            # The one way to keep aiokafka from joining again, which would end the other process.
            raise asyncio.CancelledError
        if self._assigned and not self._stopped:  # else there is no loop that could settle
            self._released.clear()
            self._revoking = True
            self._changed.set()
            try:
                async with asyncio.timeout(self._settings.hand_over_s):
                    await self._released.wait()
            except TimeoutError:
                self._kept = SourceDown(
                    f"partitions were revoked and the batch in hand was not settled within "
                    f"{self._settings.hand_over_s:g} s: others repeat it"
                )
                self._end_epoch()
            self._observe(CallEvent.REVOKED)
        else:
            self._end_epoch()

    async def _other(self) -> SourceDown | None:
        """Return the error of another process with our instance id, if there is one."""
        if not self._confirmed_s:
            return None  # what the group has is our process before a restart
        host = await other_holder(self._consumer, self._settings)
        return None if host is None else SourceDown(shared(self._settings, host))

    def _assign(self, assigned: Iterable[TopicPartition]) -> None:
        self._assigned = frozenset(assigned)
        # At once, in the hook: else aiokafka's own fetcher would ask for these partitions first.
        if self._reader is not None:
            self._reader.hold(map(_named, self._assigned))
        self._confirmed_s = self._joins_s  # when it was asked: we may have been paused since
        self._observe(CallEvent.ASSIGNED)
        self._changed.set()


def _texts(tps: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{tp.topic}/{tp.partition}" for tp in sorted(tps))


def _named(tp: TopicPartition) -> Partition:
    return Partition(tp.topic, tp.partition)


class _Listener(ConsumerRebalanceListener):
    """aiokafka's hooks, passed on. Neither raises a fault: aiokafka would only log it."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        del revoked  # all of them: no assignor of aiokafka is cooperative
        await self._source._revoke()  # noqa: SLF001 - one class in two, for aiokafka's sake
        self._source._joins_s = time.monotonic()  # noqa: SLF001 - the group is asked now

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._source._assign(assigned)  # noqa: SLF001

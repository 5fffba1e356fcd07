"""The source between two assignments: what was fetched for the old one goes nowhere."""

import asyncio
from types import SimpleNamespace
from typing import Any, Literal
from uuid import UUID

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError
from aiokafka.record.legacy_records import LegacyRecordBatch, LegacyRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata

from stream.core import kernels
from stream.kafka import consumer, first_positions
from stream.kafka.batch import Partition, RawBatch
from stream.kafka.consumer import KafkaSource, PartitionsLost
from stream.kafka.fetch.fetcher import Fetcher, reader_for
from stream.kafka.reader import AiokafkaReader, as_batch
from stream.kafka.settings import KafkaSettings, SourceSettings
from tests.support.waiting import HANGS_S, until

TP = TopicPartition("calls", 0)
OTHER = TopicPartition("calls", 1)


class Consumer:
    """As much of aiokafka's consumer as one member needs; the group refuses its commits."""

    def __init__(self) -> None:
        self.fetched = asyncio.Event()
        self.ids = {"calls": UUID(int=1)}
        self._client = SimpleNamespace(
            cluster=SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)]), send=self._topics
        )
        self._coordinator = SimpleNamespace(fetch_committed_offsets=self._committed, member_id="m")
        self.cluster: str | None = "c"
        self.said = ""
        """The text of the first partition's committed position."""

    async def _committed(self, tps: list[TopicPartition]) -> Any:
        return {tp: OffsetAndMetadata(7, self.said) for tp in tps if tp == TP}

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 3)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Do nothing: nobody asks this one for its position again."""

    async def _topics(self, node: int, request: object) -> Any:
        topics = [(0, name, one, False) for name, one in self.ids.items()]
        return SimpleNamespace(cluster_id=self.cluster, topics=topics)

    def partitions_for_topic(self, topic: str) -> set[int]:
        return {0, 1}

    async def position(self, tp: TopicPartition) -> int:
        return 7

    async def getmany(self, *tps: TopicPartition, timeout_ms: int, max_records: int) -> Any:
        await self.fetched.wait()
        return {TP: [SimpleNamespace(value=b"{}", offset=7, timestamp=0, headers=())]}

    async def commit(self, offsets: object) -> None:
        raise CommitFailedError


class Taking(Consumer):
    """The same in a group that takes its commits."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: list[object] = []

    async def commit(self, offsets: object) -> None:
        self.committed.append(offsets)


@pytest.fixture
def source() -> KafkaSource:
    settings = SourceSettings(("calls",), "g", "", "earliest", 6000, 30_000)
    return KafkaSource(KafkaSettings("127.0.0.1:1", "test"), settings, lambda _: None)


@pytest.mark.parametrize(
    ("said", "starts"),
    [
        ("", 7),
        (f"c/{UUID(int=1)}", 7),
        (f"c/{UUID(int=9)}", 3),
        (f"mirror/{UUID(int=9)}", 7),
        ("set by hand", 7),
    ],
    ids=["says nothing", "same topic", "former topic", "another cluster", "other text"],
)
async def test_a_position_of_a_former_topic_is_none(source: KafkaSource, said: str, starts: int):
    """Kafka takes it by the topic's name, from a worker that was cut off meanwhile.

    A mirror's copy counts, and says from now on what is here: it may be copied back.
    """
    source._consumer = fake = Taking()
    fake.said = said
    source._reader = AiokafkaReader(fake)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    assert source.starts == {Partition(*TP): starts, Partition(*OTHER): 7}
    here = f"c/{UUID(int=1)}"
    assert source.told_of("calls") == here
    assert fake.committed == ([{TP: (7, here)}] if said.startswith("mirror/") else [])


async def test_the_groups_word_is_as_old_as_the_question(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 230002485: paused between the two, a worker took the former assignment for a new one.

    It decided calls that were another's by then, and committed them in a transaction, which Kafka
    does not refuse. Every call twice, also for readers of committed records.
    """
    now_s = 10.0
    monkeypatch.setattr(consumer, "time", SimpleNamespace(monotonic=lambda: now_s))
    listener = consumer._Listener(source)
    await listener.on_partitions_revoked(())
    now_s = 100.0
    await listener.on_partitions_assigned([TP])
    assert source.confirmed_s == 10.0


async def test_a_cluster_without_an_id_has_positions_that_say_nothing(source: KafkaSource) -> None:
    """They count, as those of an older version do."""
    source._consumer = fake = Consumer()
    fake.cluster = None
    source._reader = AiokafkaReader(fake)
    source._assign([TP])
    await source.next_batch(10, 1000)
    assert source.starts == {Partition(*TP): 7}


async def test_records_fetched_while_a_commit_was_refused_are_dropped(source: KafkaSource) -> None:
    """The group gave the partitions away in mid-fetch: no batch, no crash, and a new epoch."""
    source._consumer = fake = Consumer()
    source._reader = AiokafkaReader(fake)
    source._assign([TP])
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 7}
    epoch = source.epoch
    fetching = asyncio.ensure_future(source.next_batch(10, 1000))
    await asyncio.sleep(0)
    with pytest.raises(PartitionsLost):
        await source.commit({Partition("calls", 0): 8})
    fake.fetched.set()
    assert len(await fetching) == 0
    assert source.epoch == epoch + 1


async def test_a_source_that_was_stopped_holds_nobody_up(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that died settles nothing: the group gets the partitions without a wait for it."""
    monkeypatch.setattr(SourceSettings, "hand_over_s", 2 * HANGS_S)
    source._assign([TP])
    await source.stop()
    async with asyncio.timeout(HANGS_S):
        await source._revoke()
    assert not source.assigned


class Shortened(Consumer):
    """Two partitions, of which the first lost its end after 9 records; commits are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[TopicPartition, int | None] = {TP: 9, OTHER: 8}
        self.at = {TP: 7, OTHER: 7}
        self.fetched.set()

    async def committed(self, tp: TopicPartition) -> int | None:
        return self.held[tp]

    async def beginning_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(tps, 9)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.at[tp] = offset

    async def getmany(self, *tps: TopicPartition, timeout_ms: int, max_records: int) -> Any:
        found = {}
        for tp, offset in self.at.items():
            at = 2 if tp == TP and offset > 8 else offset
            self.at[tp] = at + 1
            found[tp] = [SimpleNamespace(value=b"{}", offset=at, timestamp=0, headers=())]
        return found


@pytest.mark.parametrize(("known", "other"), [(8, 8), (None, 7)], ids=["committed", "not yet"])
async def test_a_partition_that_goes_back_begins_again_there(
    source: KafkaSource, known: int | None, other: int
) -> None:
    """Its topic was made again: the loop settles first, and the others go on where they were."""
    source._consumer = fake = Shortened()
    fake.held[OTHER] = known
    source._reader = AiokafkaReader(fake)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    for _ in range(2):
        assert len(await source.next_batch(10, 1000)) == 2
    assert len(await source.next_batch(10, 1000)) == 0, "its records of before the loop has settled"
    assert source.revoking
    epoch = source.epoch
    source.released()
    assert source.epoch == epoch + 1
    assert source.assigned
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 2, Partition("calls", 1): other}
    batch = await source.next_batch(10, 1000)
    assert batch.offsets.tolist() == [2, other]
    assert not source.revoking


async def test_a_topic_made_again_is_read_from_its_beginning(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has more records than the former had, so no fetch is refused: its id tells."""
    monkeypatch.setattr(consumer, "METADATA_AGE_MS", 1)
    source._consumer = known = Shortened()
    source._reader = AiokafkaReader(known)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    watch = asyncio.ensure_future(source._watch_topics())
    await asyncio.sleep(0.02)
    assert not source.revoking, "it is the same topic"
    known.ids = {}  # it is deleted
    await asyncio.sleep(0.02)
    assert not source.revoking
    known.ids = {"calls": UUID(int=2)}
    await until(lambda: source.revoking, "the end of the assignment")
    source.released()
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 0, Partition("calls", 1): 0}
    await asyncio.sleep(0.02)
    assert not source.revoking, "it is known now"
    watch.cancel()


async def test_a_topic_made_again_while_the_group_gives_nothing(source: KafkaSource) -> None:
    """It was found gone, and the group given nothing before it was back."""
    source._consumer = known = Shortened()
    source._reader = AiokafkaReader(known)
    for ids, assigned in ((1, [TP, OTHER]), (2, []), (2, [TP, OTHER])):
        known.ids = {"calls": UUID(int=ids)}
        source._end_epoch()
        source._assign(assigned)
        await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 0, Partition("calls", 1): 0}


class Leaderless(Shortened):
    """A group without positions, and a partition that nobody leads until `led`."""

    def __init__(self) -> None:
        super().__init__()
        self.held = dict.fromkeys(self.held, None)
        self.led = asyncio.Event()

    async def position(self, tp: TopicPartition) -> int:
        if tp == OTHER:
            await self.led.wait()
        return await super().position(tp)

    async def getmany(self, *tps: TopicPartition, timeout_ms: int, max_records: int) -> Any:
        found = await super().getmany(timeout_ms=timeout_ms, max_records=max_records)
        return {tp: some for tp, some in found.items() if tp in tps}


async def test_a_partition_without_a_position_holds_no_other_up(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All waited for it else, without a word. It is read as soon as somebody leads it."""
    monkeypatch.setattr(first_positions, "KNOWN_S", 0.02)
    source._consumer = fake = Leaderless()
    source._reader = AiokafkaReader(fake)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 7}
    assert (await source.next_batch(10, 1000)).offsets.tolist() == [7]
    assert not source.revoking
    fake.led.set()
    await until(lambda: source.revoking, "the end of the assignment")
    fake.held[TP] = 8
    source.released()
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 0): 8, Partition("calls", 1): 7}
    assert (await source.next_batch(10, 1000)).offsets.tolist() == [8, 7]


async def test_a_group_that_revokes_meanwhile_has_its_way(source: KafkaSource) -> None:
    """A partition went back, and before the loop has settled the group takes all away."""
    source._consumer = fake = Shortened()
    source._reader = AiokafkaReader(fake)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    while not source.revoking:
        await source.next_batch(10, 1000)
    revoked = asyncio.ensure_future(source._revoke())
    await asyncio.sleep(0)
    source.released()
    await revoked
    assert not source.assigned


async def test_what_goes_back_amid_a_revocation_begins_nothing(
    source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group asks for all while a fetch waits, which brings a partition that went back.

    All began again, though they went: the assignment that followed was not read.
    """
    source._consumer = Shortened()
    source._reader = reader = AiokafkaReader(source._consumer)
    source._assign([TP, OTHER])
    await source.next_batch(10, 1000)
    take, revoked = reader.take, list[asyncio.Future[None]]()

    async def take_amid(*asked: int) -> RawBatch:
        batch = await take(*asked)
        if batch.offsets[0] < 7:
            revoked.append(asyncio.ensure_future(source._revoke()))
            await asyncio.sleep(0)  # it begins now, and waits for `released`
        return batch

    monkeypatch.setattr(reader, "take", take_amid)
    while not source.revoking:
        await source.next_batch(10, 1000)
    source.released()
    await revoked[0]
    assert not source.assigned
    source._assign([OTHER])
    await source.next_batch(10, 1000)
    assert source.starts == {Partition("calls", 1): 7}


async def test_the_reader_is_the_one_that_is_asked_for_or_can_be_had() -> None:
    """The fetcher unless the settings say otherwise, or there are no kernels."""

    def kind(fetch: str) -> type[object]:
        settings = SourceSettings(("calls",), "g", "", "earliest", 6000, 30_000, fetch=fetch)
        consumer: Any = SimpleNamespace(_client=None)
        return type(reader_for(consumer, KafkaSettings("", "test"), settings, lambda _: None))

    assert kind("fetcher") is (Fetcher if kernels.compiled() else AiokafkaReader)
    assert kind("aiokafka") is AiokafkaReader
    with kernels.reference_only():
        assert kind("fetcher") is AiokafkaReader


@pytest.mark.parametrize(("magic", "at_ms"), [(0, -1), (1, 1_700_000_000_000)])
def test_records_of_old_message_formats_are_read(magic: Literal[0, 1], at_ms: int) -> None:
    """The first format has no time, and that ended the worker."""
    builder = LegacyRecordBatchBuilder(magic=magic, compression_type=0, batch_size=999)
    builder.append(0, at_ms, None, b"{}")
    records = list(LegacyRecordBatch(builder.build(), magic))
    batch = as_batch({TP: records}, epoch=1)
    assert batch.values == [b"{}"]
    assert batch.timestamps_ms.tolist() == [at_ms]

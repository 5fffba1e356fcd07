"""One test's place: topics of its own, a register with one list, a state directory, engines."""

import random
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.feeds.import_file import import_file
from stream.kafka.settings import KafkaSettings, TopicsSettings
from stream.kafka.topics import ensure_topics
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.fault.engine import Engine
from tests.support.builders import NOW_S
from tests.support.engine import KERNELS_DIR, merged, toml
from tests.support.lists import BY, request
from tests.support.topics import read
from tests.support.waiting import HANGS_S

LIST = "TH/national"
_SAMPLE = random.Random(5).sample(range(10**8), 9000)
LISTED = [f"+668{n:08d}" for n in _SAMPLE[:6000]]
INNOCENT = [f"+668{n:08d}" for n in _SAMPLE[6000:]]
_names = count()


@dataclass
class Site:
    """Names and addresses; `engine` gives an engine that works here.

    `calls` is another site's topic of calls; empty: one of its own.
    """

    bootstrap: str
    redis_url: str
    folder: Path
    partitions: int = 4
    replication: int = 1
    calls: str = ""
    name: str = field(default_factory=lambda: f"f{next(_names)}-{time.time_ns()}")

    @property
    def topics(self) -> TopicsSettings:
        """Its topics."""
        return TopicsSettings(
            (self.calls or f"{self.name}.calls",),
            f"{self.name}.decisions",
            f"{self.name}.rejected",
            self.partitions,
            self.replication,
        )

    @property
    def state_dir(self) -> Path:
        """The state directory of every engine here."""
        return self.folder / "state"

    async def make_topics(self, calls_bytes_max: int | None = None) -> None:
        """Make the topics, as `ringfence topics create` does; a larger calls topic on request."""
        if calls_bytes_max is not None:
            admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
            await admin.start()
            try:
                configs = {"max.message.bytes": str(calls_bytes_max)}
                topic = NewTopic(
                    self.topics.calls[0], self.partitions, self.replication, topic_configs=configs
                )
                await admin.create_topics([topic])
            finally:
                await admin.close()
        await ensure_topics(KafkaSettings(self.bootstrap, "test"), self.topics, lambda _: None)

    async def make_list(self, numbers: list[str] | None = None) -> None:
        """Put `numbers` into the register's list as a new base (default: LISTED)."""
        path = self.folder / "numbers.txt"
        path.write_text("\n".join(numbers or LISTED))
        async with await ListStore.connect(ListStoreSettings(self.redis_url)) as register:
            await register.create(LIST, "plain", BY)
            asked = request(path, name=LIST, replace=True)
            await import_file(register, asked, NOW_S)

    def engine(self, *words: str, name: str = "engine", **tables: dict[str, object]) -> Engine:
        """An engine that is not started yet; `tables` change its configuration."""
        base: dict[str, dict[str, object]] = {
            "kafka": {"bootstrap_servers": self.bootstrap},
            "redis": {"url": self.redis_url, "timeout_s": 1.0},
            "calls": {
                "group_id": f"{self.name}.group",
                "decisions_topic": self.topics.decisions,
                "rejected_topic": self.topics.rejected,
                "partitions": self.partitions,
                "emit": "all",
            },
            "calls.topics": {self.topics.calls[0]: "ringfence"},
            "lists": {"state_dir": str(self.state_dir), "reconcile_s": 0.3},
            "ops": {"http_port": 0, "kernels_dir": str(KERNELS_DIR)},
        }
        config = self.folder / f"{name}.toml"
        config.write_text(toml(merged(base, tables)))
        return Engine(config, "run", *words)

    async def records(self, topic: str, isolation: str = "read_committed") -> list[Any]:
        """All records of a topic that such a reader sees, in order."""
        return await read(self.bootstrap, topic, self.partitions, isolation)

    async def in_open_transactions(self) -> int:
        """Count the decisions and rejected records that lie in transactions nobody has ended."""
        wanted = [
            TopicPartition(topic, one)
            for topic in (self.topics.decisions, self.topics.rejected)
            for one in range(self.partitions)
        ]
        ends = []
        for isolation in ("read_uncommitted", "read_committed"):
            async with AIOKafkaConsumer(
                bootstrap_servers=self.bootstrap, isolation_level=isolation
            ) as consumer:
                ends.append(await consumer.end_offsets(wanted))
        return sum(ends[0][tp] - ends[1][tp] for tp in wanted)

    async def ends(self) -> dict[TopicPartition, int]:
        """Where the topic of calls ends now."""
        async with AIOKafkaConsumer(bootstrap_servers=self.bootstrap) as consumer:
            topic = self.topics.calls[0]
            partitions = [TopicPartition(topic, one) for one in range(self.partitions)]
            ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends

    async def committed(self) -> dict[TopicPartition, int]:
        """Return the group's committed position of each partition."""
        admin: Any = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            held = await admin.list_consumer_group_offsets(f"{self.name}.group")
        except GroupCoordinatorNotAvailableError:  # the broker has only just come back
            return {}
        finally:
            await admin.close()
        return {tp: one.offset for tp, one in held.items()}

    async def drained(self, engine: Engine, within_s: float = HANGS_S) -> None:
        """Wait until every call that lies in Kafka now is decided and committed, by the fetcher.

        aiokafka's own would pass all these tests as well, and they are not about it.
        """
        ends = await self.ends()

        async def all_committed() -> bool:
            held = await self.committed()
            return all(held.get(tp, 0) >= end for tp, end in ends.items())

        try:
            await engine.until(all_committed, "to commit all calls", within_s)
        except AssertionError as error:
            error.add_note(f"the calls end at {ends}, committed is {await self.committed()}")
            error.add_note(engine.metrics())
            raise
        assert not engine.said("by aiokafka, which is slower"), "the fetcher was not in use"
        assert engine.metric("ringfence_partitions_ordinary") == 0

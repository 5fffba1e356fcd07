"""A place for campaigns of load: real servers, settings, and processes that are measured."""

import asyncio
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.lab.embedded.choose import EmbeddedBroker, RedisServer, best_broker, best_redis
from stream.lab.embedded.guarded_server import free_ports
from tests.bench.machine import memory
from tests.support.builders import entry
from tests.support.engine import Deployment, Engine
from tests.support.lists import BY, opened
from tests.support.waiting import HANGS_S, REDIS_S

TOKEN = "rf_campaign"
HOST = "127.0.0.1"
OTHER_FILES = 1_000
Figures = dict[str, Any]


def played(
    run: Callable[[Path], Coroutine[Any, Any, Figures]], right: Callable[[Figures], list[str]]
) -> int:
    """Run a campaign in a folder of its own and print its figures; 1 if `right` finds a fault."""
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        figures = asyncio.run(run(Path(name)))
    found = right(figures)
    sys.stdout.write(f"{figures}\n{found}\n")
    return int(bool(found))


class Place:
    """A deployment whose `ports` are those of `serve` and `serve-sip`, with their health pages."""

    def __init__(
        self, folder: Path, broker: EmbeddedBroker | str, redis_url: str, more: str = ""
    ) -> None:
        self.redis_url = redis_url
        names = ("http", "http-health", "sip", "sip-health")
        self.ports = dict(zip(names, free_ports(4), strict=True))
        self.folder = folder
        settings = (
            f"serve.port = {self.ports['http']}\nserve.health_port = {self.ports['http-health']}\n"
            f"sip.port = {self.ports['sip']}\nsip.health_port = {self.ports['sip-health']}\n"
            f'sip.trunks = {{ "{HOST}" = "intl-1" }}\nredis.timeout_s = {REDIS_S}\n{more}'
        )
        self.site = Deployment(folder, broker, redis_url, settings)

    async def list_of(self, name: str, numbers: Sequence[str]) -> None:
        """A list that holds `numbers`."""
        async with opened(self.redis_url) as store:
            await store.create(name, "plain", BY)
            await store.add(name, [entry(number) for number in numbers], BY)

    @contextmanager
    def running(self, *words: str, health: str = "", within_s: float = HANGS_S) -> Iterator[Engine]:
        """A process of ours, ready within `within_s`; `health` is its port, "" a worker."""
        tokens = self.folder / "tokens"
        tokens.write_text(line_of(Client("campaign", ClientRole.OPERATOR), TOKEN))
        with patch.dict(os.environ, RINGFENCE_HTTP_TOKENS_FILE=str(tokens)):
            port = self.ports[health] if health else self.site.port
            with self.site.engine(command=words, port=port) as engine:
                engine.until(lambda: engine.page("/ready")[0] == 200, within_s)
                yield engine

    async def appended(self, topic: str, partitions: int = 4) -> int:
        """Records that a topic holds."""
        timeout_ms = int(1000 * HANGS_S)
        async with AIOKafkaConsumer(
            bootstrap_servers=self.site.bootstrap, request_timeout_ms=timeout_ms
        ) as consumer:
            every = [TopicPartition(topic, number) for number in range(partitions)]
            ends: dict[Any, int] = await consumer.end_offsets(every)
        return sum(ends.values())


@contextmanager
def servers() -> Iterator[tuple[EmbeddedBroker, RedisServer]]:
    """Apache Kafka and redis-server."""
    with ExitStack() as stack:
        yield stack.enter_context(best_broker("kafka")), stack.enter_context(best_redis())


def resident_mb(engine: Engine) -> float:
    """Memory of a process, rounded."""
    return round(memory(engine.process.pid).rss_mb, 1)


def open_files(wanted: int) -> int:
    """Let this process, and those it starts, open so many files; the number that it may open.

    Only root may raise the hard limit.
    """
    wanted += OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        most = wanted if os.geteuid() == 0 else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, hard)))
        except (PermissionError, ValueError):  # a container without the right to
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES

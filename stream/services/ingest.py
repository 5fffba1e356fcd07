"""`ringfence ingest`: read records, send them, store the position; once, or until told to stop."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from stream.calls.publish import started_producer
from stream.calls.submitted_records import topics_of
from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.line_batch import Batch, Happening
from stream.edge.ingest.lines import Line
from stream.edge.ingest.progress import State
from stream.edge.ingest.record_folder import Folder, FolderSettings, is_document
from stream.edge.ingest.sender import Sender, Sent, Way
from stream.edge.ingest.tail import Tail, TailSettings
from stream.engine.decider import decoder_for
from stream.kafka.topics import check_topics
from stream.ops import log as logs
from stream.ops.clock import monotonic_s
from stream.ops.metrics.ingest import IngestMetrics
from stream.ops.tasks import cancelled, running
from stream.ops.untrusted_folders import open_plain
from stream.services import service
from stream.services.service import DELIVERS, Service, refuse_optimised

log = logging.getLogger(__name__)

_SNIFFED: Final = 65_536
_OVERHEAD: Final = 64 * 1024
"""Of a request to Kafka around its records."""
_SILENT_S: Final = 5.0
_STOP_S: Final = 3.0
"""Seconds that records under way may still take once the process stops."""


@dataclass(frozen=True, slots=True)
class Request:
    """A file or folder to read: `path`. The file `state` holds how far it was read."""

    path: Path
    dialect: str
    topic: str
    state: Path
    follow: bool = False
    from_end: bool = False
    last_line: bool = False


def request_of(
    settings: Settings, path: Path, dialect: str, topic: str | None, state: Path | None
) -> Request:
    """The request, with its topic. Raises ConfigInvalid where no topic fits.

    `dialect` is one of `[calls.topics]`, with or without its switch.
    """
    topics = settings.calls.topics
    of_it = topics_of(topics, dialect)
    if not of_it:
        raise ConfigInvalid((f"--dialect {dialect}: {_why_no_topic(settings, dialect)}",))
    if topic is None and len(of_it) > 1:
        text = f"several topics have this dialect; name one by --topic: {', '.join(of_it)}"
        raise ConfigInvalid((f"--dialect {dialect}: {text}",))
    if topic is not None and topic not in of_it:
        text = f"has not the dialect {dialect} in [calls.topics]; there are {', '.join(of_it)}"
        raise ConfigInvalid((f"--topic {topic}: {text}",))
    whole = path.absolute()
    if state is None:
        mark = hashlib.sha256(str(whole).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        state = Path(settings.ingest.state_dir, f"{whole.name or 'root'}-{mark}.state")
    named = of_it[0] if topic is None else topic
    return Request(whole, topics[named], named, state)


def _why_no_topic(settings: Settings, dialect: str) -> str:
    try:
        settings.dialect(dialect)
    except ValueError as error:
        return str(error)
    return (
        "no topic in [calls.topics] has this dialect, so nothing would read the records; add "
        f'"calls.{dialect.replace(":", ".")}" = "{dialect}" there, and `ringfence topics create`'
    )


class Reading:
    """The reader that fits a request: a growing file, or files that are written once."""

    def __init__(self, settings: Settings, request: Request, state: State | None) -> None:
        """Without a `state` nothing is known to be read."""
        self.happened: Callable[[Happening], None] = lambda _: None
        self.whole = request.path.is_dir() or (
            not request.follow and _starts_as_document(request.path)
        )
        calls, section = settings.calls, settings.ingest
        self.reader: Tail | Folder
        if self.whole:
            self.reader = Folder(
                request.path,
                state.done() if state is not None else {},
                FolderSettings(calls.record_bytes_max, section.settle_s),
                self._observe,
            )
        else:
            self.reader = Tail(
                request.path,
                state.place() if state is not None else None,
                TailSettings(calls.record_bytes_max, request.from_end, request.last_line),
                self._observe,
            )

    def _observe(self, happening: Happening) -> None:
        self.happened(happening)


def _starts_as_document(path: Path) -> bool:
    try:
        with os.fdopen(open_plain(path, links=True), "rb") as file:
            return is_document(file.read(_SNIFFED))
    except OSError as error:
        raise ConfigInvalid((f"{path}: cannot be read: {error.strerror}",)) from error


class Ingest:
    """One run over one path."""

    def __init__(self, settings: Settings, request: Request, state: State) -> None:
        self._settings = settings
        self._request = request
        self._state = state
        self.registry = CollectorRegistry()
        self._metrics = metrics = IngestMetrics(self.registry)
        for happening in Happening:
            metrics.files.labels(happening)
        for outcome in ("taken", "unreadable", "too_long"):
            metrics.records.labels(request.dialect, outcome)
        reading = Reading(settings, request, state)
        reading.happened = lambda happening: metrics.files.labels(happening).inc()
        self._reader = reading.reader
        calls = settings.calls
        self._sender = Sender(
            Way(request.topic, request.dialect, calls.rejected_topic, calls.home_country),
            decoder_for(settings),
            self._connect,
            metrics,
        )
        self._ready = False
        self._stopped = asyncio.Event()

    @property
    def sent(self) -> Sent:
        """Counts of the records so far, by outcome."""
        return self._sender.sent

    @property
    def waiting(self) -> Line | None:
        """A last line without its end, which was left to wait."""
        return self._reader.waiting

    def stop(self) -> None:
        """Read no more; `work` returns when what is under way is with Kafka, or soon."""
        self._stopped.set()

    def missing(self) -> tuple[str, ...]:
        """Return what is missing, for `/ready`."""
        if not self._ready:
            return ("Kafka does not answer yet",)
        if self._sender.waits_s > _SILENT_S:
            return (f"Kafka has acknowledged nothing for {self._sender.waits_s:.0f} s",)
        return ()

    async def work(self) -> None:
        """All that is there, or until `stop`. Raises Faults."""
        names = self._settings.calls.names(self._settings.kafka.replication_factor)
        async with running(self._prepare(names), "topics") as prepared:
            await self._unless_stopped(prepared)
        if self._stopped.is_set():
            return
        self._ready = True
        log.info("reading %s for %s", self._request.path, self._request.topic)
        try:
            async with running(self._look(), "look"):
                await self._turns()
        finally:
            await self._sender.stop()
            self._reader.close()

    async def _prepare(self, names: Any) -> None:
        await check_topics(self._settings.kafka_client(), names, 1, lambda _: None)

    async def _unless_stopped(self, task: "asyncio.Task[None]") -> None:
        told = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=_STOP_S)
        finally:
            await cancelled(told)
        if task.done():
            task.result()

    async def _turns(self) -> None:
        section, began_s = self._settings.ingest, monotonic_s()
        while not self._stopped.is_set():
            batch = await asyncio.to_thread(self._reader.next)
            if batch is not None:
                if not await self._sent(batch):
                    return
                continue
            rested = monotonic_s() - began_s > section.settle_s + section.look_s
            if not self._request.follow and (self._reader.finished or rested):
                return
            try:
                await asyncio.wait_for(self._stopped.wait(), section.look_s)
            except TimeoutError:
                continue

    async def _sent(self, batch: Batch) -> bool:
        """Send, and then keep the place; False: we were told to stop, and nothing is kept."""
        if batch.lines:
            async with running(self._sender.send(batch.lines), "send") as sending:
                await self._unless_stopped(sending)
                if not sending.done():
                    log.warning("Kafka has not taken the last records: they are read again")
                    return False
        await asyncio.to_thread(self._state.keep, batch)
        return True

    async def _connect(self) -> Any:
        kafka, calls = self._settings.kafka, self._settings.calls
        return await started_producer(
            self._settings.kafka_client(),
            lambda _: None,
            enable_idempotence=kafka.idempotent,
            compression_type=None if kafka.compression == "none" else kafka.compression,
            max_batch_size=calls.record_bytes_max + _OVERHEAD,
            max_request_size=calls.record_bytes_max + 2 * _OVERHEAD,
        )

    async def _look(self) -> None:
        while True:
            self._metrics.behind.set(await asyncio.to_thread(self._reader.behind))
            self._metrics.waits.set(self._sender.waits_s)
            await asyncio.sleep(1.0)


def follow(settings: Settings, request: Request, port: int) -> int:
    """Read until told to stop, with health pages at `port`; the exit code."""

    async def main() -> int:
        with State(request.state, str(request.path)) as state:
            job = Ingest(settings, replace(request, follow=True), state)
            process = Service(
                settings, port, job.registry, job.missing, words=DELIVERS, uses=("kafka",)
            )
            process.ends_by(job.stop)
            return await process.run(job.work)

    return service.run(settings, main, process="ingest")


def once(settings: Settings, request: Request) -> Ingest:
    """Read what is there, and return what came of it. Raises Faults."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "ingest"})

    async def whole() -> Ingest:
        with State(request.state, str(request.path)) as state:
            job = Ingest(settings, request, state)
            await job.work()
            return job

    return asyncio.run(whole())

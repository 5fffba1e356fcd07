"""`ringfence ingest`: read records, send them, store the position; once, or until a signal."""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from stream.calls.dialects import framing_in
from stream.calls.publish import started_producer
from stream.calls.submitted_records import Framing, topics_of
from stream.config.sections import IngestSection
from stream.config.settings import Settings
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.file_lines import FileEvent, FileLine, LineBatch
from stream.edge.ingest.position_file import PositionFile
from stream.edge.ingest.record_folder import RecordFolder, is_document
from stream.edge.ingest.remote_folder import RemoteFolder, RemotePace
from stream.edge.ingest.sender import IngestTarget, RecordSender, Sent
from stream.edge.ingest.tail import Tail
from stream.engine.decider import decoder_for
from stream.kafka.topics import check_topics
from stream.ops import log as logs
from stream.ops.clock import monotonic_s
from stream.ops.metrics.sink_catalogue import IngestMetrics
from stream.ops.remote.remote_files import Login, RemoteAddress, SftpAccess, remote_files
from stream.ops.tasks import cancelled, running
from stream.ops.untrusted_folders import open_plain
from stream.services import service
from stream.services.service import DELIVERS, Service, refuse_optimised

log = logging.getLogger(__name__)

Reader = Tail | RecordFolder | RemoteFolder

_SNIFFED: Final = 65_536
"""Bytes at a file's begin that say whether it is a document or lines."""
_SILENT_S: Final = 5.0
"""Seconds without an acknowledgement until the process is not ready."""
_STOP_S: Final = 3.0
"""Seconds that records under way may still take once the process stops."""


@dataclass(frozen=True, slots=True)
class IngestRequest:
    """A file or folder to read: `path`. The file `state` holds the position in it."""

    path: Path | RemoteAddress
    dialect: str
    topic: str
    state: Path
    follow: bool = False
    from_end: bool = False
    last_line: bool = False


def request_of(
    settings: Settings,
    path: Path | RemoteAddress,
    dialect: str,
    topic: str | None,
    state: Path | None,
) -> IngestRequest:
    """Return the request, with its topic. Raises ConfigInvalid where no topic fits.

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
    whole = path.absolute() if isinstance(path, Path) else path
    if state is None:
        mark = hashlib.sha256(_key(whole).encode("utf-8", "surrogateescape")).hexdigest()[:8]
        name = whole.name if isinstance(whole, Path) else whole.host
        state = Path(settings.ingest.state_dir, f"{name or 'root'}-{mark}.state")
    named = of_it[0] if topic is None else topic
    return IngestRequest(whole, topics[named], named, state)


def _key(path: Path | RemoteAddress) -> str:
    """Return the name by which a position's file knows a path."""
    return str(path) if isinstance(path, Path) else path.key


def position_of(request: IngestRequest) -> PositionFile:
    """Return the request's position file, not yet open."""
    return PositionFile(request.state, _key(request.path))


def _why_no_topic(settings: Settings, dialect: str) -> str:
    try:
        settings.dialect(dialect)
    except ValueError as error:
        return str(error)
    topic = f"calls.{dialect.removeprefix('mapping:').replace(':', '.')}"
    return (
        "no topic in [calls.topics] has this dialect, so nothing would read the records; add "
        f'"{topic}" = "{dialect}" there, and `ringfence topics create`'
    )


def reader_for(
    settings: Settings,
    request: IngestRequest,
    state: PositionFile | None,
    happened: Callable[[FileEvent], None] = lambda _: None,
) -> Reader:
    """Return the reader that fits: of a growing file, or of files that are written once.

    Without a `state`, it reads from the beginning. Raises ConfigInvalid.
    """
    bytes_max, framing = settings.calls.record_bytes_max, framing_in(request.dialect)
    if isinstance(request.path, RemoteAddress):
        return _remote(settings, request, request.path, state, happened)
    is_folder = request.path.is_dir()
    is_whole = not is_folder and not request.follow and _starts_as_document(request.path)
    if is_folder or (is_whole and framing is Framing.LINES):
        done = state.done() if state is not None else {}
        settle_s = settings.ingest.settle_s
        return RecordFolder(request.path, done, bytes_max, settle_s, happened, framing=framing)
    return Tail(
        request.path,
        state.place() if state is not None else None,
        bytes_max,
        happened,
        framing=framing,
        from_end=request.from_end,
        last_line=request.last_line,
    )


def _remote(
    settings: Settings,
    request: IngestRequest,
    address: RemoteAddress,
    state: PositionFile | None,
    happened: Callable[[FileEvent], None],
) -> RemoteFolder:
    section = settings.ingest
    access = section.s3 if address.scheme == "s3" else section.sftp
    login = Login(secret=settings.secrets.ingest_sftp_password)
    if isinstance(access, SftpAccess) and not access.host_keys:
        text = "ingest.sftp.host_keys: names no key of the server; `ssh-keyscan HOST` writes them"
        raise ConfigInvalid((text,))
    look_s = section.remote_look_s if request.follow else section.look_s
    return RemoteFolder(
        remote_files(address, access, login if address.scheme == "sftp" else Login()),
        state.done() if state is not None else {},
        state.place() if state is not None else None,
        settings.calls.record_bytes_max,
        RemotePace(look_s, section.settle_s, request.follow),
        happened,
        framing_in(request.dialect),
    )


def everything_read(reader: Reader, section: IngestSection, began_s: float) -> bool:
    """Return whether a run may end: all is read, or a file kept growing for `settle_s`."""
    return reader.finished or monotonic_s() - began_s > section.settle_s + section.look_s


def _starts_as_document(path: Path) -> bool:
    try:
        with os.fdopen(open_plain(path, links=True), "rb") as file:
            return is_document(file.read(_SNIFFED))
    except OSError as error:
        raise ConfigInvalid((f"{path}: cannot be read: {error.strerror}",)) from error


class IngestJob:
    """One run over one path."""

    def __init__(
        self,
        settings: Settings,
        request: IngestRequest,
        state: PositionFile,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._request = request
        self._state = state
        self._metrics = metrics = IngestMetrics(registry)
        for happening in FileEvent:
            metrics.files.labels(happening)
        for outcome in ("taken", "unreadable", "other_event", "too_long"):
            metrics.records.labels(request.dialect, outcome)
        self._reader = reader_for(
            settings, request, state, lambda happening: metrics.files.labels(happening).inc()
        )
        calls = settings.calls
        self._sender = RecordSender(
            IngestTarget(request.topic, request.dialect, calls.rejected_topic, calls.home_country),
            decoder_for(settings),
            self._connect,
            metrics,
            resumes=bool(state.done()) or bool((place := state.place()) and place.at),
        )
        self._ready = False
        self._stopped = asyncio.Event()

    @property
    def sent(self) -> Sent:
        """Counts of the records so far, by outcome."""
        return self._sender.sent

    @property
    def waiting(self) -> FileLine | None:
        """A last line without its end, which waits for the rest."""
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
        """Read all that is there, or until `stop`. Raises Faults."""
        names = self._settings.calls.names(self._settings.kafka.replication_factor)
        checking = check_topics(self._settings.kafka_client(), names, 1, lambda _: None)
        async with running(checking, "topics") as prepared:
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
            # In a thread: the end of a connection may take a while.
            await asyncio.to_thread(self._reader.close)

    async def _unless_stopped(self, task: "asyncio.Task[None]") -> None:
        # No TaskGroup: the task is given _STOP_S more after the stop, and its owner cancels it.
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
            if not self._request.follow and everything_read(self._reader, section, began_s):
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(section.look_s):
                    await self._stopped.wait()

    async def _sent(self, batch: LineBatch) -> bool:
        """Send, then save the position; False: a signal stopped it, and nothing is saved."""
        if batch.lines:
            async with running(self._sender.send(batch.lines), "send") as sending:
                await self._unless_stopped(sending)
                if not sending.done():
                    log.warning("Kafka has not taken the last records: they are read again")
                    return False
        await asyncio.to_thread(self._state.keep, batch)
        return True

    async def _connect(self) -> Any:
        options = self._settings.calls.producer_options(self._settings.kafka)
        return await started_producer(self._settings.kafka_client(), lambda _: None, **options)

    async def _look(self) -> None:
        while True:
            self._metrics.behind.set(await asyncio.to_thread(self._reader.behind))
            self._metrics.waits.set(self._sender.waits_s)
            await asyncio.sleep(1.0)


class _Following(Service):
    """A job that follows its path."""

    def __init__(
        self, settings: Settings, request: IngestRequest, port: int, state: PositionFile
    ) -> None:
        super().__init__(settings, port, words=DELIVERS, uses=("kafka",))
        self._job = IngestJob(settings, replace(request, follow=True), state, self.registry)
        self.ends_by(self._job.stop)

    def _missing(self) -> tuple[str, ...]:
        return self._job.missing()

    async def _work(self) -> None:
        await self._job.work()


def follow(settings: Settings, request: IngestRequest, port: int) -> int:
    """Read until a signal, with health pages at `port`; return the exit code."""

    async def main() -> int:
        with position_of(request) as state:
            return await _Following(settings, request, port, state).run()

    return service.run(settings, main, process="ingest")


def once(settings: Settings, request: IngestRequest) -> IngestJob:
    """Read what is there, and return the job with its counts. Raises Faults."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "ingest"})

    async def whole() -> IngestJob:
        with position_of(request) as state:
            job = IngestJob(settings, request, state, CollectorRegistry())
            await job.work()
            return job

    return asyncio.run(whole())

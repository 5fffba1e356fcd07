"""Send lines to Kafka, and wait until all in-sync replicas have them."""

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from stream.calls.call_batch import CallBatch
from stream.calls.detection.detect_dialect import likely
from stream.calls.detection.topic_watch import RECORDS_MIN, SAMPLES_MAX
from stream.calls.submitted_records import Unreadable, keyed, other_events
from stream.core.model.call import RejectReason
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.file_lines import FileLine
from stream.kafka.batch import RawBatch
from stream.kafka.clients import described
from stream.ops.clock import monotonic_s
from stream.ops.metrics.sink_catalogue import IngestMetrics
from stream.ops.retry import Backoff

log = logging.getLogger(__name__)

TURN: Final = 200
"""Records handed over in one go; then the health pages get a turn."""
_OTHER: Final = RejectReason.OTHER_EVENT
STOP_S_MAX: Final = 5.0
"""Time that a producer gets to close; the records that it still holds are read again."""


@dataclass(frozen=True, slots=True)
class IngestTarget:
    """Target of records: `topic`, in `dialect`; `rejected_topic` takes those that are too long."""

    topic: str
    dialect: str
    rejected_topic: str
    region: str


@dataclass(slots=True)
class Sent:
    """Counts of all lines so far; `first` is the place of the first that cannot be read."""

    taken: int = 0
    unreadable: int = 0
    other_events: int = 0
    too_long: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: str = ""


class RecordSender:
    """Sender of batches of lines, in order. `connect` returns a started producer.

    `resumes`: an earlier run has sent records of the same path.
    """

    def __init__(
        self,
        way: IngestTarget,
        read: Callable[[RawBatch], CallBatch],
        connect: Callable[[], Awaitable[Any]],
        metrics: IngestMetrics,
        *,
        resumes: bool = False,
    ) -> None:
        self._way = way
        self._read = read
        self._connect = connect
        self._metrics = metrics
        self._producer: Any = None
        self._since_s: float | None = None
        self._resumes = resumes
        self._has_calls = self._reported = False
        self._streak: list[tuple[FileLine, str]] = []
        self.sent = Sent()

    @property
    def connected(self) -> bool:
        """Return whether a broker has answered."""
        return self._producer is not None

    @property
    def waits_s(self) -> float:
        """Seconds that the lines under way have waited; 0: none are under way."""
        return 0.0 if self._since_s is None else monotonic_s() - self._since_s

    async def stop(self) -> None:
        """Close the producer."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await producer.stop()
        except TimeoutError:
            log.warning("the connection to Kafka did not close in time")

    async def send(self, lines: Sequence[FileLine]) -> None:
        """Return when Kafka has all of `lines`, however long that takes.

        Raises ConfigInvalid, before sending any, when so many records at the start were no calls
        that they must be in another dialect. Raises KafkaRefuses and SinkDown as `connect` does.
        """
        whole = [line for line in lines if not line.too_long]
        keys, unreadable = keyed(self._read, self._way.topic, [line.value for line in whole])
        self._suspect(whole, unreadable)
        self._since_s = monotonic_s()
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                await self._hand_over(lines, whole, keys)
            except KafkaError as error:
                wait_s = backoff.next_s()
                why = described(error, "Write")
                if isinstance(error, MessageSizeTooLargeError):
                    why += f": raise max.message.bytes of {self._way.topic}, or lower "
                    why += "[calls] record_bytes_max, and what is larger is rejected"
                log.warning("Kafka refused records (%s): again in %.1f s", why, wait_s)
                await self.stop()
                await asyncio.sleep(wait_s)
            else:
                break
        self._since_s = None
        self._count(lines, whole, unreadable)

    async def _hand_over(
        self, lines: Sequence[FileLine], whole: Sequence[FileLine], keys: Sequence[bytes | None]
    ) -> None:
        if self._producer is None:
            self._producer = await self._connect()
        waiting = []
        for index, (line, key) in enumerate(zip(whole, keys, strict=True)):
            waiting.append(await self._queued(self._way.topic, line.value, key, headers_of(line)))
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)
        for line in lines:
            if line.too_long:
                log.warning("%s: %d bytes are too long for a record", line.place, line.size)
                waiting.append(await self._reject(line))
        await asyncio.gather(*waiting)

    async def _queued(
        self, topic: str, value: bytes, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> "asyncio.Future[Any]":
        while True:
            try:
                queued: asyncio.Future[Any] = await self._producer.send(
                    topic, value, key, headers=headers
                )
            except KafkaTimeoutError:
                log.warning("Kafka takes no records for %s, still trying", topic)
                await asyncio.sleep(0)
            else:
                queued.add_done_callback(_seen)
                return queued

    async def _reject(self, line: FileLine) -> "asyncio.Future[Any]":
        detail = f"{line.place}: {line.size} bytes; its first {len(line.value)} are kept"
        headers = [
            ("reason", RejectReason.TOO_LARGE.encode()),
            ("detail", detail.encode()),
            ("origin", f"{line.file}:{line.number}".encode()),
            ("original_size", b"%d" % line.size),
            *headers_of(line),
        ]
        return await self._queued(self._way.rejected_topic, line.value, None, headers)

    def _suspect(self, whole: Sequence[FileLine], unreadable: Sequence[Unreadable]) -> None:
        """Report enough records without a call. Raises ConfigInvalid if the dialect must be wrong.

        That can only be so before the first call. After it they are a damaged stretch of a file,
        or a file of another switch, and must not hold up what comes after them. At a restart the
        stretch may come first: only records of a dialect that is known are a sign of it then.
        """
        if len(unreadable) < len(whole):
            self._streak.clear()
            self._has_calls, self._reported = True, False
            return
        for index, reason, detail in unreadable:
            # Other events of the switch are no calls either, and no sign of another dialect.
            if reason is not _OTHER and len(self._streak) < SAMPLES_MAX:
                self._streak.append((whole[index], f"{reason}: {detail}"))
        if len(self._streak) < RECORDS_MIN or self._reported:
            return
        why = Counter(reason for _, reason in self._streak).most_common(1)[0][0]
        name = likely([line.value for line, _ in self._streak], self._way.region)
        seems = f"they seem to be in {name}" if name else "they are in no known dialect"
        is_other = name is not None
        if name == self._way.dialect.partition(":")[0]:
            seems, is_other = "they are this switch's, and lack what a call needs", False
        text = (
            f"{self._streak[0][0].place}: from here, {RECORDS_MIN} records are no calls in "
            f"{self._way.dialect} (mostly {why}); {seems}. "
        )
        if self._has_calls or (self._resumes and not is_other):
            log.error("%sThey are sent, and go to %s", text, self._way.rejected_topic)
            self._reported = True
            return
        help_ = "`ringfence dialects detect FILE` says what the configuration needs"
        raise ConfigInvalid((f"{text}Nothing more was sent: {help_}",))

    def _count(
        self, lines: Sequence[FileLine], whole: Sequence[FileLine], unreadable: Sequence[Unreadable]
    ) -> None:
        sent, count = self.sent, self._metrics.records
        too_long, calls = len(lines) - len(whole), len(whole) - len(unreadable)
        others = other_events(unreadable)
        sent.taken += calls
        sent.unreadable += len(unreadable) - others
        sent.other_events += others
        sent.too_long += too_long
        sent.reasons.update(f"{reason}: {detail}" for _, reason, detail in unreadable)
        if not sent.first:
            broken = (whole[at] for at, reason, _ in unreadable if reason is not _OTHER)
            sent.first = next((line.place for line in broken), "")
        count.labels(self._way.dialect, "taken").inc(calls)
        count.labels(self._way.dialect, "unreadable").inc(len(unreadable) - others)
        count.labels(self._way.dialect, "other_event").inc(others)
        count.labels(self._way.dialect, "too_long").inc(too_long)


def _seen(future: "asyncio.Future[Any]") -> None:
    """Take the error: no caller waits for it once another record of the batch has failed."""
    if not future.cancelled():
        future.exception()


def headers_of(line: FileLine) -> list[tuple[str, bytes]]:
    """Return the headers with a record's origin.

    `rf_record` is made of its place and its bytes. It is the same when a line is sent again after a
    crash, so that the worker recognises it, and different for every other line.
    """
    mark = hashlib.blake2b(b"%d " % line.at, digest_size=12)
    mark.update(b"%d " % line.number)
    mark.update(line.value)
    return [
        ("rf_door", b"file"),
        ("rf_file", line.file.encode("utf-8", "replace")),
        ("rf_line", b"%d" % line.number),
        ("rf_record", mark.hexdigest().encode()),
    ]

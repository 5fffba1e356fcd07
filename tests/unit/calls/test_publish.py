"""Promises of `stream.calls.publish` that need no broker, and what it counts on in aiokafka."""

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from aiokafka.errors import ConcurrentTransactions, InvalidTimestampError, ProducerFenced
from aiokafka.producer.sender import (
    BACKOFF_OVERRIDE,
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
)

from stream.calls import publish
from stream.calls.call_batch import Outcome
from stream.calls.publish import OutcomeProducer, TransactionalPublisher, rejected_form
from stream.calls.settings import PublishSettings, TransactSettings
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Origin, Rejected, RejectReason
from stream.core.model.errors import SinkDown
from stream.kafka.batch import Partition

ORIGIN = Origin("calls", 3, 1048577)
OURS_S = 0.002


def rejected(value):
    """A record that is no call."""
    return Rejected(value, RejectReason.NOT_JSON, "JSON is malformed", ORIGIN)


def test_a_reject_keeps_its_bytes_and_says_why_and_whence():
    """An engineer who repairs a switch finds the record, the reason, and where it lay."""
    value, headers = rejected_form(rejected(b"\0\xff"), 100)
    assert value == b"\0\xff"
    assert dict(headers) == {
        "reason": b"not_json",
        "detail": b"JSON is malformed",
        "origin": b"calls/3/1048577",
    }


class Topics:
    """A producer of which only the values it gets are asked for."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def partitions_for(self, topic: str) -> set[int]:
        return {0}

    def create_batch(self) -> Any:
        values: list[bytes] = []

        def append(*, value, **_):
            values.append(value)
            return len(values)

        return SimpleNamespace(values=values, append=append)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> "asyncio.Future[None]":
        self.sent += [(topic, value) for value in batch.values]
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def test_only_what_somebody_has_to_look_at_is_kept():
    """Records of other events are counted alone; a batch of nothing else publishes nothing."""
    other = Rejected(b"bye", RejectReason.OTHER_EVENT, "method is not INVITE", ORIGIN)
    out = Topics()
    producer = OutcomeProducer(
        out,
        PublishSettings("decisions", "calls.rejected", "/ringfence", 1000),
        lambda _: None,
        transactional=False,
    )
    none, no_texts = np.zeros(0, "S16"), Texts.of(())
    for rejects in ([other], [other, rejected(b"torn"), other]):
        outcome = Outcome(none, none, no_texts, rejects)
        await (await producer.send(await producer.batches([outcome])))
    assert out.sent == [("calls.rejected", b"torn")]


def test_a_tombstone_stays_one():
    """A record without a value is kept as one; the headers say what it was."""
    assert rejected_form(rejected(None), 100)[0] is None


def test_a_reject_too_large_for_its_topic_is_cut_and_says_so():
    """A record that no topic takes whole must not stop the stream; its digest can be looked for."""
    whole = bytes(range(256)) * 4
    value, headers = rejected_form(rejected(whole), 1000)
    assert value == whole[:1000]
    assert dict(headers)["original_size"] == b"1024"
    assert dict(headers)["original_sha256"] == hashlib.sha256(whole).hexdigest().encode()


@pytest.mark.parametrize(
    "change", [{"compression": "brotli"}, {"rejected_bytes_max": 0}, {"batch_bytes_max": 1}]
)
def test_impossible_settings_are_refused(change):
    """A codec that Kafka does not know, or no room for a record, is found before the start."""
    sound = {
        "decisions_topic": "decisions",
        "rejected_topic": "calls.rejected",
        "cloudevents_source": "/ringfence",
        "rejected_bytes_max": 1000,
    }
    with pytest.raises(ValueError, match=r"compression|must be positive"):
        PublishSettings(**{**sound, **change})


def sender():
    """As much of aiokafka's sender as its handlers touch."""
    manager = SimpleNamespace(txn_partitions=set(), transactional_id="t")
    return SimpleNamespace(_retry_backoff=OURS_S, _txn_manager=manager)


def test_offsets_first_waits_as_long_as_we_chose():
    """While the last transaction's markers are written, offsets are tried again after our wait."""
    answer = SimpleNamespace(error_code=ConcurrentTransactions.errno)
    assert AddOffsetsToTxnHandler(sender(), "group").handle_response(answer) == OURS_S


def test_partitions_first_would_wait_ten_times_as_long():
    """The reason for sending offsets first: for partitions aiokafka's wait is a constant."""
    answer = SimpleNamespace(errors=[("decisions", [(0, ConcurrentTransactions.errno)])])
    assert AddPartitionsToTxnHandler(sender(), []).handle_response(answer) == BACKOFF_OVERRIDE
    assert BACKOFF_OVERRIDE >= 10 * OURS_S


class Silent:
    """A producer whose broker never says that the transaction has ended, and its outlet."""

    def __init__(self):
        self.producer = self
        self.client = SimpleNamespace(_conns={})
        self._sender = SimpleNamespace(_coordinators={})
        names = ("transactional_id", "producer_id", "producer_epoch")
        self._txn_manager = SimpleNamespace(txn_partitions=set(), **dict.fromkeys(names))

    async def begin_transaction(self):
        pass

    async def send_offsets_to_transaction(self, offsets, group_id):
        pass

    async def batches(self, outcome):
        return {}

    async def send(self, batches, *, by_aiokafka):
        return asyncio.sleep(0)

    async def commit_transaction(self):
        await asyncio.Event().wait()


async def test_a_clock_that_the_broker_refuses_is_named():
    """The broker's message about a future time leads to the clock, and to the topic's type."""
    refused = asyncio.get_running_loop().create_future()
    refused.set_exception(InvalidTimestampError())
    with pytest.raises(SinkDown, match=r"clock is wrong .*LogAppendTime"):
        await publish._acknowledgement([refused])


async def test_a_transaction_that_never_ends_ends_the_worker(monkeypatch):
    """A worker does not stand still for ever: it is started again, and repeats the batch."""
    settings = TransactSettings("group", "id", session_timeout_ms=13_000)
    assert settings.end_s_max == 11, "timeout and look for it, below the session timeout"
    monkeypatch.setattr(TransactSettings, "end_s_max", 0.01)
    nothing: Any = None
    publisher: Any = TransactionalPublisher(nothing, nothing, settings, lambda _: None)
    publisher._out = Silent()
    ended = await publisher.send(None, {Partition("calls", 0): 1}, lambda: True)
    with pytest.raises(SinkDown, match="did not end within"):
        await ended


async def test_a_transaction_goes_with_the_worker_that_began_it():
    """Cancelled before anybody could know of it, it does not go on beside the next worker's."""
    nothing: Any = None
    settings = TransactSettings("group", "id", 30_000)
    publisher: Any = TransactionalPublisher(nothing, nothing, settings, lambda _: None)
    publisher._out = Silent()
    sending = asyncio.create_task(publisher.send(None, {Partition("calls", 0): 1}, lambda: True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait({sending})
    assert sending.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_producer_that_was_fenced_off_closes_all_the_same(monkeypatch):
    """Its error comes out of its stop: the worker ends by its first fault, and keeps no sockets."""
    closed: list[str] = []

    class Fenced(Silent):
        async def partitions_for(self, _: str) -> set[int]:
            return {0}

        async def stop(self) -> None:
            raise ProducerFenced

        def __init__(self) -> None:
            super().__init__()
            self._message_accumulator = None

            async def close() -> None:
                closed.append("client")

            self.client = SimpleNamespace(close=close)

    async def started(*_: Any, **__: Any) -> Any:
        return Fenced()

    monkeypatch.setattr("stream.calls.publish.started_producer", started)
    settings = PublishSettings("decisions", "rejected", "/test", 1000)
    transact = TransactSettings("group", "id", 30_000)
    kafka: Any = None
    publisher = TransactionalPublisher(kafka, settings, transact, lambda _: None)
    await publisher.start()
    await publisher.stop()
    assert closed == ["client"]

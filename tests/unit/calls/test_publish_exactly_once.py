"""What `calls.publish` counts on in aiokafka; an upgrade that changes it fails."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer.sender import (
    BACKOFF_OVERRIDE,
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
)

from stream.calls.publish import TransactionalPublisher
from stream.calls.settings import TransactSettings
from stream.core.model.errors import SinkDown
from stream.kafka.batch import Partition

OURS_S = 0.002


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

    async def begin_transaction(self):
        pass

    async def send_offsets_to_transaction(self, offsets, group_id):
        pass

    async def send(self, outcome):
        return asyncio.sleep(0)

    async def commit_transaction(self):
        await asyncio.Event().wait()


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

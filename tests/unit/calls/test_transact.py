"""What `stream.calls.transact` counts on in aiokafka; an upgrade that changes it fails here."""

from types import SimpleNamespace

from aiokafka.errors import ConcurrentTransactions
from aiokafka.producer.sender import (
    BACKOFF_OVERRIDE,
    AddOffsetsToTxnHandler,
    AddPartitionsToTxnHandler,
)

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

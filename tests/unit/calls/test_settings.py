"""Limits of the settings of the steps that talk to Kafka."""

from typing import Any

import pytest

from stream.calls.settings import ABORT_CHECK_MS, DecodeSettings, TransactSettings
from stream.kafka.settings import SourceSettings, TopicsSettings

SOURCE: dict[str, Any] = {
    "topics": ("calls",),
    "group_id": "ringfence",
    "instance_id": "",
    "start_at": "earliest",
    "session_timeout_ms": 30_000,
    "rebalance_timeout_ms": 30_000,
}
TOPICS: dict[str, Any] = {
    "calls": ("calls",),
    "decisions": "decisions",
    "rejected": "calls.rejected",
    "partitions": 12,
    "replication_factor": 1,
}


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (SourceSettings, {"start_at": "middle"}, "earliest or latest"),
        (SourceSettings, {"fetch": "fast"}, "fetcher or aiokafka"),
        (SourceSettings, {"corrupt_batches": "drop"}, "stop or skip"),
        (SourceSettings, {"session_timeout_ms": 40}, "session_timeout_ms"),
        (SourceSettings, {"rebalance_timeout_ms": 11_000}, "rebalance_timeout_ms"),
        (TopicsSettings, {"calls": ()}, "at least one"),
        (TopicsSettings, {"partitions": 0}, "is too small"),
        (TopicsSettings, {"decisions": "calls"}, "a name of its own"),
    ],
)
def test_impossible_settings_are_refused(make, change, message):
    """A setting that cannot work is found before anything starts, and named by its key."""
    sound = SOURCE if make is SourceSettings else TOPICS
    with pytest.raises(ValueError, match=message):
        make(**{**sound, **change})


def test_records_of_no_bytes_are_refused():
    """A limit of nothing would reject every call."""
    with pytest.raises(ValueError, match="record_bytes_max"):
        DecodeSettings(0, check_callee=True)


def test_the_hand_over_ends_before_the_group_gives_up():
    """The loop's deadline leaves room for two heartbeats within the rebalance timeout."""
    settings = SourceSettings(**SOURCE)
    assert settings.hand_over_s == 24.0
    assert settings.hand_over_s * 1000 + 2 * settings.heartbeat_interval_ms <= 30_000


def test_a_transaction_dies_before_its_partitions_can_be_read_by_others():
    """Timeout and the broker's next look at it, together, stay below the session timeout."""
    for session_timeout_ms in (13_000, 20_000, 30_000, 120_000):
        settings = TransactSettings("ringfence", "ringfence-0", session_timeout_ms)
        assert settings.transaction_timeout_ms + ABORT_CHECK_MS < session_timeout_ms
        assert settings.hold_s_max * 1000 <= session_timeout_ms / 2
    with pytest.raises(ValueError, match="13000"):
        TransactSettings("ringfence", "ringfence-0", 12_000)

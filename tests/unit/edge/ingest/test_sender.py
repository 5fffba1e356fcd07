"""Lines to Kafka, and what is refused before they go."""

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotLeaderForPartitionError
from prometheus_client import CollectorRegistry

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.errors import ConfigInvalid
from stream.edge.ingest.file_lines import FileLine
from stream.edge.ingest.sender import IngestTarget, RecordSender, headers_of
from stream.ops.metrics.sink_catalogue import IngestMetrics
from stream.ops.retry import Backoff
from tests.unit.edge.http.test_record_intake import CALL, Producer

WAY = IngestTarget("calls", "ringfence", "calls.rejected", "TH")
KAMAILIO = dialect_named("kamailio", {})


def line(value: bytes, number: int = 1, size: int | None = None) -> FileLine:
    return FileLine("Master.csv", 0, number, value, len(value) if size is None else size)


def sender(
    *producers: Producer, way: IngestTarget = WAY, resumes: bool = False
) -> tuple[RecordSender, IngestMetrics]:
    metrics, left = IngestMetrics(CollectorRegistry()), list(producers)
    decoding = DecodeSettings(10_000, check_callee=False)
    dialect = RINGFENCE if way.dialect == "ringfence" else KAMAILIO

    async def connect() -> Any:
        return left.pop(0)

    return (
        RecordSender(
            way,
            lambda raw: decode(raw, {"calls": dialect}, Trunks("TH"), decoding),
            connect,
            metrics,
            resumes=resumes,
        ),
        metrics,
    )


async def test_records_go_with_their_calls_id_and_where_they_come_from() -> None:
    """A record that is too long goes, as far as it is held, to the topic of rejected records."""
    producer = Producer()
    sends, metrics = sender(producer)
    odd, long = line(b'{"caller":7}', 2), line(b"x" * 10, 3, 400_000)
    await sends.send([line(CALL % 1), odd, long])
    sent = [(topic, value, key) for topic, value, key, _ in producer.sent]
    assert sent == [
        ("calls", CALL % 1, b"c-1"),
        ("calls", odd.value, None),
        ("calls.rejected", long.value, None),
    ]
    rejected = dict(producer.sent[2][3])
    assert rejected["reason"] == b"too_large"
    assert rejected["detail"] == b"Master.csv line 3 (byte 0): 400000 bytes; its first 10 are kept"
    found = sends.sent
    assert (found.taken, found.unreadable, found.too_long) == (1, 1, 1)
    assert found.first == "Master.csv line 2 (byte 0)"
    assert metrics.records.labels("ringfence", "too_long")._value.get() == 1
    assert sends.waits_s == 0.0
    await sends.stop()
    assert producer.stopped


def test_a_line_that_is_sent_again_has_the_same_mark() -> None:
    """And no other line has it, though it says the same."""
    marks = [
        dict(headers_of(each))["rf_record"] for each in (line(b"a"), line(b"a"), line(b"a", 2))
    ]
    assert marks[0] == marks[1] != marks[2]


async def test_what_kafka_refuses_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a new producer, all of the batch; a queue that is full is waited for."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    broken, good = Producer(), Producer()
    broken.error = NotLeaderForPartitionError()
    sends, _ = sender(broken, good)
    await sends.send([line(CALL % 1), line(CALL % 2)])
    assert [value for _, value, *_ in good.sent] == [CALL % 1, CALL % 2]
    assert broken.stopped
    good.error = KafkaTimeoutError()
    sending = asyncio.create_task(sends.send([line(CALL % 3)]))
    await good.holds(4)
    good.error = None
    await sending
    assert sends.sent.taken == 3


async def test_a_record_that_the_topic_does_not_take_names_the_settings(
    monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """It is tried again until an operator has changed one of them."""
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.0)
    broken, good = Producer(), Producer()
    broken.error = MessageSizeTooLargeError()
    sends, _ = sender(broken, good)
    await sends.send([line(CALL % 1)])
    assert "raise max.message.bytes of calls, or lower [calls] record_bytes_max" in caplog.text


async def test_records_of_another_dialect_are_refused_after_fifty() -> None:
    """Nothing of them is sent, and the likely dialect is named; fewer than that are taken."""
    producer = Producer()
    sends, _ = sender(producer, way=IngestTarget("calls", "kamailio", "calls.rejected", "TH"))
    await sends.send([line(CALL % n, n) for n in range(1, 31)])
    assert len(producer.sent) == 30
    with pytest.raises(ConfigInvalid, match=r"Master.csv line 1 .*they seem to be in ringfence"):
        await sends.send([line(CALL % n, n) for n in range(31, 61)])
    assert len(producer.sent) == 30


@pytest.mark.parametrize("resumes", [False, True])
@pytest.mark.expects_errors("from here, 50 records are no calls")
async def test_a_damaged_stretch_ends_nothing(resumes: bool, caplog: Any) -> None:
    """After a call, or at a restart within it, damage is reported once and sent."""
    producer = Producer()
    sends, _ = sender(producer, resumes=resumes)
    good = [line(CALL % 1)] if not resumes else []
    bad = [line(b"?" * 40, n) for n in range(2, 202)]
    for lines in (good, bad[:100], bad[100:], [line(CALL % 2)]):
        await sends.send(lines)
    assert len(producer.sent) == 201 + len(good)
    assert (sends.sent.taken, sends.sent.unreadable) == (1 + len(good), 200)
    (told,) = [each.message for each in caplog.records if "are no calls" in each.message]
    assert told.startswith("Master.csv line 2 (byte 0): from here, 50 records are no calls in ")
    assert told.endswith("in no known dialect. They are sent, and go to calls.rejected")


async def test_a_restart_in_another_dialect_is_refused() -> None:
    """A position says nothing about the configuration, which may have changed since."""
    way = IngestTarget("calls", "kamailio", "calls.rejected", "TH")
    sends, _ = sender(Producer(), way=way, resumes=True)
    with pytest.raises(ConfigInvalid, match="they seem to be in ringfence"):
        await sends.send([line(CALL % n, n) for n in range(60)])


async def test_a_switch_that_writes_no_numbers_is_told_as_itself() -> None:
    """Records in the right dialect without numbers end with the line to add, as themselves."""
    sends, _ = sender(Producer(), way=IngestTarget("calls", "kamailio", "calls.rejected", "TH"))
    bare = b'{"method":"INVITE","from_tag":"a","callid":"%d","sip_code":"200"}'
    with pytest.raises(ConfigInvalid, match=r"src_user missing: add .*they are this switch's"):
        await sends.send([line(bare % n, n) for n in range(60)])


async def test_events_that_are_no_calls_are_no_other_dialect() -> None:
    """A night of heartbeats, or of BYEs, ends nothing, and is counted apart from damage."""
    producer = Producer()
    sends, _ = sender(producer, way=IngestTarget("calls", "kamailio", "calls.rejected", "TH"))
    bye = b'{"method":"BYE","callid":"x","src_user":"1","dst_user":"2"}'
    await sends.send([line(bye, n) for n in range(200)])
    assert (sends.sent.unreadable, sends.sent.other_events, sends.sent.first) == (0, 200, "")

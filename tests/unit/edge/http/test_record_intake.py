"""Records are acknowledged when Kafka has them, and held back while it has not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from prometheus_client import CollectorRegistry

from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.call import RejectReason
from stream.core.model.errors import KafkaRefuses
from stream.edge.http.problems import ProblemError
from stream.edge.http.record_intake import RecordIntake
from stream.edge.http.tokens import ClientRole
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.tasks import cancelled
from tests.support.http_service import bearer, parts_for, serve_settings, served

CALL = b'{"call_id":"c-%d","caller":"+447700900101","callee":null}'
TOPICS = {
    "calls": "ringfence",
    "calls.a": "mapping:x",
    "calls.b": "mapping:x",
    "calls.c": "asterisk-csv:bkk",
}


class Producer:
    """Takes records, and acknowledges them when told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.at_once = True
        self.error: Exception | None = None
        self.stopped = False
        self.topics = {*TOPICS}
        self.client: Any = self
        self.cluster: Any = self

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Return a topic's partitions, as aiokafka's metadata does."""
        return {0} if topic in self.topics else None

    async def send(self, *record: Any, headers: Any) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((*record, headers))
        self.waiting.append(future)
        if self.error is not None:
            raise self.error
        if self.at_once:
            future.set_result(None)
        return future

    async def holds(self, count: int) -> None:
        """Wait until so many records were handed over."""
        while len(self.waiting) < count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)

    def acknowledge(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)

    async def stop(self) -> None:
        self.stopped = True


@asynccontextmanager
async def opened(producer: Producer, **changed: Any) -> AsyncIterator[RecordIntake]:
    async def connect() -> Producer:
        return producer

    decoding = DecodeSettings(10_000, check_callee=False)
    given: dict[str, Any] = {"bytes_max": 100_000, "wait_s_max": 30.0, **changed}
    intake = RecordIntake(
        topics=TOPICS,
        read=lambda raw: decode(raw, dict.fromkeys(TOPICS, RINGFENCE), Trunks("TH"), decoding),
        connect=connect,
        metrics=ServeMetrics(CollectorRegistry()),
        **given,
    )
    running = asyncio.create_task(intake.run())
    await asyncio.sleep(0)
    try:
        yield intake
    finally:
        await cancelled(running)
        assert producer.stopped


async def problem_of(taking: Any) -> ProblemError:
    with pytest.raises(ProblemError) as caught:
        await taking
    return caught.value


async def test_records_go_as_they_are_and_calls_keep_together() -> None:
    """Bytes and headers as given; the key is the call's id, so that its legs stay in order."""
    producer = Producer()
    async with opened(producer) as intake:
        odd = b'{"caller": 7}'
        unreadable = await intake.take("calls", [CALL % 1, odd, CALL % 2], [("rf_door", b"http")])
    assert unreadable[0][:2] == (1, RejectReason.WRONG_TYPE)
    assert [record[:3] for record in producer.sent] == [
        ("calls", CALL % 1, b"c-1"),
        ("calls", odd, None),
        ("calls", CALL % 2, b"c-2"),
    ]
    assert all(record[3] == [("rf_door", b"http")] for record in producer.sent)


async def test_nothing_is_acknowledged_before_kafka_did() -> None:
    """The answer waits for the last acknowledgement."""
    producer = Producer()
    producer.at_once = False
    async with opened(producer) as intake:
        taking = asyncio.create_task(intake.take("calls", [CALL % 1, CALL % 2], []))
        await producer.holds(2)
        producer.waiting[0].set_result(None)
        await asyncio.sleep(0.01)
        assert not taking.done()
        producer.acknowledge()
        assert await taking == ()


async def test_a_kafka_that_does_not_answer_is_503_and_holds_no_more() -> None:
    """In time: told to send again. Later ones are refused at once, until it answers again."""
    producer = Producer()
    producer.at_once = False
    async with opened(producer, wait_s_max=0.05) as intake:
        first = await problem_of(intake.take("calls", [CALL % 1], []))
        assert (first.status, "again" in first.detail) == (503, True)
        assert first.headers["Retry-After"]
        second = await problem_of(intake.take("calls", [CALL % 1], []))
        assert (second.status, len(producer.sent)) == (503, 1)
        producer.acknowledge()
        producer.at_once = True
        await asyncio.sleep(0.05)
        assert await intake.take("calls", [CALL % 1], []) == ()


async def test_a_topic_that_is_not_there_is_named() -> None:
    """Kafka is silent about it; without topics the message says how to make them."""
    producer = Producer()
    producer.at_once, producer.topics = False, set()
    async with opened(producer, wait_s_max=0.05) as intake:
        problem = await problem_of(intake.take("calls", [CALL % 1], []))
        assert problem.status == 503
        assert problem.detail.startswith("Kafka has no topic calls: `ringfence topics create`")
        producer.acknowledge()


async def test_what_is_on_its_way_is_bounded() -> None:
    """Beyond the limit senders get a retry time; there is room when Kafka has answered."""
    producer = Producer()
    producer.at_once = False
    async with opened(producer, bytes_max=1000) as intake:
        taking = asyncio.create_task(intake.take("calls", [CALL % 1] * 3, []))
        await producer.holds(3)
        busy = await problem_of(intake.take("calls", [CALL % 2], []))
        assert (busy.status, busy.kind) == (503, "busy")
        producer.acknowledge()
        await taking
        producer.at_once = True
        assert await intake.take("calls", [CALL % 2], []) == ()


@pytest.mark.parametrize(
    ("error", "status"), [(KafkaTimeoutError(), 503), (MessageSizeTooLargeError(), 413)]
)
async def test_what_kafka_refuses_is_told(error: Exception, status: int) -> None:
    """An outage is 503, a record that its topic does not take 413."""
    producer = Producer()
    producer.error = error
    async with opened(producer) as intake:
        assert (await problem_of(intake.take("calls", [CALL % 1], []))).status == status


@pytest.mark.expects_errors("records cannot be taken by HTTP")
async def test_a_kafka_that_does_not_let_us_in_leaves_the_rest_working() -> None:
    """The reason is in every refusal; lookups go on beside it."""

    async def connect() -> Any:
        raise KafkaRefuses("wrong password")

    intake = RecordIntake(TOPICS, lambda raw: raw, connect, ServeMetrics(CollectorRegistry()), 1, 1)  # type: ignore[arg-type, return-value]
    await intake.run()
    problem = await problem_of(intake.take("calls", [CALL % 1], []))
    assert (problem.status, problem.detail) == (503, "wrong password")


@pytest.mark.parametrize(
    ("dialect", "topic", "status"),
    [("nothing", None, 404), ("mapping:x", None, 400), ("ringfence", "calls.a", 400)],
)
async def test_an_address_names_one_topic(dialect: str, topic: str | None, status: int) -> None:
    """An unknown dialect, or one of several topics, is refused with the known ones."""
    async with opened(Producer()) as intake:
        with pytest.raises(ProblemError) as caught:
            intake.topic_of(dialect, topic)
        assert caught.value.status == status
        assert intake.topic_of("mapping:x", "calls.b") == "calls.b"
        assert intake.topic_of("ringfence", None) == "calls"
        assert intake.topic_of("asterisk-csv", None) == intake.topic_of("asterisk-csv:bkk", None)


async def test_a_topic_of_a_schema_registry_takes_nothing_by_http() -> None:
    """Reading it would hold every request while a registry is asked, for bytes that no body has."""
    async with opened(Producer()) as without:
        intake = replace(without, topics={**TOPICS, "calls.avro": "registry:mapping:x"})
        assert "calls.avro" not in intake.topics
        for dialect in ("registry:mapping:x", "registry:ringfence"):
            with pytest.raises(ProblemError, match="write them to their topic") as caught:
                intake.topic_of(dialect, None)
            assert caught.value.status == 404


async def test_the_route() -> None:
    """202 with a count, and what is no call by its index; what cannot be taken is refused."""
    producer = Producer()
    async with (
        opened(producer) as intake,
        served(parts_for(serve_settings(), intake=intake)) as http,
    ):

        async def post(body: bytes, path: str = "ringfence", **headers: str) -> tuple[int, Any]:
            sent = {"Content-Type": "application/json", **bearer(ClientRole.SWITCH), **headers}
            async with http.client.post(f"/v1/calls/{path}", data=body, headers=sent) as answer:
                return answer.status, await answer.json(content_type=None)

        status, told = await post(b"[%b,{}]" % (CALL % 1))
        assert (status, told["accepted"], told["unreadable"][0]["index"]) == (202, 2, 1)
        headers = dict(producer.sent[0][3])
        assert (headers["rf_door"], headers["rf_client"]) == (b"http", b"switch")
        assert len(headers["rf_request_id"]) == 16
        for path, more, wanted in (
            ("ringfence", {"Authorization": "Bearer x"}, 401),
            ("ringfence", bearer(ClientRole.VIEWER), 403),
            ("nothing", {}, 404),
            ("ringfence", {"Content-Type": "text/html"}, 415),
            ("ringfence", {"Content-Encoding": "gzip"}, 415),
        ):
            assert (await post(CALL % 1, path, **more))[0] == wanted
        assert (await post(b"[{]"))[0] == 400

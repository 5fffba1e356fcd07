"""`ringfence serve` on a real Kafka and Redis: nothing that it acknowledged is lost."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.publish import started_producer
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.edge.http.record_intake import RecordIntake
from stream.edge.http.tokens import ClientRole
from stream.ops.metrics.http_catalogue import ServeMetrics
from stream.ops.tasks import cancelled
from tests.support.calls import calls, lab
from tests.support.http_service import bearer, parts_for, serve_settings, served

SENDERS = 8


def intake_of(here: Any, topic: str, **changed: Any) -> RecordIntake:
    decoding = DecodeSettings(100_000, check_callee=False)

    async def connect() -> Any:
        return await started_producer(here.kafka, here.observe, enable_idempotence=here.apache)

    given: dict[str, Any] = {"bytes_max": 1_000_000, "wait_s_max": 1.0, **changed}
    return RecordIntake(
        topics={topic: "ringfence"},
        read=lambda raw: decode(raw, {topic: RINGFENCE}, Trunks("TH"), decoding),
        connect=connect,
        metrics=ServeMetrics(CollectorRegistry()),
        **given,
    )


@pytest.mark.apache_kafka
@pytest.mark.expects_errors(".*")
async def test_what_was_acknowledged_is_there_after_an_outage(own_broker):
    """Kafka is killed and comes back while switches send: each record that got a 202 is in the
    topic, those that got a 503 were sent again, and nothing was made up.
    """
    here = await lab(own_broker)
    topic = here.topics.calls[0]
    intake = intake_of(here, topic)
    running = asyncio.create_task(intake.run())
    answers: Counter[int] = Counter()
    acknowledged: list[bytes] = []
    enough = asyncio.Event()

    async def send(http: Any, records: list[bytes]) -> None:
        """A switch: a record at a time, again until it is taken."""
        for record in records:
            status = 0
            while status != 202:
                async with http.post("/v1/calls/ringfence", data=record, headers=headers) as answer:
                    status = answer.status
                    answers[status] += 1
                if status == 503:
                    await asyncio.sleep(0.05)
            acknowledged.append(record)
            if len(acknowledged) > 100:
                enough.set()

    headers = {**bearer(ClientRole.SWITCH), "Content-Type": "application/json"}
    every = calls(SENDERS * 100)
    async with served(parts_for(serve_settings(), intake=intake)) as http:
        senders = [
            asyncio.create_task(send(http.client, every[start::SENDERS]))
            for start in range(SENDERS)
        ]
        await enough.wait()
        await asyncio.to_thread(own_broker.kill)
        while not answers[503]:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.05)
        await asyncio.to_thread(own_broker.start)
        await asyncio.gather(*senders)
    await cancelled(running)
    held = Counter(record.value for record in await here.read(topic))
    assert set(acknowledged) == set(every) == set(held)
    assert set(answers) == {202, 503}

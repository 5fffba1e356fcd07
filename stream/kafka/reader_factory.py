"""What is read and how: the source's settings, and the reader that they ask for."""

import logging
from typing import Any

from stream.core import kernels
from stream.kafka.aiokafka_reader import AiokafkaReader
from stream.kafka.call_events import Observe
from stream.kafka.fetch.broker import BrokerSettings
from stream.kafka.fetch.fetcher import Fetcher, FetcherSettings
from stream.kafka.fetch.messages import FetchSizes
from stream.kafka.reader import Reader
from stream.kafka.settings import KafkaSettings, SourceSettings

log = logging.getLogger(__name__)

ANSWER_BYTES, PARTITION_BYTES = 16 * 1024 * 1024, 1024 * 1024
"""Most that a broker answers with, in all and of a partition; one larger batch comes alone."""
_LANE_ANSWER_BYTES = 8 * 1024 * 1024
"""The same for the lane, which has two answers of each broker in memory: about 10 ms of work."""
_BATCH_BYTES_MAX = 64 * 1024 * 1024
"""Most that one batch may have, packed or unpacked: as the longest record that may be allowed."""


def reader_for(
    consumer: Any, kafka: KafkaSettings, settings: SourceSettings, observe: Observe
) -> Reader:
    """The lane; or aiokafka's own fetcher, where that is set or the kernels cannot be used."""
    if settings.fetch == "ordinary" or not kernels.compiled():
        why = "calls.fetch says so" if settings.fetch == "ordinary" else "there are no kernels"
        log.info("records are fetched in the ordinary, slower way: %s", why)
        return AiokafkaReader(consumer)
    sizes = FetchSizes(_LANE_ANSWER_BYTES, PARTITION_BYTES, settings.fetch_max_wait_ms)
    broker = BrokerSettings(kafka, sizes, _LANE_ANSWER_BYTES + _BATCH_BYTES_MAX, observe)
    skip = settings.corrupt_batches == "skip"
    return Fetcher(consumer, FetcherSettings(broker, settings.start_at, skip, _BATCH_BYTES_MAX))

"""Record batches of our own against those that aiokafka's builder makes, byte for byte."""

from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.publish import OutcomeProducer
from stream.calls.settings import PublishSettings
from stream.core import kernels
from stream.core.model.byte_strings import Texts
from stream.kafka.batch_encoder import BatchEncoder, partitions_of

CODECS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
AT_MS = 1_795_564_428_250
HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"io.ringfence.decision.v1"),
    ("ce_source", b"/ringfence/" + b"x" * 60),
    ("content-type", b"application/json"),
)

digits = st.text("0123456789", min_size=1, max_size=15).map(lambda text: b"+" + text.encode())
records = st.tuples(
    st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=13, max_size=13).map(str.encode),
    st.just(b"") | digits,
    st.binary(max_size=300) | st.integers(0, 20_000).map(lambda size: b"{}" * size),
)

by_kernel = pytest.mark.skipif(not kernels.compiled(), reason="frames are made by a kernel")


def by_aiokafka(outcome, partitions, keyless, framing):
    """The same batches by aiokafka's builder, as they are made where there are no kernels."""
    outlet = OutcomeProducer(
        SimpleNamespace(
            # Its compiled builder leaves out a record that fills a batch to its last byte. We take
            # it, as its Python builder does.
            create_batch=lambda: BatchBuilder(
                framing.bytes_max + 1,
                CODECS[framing.compression],
                is_transactional=framing.transactional,
            )
        ),
        PublishSettings("decisions", "rejected", "/ringfence/" + "x" * 60, 1000),
        lambda _: None,
        transactional=framing.transactional,
    )
    assert outlet.framing.headers == framing.headers
    return outlet.built(outcome, partitions, keyless, AT_MS)


def finished(batches, producer):
    """Each batch as (partition, bytes, number of records)."""
    made = []
    for partition, batch in batches:
        if producer is not None:
            batch._set_producer_state(*producer)
        made.append((partition, bytes(batch._build()), batch.record_count()))
    return made


@by_kernel
@given(
    rows=st.lists(records, max_size=40),
    partitions=st.integers(1, 5),
    keyless=st.integers(0, 4),
    bytes_max=st.sampled_from([1024, 4096, 1 << 20]),
    compression=st.sampled_from([*CODECS]),
    transactional=st.booleans(),
    producer=st.none()
    | st.tuples(st.integers(-1, 1 << 40), st.integers(-1, 99), st.integers(0, 1 << 30)),
)
def test_a_frame_is_what_aiokafka_would_have_built(
    rows, partitions, keyless, bytes_max, compression, transactional, producer
):
    """Header, records, checksum, and where one batch ends and the next begins."""
    keyless %= partitions
    framing = BatchEncoder(HEADERS, bytes_max, compression, transactional)
    outcome = SimpleNamespace(
        contexts=(),
        ids=np.array([row[0] for row in rows], "S16"),
        keys=np.array([row[1] for row in rows], "S16"),
        values=Texts.of([row[2] for row in rows]),
    )
    columns = (outcome.ids, outcome.keys, outcome.values)
    # gzip writes the second of its packing: two batches are the same only within one.
    with patch("gzip.time", SimpleNamespace(time=lambda: AT_MS / 1000)):
        frames = framing.frames(*columns, partitions, keyless, AT_MS)
        built = by_aiokafka(outcome, partitions, keyless, framing)
        assert finished(frames, producer) == finished(built, producer)


@given(
    keys=st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=30),
    count=st.integers(1, 100),
)
def test_keys_go_where_kafka_sends_them(keys, count):
    """Any bytes, NULs at their end included, get the partition of Kafka's default partitioner."""
    partitions = list(range(count))
    expected = [DefaultPartitioner()(key, partitions, partitions) for key in keys]
    assert expected == partitions_of(keys, count).tolist()

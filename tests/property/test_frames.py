"""Record batches of our own against those that aiokafka's builder makes, byte for byte."""

import numpy as np
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.frames import Framing
from stream.calls.partitioner import partitions_of
from stream.core import kernels
from stream.core.texts import Texts

CODECS = {None: 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
AT_MS = 1_795_564_428_250
HEADERS = [("ce_source", b"/ringfence/" + b"x" * 60), ("content-type", b"application/json")]

digits = st.text("0123456789", min_size=1, max_size=15).map(lambda text: b"+" + text.encode())
records = st.tuples(
    st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=13, max_size=13).map(str.encode),
    st.just(b"") | digits,
    st.binary(max_size=300) | st.integers(0, 20_000).map(lambda size: b"{}" * size),
)

pytestmark = pytest.mark.skipif(not kernels.compiled(), reason="frames are made by a kernel")


def by_aiokafka(rows, partitions, keyless, framing, producer):
    """The same by aiokafka: (partition, bytes, number of records) of each batch."""
    keys = [key for _, key, _ in rows]
    chosen = partitions_of(keys, partitions).tolist() if rows else []
    made = []
    for partition in range(partitions):
        builder = None
        for (identifier, key, value), where in zip(rows, chosen, strict=True):
            if (where if key else keyless) != partition:
                continue
            record = {
                "timestamp": AT_MS,
                "key": key or None,
                "value": value,
                "headers": [*framing.headers, ("ce_id", identifier)],
            }
            if builder is None or builder.append(**record) is None:
                builder = BatchBuilder(
                    framing.bytes_max,
                    CODECS[framing.compression],
                    is_transactional=framing.transactional,
                )
                made.append((partition, builder))
                builder.append(**record)
    for _, builder in made:
        builder._set_producer_state(*producer)
    return [(one, bytes(builder._build()), builder.record_count()) for one, builder in made]


@given(
    rows=st.lists(records, max_size=40),
    partitions=st.integers(1, 5),
    keyless=st.integers(0, 4),
    bytes_max=st.sampled_from([1024, 4096, 1 << 20]),
    compression=st.sampled_from([*CODECS]),
    transactional=st.booleans(),
    producer=st.tuples(st.integers(-1, 1 << 40), st.integers(-1, 99), st.integers(0, 1 << 30)),
)
def test_a_frame_is_what_aiokafka_would_have_built(
    rows, partitions, keyless, bytes_max, compression, transactional, producer
):
    """Header, records, checksum, and where one batch ends and the next begins."""
    keyless %= partitions
    framing = Framing(HEADERS, bytes_max, compression, transactional)
    ids = np.array([row[0] for row in rows], "S16")
    keys = np.array([row[1] for row in rows], "S16")
    values = Texts.of([row[2] for row in rows])
    made = []
    for partition, frame in framing.frames(ids, keys, values, partitions, keyless, AT_MS):
        frame._set_producer_state(*producer)
        made.append((partition, bytes(frame._build()), frame.record_count()))
    assert made == by_aiokafka(rows, partitions, keyless, framing, producer)

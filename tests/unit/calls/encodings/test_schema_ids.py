"""Ids of schemas before the data and in headers: one form for all that follows."""

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from stream.calls.decode import decode
from stream.calls.encodings.schema_ids import HEADER, schema_key, schema_keys, with_header_ids
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.kafka.batch import RawBatch
from tests.support.builders import DECODING, raw_of
from tests.support.schema_registry import AVRO, JSON, PROTOBUF
from tests.unit.calls.encodings.test_registry import dialect

GUID = UUID("4bb5ed0a-2e3b-4c1f-9d9c-3b3a4dfd1d1e")
IN_GUID = b"\1" + GUID.bytes


def with_headers(*records: tuple[bytes | None, bytes | None]) -> RawBatch:
    """Values, each with what its header says; None: it has none."""
    raw = raw_of(*(value for value, _ in records))
    headers = [[("x", b"y"), (HEADER, said)] if said is not None else [] for _, said in records]
    return replace(raw, headers=headers)


def on_the_wire(raw: RawBatch) -> RawBatch:
    """The batch as our fetcher has it: headers lie behind their values."""
    data, starts = bytearray(), []
    for value, headers in zip(raw.values, raw.headers, strict=True):
        starts.append(len(data))
        data += (value or b"") + bytes([2 * len(headers)])
        for name, said in headers:
            data += bytes([2 * len(name)]) + name.encode() + bytes([2 * len(said)]) + said
    sizes = np.array([-1 if value is None else len(value) for value in raw.values])
    buffer = np.frombuffer(bytes(data) + bytes(64), np.uint8)
    return replace(
        raw, values=Texts(buffer, np.array(starts), sizes), headers=(), headers_follow=True
    )


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (AVRO, (1, 5)),
        (IN_GUID + b"data", (str(GUID), 17)),
        (IN_GUID[:-1], None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_an_id_or_a_guid_stands_before_the_data(value: bytes, key: object) -> None:
    """Confluent's two forms; anything else names no schema."""
    assert schema_key(value) == key


@pytest.mark.parametrize("as_fetched", [False, True])
def test_an_id_in_a_header_is_put_before_the_data(as_fetched: bool) -> None:
    """Also a GUID, with Protobuf's indexes; a header that is no id changes nothing."""
    raw = with_headers(
        (AVRO[5:], AVRO[:5]), (PROTOBUF[8:], IN_GUID + PROTOBUF[5:8]),
        (JSON, None), (JSON, b"\2odd"), (JSON, b""), (AVRO, b"\1short"),
    )  # fmt: skip
    if as_fetched:
        raw = on_the_wire(raw)
    framed = with_header_ids(raw, {"calls"})
    guided = IN_GUID + PROTOBUF[5:]
    found = [bytes(value or b"") for value in framed.values]
    assert found == [AVRO, guided, JSON, JSON, JSON, AVRO]
    assert [name for name, _ in framed.headers[0]] == ["x", HEADER]
    assert schema_keys(raw, {"calls"}) == {1, 4, str(GUID)}
    assert with_header_ids(raw, {"others"}) is raw
    assert schema_keys(raw, {"others"}) == set()


def test_a_batch_without_such_headers_is_not_copied() -> None:
    """It is how nearly all records come; a tombstone with a header stays one."""
    raw = with_headers((AVRO, None), (None, None))
    assert with_header_ids(raw, {"calls"}) is raw
    assert with_header_ids(with_headers((None, AVRO[:5])), {"calls"}).values == [None]


def test_records_with_ids_in_headers_are_calls() -> None:
    """Avro, Protobuf and JSON, once and again for a decision; what is rejected keeps its id."""
    batch = decode(
        with_headers((AVRO[5:], AVRO[:5]), (b"torn", AVRO[:5])),
        {"calls": dialect("mapping:acme")}, Trunks("TH"), DECODING,
    )  # fmt: skip
    assert [call.caller for call in batch.key_fields] == ["+447700900101"]
    assert batch.call_of(0).duration_s == 61.5
    (rejected,) = batch.rejected
    assert rejected.value == AVRO[:5] + b"torn"
    batch = decode(
        with_headers((JSON[5:], JSON[:5]), (PROTOBUF[8:], PROTOBUF[:8])),
        {"calls": dialect()}, Trunks("TH"), DECODING,
    )  # fmt: skip
    assert [call.call_id for call in batch.key_fields] == ["j-1", "p-1"]

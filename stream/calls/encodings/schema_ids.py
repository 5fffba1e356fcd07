"""Ids of schemas in records: before the data, or in a header, as newer clients may write them.

    before the data   0, the id in four bytes (Confluent's wire format), or
                      1, the schema's GUID in 16 bytes
    in the header     the same bytes; for Protobuf the message's indexes after them

Source: confluent-kafka 2.16 `SchemaId`, `header_schema_id_serializer`. An id in the header is put
before the data. So all later steps read one form, and a rejected record keeps its schema.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np

from stream.calls.dialects.dialect import WIRE_HEAD, Value, schema_number
from stream.calls.trace_context import headers_of, rows_with_headers
from stream.core.model.schemas import SchemaKey
from stream.kafka.batch import RawBatch

HEADER: Final = "__value_schema_id"
_NAMES: Final = (HEADER, HEADER.encode())
_GUID_HEAD: Final = 17  # a magic byte (1) and the 16 bytes of a GUID
_INDEXES_BYTES_MAX: Final = 256
"""Of a Protobuf message's indexes, after the id."""


def schema_key(value: Value) -> tuple[SchemaKey, int] | None:
    """Return the id or GUID before the data, and where the data begins; None: there is none."""
    number = schema_number(value)
    if number is not None:
        return number, WIRE_HEAD
    if len(value) >= _GUID_HEAD and value[0] == 1:
        return str(UUID(bytes=bytes(value[1:_GUID_HEAD]))), _GUID_HEAD
    return None


def with_header_ids(raw: RawBatch, topics: Collection[str]) -> RawBatch:
    """Return the batch with the ids in headers of the records of `topics` before their data.

    A batch without such a header is returned as it is.
    """
    found: dict[int, bytes] = {}
    for segment in raw.segments:
        if segment.partition.topic in topics:
            rows = rows_with_headers(raw, np.arange(segment.start, segment.stop))
            for row in rows.tolist():
                head = _head_of(raw, row)
                if head is not None:
                    found[row] = head
    if not found:
        return raw
    values = [
        found[row] + bytes(value) if row in found and value is not None else value
        for row, value in enumerate(raw.values)
    ]
    # Headers follow the values that they came with; these are others.
    headers = [
        [(name if isinstance(name, str) else name.decode("utf-8", "replace"), said or b"")
         for name, said in headers_of(raw, row)]
        for row in range(len(raw))
    ]  # fmt: skip
    return replace(raw, values=values, headers=headers, headers_follow=False)


def _head_of(raw: RawBatch, row: int) -> bytes | None:
    """Return the id in a record's header; None: it has none that can be one."""
    for name, said in headers_of(raw, row):
        if name in _NAMES and said:
            least = {0: WIRE_HEAD, 1: _GUID_HEAD}.get(said[0])
            if least is not None and least <= len(said) <= least + _INDEXES_BYTES_MAX:
                return said
    return None


def schema_keys(raw: RawBatch, topics: Collection[str]) -> set[SchemaKey]:
    """Return the ids of schemas in the records of `topics`."""
    found = set()
    raw = with_header_ids(raw, topics)
    for segment in raw.segments:
        if segment.partition.topic in topics:
            for row in range(segment.start, segment.stop):
                value = raw.values[row]
                key = None if value is None else schema_key(value)
                if key is not None:
                    found.add(key[0])
    return found

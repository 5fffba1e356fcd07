"""Bytes to calls: any bytes at all end as a call or as a `Rejected` with its reason. Pure.

With kernels, records of JSON dialects are scanned where they lie (`columns`); without, all are
decoded the ordinary way (`one_by_one`). Both find the same.
"""

from collections.abc import Callable, Mapping
from itertools import chain

import numpy as np

from stream.calls.batch import CallBatch, RawBatch
from stream.calls.columns import locate
from stream.calls.dialects.dialect import Dialect
from stream.calls.one_by_one import FIELD_LENGTH_MAX, DecodeSettings, Part
from stream.calls.trunks import Trunks
from stream.core import kernels
from stream.core.call import Call
from stream.core.number import Numbers, parse_many, parse_texts

__all__ = ["FIELD_LENGTH_MAX", "DecodeSettings", "decode"]


def decode(
    raw: RawBatch, dialect_of: Mapping[str, Dialect], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    """The calls in `raw`, and what was none. `dialect_of` has a dialect for each topic in it."""
    parts = [
        Part(raw, segment, dialect_of[segment.partition.topic], settings)
        for segment in raw.segments
    ]
    if kernels.compiled() and any(part.dialect.layout for part in parts):
        return _scanned(raw, parts, trunks, settings)
    return _decoded(raw, parts, trunks, settings)


def _scanned(
    raw: RawBatch, parts: list[Part], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    located, rows = locate(raw, parts, settings)

    def country(index: int) -> str:
        return trunks.country(located.text("trunk", index))

    def numbers(name: str) -> Numbers:
        return parse_texts(located.field(name), lambda index: located.text(name, index), country)

    return CallBatch(
        raw=raw,
        glances=located.glances(),
        rows=rows,
        callers=numbers("caller"),
        callees=numbers("callee") if settings.check_callee else None,
        rejected=[*chain(*(part.rejected for part in parts))],
        call_of=_calls(raw, parts, rows.item),
        located=located,
    )


def _decoded(
    raw: RawBatch, parts: list[Part], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    for part in parts:
        part.read()
    glances = parts[0].glances if len(parts) == 1 else [*chain(*(part.glances for part in parts))]
    rejected = [*chain(*(part.rejected for part in parts))]
    if rejected:
        rows = np.fromiter(chain(*(part.rows for part in parts)), np.int64, len(glances))
    else:
        rows = np.arange(len(raw), dtype=np.int64)

    def country(index: int) -> str:
        return trunks.country(glances[index].trunk)

    return CallBatch(
        raw=raw,
        glances=glances,
        rows=rows,
        callers=parse_many([glance.caller for glance in glances], country),
        callees=(
            parse_many([glance.callee for glance in glances], country)
            if settings.check_callee
            else None
        ),
        rejected=rejected,
        call_of=_calls(raw, parts, rows.item),
    )


def _calls(raw: RawBatch, parts: list[Part], row_of: Callable[[int], int]) -> Callable[[int], Call]:
    """What decodes a call whole, by its index."""

    def call_of(index: int) -> Call:
        row = row_of(index)
        part = next(part for part in parts if part.start <= row < part.stop)
        value = raw.values[row]
        assert value is not None, "a tombstone is no call"
        return part.dialect.call(value)

    return call_of

"""Bytes to calls: any bytes at all end as a call or as a `Rejected` with its reason. Pure.

With kernels, records of JSON dialects are scanned where they lie (`columns`); without, all are
decoded the ordinary way (`one_by_one`). Both find the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch, Glance
from stream.calls.decode_one import FIELD_LENGTH_MAX, Part
from stream.calls.dialects.dialect import Details, Dialect, Value, whole
from stream.calls.key_fields import locate
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core import kernels
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Call, Stage
from stream.core.numbers.caller_readings import read_caller
from stream.core.numbers.number import Numbers, ReadNumber, parse, parse_many
from stream.core.numbers.number_columns import parse_texts
from stream.core.numbers.operator_prefixes import without_marks
from stream.kafka.batch import RawBatch

__all__ = ["FIELD_LENGTH_MAX", "DecodeSettings", "decode", "from_fields"]


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
    glances = located.glances()

    def country(index: int) -> str:
        return trunks.country(located.text("trunk", index) if trunks.named else None)

    def prefix(index: int) -> str:
        return trunks.prefix(located.text("trunk", index))

    def numbers(name: str, read: ReadNumber = parse) -> Numbers:
        odd = {index: getattr(glance, name) for index, glance in located.odd.items()}
        prefix_of = prefix if trunks.have_prefixes else None
        return parse_texts(located.field(name), odd, country, prefix_of, read)

    return CallBatch(
        raw=raw,
        glances=glances,
        rows=rows,
        callers=without_marks(numbers("caller", read_caller), country),
        callees=numbers("callee") if settings.check_callee else None,
        rejected=[*chain(*(part.rejected for part in parts))],
        **_readers(raw, parts, rows, glances),
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

    def prefix(index: int) -> str:
        return trunks.prefix(glances[index].trunk)

    def numbers(texts: list[str | None], read: ReadNumber = parse) -> Numbers:
        return parse_many(texts, country, prefix if trunks.have_prefixes else None, read)

    return CallBatch(
        raw=raw,
        glances=glances,
        rows=rows,
        callers=without_marks(numbers([glance.caller for glance in glances], read_caller), country),
        callees=numbers([glance.callee for glance in glances]) if settings.check_callee else None,
        rejected=rejected,
        **_readers(raw, parts, rows, glances),
    )


def from_fields(
    raw: RawBatch, glances: Sequence[Glance], trunks: Trunks, *, check_callee: bool
) -> CallBatch:
    """Return calls whose fields are known already, one a row of `raw`: no record is read.

    They have no start time. Numbers are read as `decode` reads them.
    """

    def country(index: int) -> str:
        return trunks.country(glances[index].trunk)

    def prefix(index: int) -> str:
        return trunks.prefix(glances[index].trunk)

    def numbers(texts: list[str | None], read: ReadNumber = parse) -> Numbers:
        prefix_of = prefix if trunks.have_prefixes else None
        if not kernels.compiled():
            return parse_many(texts, country, prefix_of, read)
        # The kernel reads plain ASCII only; a text with any other sign is read one by one.
        odd = {
            index: text for index, text in enumerate(texts) if text is not None and not _PLAIN(text)
        }
        plain = Texts.of(
            None if text is None or index in odd else text.encode()
            for index, text in enumerate(texts)
        )
        return parse_texts(plain, odd, country, prefix_of, read)

    return CallBatch(
        raw=raw,
        glances=glances,
        rows=np.arange(len(raw)),
        callers=without_marks(numbers([glance.caller for glance in glances], read_caller), country),
        callees=numbers([glance.callee for glance in glances]) if check_callee else None,
        rejected=(),
        call_of=lambda index: whole(glances[index], _NO_DETAILS),
        started_at_s=lambda _: None,
    )


_PLAIN = re.compile(r"[ !#-\[\]-~]*").fullmatch
"""Printable ASCII without quotation mark and backslash: what a scan leaves where it lies."""
_NO_DETAILS = Details(started_at_s=None, stage=Stage.END, carrier=None, duration_s=None)


class _Readers(TypedDict):
    call_of: Callable[[int], Call]
    started_at_s: Callable[[int], float | None]


def _readers(
    raw: RawBatch, parts: list[Part], rows: NDArray[np.int64], glances: Sequence[Glance]
) -> _Readers:
    """What reads one call, by its index, again: see `CallBatch`."""

    def record(index: int) -> tuple[Dialect, Value]:
        row = int(rows[index])
        value = raw.values[row]
        assert value is not None, "a tombstone is no call"
        for part in parts:
            if row < part.stop:
                return part.dialect, value
        raise AssertionError(f"row {row} is in no part of the batch")

    def call_of(index: int) -> Call:
        dialect, value = record(index)
        return whole(glances[index], dialect.details(value))

    def started_at_s(index: int) -> float | None:
        dialect, value = record(index)
        return dialect.started_at_s(value)

    return {"call_of": call_of, "started_at_s": started_at_s}

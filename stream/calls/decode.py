"""Bytes to calls: any bytes at all end as a call or as a `Rejected` with its reason. Pure.

All ways from bytes or fields to calls are wired here. With kernels, records of JSON dialects are
scanned where they lie (`key_fields`). The fallback decoder (`decode_one`) reads all others, and all
where there are no kernels. Both find the same.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import FEW, FIELDS, CallBatch, KeyFields, Located, ScannedKeyFields
from stream.calls.decode_one import FIELD_LENGTH_MAX, SegmentDecoder, read_again
from stream.calls.dialects.dialect import Details, Dialect, Transcoded, Value, whole
from stream.calls.encodings.schema_ids import with_header_ids
from stream.calls.key_fields import locate
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core import kernels
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Call, Stage
from stream.core.numbers.caller_readings import read_caller
from stream.core.numbers.number import Numbers, ReadNumber, parse, parse_many, parse_texts
from stream.core.numbers.operator_prefixes import without_marks
from stream.kafka.batch import RawBatch

__all__ = ["FIELD_LENGTH_MAX", "DecodeSettings", "decode", "from_fields"]


def decode(
    raw: RawBatch, dialect_of: Mapping[str, Dialect], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    """Read the calls in `raw`, and reject the rest. `dialect_of` has a dialect for each topic."""
    in_headers = {
        topic
        for topic, dialect in dialect_of.items()
        if isinstance(dialect, Transcoded) and dialect.has_ids
    }
    if in_headers:
        raw = with_header_ids(raw, in_headers)
    parts = [
        SegmentDecoder(raw, segment, dialect_of[segment.partition.topic], settings)
        for segment in raw.segments
    ]
    if kernels.compiled() and any(part.dialect.layout for part in parts):
        return _scanned(raw, parts, trunks, settings)
    return _decoded(raw, parts, trunks, settings)


def _scanned(
    raw: RawBatch, parts: list[SegmentDecoder], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    located, rows = locate(raw, parts, settings)
    key_fields = ScannedKeyFields(located)
    # A small batch pays for each pass over its numbers what it pays for its calls.
    if len(rows) <= FEW and (plain := _all_e164(located, check_callee=settings.check_callee)):
        return _batch(raw, parts, key_fields, rows, plain, located)
    fallback, names = located.fallback, trunks.named

    def column(name: str) -> _Scanned:
        texts = {index: getattr(one, name) for index, one in fallback.items()}
        return _Scanned(located.field(name), texts)

    def trunk(index: int) -> str | None:
        return located.text("trunk", index) if names or trunks.have_prefixes else None

    numbers = _numbers(column, trunk, trunks, check_callee=settings.check_callee)
    return _batch(raw, parts, key_fields, rows, numbers, located)


_CALLER, _CALLEE = FIELDS.index("caller"), FIELDS.index("callee")


def _all_e164(located: Located, *, check_callee: bool) -> tuple[Numbers, Numbers | None] | None:
    """Read callers and callees in one pass; None: some are not E.164 as it should be written."""
    from stream.core.kernels.e164_text import read_e164

    assert _CALLEE == _CALLER + 1, "the rows of both lie side by side"
    both = slice(_CALLER, _CALLEE + check_callee)
    starts, sizes = located.starts[both].reshape(-1), located.sizes[both].reshape(-1)
    e164, kinds = read_e164(Texts(located.data, starts, sizes))
    if not kinds.all():
        return None
    count = located.starts.shape[1]
    callees = Numbers(e164[count:], kinds[count:]) if check_callee else None
    return Numbers(e164[:count], kinds[:count]), callees


def _decoded(
    raw: RawBatch, parts: list[SegmentDecoder], trunks: Trunks, settings: DecodeSettings
) -> CallBatch:
    for part in parts:
        part.read()
    key_fields = (
        parts[0].key_fields if len(parts) == 1 else [*chain(*(part.key_fields for part in parts))]
    )
    if any(part.rejected for part in parts):
        rows = np.fromiter(chain(*(part.rows for part in parts)), np.int64, len(key_fields))
    else:
        rows = np.arange(len(raw), dtype=np.int64)

    def column(name: str) -> list[str | None]:
        return [getattr(told, name) for told in key_fields]

    numbers = _numbers(
        column, lambda index: key_fields[index].trunk, trunks, check_callee=settings.check_callee
    )
    return _batch(raw, parts, key_fields, rows, numbers)


def _batch(
    raw: RawBatch,
    parts: list[SegmentDecoder],
    key_fields: Sequence[KeyFields],
    rows: NDArray[np.int64],
    numbers: tuple[Numbers, Numbers | None],
    located: Located | None = None,
) -> CallBatch:
    """Put the batch together, with what reads one of its calls again, by its index."""

    def record(index: int) -> tuple[Dialect, Value]:
        row = int(rows[index])
        value = raw.values[row]
        assert value is not None, "a tombstone is no call"
        # A batch has few parts, and only calls with a decision are asked for.
        for part in parts:
            if row < part.stop:
                return part.dialect, value
        raise AssertionError(f"row {row} is in no part of the batch")

    def call_of(index: int) -> Call:
        dialect, value = record(index)
        return whole(key_fields[index], read_again(dialect.details, value))

    def started_at_s(index: int) -> float | None:
        dialect, value = record(index)
        return read_again(dialect.started_at_s, value)

    return CallBatch(
        raw=raw,
        key_fields=key_fields,
        rows=rows,
        callers=numbers[0],
        callees=numbers[1],
        rejected=[*chain(*(part.rejected for part in parts))],
        call_of=call_of,
        started_at_s=started_at_s,
        located=located,
    )


def from_fields(
    raw: RawBatch, key_fields: Sequence[KeyFields], trunks: Trunks, *, check_callee: bool
) -> CallBatch:
    """Return calls whose fields are known already, one a row of `raw`: no record is read.

    They have no start time. Numbers are read as `decode` reads them.
    """

    def column(name: str) -> _Column:
        texts: list[str | None] = [getattr(told, name) for told in key_fields]
        # By the kernel one question takes 40 us, by NumPy 110; five hundred take 400 and 190.
        return _plain_texts(texts) if kernels.compiled() else texts

    callers, callees = _numbers(
        column, lambda index: key_fields[index].trunk, trunks, check_callee=check_callee
    )
    return CallBatch(
        raw=raw,
        key_fields=key_fields,
        rows=np.arange(len(raw)),
        callers=callers,
        callees=callees,
        rejected=(),
        call_of=lambda index: whole(key_fields[index], _NO_DETAILS),
        started_at_s=lambda _: None,
    )


_NO_DETAILS = Details(started_at_s=None, stage=Stage.END, carrier=None, duration_s=None)
_PLAIN = re.compile(r"[ !#-\[\]-~]*").fullmatch
"""Printable ASCII without quotation mark and backslash: what a scan leaves where it lies."""


class _Scanned(NamedTuple):
    """One field of all calls for the kernel, and the texts, by call, that have none there."""

    texts: Texts
    odd: Mapping[int, str | None]


_Column = Sequence[str | None] | _Scanned


def _plain_texts(texts: Sequence[str | None]) -> _Scanned:
    """Return the texts as columns for the kernel, and apart those that only Python reads."""
    odd = {index: text for index, text in enumerate(texts) if text is not None and not _PLAIN(text)}
    plain = Texts.of(
        None if text is None or index in odd else text.encode() for index, text in enumerate(texts)
    )
    return _Scanned(plain, odd)


def _numbers(
    column: Callable[[str], _Column],
    trunk_of: Callable[[int], str | None],
    trunks: Trunks,
    *,
    check_callee: bool,
) -> tuple[Numbers, Numbers | None]:
    """Return the numbers of callers and callees, each read as its call's trunk has them."""
    home = trunks.country(None)

    def country(index: int) -> str:
        # Without trunks in the configuration each call's is the home country's, whatever it names.
        return trunks.country(trunk_of(index)) if trunks.named else home

    def prefix(index: int) -> str:
        return trunks.prefix(trunk_of(index))

    def numbers(name: str, read: ReadNumber = parse) -> Numbers:
        found, prefix_of = column(name), prefix if trunks.have_prefixes else None
        if isinstance(found, _Scanned):
            return parse_texts(*found, country, prefix_of, read)
        return parse_many(found, country, prefix_of, read)

    callers = without_marks(numbers("caller", read_caller), country)
    return callers, numbers("callee") if check_callee else None

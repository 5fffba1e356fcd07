"""The fallback decoder: from bytes to calls one record after the other, through the dialect.

Its word is final: what the scan (`key_fields`) cannot vouch for is read here, and all is where
there are no kernels. The decoder runs once per record, everything else once per batch. Bad UTF-8
and duplicate keys are first looked for in the whole batch. Only where the answer is "perhaps" are
its records checked one by one.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from stream.calls.call_batch import FIELDS, SIGNED, KeyFields
from stream.calls.dialects.dialect import Dialect, NoCall, Transcoded, Value, schema_number
from stream.calls.dialects.json_form import DEPTH_MAX, brackets, too_deep
from stream.calls.settings import DecodeSettings
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Rejected, RejectReason
from stream.core.numbers.spelling import in_utf8, utf8_or_latin
from stream.kafka.batch import RawBatch, Segment

_T = TypeVar("_T")
FIELD_LENGTH_MAX = 16_384
"""Longest call id or number, in characters: a decision repeats them and must stay publishable.

It is measured in records of more bytes than that only, as the others cannot hold a longer one.
"""


class SegmentDecoder:
    """One partition's share of a batch while it is decoded: rows `start` to `stop`, one dialect.

    What is no call is left in `rejected`.
    """

    __slots__ = (
        "_inner",
        "_raw",
        "_settings",
        "dialect",
        "key_fields",
        "rejected",
        "rows",
        "start",
        "stop",
    )

    def __init__(
        self, raw: RawBatch, segment: Segment, dialect: Dialect, settings: DecodeSettings
    ) -> None:
        self._raw = raw
        self._settings = settings
        self.start = segment.start
        self.stop = segment.stop
        self.dialect = dialect
        self._inner = dialect.inner if isinstance(dialect, Transcoded) else dialect
        self.key_fields: list[KeyFields] = []
        self.rows: Sequence[int] = ()
        self.rejected: list[Rejected] = []

    def read(self, rows: Sequence[int] | None = None) -> None:
        """Decode all records, or those in `rows`, then put the calls to the tests still due.

        The calls are left in `key_fields`, their rows in `rows`.
        """
        held = self._raw.values
        if rows is None:
            rows = range(self.start, self.stop)
            share = held[self.start : self.stop]
            values: Sequence[Any] = list(share.views() if isinstance(share, Texts) else share)
        else:
            values = [held[row] for row in rows]
        self.rows = rows
        if isinstance(self.dialect, Transcoded):
            values = self._texts(self.dialect, values)
        calls: Sequence[Value] = values
        limit = min(FIELD_LENGTH_MAX, self._settings.record_bytes_max)
        # The quick way decodes all in one `map`, without a look at each. One tombstone, long record
        # or exception sends the whole batch the slow way, which knows which record it is.
        if not all(values) or max(map(len, values), default=0) > limit:
            calls = self._decode_each(values)
        else:
            try:
                self.key_fields = list(map(self._inner.key_fields, values))
            except NO_CALL:
                calls = self._decode_each(values)
        if calls and not _sound(calls, self._inner.json_keys):
            self._sift(calls)

    def _texts(self, dialect: Transcoded, values: Sequence[Value | None]) -> list[Value]:
        """Return the records in the encoding of the inner dialect, and reject the others."""
        texts: list[Value] = []
        rows = []
        for row, value in zip(self.rows, values, strict=True):
            try:
                text = dialect.text(self._within_limit(value))
            except NoCall as error:
                self._reject(row, *reason_of(error))
            else:
                texts.append(text)
                rows.append(row)
        self.rows = rows
        return texts

    def _decode_each(self, values: Sequence[Value | None]) -> list[Value]:
        """Decode one by one; return the values that are calls."""
        calls, rows = [], []
        for row, value in zip(self.rows, values, strict=True):
            try:
                call_fields = self._key_fields(value)
            except NO_CALL as error:
                self._reject(row, *reason_of(error))
            else:
                assert value is not None
                self.key_fields.append(call_fields)
                calls.append(value)
                rows.append(row)
        self.rows = rows
        return calls

    def _within_limit(self, value: Value | None) -> Value:
        if value is None:
            raise NoCall(RejectReason.TOMBSTONE, "the record has no value")
        limit = self._settings.record_bytes_max
        if len(value) > limit:
            raise NoCall(RejectReason.TOO_LARGE, f"{len(value)} bytes, at most {limit} are read")
        return value

    def _key_fields(self, held: Value | None) -> KeyFields:
        value = self._within_limit(held)
        call_fields = key_fields_of(self._inner, value)
        if len(value) > FIELD_LENGTH_MAX:
            _refuse_long(call_fields)
        return call_fields

    def _sift(self, calls: Sequence[Value]) -> None:
        """Take the records out of `key_fields` that only look like calls."""
        key_fields, rows = [], []
        for call_fields, row, value in zip(self.key_fields, self.rows, calls, strict=True):
            try:
                refuse_unsound(value, self._inner.json_keys)
            except NO_CALL as error:
                self._reject(row, *reason_of(error))
            else:
                key_fields.append(call_fields)
                rows.append(row)
        self.key_fields, self.rows = key_fields, rows

    def _reject(self, row: int, reason: RejectReason, detail: str) -> None:
        value = self._raw.values[row]
        kept = None if value is None else bytes(value)
        if kept is not None and reason in _NO_TEXT:
            number = schema_number(kept)
            if number is not None:
                detail = (
                    f"Confluent wire format, schema id {number}: use registry:{self.dialect.name}"
                )
        self.rejected.append(Rejected(kept, reason, detail, self._raw.origin(row)))


_NO_TEXT = (RejectReason.NOT_JSON, RejectReason.NOT_UTF8, RejectReason.NOT_CSV)
NO_CALL = (NoCall, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that a dialect may raise for bytes that are no call. Any other exception is a bug."""


def key_fields_of(dialect: Dialect, value: Value) -> KeyFields:
    """Read a record whose texts are UTF-8 or Latin-1. Raises one of `NO_CALL`."""
    try:
        return dialect.key_fields(value)
    except UnicodeDecodeError as error:
        try:
            return dialect.key_fields(in_utf8(value))
        except NO_CALL as other:
            # No call either way: where its UTF-8 ends says more than how Latin-1 reads it.
            if isinstance(other, NoCall) and other.reason is RejectReason.OTHER_EVENT:
                raise
            raise error from None


def read_again(read: Callable[[Value], _T], value: Value) -> _T:
    """Read the record of a call once more, as `key_fields_of` did."""
    try:
        return read(value)
    except UnicodeDecodeError:
        return read(in_utf8(value))


def reason_of(
    error: NoCall | msgspec.DecodeError | UnicodeDecodeError | RecursionError,
) -> tuple[RejectReason, str]:
    """Return the reason and its detail; neither quotes the record, which may hold numbers."""
    match error:
        case NoCall():
            return error.reason, error.detail
        case UnicodeDecodeError():
            return RejectReason.NOT_UTF8, f"byte {error.start} is no UTF-8"
        case RecursionError():
            return RejectReason.TOO_DEEP, "objects or arrays nested too deep"
        case msgspec.ValidationError():
            missing = "missing required field" in str(error)
            return RejectReason.MISSING_FIELD if missing else RejectReason.WRONG_TYPE, str(error)
        case _:
            return RejectReason.NOT_JSON, str(error)


def _sound(calls: Sequence[Any], keys: Sequence[str]) -> bool:
    """Return whether surely none of `calls`, which were decoded, is too deep or has a key twice.

    msgspec takes the last of a repeated key, and goes as deep as Python's stack lets it. False
    means perhaps not. Every call has all of `keys`. So if they occur as often as there are calls,
    no call has one twice. An escaped letter could hide a key from the comparison.
    """
    joined = b"\n".join(calls)
    if _perhaps_deep(calls, joined):
        return False
    if not keys:
        return True
    if b"\\" in joined and _HIDDEN.search(joined):
        return False
    times = Counter(keys)
    words: Counter[bytes] = Counter()
    for key in keys:
        words[_needle(key)] += len(calls)
    if not _each_has(calls, joined, times):
        return False
    if all(_count(joined, word) == expected for word, expected in words.items()):
        return True
    return all(joined.count(b'"%b"' % key.encode()) == len(calls) * times[key] for key in times)


def _each_has(calls: Sequence[Any], joined: bytes, keys: Collection[str]) -> bool:
    """Return whether each of `calls`, which lie in `joined`, has all of `keys` somewhere.

    One that lacks a key would make up for another that has it twice. It costs 0.2 us a call.
    """
    words = [b'"%b"' % key.encode() for key in keys]
    at = 0
    for value in calls:
        end = at + len(value)
        if any(joined.find(word, at, end) < 0 for word in words):
            return False
        at = end + 1
    return True


def _perhaps_deep(calls: Sequence[Any], joined: bytes) -> bool:
    """Return whether one of `calls` has more opening brackets than it may be nested deep.

    If so many of them nowhere lie within the length of the longest record, no record has one twice.
    This is tested for all at once, in NumPy, at a third of the price.
    """
    longest = max(map(len, calls))
    if longest <= 2 * DEPTH_MAX:
        return False
    data = np.frombuffer(joined, np.uint8)
    found = [
        np.flatnonzero((data[start : start + _CHUNK] | _CASE) == ord("{")) + start
        for start in range(0, len(data), _CHUNK)
    ]
    opening = np.concatenate(found)
    spans = opening[DEPTH_MAX:] - opening[:-DEPTH_MAX]
    if not len(spans) or spans.min() >= longest:
        return False
    return any(brackets(value) > DEPTH_MAX for value in calls if len(value) > 2 * DEPTH_MAX)


_CASE = np.uint8(ord("{") - ord("["))
"""The bit by which the two opening brackets differ."""
_CHUNK = 1 << 18
"""Bytes looked at together, which stay in a processor's cache."""


def _needle(key: str) -> bytes:
    # Four bytes are one word to compare. Keys that begin alike are counted together.
    return (b'"%b"' % key.encode())[:4]


def _count(text: bytes, needle: bytes) -> int:
    """Count `needle`, of at most four bytes, in `text`.

    Comparing words in NumPy costs a third of bytes.count.
    """
    if len(needle) < 4:
        return text.count(needle)
    word = np.frombuffer(needle, np.uint32)[0]
    found = 0
    # NumPy compares words at multiples of four from a start, so each of the four starts is taken.
    for start in range(min(4, len(text))):
        words = np.frombuffer(text, np.uint32, (len(text) - start) // 4, start)
        found += int(np.count_nonzero(words == word))
    return found


def refuse_unsound(value: Value, keys: Sequence[str]) -> None:
    """Raise NoCall if `value`, which was decoded, is not sound."""
    # Each level of JSON ends too. A short line of CSV with as many brackets has no levels.
    if len(value) > 2 * DEPTH_MAX and too_deep(value):
        raise NoCall(RejectReason.TOO_DEEP, f"nested more than {DEPTH_MAX} deep")
    if not keys:  # perhaps it is no JSON: a CSV line, a form
        return
    text = utf8_or_latin(bytes(value))
    times = Counter(keys)
    if all(text.count(f'"{key}"') == times[key] for key in times) and not (
        "\\" in text and _HIDDEN.search(text.encode())
    ):
        return
    repeated: list[str] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        here = [key for key, _ in pairs]
        if len(set(here)) < len(here):
            repeated.extend(key for key in keys if here.count(key) > 1)

    # `len` reads numbers: Python refuses integers of more than 4,300 digits, and none is needed.
    json.loads(text, object_pairs_hook=look, parse_int=len, parse_float=len)
    if repeated:
        raise NoCall(RejectReason.DUPLICATE_KEY, f"{repeated[0]} is given twice")


_HIDDEN = re.compile(rb"\\u00[2-7]")
"""An escape that stands for a character of ASCII, and so could be a letter of a key."""


def _refuse_long(call_fields: KeyFields) -> None:
    """Raise NoCall for a text that would make a decision too large to publish."""
    for name in (*FIELDS, *SIGNED):
        text = getattr(call_fields, name)
        if text is not None and len(text) > FIELD_LENGTH_MAX:
            raise NoCall(
                RejectReason.WRONG_TYPE, f"{name} is longer than {FIELD_LENGTH_MAX} characters"
            )

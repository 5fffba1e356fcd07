"""Records that come by another way than Kafka: cut out of a file or a body, and keyed. Pure.

A switch writes a record a line, or a record of many lines. A RADIUS detail file and AMI text end
each record with an empty line, mod_xml_cdr with `</cdr>`. Bytes may come in any pieces: a record
whose end has not come waits, and its place stays where it begins.

Their calls' ids are the keys, so the legs of a call stay in one partition, in their order, and the
engine knows repeats.
"""

import json
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from stream.calls.call_batch import CallBatch
from stream.core.model.ber import FILLING, FileUnit, begins_ber, next_unit
from stream.core.model.call import RejectReason
from stream.core.model.errors import UNREADABLE
from stream.kafka.batch import Partition, RawBatch

_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_BETWEEN = " \t\r\n,"
Unreadable = tuple[int, RejectReason, str]
"""The index of a record that is no call, and why."""
_BOM: Final = b"\xef\xbb\xbf"
_XML_END: Final = b"</cdr>"
_TAIL: Final = 64
"""Bytes of a line's end that are kept to find an end of a record in it."""
_SNIFFED: Final = 4096  # bytes that show the form; the first record begins within them
_BLOCK: Final = re.compile(
    rb"^(?:Event: [A-Za-z]|[\t ]+[A-Za-z][A-Za-z0-9._-]{0,127} [:+]?= )", re.MULTILINE
)
"""A line of AMI text, or an attribute of a RADIUS detail file."""


class Framing(Enum):
    """The end of a record in files of a dialect."""

    LINES = "a line"
    """Each line is a record."""
    BLOCKS = "an empty line"
    """An empty line ends a record; a line that is JSON is one by itself."""
    XML = "</cdr>"
    """The line that ends with `</cdr>` ends a record."""
    BER = "its length"
    """Charging records in BER, one after the other or after the headers of TS 32.297."""


class CutRecord(NamedTuple):
    """One record: the byte where it begins, its first line, its bytes, and how many it has.

    `value` has only the first bytes of a record that is too long.
    """

    at: int
    number: int
    value: bytes
    size: int


def framing_of(start: bytes) -> Framing:
    """Return the framing of a file that begins with `start`, by its look."""
    if begins_ber(start):
        return Framing.BER
    head = start[:_SNIFFED].removeprefix(_BOM).lstrip()
    # As mod_xml_cdr posts it, where `encode` is false.
    if head.removeprefix(b"cdr=").startswith((b"<?xml", b"<cdr")):
        return Framing.XML
    if head[:1] not in (b"{", b"[", b'"') and _BLOCK.search(head) is not None:
        return Framing.BLOCKS
    return Framing.LINES


def cut(data: bytes, framing: Framing) -> list[bytes]:
    """Return the records of a whole file; a last one without its end is one too."""
    splitter = RecordSplitter(0, 1, len(data), framing)
    values = [record.value for record in (*splitter.feed(data), *splitter.rest())]
    return values if framing is Framing.BER else [value.strip() for value in values]


class RecordSplitter:
    """Splitter of one file into records; empty lines between them count and are left out.

    It holds at most `bytes_max` of a record: a file without ends must not fill memory.
    """

    def __init__(self, at: int, number: int, bytes_max: int, framing: Framing) -> None:
        """`at` is where a record begins in line `number`."""
        self.at = at
        self.number = number
        self._bytes_max = bytes_max
        self._framing = framing
        self._held: bytes | bytearray = b""
        self._size = 0
        self._lines = 0
        self._tail = b""
        self._line_size = 0
        self._owed: FileUnit | None = None

    @property
    def read_to(self) -> int:
        """Offset after all bytes fed so far."""
        return self.at + self._size

    @property
    def unfinished(self) -> int:
        """Size so far of the last record, whose end has not come yet."""
        return self._size

    def feed(self, piece: bytes) -> list[CutRecord]:
        """Return the records that end in `piece`."""
        if self._framing is Framing.BER:
            return self._feed_ber(piece)
        *ends, rest = piece.split(b"\n")
        found = []
        for part in ends:
            self._hold(part)
            if self._framing is Framing.LINES or self._is_end():
                record = self._cut(end=1)
                if record is not None:
                    found.append(record)
            else:
                self._hold(b"\n")
                self._lines += 1
                self._tail, self._line_size = b"", 0
        self._hold(rest)
        return found

    def rest(self) -> list[CutRecord]:
        """Return the records at the end of a finished file that have none; one, but in BER."""
        if self._framing is Framing.BER:
            return self._rest_ber()
        record = self._cut(end=0) if self._size else None
        return [record] if record is not None else []

    def _rest_ber(self) -> list[CutRecord]:
        found: list[CutRecord] = []
        data, size, owed = bytes(self._held), self._size, self._owed
        self._held, self._size = b"", 0
        if owed is not None:
            last = FileUnit(owed.skip, size - owed.skip)
            return [self._cut_ber(data, last, 0)] if owed.size else []
        at, begin = 0, self.at
        while data[at:].strip(FILLING):
            unit = next_unit(data, at, self._bytes_max, first=self.at == 0, final=True)
            assert unit is not None, "no more bytes come"
            if unit.size:
                whole = FileUnit(unit.skip, min(unit.size, len(data) - at - unit.skip))
                found.append(self._cut_ber(data, whole, at))
            at += unit.skip + unit.size
            self.at = min(begin + at, begin + len(data))
        return found

    def _feed_ber(self, piece: bytes) -> list[CutRecord]:
        found: list[CutRecord] = []
        if self._owed is not None:
            self._size += len(piece)
            self._held += piece[: max(0, self._owed.skip + self._bytes_max - len(self._held))]
            behind = self._size - self._owed.skip - self._owed.size
            if behind < 0:
                return found
            if self._owed.size:
                found.append(self._cut_ber(bytes(self._held), self._owed, 0))
            else:
                self.at, self._owed = self.at + self._owed.skip, None
            piece, self._held = piece[len(piece) - behind :], b""
        data, at, begin = bytes(self._held) + piece, 0, self.at
        longest = self._bytes_max
        while at < len(data):
            unit = next_unit(data, at, longest, first=begin + at == 0)
            if unit is None or at + unit.skip + unit.size > len(data):
                break
            if unit.size:
                found.append(self._cut_ber(data, unit, at))
            at += unit.skip + unit.size
            self.at = begin + at
        rest = data[at:]
        self._held, self._size = rest, len(rest)
        unit = next_unit(rest, 0, longest, first=self.at == 0) if rest else None
        if unit is not None and unit.skip + unit.size > self._bytes_max:
            self._owed = unit
            self._held = rest[: unit.skip + self._bytes_max]
        return found

    def _cut_ber(self, data: bytes, unit: FileUnit, at: int) -> CutRecord:
        """Return a record of `data`, which has `at` bytes before it; move on after it."""
        begin = at + unit.skip
        value = data[begin : begin + min(unit.size, self._bytes_max)]
        record = CutRecord(self.at + unit.skip, self.number, value, unit.size)
        self.at, self.number = self.at + unit.skip + unit.size, self.number + 1
        self._owed = None
        return record

    def _is_end(self) -> bool:
        """Return whether the line that is held last ends a record."""
        line = self._tail.strip()
        is_short = self._line_size <= _TAIL
        if is_short and not line:
            # Also an empty line between records, which is left out by itself.
            return self._framing is Framing.BLOCKS or not self._lines
        if self._framing is Framing.XML:
            return line.endswith(_XML_END)
        if self._lines:
            return False
        first, last = self._held.lstrip()[:1], line[-1:]
        return (first, last) in ((b"{", b"}"), (b"[", b"]"))

    def _hold(self, part: bytes) -> None:
        if not part:
            return
        self._size += len(part)
        room = self._bytes_max - len(self._held)
        if room > 0 and not self._held:
            self._held = part[:room]  # a record of one line is never copied
        elif room > 0:
            if isinstance(self._held, bytes):
                # Grows in place: else each line would copy all lines before it.
                self._held = bytearray(self._held)
            self._held += part[:room]
        if self._framing is not Framing.LINES:
            self._line_size += len(part)
            self._tail = (self._tail + part)[-_TAIL:]

    def _cut(self, end: int) -> CutRecord | None:
        value, size, at, number = bytes(self._held), self._size, self.at, self.number
        self.at, self.number = at + size + end, number + self._lines + 1
        self._held, self._size, self._lines = b"", 0, 0
        self._tail, self._line_size = b"", 0
        if size > len(value):
            return CutRecord(at, number, value, size)
        if at == 0:
            value = value.removeprefix(_BOM)
        value = value.removesuffix(b"\r") if self._framing is Framing.LINES else value.rstrip()
        return CutRecord(at, number, value, len(value)) if value.strip() else None


def records_in(data: bytes) -> list[bytes]:
    """Return the records in `data`, in their order, each as a Kafka record would have it.

    JSON lines, arrays, objects over many lines, XML documents, RADIUS detail and AMI text, CSV
    lines. Of arrays and objects that are torn, the whole objects before are records, and the rest
    is one. Anything else is a record a line, empty lines aside. Never raises.
    """
    framing = framing_of(data)
    if framing is not Framing.LINES:
        return cut(data, framing)
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if text[:1] == b"[":
        try:
            several = [bytes(raw) for raw in _decode_array(text)]
        except UNREADABLE:
            lines, (found, _) = _lines(text), _objects(text, 1)
            # Each line may be an array of its own.
            return lines if lines[1:] and lines[0].endswith(b"]") else found or lines
        return [text] if several and _is_attribute(several[0]) else several
    lines = _lines(text)
    if all(line[:1] == b"{" and line[-1:] == b"}" for line in lines) or text[:1] != b"{":
        return lines
    found, is_torn = _objects(text, 0)
    # After a torn line of JSON lines the next one is whole again.
    return lines if is_torn and lines[0].endswith(b"}") else found or lines


def _is_attribute(member: bytes) -> bool:
    """Return whether an array is one record of RADIUS: its attributes, each with its name."""
    try:
        keys = _decode_object(member).keys()
    except UNREADABLE:
        return False
    return "name" in keys and keys <= {"name", "type", "op", "value"}


def _lines(text: bytes) -> list[bytes]:
    return [line for line in map(bytes.strip, text.split(b"\n")) if line]


def _objects(text: bytes, at: int) -> tuple[list[bytes], bool]:
    """Return the objects from `at` on, however they are broken into lines, and last what is torn.

    Also whether any is. Nothing where the first is torn, or an attribute of RADIUS.
    """
    # Bytes that are no UTF-8 come out as they were: the dialect refuses them by name.
    whole = text.decode(errors="surrogateescape")
    decoder, found, is_torn = json.JSONDecoder(), list[bytes](), False
    while at < len(whole):
        try:
            _, end = decoder.raw_decode(whole, at)
        except UNREADABLE:
            end, is_torn = len(whole), True
            if not found:
                return [], True
        found.append(whole[at:end].encode(errors="surrogateescape"))
        while end < len(whole) and whole[end] in _BETWEEN:
            end += 1
        at = end
    is_record = found[:1] and found[0][:1] == b"{" and not _is_attribute(found[0])
    return (found if is_record else []), is_torn


def keyed(
    read: Callable[[RawBatch], CallBatch], topic: str, records: Sequence[bytes]
) -> tuple[list[bytes | None], tuple[Unreadable, ...]]:
    """Return the key of each record (None: it is no call), and the records that are no calls.

    `read` is the stream's decoder; it reads `records` as those of `topic`.
    """
    batch = read(RawBatch.of(records, Partition(topic, 0)))
    keys: list[bytes | None] = [None] * len(records)
    for row, told in zip(batch.rows.tolist(), batch.key_fields, strict=True):
        keys[row] = told.call_id.encode() or None
    found = ((one.origin.offset, one.reason, one.detail) for one in batch.rejected)
    return keys, tuple(sorted(found))


def other_events(unreadable: Sequence[Unreadable]) -> int:
    """Return how many of `unreadable` are valid records of other events."""
    return sum(reason is RejectReason.OTHER_EVENT for _, reason, _ in unreadable)


def topics_of(topics: dict[str, str], dialect: str) -> list[str]:
    """Return the topics of `[calls.topics]` in `dialect`, with or without its switch."""
    return [
        topic for topic, spoken in topics.items() if dialect in (spoken, spoken.partition(":")[0])
    ]

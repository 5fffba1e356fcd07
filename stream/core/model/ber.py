"""BER (X.690) as charging records use it: tags, lengths and contents, within bounds. Pure.

A record is read by its tags alone. A decoder that follows a specification ends at the first member
that a vendor has added. The libraries that were tried take seconds for a long tag, or ignore a
wrong length: see docs/decisions/0158-ber-by-tags.md.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

DEPTH_MAX: Final = 16
"""Records are eight deep."""
_TAG_BYTES_MAX: Final = 4  # after the first; tags of our records have three bytes at most
_LENGTH_BYTES_MAX: Final = 4  # lengths up to 4 GiB; more is damage
_MEMBER_BYTES_MAX: Final = 4096  # a member is a number, a time or an address
_TBCD_DIGITS: Final = "0123456789*#abc"
_FILLER: Final = 15  # TBCD fills an odd last half with 1111


class Element(NamedTuple):
    """An element: the first byte of its tag without the number, its number, and its content."""

    form: int
    number: int
    start: int
    end: int
    behind: int

    @property
    def is_constructed(self) -> bool:
        """Return whether it is made of elements."""
        return bool(self.form & 0x20)

    @property
    def kind(self) -> int:
        """The class of its tag: 0 universal, 1 application, 2 context-specific, 3 private."""
        return self.form >> 6


class Damaged(ValueError):
    """The bytes are no BER; the text quotes none of them."""


class Cut(Exception):
    """The bytes end before the element does."""


def element_at(data: bytes, at: int, limit: int, depth: int = 0) -> Element:
    """Return the element at `at`, which ends at `limit` or before. Raises Cut, Damaged.

    Where it has no length its end is looked for: each byte is seen once for each level at most.
    """
    form, number, at = _tag(data, at, limit)
    length, start = _length(data, at, limit)
    if length >= 0:
        if start + length > limit:
            raise Cut
        return Element(form, number, start, start + length, start + length)
    if not form & 0x20:
        raise Damaged("an element without elements has no length")
    if depth >= DEPTH_MAX:
        raise Damaged(f"elements are nested more than {DEPTH_MAX} deep")
    at = start
    while True:
        if at + 2 > limit:
            raise Cut
        if data[at] == 0 and data[at + 1] == 0:
            return Element(form, number, start, at, at + 2)
        at = element_at(data, at, limit, depth + 1).behind


def _tag(data: bytes, at: int, limit: int) -> tuple[int, int, int]:
    if at >= limit:
        raise Cut
    first, at = data[at], at + 1
    if first & 0x1F != 0x1F:
        return first & 0xE0, first & 0x1F, at
    number = 0
    for _ in range(_TAG_BYTES_MAX):
        if at >= limit:
            raise Cut
        byte, at = data[at], at + 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return first & 0xE0, number, at
    raise Damaged(f"a tag has more than {_TAG_BYTES_MAX + 1} bytes")


def _length(data: bytes, at: int, limit: int) -> tuple[int, int]:
    """Return the length (-1: it has none) and where the content begins."""
    if at >= limit:
        raise Cut
    first, at = data[at], at + 1
    if first < 0x80:
        return first, at
    if first == 0x80:
        return -1, at
    count = first & 0x7F
    if count > _LENGTH_BYTES_MAX:
        raise Damaged(f"a length has {count} bytes")
    if at + count > limit:
        raise Cut
    return int.from_bytes(data[at : at + count]), at + count


def elements(data: bytes, around: Element) -> Iterator[Element]:
    """Yield the elements within one. Raises Damaged."""
    at = around.start
    while at < around.end:
        try:
            element = element_at(data, at, around.end)
        except Cut:
            raise Damaged("an element is longer than the one around it") from None
        yield element
        at = element.behind


def whole_element(data: bytes) -> Element:
    """Return the one element that `data` is. Raises Damaged."""
    try:
        element = element_at(data, 0, len(data))
    except Cut:
        raise Damaged("the record is cut off") from None
    if data[element.behind :].strip(b"\0\xff"):
        raise Damaged(f"{len(data) - element.behind} bytes follow the record")
    return element


def plain_bytes(data: bytes, element: Element) -> bytes:
    """Return the content of a plain member: an id, a number or a URI. Raises Damaged."""
    if element.is_constructed:
        raise Damaged(f"member {element.number} is made of elements, and has to be plain")
    if element.end - element.start > _MEMBER_BYTES_MAX:
        raise Damaged(f"member {element.number} has more than {_MEMBER_BYTES_MAX} bytes")
    return data[element.start : element.end]


def integer(data: bytes, element: Element) -> int:
    """Return a member that is a number. Raises Damaged."""
    content = plain_bytes(data, element)
    if not 0 < len(content) <= 8:
        raise Damaged(f"member {element.number} is no number")
    return int.from_bytes(content, signed=True)


def octets(data: bytes, element: Element) -> str:
    """Return a member in hexadecimal digits. Raises Damaged."""
    return plain_bytes(data, element).hex()


def characters(data: bytes, element: Element) -> str:
    """Return a member that is text. Raises Damaged."""
    return plain_bytes(data, element).decode("utf-8", "backslashreplace")


def tbcd_digits(content: bytes) -> str:
    """Return the digits of a TBCD string: the first of each byte stands in its lower half."""
    halves = (half for byte in content for half in (byte & 15, byte >> 4))
    found = []
    for half in halves:
        if half == _FILLER:
            break
        found.append(_TBCD_DIGITS[half])
    return "".join(found)


class FileUnit(NamedTuple):
    """The next bytes of a file: `skip` of no record, then one of `size` bytes (0: none)."""

    skip: int
    size: int


ENDLESS: Final = 1 << 62
"""Size of a record whose end cannot be found: the rest of the file."""
_AROUND: Final = (1, 3)
"""Elements of TAP3 that hold records: the batch, and its list of events."""
_CALLS: Final = (9, 10)
_BESIDE: Final = frozenset({2, 4, 5, 6, 8, 15})
"""Elements of TAP3 beside the events: notes of who sent what, currencies, totals."""
FILLING: Final = b"\0\xff"
"""Bytes between records: blocks of tapes and discs are filled up."""
_BEGINNINGS: Final = frozenset({
    *(0x30, 0x31), *range(0xA0, 0xC0),
    # TAP3: batch, notification, what lies beside the events, calls, and longer tags.
    *range(0x61, 0x67), *range(0x68, 0x6D), 0x6E, 0x6F, 0x71, 0x7F,
})  # fmt: skip
_HEAD: Final = 16
"""Bytes that say what a unit is: lengths of a file's header, or a record's header and tag."""
HEADERS_MAX: Final = 1 << 17
"""Most bytes of a file's header, and of a damaged stretch behind which records are looked for."""
_LENGTH = rb"(?:[\0-\x80]|\x81.|\x82..)"
_RECORD: Final = re.compile(
    rb"(?=(?:[01\xa0-\xbe]|\xbf[\x80-\xff]{0,3}[\0-\x7f])%b\x80[\1\2]|[ij]%b\x7f\x81)"
    % (_LENGTH, _LENGTH),
    re.DOTALL,
)
"""Begin of a record: its tag, its length, and the first member of each, as in `begins_ber`."""
_TRIES: Final = 16
"""Elements within a damaged record that begin like one; the next record is some 300 bytes away."""
_MEMBERS_MAX: Final = 512
"""Most members of a record: so no bytes take long."""


def next_unit(
    data: bytes, at: int, longest: int, *, first: bool, final: bool = False
) -> FileUnit | None:
    """Return the element at `at`, which may end past `data`; None: more bytes are needed.

    `longest` is the size of the longest record that is read; `final`: no more bytes come. The end
    of an element without a length is looked for in so many bytes, and `HEADERS_MAX`.

    Records stand one after the other, with filling between them. Or they follow the headers of TS
    32.297 (one of the file if `first`, one of each record), or are in a batch of TAP3.

    Where one is damaged, it ends where the next sound one begins: a wrong length, or bytes that
    are none, must not take the calls behind them away. Where none is found the element is as its
    length says, or all the rest.
    """
    unit = _next_unit(data, at, longest + HEADERS_MAX, first=first)
    if unit is None:
        if not final:
            return None
        unit = FileUnit(0, ENDLESS)
    end = at + unit.skip + unit.size
    if not _may_begin(data[at]):
        if first and _has_file_header(data, at):
            # With a record in it, it has a wrong length.
            size = _damaged_size(data, at, longest, final=final)
            if size is None or size >= unit.skip:
                return unit
            return FileUnit(0, size) if size else None
        # Filling, or a header whose length the record confirms.
        if unit.size != ENDLESS:
            return unit
    elif end - at <= longest:
        if end > len(data) and not final:
            return unit
        if end <= len(data) and _is_sound(data, at, end):
            return unit
    size = _damaged_size(data, at, longest, final=final)
    if size == 0:
        return None
    return FileUnit(0, end - at if size is None else size)


def _is_sound(data: bytes, at: int, end: int) -> bool:
    form, number, behind = _tag(data, at, end)
    if form >> 6 == 1 and number in _AROUND:
        return True
    length, start = _length(data, behind, end)
    return _has_members(data, start, end if length >= 0 else end - 2)


def _damaged_size(data: bytes, at: int, longest: int, *, final: bool) -> int | None:
    """Return how far behind `at` the next record is; None: none is found, 0: more bytes are needed.

    The answer is the same for any part of a file: what may still be a record is waited for.
    """
    tries = _TRIES
    for found in _RECORD.finditer(data, at + 1, at + HEADERS_MAX):
        begin = found.start()
        is_record = False
        try:
            element = element_at(data, begin, min(begin + longest, len(data)))
            is_record = _has_members(data, element.start, element.end)
        except Damaged:
            pass
        except Cut:
            if len(data) < begin + longest and not final:
                return 0
        if is_record:
            return _behind_header(data, begin, element.behind - begin, at) - at
        tries -= 1
        if not tries:
            return None
    return None if final or len(data) >= at + longest + HEADERS_MAX else 0


def _behind_header(data: bytes, begin: int, size: int, at: int) -> int:
    """Return where the header of a record begins in TS 32.297; without one the record itself."""
    for head in (4, 5):
        start = begin - head
        if start <= at or int.from_bytes(data[start : start + 2]) != size:
            continue
        if (5 if data[start + 2] >> 5 == 7 else 4) == head:
            return start
    return begin


def _has_members(data: bytes, at: int, end: int) -> bool:
    """Return whether elements fill the bytes from `at` to `end`."""
    for _ in range(_MEMBERS_MAX):
        if at >= end:
            break
        if at + 1 < end and data[at] & 0x1F != 0x1F and data[at + 1] < 0x80:  # nearly all
            at += 2 + data[at + 1]
            continue
        try:
            at = element_at(data, at, end).behind
        except (Cut, Damaged):
            return False
    return at == end


def _next_unit(data: bytes, at: int, most: int, *, first: bool) -> FileUnit | None:
    if at < len(data) and _may_begin(data[at]):
        return _unit_of_element(data, at, most)
    if len(data) - at < _HEAD:
        return None
    if first and _has_file_header(data, at):
        return FileUnit(int.from_bytes(data[at + 4 : at + 8]), 0)
    filled = at
    while filled + _HEAD <= len(data):
        head = 5 if data[filled + 2] >> 5 == 7 else 4
        size = int.from_bytes(data[filled : filled + 2])
        if size and _may_begin(data[filled + head]):
            unit = _unit_of_element(data, filled + head, size)
            if unit is None:
                return None if filled == at else FileUnit(filled - at, 0)
            if unit.size == size:
                return FileUnit(filled - at + head, size)
        if data[filled] not in FILLING:
            break
        filled += 1
    return FileUnit(filled - at, 0) if filled > at else FileUnit(0, ENDLESS)


def _unit_of_element(data: bytes, at: int, most: int) -> FileUnit | None:
    try:
        form, number, behind = _tag(data, at, len(data))
        length, start = _length(data, behind, len(data))
        if form >> 6 == 1 and number in _AROUND:
            return FileUnit(start - at, 0)
        if length >= 0:
            end = start + length
        else:
            end = element_at(data, at, min(len(data), at + most)).behind
    except Cut:
        return None if len(data) - at < most else FileUnit(0, ENDLESS)
    except Damaged:
        return FileUnit(0, ENDLESS)
    if form >> 6 == 1 and number in _BESIDE:
        return FileUnit(end - at, 0)
    return FileUnit(0, end - at)


def _may_begin(byte: int) -> bool:
    """Return whether a record may begin so: constructed, and of a kind that is in use."""
    return byte in _BEGINNINGS


def _has_file_header(data: bytes, at: int) -> bool:
    whole, head = int.from_bytes(data[at : at + 4]), int.from_bytes(data[at + 4 : at + 8])
    return len(data) - at >= _HEAD and _HEAD < head <= min(whole, HEADERS_MAX)


def begins_ber(start: bytes) -> bool:
    """Return whether a file that begins so has charging records in BER."""
    head = start
    if len(start) >= _HEAD and not _may_begin(start[0]) and _has_file_header(start, 0):
        head = start[int.from_bytes(start[4:8]) :]
        unit = _next_unit(head, 0, len(head), first=False) if head else None
        head = head[unit.skip :] if unit is not None else b""
    try:
        form, number, behind = _tag(head, 0, len(head))
        _, inside = _length(head, behind, len(head))
    except (Cut, Damaged):
        return False
    if form == 0x60:
        # A batch begins with who sent it, a call of one with its basic information.
        is_batch = number in _AROUND and head[inside : inside + 1] == b"\x64"
        return is_batch or (number in _CALLS and head[inside : inside + 2] == b"\x7f\x81")
    # recordType is the first member of each record, and takes a byte.
    return bool(form & 0x20) and head[inside : inside + 2] in (b"\x80\x01", b"\x80\x02")

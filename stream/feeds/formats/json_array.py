"""A JSON document with an array of numbers or objects: alone, or wrapped as in {"data": [...]}.

The document is walked, not decoded: memory is that of its largest element. `items` is the path of
the array ("data.numbers"), "": the document itself. A path that ends with `*` ("data.*") is that of
an object. Its members are the rows, and `@key` is the place of a member's name. Lines count the
elements.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

import msgspec

from stream.core.model.entry import FIELDS
from stream.feeds.detection.lookalikes import looks_like_number
from stream.feeds.formats.element_rows import ITSELF, ElementRows, Places
from stream.feeds.formats.json_objects import BROKEN, Document, as_kept
from stream.feeds.formats.rows import InputUnreadable, Rows, Wrong

ELEMENT_BYTES_MAX = 1 << 20
"""The largest element. Its objects take at most some thirty times as much."""
_DEPTH_MAX = 32  # lists lie within a few objects; deeper input is an attack
MEMBERS: Final = "*"
"""The end of a path whose elements are an object's members."""
KEY: Final = "@key"
_KEY_CHARS: Final = 100
_BY_KEY: Final[Places] = {**{name: name for name in FIELDS}, "number": KEY}
Element = tuple[str | None, bytes]
"""The name of a member, None in an array; and the value's bytes."""


def read(pieces: Iterable[bytes], items: str, columns: Places) -> Iterator[Rows]:
    """Yield the rows of the array at `items`. Raises InputUnreadable if there is none."""
    path = items.split(".") if items else []
    are_members = path[-1:] == [MEMBERS]
    if are_members and not columns:
        columns = _BY_KEY
    document, found = Document(pieces, ELEMENT_BYTES_MAX), ElementRows(columns)
    decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
    lines, seen = count(1), False
    for elements in _arrays(document, path):
        seen = True
        for key, raw in elements:
            line = next(lines)
            original = as_kept(raw) if key is None else f"{key[:_KEY_CHARS]}: {as_kept(raw)}"
            try:
                element = decode(raw)
            except BROKEN as error:
                found.rows.reject(line, Wrong.UNREADABLE, str(error), original)
                continue
            found.add(line, element if key is None else of_member(key, element), original)
            yield from found.rows.drain()
    if not seen:
        kind = "object" if are_members else "array"
        what = f"no {kind} at {items!r}" if items else "it is no array"
        raise InputUnreadable(
            f'{what}: say where its numbers are: items = "data", of an object "data.*"'
        )
    document.end()
    yield from found.rows.rest()


def _arrays(document: Document, path: Sequence[str]) -> Iterator[Iterator[Element]]:
    """Yield the elements of each array, or object, at a path; skip the rest."""
    first = document.peek()
    if not path and first == b"[":
        yield ((None, raw) for raw in document.elements())
    elif first == b"{" and list(path) == [MEMBERS]:
        yield ((key, document.value()) for key in document.members())
    elif first == b"{" and path:
        for key in document.members():
            if key == path[0]:
                yield from _arrays(document, path[1:])
            else:
                _skip(document, 0)
    else:
        _skip(document, 0)


def _skip(document: Document, depth: int) -> None:
    """Pass over a value of any size, piece by piece."""
    first = document.peek()
    if depth >= _DEPTH_MAX or first not in {b"{", b"["}:
        document.value()
    elif first == b"[":
        for _ in document.elements():
            pass
    else:
        for _ in document.members():
            _skip(document, depth + 1)


def of_member(key: str, value: Any) -> dict[str, Any]:
    """Return a member of an object as an element: its name and its value."""
    return {**(value if isinstance(value, dict) else {ITSELF: value}), KEY: key}


def arrays_in(head: bytes, elements_max: int) -> dict[str, list[Element]]:
    """Return the first elements of each array in the first bytes of a document, by its path.

    So are the members of an object whose names look like numbers. Arrays within elements are no
    lists of their own. What is cut ends the search.
    """
    found: dict[str, list[Element]] = {}
    with suppress(InputUnreadable):  # the head ends amid a value, or the document is no JSON
        _look(Document([head], ELEMENT_BYTES_MAX), "", 0, found, elements_max)
    return {path: elements for path, elements in found.items() if elements}


def _look(
    document: Document, path: str, depth: int, found: dict[str, list[Element]], elements_max: int
) -> None:
    first = document.peek()
    if first == b"[":
        kept = found.setdefault(path, [])
        for raw in document.elements():
            if len(kept) < elements_max:
                kept.append((None, raw))
    elif first == b"{" and depth < _DEPTH_MAX:
        above = f"{path}." if path else ""
        for key in document.members():
            if not looks_like_number(key):
                _look(document, f"{above}{key}", depth + 1, found, elements_max)
                continue
            raw, kept = document.value(), found.setdefault(f"{above}{MEMBERS}", [])
            if len(kept) < elements_max:
                kept.append((key, raw))
    else:
        document.value()

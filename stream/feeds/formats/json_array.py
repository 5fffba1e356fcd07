"""A JSON document with an array of numbers or objects: alone, or wrapped as in {"data": [...]}.

The document is walked, not decoded: memory is that of its largest element. `items` is the path of
the array ("data.numbers"), "": the document itself. Lines count the array's elements.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec

from stream.feeds.formats.element_rows import ElementRows, Places
from stream.feeds.formats.json_objects import BROKEN, Document, as_kept
from stream.feeds.formats.rows import InputUnreadable, Rows, Wrong

ELEMENT_BYTES_MAX = 1 << 20
"""The largest element. Its objects take at most some thirty times as much."""
_DEPTH_MAX = 32


def read(pieces: Iterable[bytes], items: str, columns: Places) -> Iterator[Rows]:
    """Yield the rows of the array at `items`. Raises InputUnreadable if there is none."""
    document, found = Document(pieces, ELEMENT_BYTES_MAX), ElementRows(columns)
    decode: Callable[[bytes], Any] = msgspec.json.Decoder().decode
    lines, seen = count(1), False
    for elements in _arrays(document, items.split(".") if items else []):
        seen = True
        for raw in elements:
            line, original = next(lines), as_kept(raw)
            try:
                element = decode(raw)
            except BROKEN as error:
                found.rows.reject(line, Wrong.UNREADABLE, str(error), original)
                continue
            found.add(line, element, original)
            yield from found.rows.drain()
    if not seen:
        what = f"no array at {items!r}" if items else "it is no array"
        raise InputUnreadable(f'{what}: say where its numbers are: items = "data"')
    document.end()
    yield from found.rows.rest()


def _arrays(document: Document, path: Sequence[str]) -> Iterator[Iterator[bytes]]:
    """Yield the elements of each array at a path; skip the rest."""
    first = document.peek()
    if not path:
        if first == b"[":
            yield document.elements()
        else:
            _skip(document, 0)
    elif first == b"{":
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


def arrays_in(head: bytes, elements_max: int) -> dict[str, list[bytes]]:
    """Return the first elements of each array in the first bytes of a document, by its path.

    Arrays within elements are no lists of their own. What is cut ends the search.
    """
    found: dict[str, list[bytes]] = {}
    with suppress(InputUnreadable):  # the head ends amid a value, or the document is no JSON
        _look(Document([head], ELEMENT_BYTES_MAX), "", 0, found, elements_max)
    return {path: elements for path, elements in found.items() if elements}


def _look(
    document: Document, path: str, depth: int, found: dict[str, list[bytes]], elements_max: int
) -> None:
    first = document.peek()
    if first == b"[":
        kept = found.setdefault(path, [])
        for raw in document.elements():
            if len(kept) < elements_max:
                kept.append(raw)
    elif first == b"{" and depth < _DEPTH_MAX:
        for key in document.members():
            _look(document, f"{path}.{key}" if path else key, depth + 1, found, elements_max)
    else:
        document.value()

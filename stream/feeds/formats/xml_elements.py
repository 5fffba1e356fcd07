"""XML with an element for each number, found by its path: attributes, children and own text.

`items` is the path of those elements ("phonebooks.phonebook.contact"). A field's path is that of a
child ("telephony.number"), of an attribute ("@phone", "number.@type"), or "." for the own text.
Namespaces' prefixes are left out. A document type is refused, and with it all entities: nothing is
read from elsewhere, and nothing grows. Lines count the elements.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final
from xml.parsers import expat

from stream.feeds.formats.element_rows import ITSELF, ElementRows, Places
from stream.feeds.formats.rows import InputUnreadable, Rows, Wrong

DEPTH_MAX: Final = 64  # as for JSON: deeper input is an attack
TOKEN_BYTES_MAX: Final = 1 << 20
"""Bytes without the end of a tag or text. expat reads an unfinished one again with each piece."""
FIELDS_MAX: Final = 200  # memory is bounded however many names a file has
CHARS_MAX: Final = 65_536
"""Characters kept of one element; more are a rejected row."""
_STEP: Final = 1 << 16
_KEPT: Final = 2_000  # characters of a row that a report shows


class _Elements:
    """Takes a document's events and makes an element, a dictionary by paths, of each item."""

    def __init__(self, items: tuple[str, ...]) -> None:
        self.done: list[tuple[dict[str, str], str]] = []
        self.paths: dict[tuple[str, ...], int] = {}
        self.progress = 0
        self._items = items
        self._stack: list[str] = []
        self._element: dict[str, str] | None = None
        self._texts: list[list[str]] = []
        self._chars = 0
        self._wrong = ""

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self.progress += 1
        if len(self._stack) == DEPTH_MAX:
            raise InputUnreadable(f"nested more than {DEPTH_MAX} deep: refused")
        self._stack.append(_bare(name))
        if not self._items:
            path = tuple(self._stack)
            if path in self.paths or len(self.paths) < FIELDS_MAX:
                self.paths[path] = self.paths.get(path, 0) + 1
            return
        if self._element is None:
            if tuple(self._stack) != self._items:
                return
            self._element, self._chars, self._wrong = {}, 0, ""
        self._texts.append([])
        inner = self._stack[len(self._items) :]
        for key, value in attributes.items():
            self._put((*inner, f"@{_bare(key)}"), value)

    def text(self, data: str) -> None:
        self.progress += 1
        if self._texts:
            self._chars += len(data)
            if self._chars <= CHARS_MAX:
                self._texts[-1].append(data)

    def end(self, _: str) -> None:
        self.progress += 1
        if self._element is not None:
            inner = self._stack[len(self._items) :]
            text = "".join(self._texts.pop()).strip()
            if text:
                self._put(tuple(inner) or (ITSELF,), text)
            if not inner:
                if self._chars > CHARS_MAX:
                    self._wrong = f"more than {CHARS_MAX} characters"
                self.done.append((self._element, self._wrong))
                self._element = None
        self._stack.pop()

    def _put(self, path: tuple[str, ...], value: str) -> None:
        assert self._element is not None
        key = ".".join(path)
        self._chars += len(value) if path[-1].startswith("@") else 0
        if key in self._element:
            self._wrong = f"{key} is there more than once"
        elif len(self._element) < FIELDS_MAX:
            self._element[key] = value


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


def _refused(*_: object) -> None:
    raise InputUnreadable("it has a document type (<!DOCTYPE ...>): refused, with its entities")


def _events(pieces: Iterable[bytes], found: _Elements) -> Iterator[None]:
    """Hand a document's events to `found`; yield after each step. Raises InputUnreadable."""
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = found.begin
    parser.EndElementHandler = found.end
    parser.CharacterDataHandler = found.text
    parser.StartDoctypeDeclHandler = _refused
    parser.EntityDeclHandler = _refused
    waiting = 0
    try:
        for piece in pieces:
            for at in range(0, len(piece), _STEP):
                before, step = found.progress, piece[at : at + _STEP]
                parser.Parse(step, False)
                waiting = 0 if found.progress > before else waiting + len(step)
                if waiting > TOKEN_BYTES_MAX:
                    raise InputUnreadable(
                        f"a tag or comment of more than {TOKEN_BYTES_MAX >> 10} kB: refused"
                    )
                yield
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        text = f"not XML in line {error.lineno}, column {error.offset + 1}: "
        raise InputUnreadable(text + expat.ErrorString(error.code)) from error
    yield


def read(pieces: Iterable[bytes], items: str, columns: Places) -> Iterator[Rows]:
    """Yield the rows of the elements at `items`. Raises InputUnreadable if there is none."""
    if not items:
        raise InputUnreadable('say which elements have the numbers: items = "list.entry"')
    rows, line, found = ElementRows(columns), 0, _Elements(tuple(items.split(".")))
    for _ in _events(pieces, found):
        done, found.done = found.done, []
        for element, wrong in done:
            line += 1
            original = " ".join(f"{key}={value}" for key, value in element.items())[:_KEPT]
            if wrong:
                rows.rows.reject(line, Wrong.UNREADABLE, wrong, original)
            else:
                rows.add(line, element, original)
            yield from rows.rows.drain()
    if not line:
        raise InputUnreadable(f"it has no element {items!r}")
    yield from rows.rows.rest()


def elements_in(head: bytes, elements_max: int, paths_max: int) -> dict[str, list[dict[str, str]]]:
    """Return the first elements at each path of the first bytes of a document.

    Paths that come often are first. What is cut ends the search.
    """
    paths = _found_in(head, ()).paths
    often = sorted(paths, key=lambda path: (-paths[path], len(path)))[:paths_max]
    return {
        ".".join(path): [element for element, wrong in _found_in(head, path).done if not wrong][
            :elements_max
        ]
        for path in often
    }


def _found_in(head: bytes, items: tuple[str, ...]) -> _Elements:
    found = _Elements(items)
    with suppress(InputUnreadable):  # the head ends amid an element
        for _ in _events([head], found):
            pass
    return found

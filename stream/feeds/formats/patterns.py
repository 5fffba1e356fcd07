"""STIX patterns, as far as they mean numbers: equality, joined by OR, and nothing else.

`[phone-number:value = '+66812345678']`, `[... = 'a' OR ... = 'b']`, `[...] OR [...]` (STIX 2.1,
part 9). What else a pattern may say (AND, NOT, LIKE, a sequence, a time window) narrows it: to read
one number out of it would list a number that its author did not mean.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

PATHS = frozenset({"phone-number:value", "phone-number:number", "x-phone-number:value"})
"""Paths of numbers: OpenCTI writes `value`, txt2stix `number`. STIX itself has no phone object."""
_ABOUT_PHONES = re.compile(r"\bphone-?number\b", re.IGNORECASE)
_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<path>[A-Za-z][\w-]*:[\w.-]+)|(?P<word>\w+)|(?P<mark>[\[\]()=]))"
)
PATTERN_CHARS_MAX = 65_536
"""Bounds the time of the pattern's parser, which is pure Python."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """The `numbers` of a pattern, if `readable`; a pattern of other things has none."""

    numbers: tuple[str, ...]
    readable: bool = True


_UNREADABLE = Meaning((), readable=False)
_OTHER = Meaning(())


def read_pattern(pattern: str) -> Meaning:
    """Return the numbers that a pattern means."""
    if not _ABOUT_PHONES.search(pattern):
        return _OTHER
    if len(pattern) > PATTERN_CHARS_MAX:
        return _UNREADABLE
    tokens = _tokens(pattern)
    if tokens is None:
        return _UNREADABLE
    reader = _Reader(tokens)
    numbers = reader.alternatives(reader.observation)
    if numbers is None or not reader.finished:
        return _UNREADABLE
    return Meaning(tuple(dict.fromkeys(numbers)))


_Token = tuple[str, str]


def _tokens(pattern: str) -> list[_Token] | None:
    tokens, at, end = [], 0, len(pattern.rstrip())
    while at < end:
        found = _TOKEN.match(pattern, at)
        if found is None:
            return None
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind]))
        at = found.end()
    return tokens


class _Reader:
    """Reads the tokens of one pattern; None says that they are something else."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def finished(self) -> bool:
        return self._at == len(self._tokens)

    def alternatives(self, read: Callable[[], list[str] | None]) -> list[str] | None:
        """Read one or more of `read`, joined by OR."""
        numbers = read()
        while numbers is not None and self._took("word", "OR"):
            more = read()
            numbers = None if more is None else numbers + more
        return numbers

    def observation(self) -> list[str] | None:
        """`[...]`"""
        if not self._took("mark", "["):
            return None
        numbers = self.alternatives(self._comparison)
        return numbers if self._took("mark", "]") else None

    def _comparison(self) -> list[str] | None:
        """`path = 'text'`; alternatives that are no numbers mean nothing to us."""
        path = self._next("path")
        if path is None or not self._took("mark", "="):
            return None
        text = self._next("text")
        if text is None:
            return None
        return [re.sub(r"\\(.)", r"\1", text[1:-1])] if path in PATHS else []

    def _took(self, kind: str, text: str) -> bool:
        if not self.finished and self._tokens[self._at] == (kind, text):
            self._at += 1
            return True
        return False

    def _next(self, kind: str) -> str | None:
        if self.finished or self._tokens[self._at][0] != kind:
            return None
        self._at += 1
        return self._tokens[self._at - 1][1]

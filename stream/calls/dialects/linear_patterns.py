"""Patterns of a mapping: operators write them, and callers the texts that they are applied to.

A backtracking engine (Python's `re`) takes exponential time for some of them, and holds the
interpreter during that time. One crafted caller then stops a worker. So a pattern runs on `re`,
which is quick for short texts, only if its form proves linear time. Other patterns run on RE2,
which is linear for every pattern that it takes: 3 us a text instead of 0.3. What RE2 does not take
is refused.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import re2

CHOICES_MAX: Final = 64
"""In how many ways optional parts and alternatives may be combined: each way is tried once."""
_ASCII: Final = 128
"""Sets of these are exact, as bits; all other characters count as one."""


def cutter(pattern: str) -> Callable[[str], str | None]:
    """Return what cuts out of a text what counts: the first group of `pattern`, or its match.

    Raises ValueError, with what to do.
    """
    try:
        read = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    if is_plainly_linear(pattern):
        return _of_re(read)
    options = re2.Options()
    options.log_errors = False
    try:
        return _of_re2(re2.compile(_ESCAPE.sub(_as_re2, pattern), options))
    except re2.error as error:
        why = error.args[0].decode(errors="replace") if error.args else "no reason given"
        raise ValueError(
            f"{pattern!r} could take exponential time on a crafted record, and the engine that "
            f"cannot (RE2) does not take it: {why}. Write it without look-around and "
            "back-references, or from the text's beginning: '^' and classes such as [^@]+"
        ) from error


def _of_re(pattern: "re.Pattern[str]") -> Callable[[str], str | None]:
    search, group = pattern.search, 1 if pattern.groups else 0

    def cut(text: str) -> str | None:
        found = search(text)
        return found[group] if found else None

    return cut


def _of_re2(pattern: Any) -> Callable[[str], str | None]:
    group = 1 if pattern.groups else 0

    def cut(text: str) -> str | None:
        # Bytes: RE2's own form. Of a text its binding makes offsets, which doubles the time.
        found = pattern.search(text.encode(errors="replace"))
        part = found[group] if found else None
        return None if part is None else part.decode(errors="replace")

    return cut


_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_AS_RE2: Final = {"d": r"\p{Nd}", "D": r"\P{Nd}", "Z": r"\z"}
"""The meaning of an escape in `re`: digits of every script, since numbers are written in many."""


def _as_re2(escape: "re.Match[str]") -> str:
    return _AS_RE2.get(escape[1], escape[0])


class _Set(NamedTuple):
    """Characters: those of ASCII as bits, and whether there are others."""

    ascii: int
    others: bool

    def meets(self, other: "_Set") -> bool:
        """Return whether a character may be in both."""
        return bool(self.ascii & other.ascii) or (self.others and other.others)


class _Step(NamedTuple):
    """Characters of a set, so often; `kept`: what was taken is never given back."""

    chars: _Set
    least: int
    varies: bool
    kept: bool


class _Choice(NamedTuple):
    """One of several sequences of fixed length; `()` among them: it may be left out."""

    ways: tuple[tuple[_Step, ...], ...]


class _End:
    """The end of the text."""


class _NotPlain(Exception):
    """The form proves nothing."""


def is_plainly_linear(pattern: str) -> bool:
    """Return whether the form of `pattern` proves that `re` searches in linear time.

    It begins at the text's beginning, so one place is tried. It has repeats of single characters
    only, none inside another. The part after each repeat begins with none of its characters. So it
    cannot take what a repeat gives back, and there is one way to divide a text among them. Optional
    and alternative parts have a fixed length, and few combinations.
    """
    # How `re` reads a pattern; Hypothesis stands on the same module.
    parser: Any = getattr(re, "_parser")  # noqa: B009
    tree = parser.parse(pattern)
    if tree.state.flags & ~re.UNICODE:
        return False
    items = list(tree)
    if not items or str(items[0][0]) != "AT" or str(items[0][1]) not in _BEGINS:
        return False
    try:
        parts = list(_parts(items[1:]))
    except _NotPlain:
        return False
    ways = 1
    for part in parts:
        ways *= len(part.ways) if isinstance(part, _Choice) else 1
    return ways <= CHOICES_MAX and all(
        _is_divided(part.chars, parts[at + 1 :])
        for at, part in enumerate(parts)
        if isinstance(part, _Step) and part.varies and not part.kept
    )


_BEGINS: Final = frozenset({"AT_BEGINNING", "AT_BEGINNING_STRING"})
_ENDS: Final = frozenset({"AT_END", "AT_END_STRING"})
_REPEATS: Final = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


def _is_divided(chars: _Set, rest: "Sequence[_Step | _Choice | _End]") -> bool:
    """Return whether nothing that may come next begins with one of `chars`."""
    for part in rest:
        if isinstance(part, _End):
            return True
        if isinstance(part, _Step):
            if part.chars.meets(chars):
                return False
            if part.least:
                return True
        elif any(way and way[0].chars.meets(chars) for way in part.ways):
            return False
        elif () not in part.ways:
            return True
    return True


def _parts(items: Sequence[Any]) -> "Iterator[_Step | _Choice | _End]":
    """Yield a sequence's parts in order, groups opened. Raises _NotPlain."""
    for kind, value in items:
        name = str(kind)
        if name == "SUBPATTERN":
            if value[1] or value[2]:  # flags of its own
                raise _NotPlain
            yield from _parts(list(value[3]))
        elif name == "BRANCH":
            yield _Choice(tuple(_fixed(list(way)) for way in value[1]))
        elif name in _REPEATS:
            yield _repeat(name, *value)
        elif name == "AT" and str(value) in _ENDS:
            yield _End()
        else:
            yield _Step(_chars(name, value), 1, varies=False, kept=False)


def _repeat(name: str, least: int, most: int, body: Any) -> "_Step | _Choice":
    items = _opened(list(body))
    if len(items) == 1 and str(items[0][0]) in _SETS:
        chars = _chars(str(items[0][0]), items[0][1])
        return _Step(chars, int(least), varies=least != most, kept=name == "POSSESSIVE_REPEAT")
    if (least, most) != (0, 1):
        raise _NotPlain
    if len(items) == 1 and str(items[0][0]) == "BRANCH":
        return _Choice(((), *(_fixed(list(way)) for way in items[0][1][1])))
    return _Choice(((), _fixed(items)))


def _opened(items: list[Any]) -> list[Any]:
    """Return the content of a group that stands alone."""
    while len(items) == 1 and str(items[0][0]) == "SUBPATTERN":
        _, add, remove, inside = items[0][1]
        if add or remove:
            raise _NotPlain
        items = list(inside)
    return items


def _fixed(items: Sequence[Any]) -> tuple[_Step, ...]:
    """Return a sequence that takes one number of characters in one way. Raises _NotPlain."""
    steps = []
    for part in _parts(items):
        if not isinstance(part, _Step) or part.varies:
            raise _NotPlain
        steps.append(part)
    return tuple(steps)


_SETS: Final = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})


def _chars(name: str, value: Any) -> _Set:
    """Return the characters that one item matches, or more. Raises _NotPlain."""
    if name == "LITERAL":
        return _Set(1 << value, others=False) if value < _ASCII else _Set(0, others=True)
    if name == "NOT_LITERAL":
        all_but = (1 << _ASCII) - 1 & ~(1 << value if value < _ASCII else 0)
        return _Set(all_but, others=True)
    if name == "ANY":
        return _Set((1 << _ASCII) - 1, others=True)
    if name != "IN":
        raise _NotPlain
    bits, others = 0, False
    for kind, part in value:
        one = _members(str(kind), part)
        bits, others = bits | one.ascii, others or one.others
    if str(value[0][0]) == "NEGATE":
        return _Set((1 << _ASCII) - 1 & ~bits, others=True)
    return _Set(bits, others)


def _members(kind: str, part: Any) -> _Set:
    if kind == "NEGATE":
        return _Set(0, others=False)
    if kind == "LITERAL":
        return _chars(kind, part)
    if kind == "RANGE":
        bits = sum(1 << code for code in range(part[0], min(part[1], _ASCII - 1) + 1))
        return _Set(bits, others=part[1] >= _ASCII)
    test = _CATEGORIES.get(str(part))
    if test is None:
        raise _NotPlain
    return _Set(sum(1 << code for code in range(_ASCII) if test(chr(code))), others=True)


_CATEGORIES: Final[dict[str, Callable[[str], bool]]] = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_NOT_DIGIT": lambda char: not char.isdigit(),
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_NOT_SPACE": lambda char: not char.isspace(),
    "CATEGORY_WORD": lambda char: char.isalnum() or char == "_",
    "CATEGORY_NOT_WORD": lambda char: not (char.isalnum() or char == "_"),
}

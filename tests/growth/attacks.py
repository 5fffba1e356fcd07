"""Texts that make a backtracking matcher work: made of the expression's own parts.

A repeat costs most where what it repeats goes on for long and what follows never comes. So each
repeat of the expression is pumped, alone and with what stands beside it, after what leads there
and before what cannot follow.
"""

import random
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

ENDS = ("", "\0", "!", "a", "\n", '"')
EVERYWHERE = (
    " ",
    "\n",
    "\t",
    "a",
    "A",
    "0",
    "+",
    "-",
    ".",
    "/",
    ":",
    ";",
    "<",
    '"',
    "\\",
    "1 ",
    "\\x",
)
SAMPLES = 3


class Attack(NamedTuple):
    """`head`, then `pump` again and again, then `end`."""

    head: str
    pump: str
    end: str

    def text(self, size: int) -> str:
        """About `size` characters of it."""
        return self.head + self.pump * (size // len(self.pump)) + self.end


def attacks(pattern: "re.Pattern[Any]") -> list[Attack]:
    """All that are tried on an expression, each once."""
    source = pattern.pattern
    text = source.decode("latin-1") if isinstance(source, bytes) else source
    tree = _parser().parse(text, pattern.flags & ~re.UNICODE)
    pumps = [("", pump) for pump in EVERYWHERE]
    for seed in range(SAMPLES):
        chance = random.Random(seed)
        pumps += _of_repeats(list(tree), "", chance)
        whole = _sample(list(tree), chance)
        pumps += [("", whole[:cut]) for cut in {len(whole), len(whole) - 1, len(whole) // 2, 1}]
    found = {
        Attack(start, pump[:64], end)
        for head, pump in pumps
        if pump
        for start in {head[:256], ""}
        for end in ENDS
    }
    return sorted(found)


def _parser() -> Any:
    # Not a public module, and the only one that knows how `re` reads an expression.
    return getattr(re, "_parser")  # noqa: B009


def _of_repeats(items: list[Any], head: str, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Return the input before each repeat, and the text to repeat there."""
    for at, (kind, value) in enumerate(items):
        before = head + _sample(items[:at], chance)
        name = str(kind)
        if name.endswith("REPEAT"):
            body = list(value[2])
            once = _sample(body, chance)
            yield before, once
            yield before, once + _sample(items[at + 1 : at + 2], chance)
            yield before, _sample(items[max(0, at - 1) : at], chance) + once
            yield before, once + _sample(body, chance)
            yield from _of_repeats(body, before, chance)
        elif name == "SUBPATTERN":
            yield from _of_repeats(list(value[3]), before, chance)
        elif name == "ATOMIC_GROUP":
            yield from _of_repeats(list(value), before, chance)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            yield from _of_repeats(list(value[1]), before, chance)
        elif name == "BRANCH":
            for branch in value[1]:
                yield from _of_repeats(list(branch), before, chance)


def _sample(items: list[Any], chance: random.Random) -> str:
    """A text that the items match, but for their assertions."""
    return "".join(_one(str(kind), value, chance) for kind, value in items)


def _one(name: str, value: Any, chance: random.Random) -> str:
    if name == "LITERAL":
        return chr(value)
    if name == "NOT_LITERAL":
        return "b" if value == ord("a") else "a"
    if name == "ANY":
        return chance.choice("a0 <-")
    if name == "IN":
        return _member(value, chance)
    if name == "BRANCH":
        return _sample(list(chance.choice(value[1])), chance)
    if name == "SUBPATTERN":
        return _sample(list(value[3]), chance)
    if name == "ATOMIC_GROUP":
        return _sample(list(value), chance)
    if name.endswith("REPEAT"):
        least, most, body = value
        times = max(least, min(1, most))
        return "".join(_sample(list(body), chance) for _ in range(min(times, 80)))
    if name == "ASSERT" and value[0] < 0:
        return _sample(list(value[1]), chance)  # what has to stand before
    return ""  # other assertions, anchors, references to groups


_CATEGORIES = {
    "CATEGORY_DIGIT": "07",
    "CATEGORY_NOT_DIGIT": "a -",
    "CATEGORY_SPACE": " \n\t",
    "CATEGORY_NOT_SPACE": "a0<",
    "CATEGORY_WORD": "aZ0_",
    "CATEGORY_NOT_WORD": " -+",
}


def _member(value: Any, chance: random.Random) -> str:
    """A character of a set."""
    negated = str(value[0][0]) == "NEGATE"
    if negated:
        inside = {char for kind, part in value[1:] for char in _chars(str(kind), part)}
        return chance.choice([char for char in "a0 -<\n\\:x\x7f" if char not in inside] or ["\xff"])
    kind, part = chance.choice(value)
    return chance.choice(_chars(str(kind), part))


def _chars(kind: str, part: Any) -> str:
    if kind == "LITERAL":
        return chr(part)
    if kind == "RANGE":
        return "".join(chr(code) for code in range(part[0], min(part[1], part[0] + 128) + 1))
    return _CATEGORIES[str(part)]

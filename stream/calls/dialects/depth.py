"""How deep JSON is nested: Python's own limit counts what happens to be on the stack too."""

import re

DEPTH_MAX = 200
"""Objects and arrays in one another; what is deeper is refused, so that what was read once can be
read again from anywhere."""


def brackets(value: bytes | memoryview) -> int:
    """How many opening brackets there are, those in texts too."""
    held = bytes(value)
    return held.count(b"[") + held.count(b"{")


def depth(value: bytes | memoryview) -> int:
    """How deep the objects and arrays of a record that was decoded lie in one another."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_TEXT.sub(b"", value)):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def too_deep(value: bytes | memoryview) -> bool:
    """Whether JSON that was decoded is nested deeper than it may be."""
    return brackets(value) > DEPTH_MAX and depth(value) > DEPTH_MAX


# A text without an end reaches to the end: else each quote in it would be tried as a beginning.
_TEXT = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")

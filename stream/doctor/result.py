"""One line of what was found."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and will not for ever."""
    FAIL = "fail"
    """It does not work, or is not safe."""


@dataclass(frozen=True, slots=True)
class Line:
    """What was looked at, how it is, and what mends it: a command, or a setting with its value."""

    check: str
    grade: Grade
    said: str
    fix: str = ""


def ok(check: str, said: str) -> Line:
    """It is well."""
    return Line(check, Grade.OK, said)


def warn(check: str, said: str, fix: str) -> Line:
    """It works, and will not for ever."""
    return Line(check, Grade.WARN, said, fix)


def fail(check: str, said: str, fix: str) -> Line:
    """It does not work, or is not safe."""
    return Line(check, Grade.FAIL, said, fix)

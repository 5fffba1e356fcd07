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
class CheckLine:
    """What was looked at, how it is, and what mends it: a command, or a setting with its value."""

    check: str
    grade: Grade
    said: str
    fix: str = ""


def ok(check: str, said: str) -> CheckLine:
    """It is well."""
    return CheckLine(check, Grade.OK, said)


def warn(check: str, said: str, fix: str) -> CheckLine:
    """It works, and will not for ever."""
    return CheckLine(check, Grade.WARN, said, fix)


def fail(check: str, said: str, fix: str) -> CheckLine:
    """It does not work, or is not safe."""
    return CheckLine(check, Grade.FAIL, said, fix)

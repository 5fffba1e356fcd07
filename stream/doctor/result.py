"""The result lines of the checks."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    """A check of something that works now and will stop working."""
    FAIL = "fail"
    """A check of something that does not work, or is not safe."""


@dataclass(frozen=True, slots=True)
class CheckLine:
    """One finding of a check; `fix` is a command, or a setting with its value."""

    check: str
    grade: Grade
    said: str
    fix: str = ""


def ok(check: str, said: str) -> CheckLine:
    """Return a check that passed."""
    return CheckLine(check, Grade.OK, said)


def warn(check: str, said: str, fix: str) -> CheckLine:
    """Return a check of something that works now and will stop working."""
    return CheckLine(check, Grade.WARN, said, fix)


def fail(check: str, said: str, fix: str) -> CheckLine:
    """Return a check of something that does not work, or is not safe."""
    return CheckLine(check, Grade.FAIL, said, fix)

"""Numbers that a command is given, or reads from stdin for `-`: argv is for everybody to read."""

import sys
from collections.abc import Sequence
from typing import Any, Final

import typer

STDIN: Final = "-"
OR_STDIN: Final = " `-` reads from stdin."
"""Of each argument that is a number: so `ps` and the shell's history do not have it."""


def typed_or_piped(value: Any) -> Any:
    """The callback of such an argument, one text or several; `-` stands for stdin's lines."""
    if isinstance(value, str):
        return _only(_lines()) if value == STDIN else value
    return _all(value)


def _all(texts: Sequence[str]) -> list[str]:
    if texts.count(STDIN) > 1:
        raise typer.BadParameter("- may stand there once: stdin is read once")
    return [one for text in texts for one in (_lines() if text == STDIN else [text])]


def _only(lines: Sequence[str]) -> str:
    if len(lines) != 1:
        raise typer.BadParameter(f"stdin has {len(lines)} lines, and one is asked for")
    return lines[0]


def _lines() -> list[str]:
    lines = [line.strip() for line in sys.stdin if line.strip()]
    if not lines:
        raise typer.BadParameter("- reads stdin, and nothing came")
    return lines

"""The few forms of Markdown that reference pages are made of."""

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"(`[^`]*`)")
_SPECIAL = re.compile(r"([\\*<>\[\]{}#~])")


def escaped(text: str) -> str:
    """`text` as it stands, outside of its own `code` spans free of Markdown's signs."""
    pieces = _CODE.split(text)
    return "".join(
        piece if index % 2 else _SPECIAL.sub(r"\\\1", piece) for index, piece in enumerate(pieces)
    )


def code(text: str) -> str:
    """`text` as a code span; a value without any text is shown as `""`."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else '`""`'


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; each cell is Markdown already."""
    lines = [_row(header), "|" + "---|" * len(header)]
    return [*lines, *map(_row, rows), ""]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def fenced(kind: str, text: str) -> list[str]:
    """A block of code."""
    fence = "````" if "```" in text else "```"
    return [f"{fence}{kind}", *text.rstrip("\n").split("\n"), fence, ""]


def page(title: str, *parts: Iterable[str]) -> str:
    """A whole page."""
    lines = [f"# {title}", ""]
    for part in parts:
        lines += part
    return "\n".join(lines).rstrip("\n") + "\n"

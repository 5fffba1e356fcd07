"""Transcripts in Markdown: what is typed, what is shown, and whether an output is what is shown.

A block ```console holds commands behind `$ ` (further lines of one behind `> `) and their outputs.
A block right behind a line that is nothing but a path and a colon, `` `ringfence.toml`: ``, is a
file. In an output `...` stands for any text, on a line of its own for any lines. What differs from
run to run is compared by its kind: times, ids, hashes, durations, sizes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

DOCS_DAY: Final = date(2026, 11, 25)
"""The day on which everything in the documentation happens; a run moves it to its own day."""
_FENCE: Final = re.compile(r"^(`{3,})\s*([\w{}-]*)\s*$")
_FILE: Final = re.compile(r"^`([\w./-]+)`:$")
_DAY: Final = re.compile(r"(?<!\d)20\d\d-\d\d-\d\d(?!\d)")
_NEAR: Final = timedelta(days=45)
_KINDS: Final = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<day>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?Z?\b"), "<clock>"),
    (re.compile(r"\b(A-)?[0-9A-HJKMNP-TV-Z]{13}\b"), "<id>"),
    (re.compile(r"\brf_[\w-]{20,}"), "<token>"),
    # It counts what its process saw, and two changes at once are seen as one.
    (re.compile(r"(?<=cursor )[0-9a-f]+-\d+\b"), "<cursor>"),
    (re.compile(r"(?<![\w+])[0-9a-f]{8,128}\b"), "<hex>"),
    (re.compile(r"(?<![\w.])[\d,]+(\.\d+)? (bytes|[kKMG]i?B)\b"), "<size>"),
    (re.compile(r"(?<![\w.])\d+(\.\d+)? ?(ms|us|s|min|h|d)\b"), "<span>"),
    (re.compile(r"\bnow \d+\b"), "now <n>"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a transcript: its text, what is shown of its output, and its lines there."""

    line: int
    text: str
    shown: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Report whether it runs in the background."""
        return self.text.rstrip().endswith("&")


@dataclass(frozen=True, slots=True)
class File:
    """A file that the page shows."""

    line: int
    name: str
    text: str


Step = Command | File


def steps(text: str) -> Iterator[Step]:
    """Return the commands of a page, in its order."""
    before = ""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            before = lines[at].strip() or before
            at += 1
            continue
        end = next(n for n in range(at + 1, len(lines)) if lines[n].rstrip() == fence[1])
        inside = lines[at + 1 : end]
        named = _FILE.match(before)
        if fence[2] == "console":
            yield from _commands(inside, at + 2)
        elif named:
            yield File(at + 2, named[1], "\n".join(inside) + "\n")
        before = ""
        at = end + 1


def _commands(lines: list[str], first: int) -> Iterator[Command]:
    """The commands of one block; the first line has number `first`."""
    at = 0
    while at < len(lines):
        typed = [lines[at][2:]]
        if not lines[at].startswith("$ "):
            raise ValueError(f"line {first + at}: a transcript begins with `$ `: {lines[at]!r}")
        begin = at
        at += 1
        while at < len(lines) and (lines[at].startswith("> ") or lines[at] == ">"):
            typed.append(lines[at][2:])
            at += 1
        shown = []
        while at < len(lines) and not lines[at].startswith("$ "):
            shown.append(lines[at])
            at += 1
        yield Command(first + begin, "\n".join(typed), tuple(shown))


def moved(text: str, days: int) -> str:
    """`text` with each day near the documentation's own moved by `days`."""

    def later(found: re.Match[str]) -> str:
        day = date.fromisoformat(found[0])
        then = day + timedelta(days)
        near = min(abs(day - DOCS_DAY), abs(then - DOCS_DAY)) <= _NEAR
        return then.isoformat() if near else found[0]

    return _DAY.sub(later, text)


def by_kind(line: str) -> str:
    """The line with everything that differs from run to run put as its kind."""
    for pattern, kind in _KINDS:
        line = pattern.sub(kind, line)
    return line.strip()


def difference(command: Command, output: str) -> str:
    """Return the part of an output that is not shown, or the other way round; "" if they agree.

    Of a command that stays only some lines have to be shown.
    """
    wanted = [by_kind(line) for line in command.shown]
    if command.stays:
        wanted = [one for line in wanted for one in ("...", line)] + ["..."]
    found = [by_kind(line) for line in output.rstrip("\n").split("\n")] if output.strip() else []
    pattern = ""
    for line in wanted:
        if line == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += r"[^\n]*".join(map(re.escape, line.split("..."))) + "\n"
    text = "".join(f"{line}\n" for line in found)
    if re.fullmatch(pattern, text):
        return ""
    return "shown:\n" + "\n".join(wanted) + "\nprinted:\n" + "\n".join(found)


def pages(root: Path) -> list[Path]:
    """Return every page with a transcript: those at the root and below docs/."""
    found = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    return sorted(path for path in found if "```console" in path.read_text())

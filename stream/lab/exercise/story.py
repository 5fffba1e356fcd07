"""Tells the exercise on the terminal while it is played, and remembers it for the report.

What stands on the screen is what was done: commands as an operator types them, what was expected of
them, what was seen. On a file the same lines come without colour.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from stream.lab.demo.product import Said
from stream.lab.demo.screen import ACCENT, BLOCK, DIM, GOOD
from stream.lab.demo.servers import Servers
from stream.lab.exercise.expect import Check

INDENT = 3


class Operated(Protocol):
    """A country or the hub: its operators type commands."""

    @property
    def name(self) -> str:
        """The name before the prompt."""

    async def command(self, *words: str) -> Said:
        """Run `ringfence WORDS`."""


@dataclass
class Act:
    """One scene as it was played. `lines` are what was done and said, in order; `failed` why it
    ended early, "" where it did not.
    """

    name: str
    title: str
    lines: list[str] = field(default_factory=list)
    findings: list[Check] = field(default_factory=list)
    failed: str = ""
    took_s: float = 0.0

    @property
    def held(self) -> bool:
        """All of it was as it had to be; a scene that checks nothing does not hold."""
        return bool(self.findings) and not self.failed and all(one.held for one in self.findings)


class Story:
    """The exercise as it is shown, and as it is kept for the report."""

    def __init__(self, console: Console, *, plain: bool) -> None:
        self._console = console
        self._plain = plain
        self.acts: list[Act] = []
        self.left_out: dict[str, str] = {}

    @property
    def held(self) -> bool:
        """Every scene held; without any, nothing was shown."""
        return bool(self.acts) and all(act.held for act in self.acts)

    @contextmanager
    def act(self, name: str, title: str, text: str) -> Iterator[Act]:
        """One scene."""
        act = Act(name, title)
        self.acts.append(act)
        self._console.print()
        if self._plain:
            self._console.print(f"== {name}: {title}", soft_wrap=True)
        else:
            self._console.print(Rule(Text(f" {title} ", f"bold {ACCENT}"), align="left", style=DIM))
        self.tells(text)
        began_s = time.monotonic()
        yield act
        act.took_s = time.monotonic() - began_s

    def leaves_out(self, name: str, why: str) -> None:
        """A scene that cannot be played here."""
        self.left_out[name] = why
        self._console.print(f"\n{name}: not played: {why}", style=DIM, soft_wrap=True)

    def tells(self, text: str) -> None:
        """Show a sentence on what happens."""
        self.acts[-1].lines.append(text)
        self._line(Text(text))

    async def does(self, who: Operated, *words: str, shown: str = "") -> Said:
        """An operator's command, shown and run; `shown` stands for long words."""
        said = shown or " ".join(_as_typed(word) for word in words)
        line = f"{who.name}$ ringfence {said}"
        self.acts[-1].lines.append(line)
        prompt, _, rest = line.partition(" ")
        self._line(Text(rest, "bold"), Text(f"{prompt} ", f"bold {ACCENT}"))
        with self._waiting("..."):
            return await who.command(*words)

    def edits(self, who: Operated, what: str) -> None:
        """A change of a file, by hand."""
        line = f"{who.name}: {what}"
        self.acts[-1].lines.append(line)
        self._line(Text(what, "bold"), Text(f"{who.name}: ", f"bold {ACCENT}"))

    def quotes(self, text: str, lines_max: int = 4) -> None:
        """The first lines of what a command printed."""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()][:lines_max]
        self.acts[-1].lines += [f"  {line}" for line in lines]
        for line in lines:
            self._line(Text(line, style=DIM), Text("  "))

    def check(self, *findings: Check) -> bool:
        """Tell what was expected and seen; whether all of it held."""
        for finding in findings:
            self.acts[-1].findings.append(finding)
            mark, style = ("ok", GOOD) if finding.held else ("FAILED", f"bold {BLOCK}")
            seen = Text(f"  {finding.seen}", style=DIM if finding.held else style)
            self._line(Text(finding.expected) + seen, Text(f"{mark:<6} ", style))
        return all(finding.held for finding in findings)

    def fails(self, why: str) -> None:
        """The scene could not be played to its end."""
        self.acts[-1].failed = why
        self._line(Text(f"FAILED {why}", style=f"bold {BLOCK}"))

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Something takes a while."""
        with self._waiting(what):
            yield

    @contextmanager
    def _waiting(self, what: str) -> Iterator[None]:
        if self._plain:
            yield
        else:
            with self._console.status(Text(what, style=DIM)):
                yield

    def _line(self, text: Text, before: Text | None = None) -> None:
        """One line; where it is too long, what follows stands below `text`, not below `before`."""
        before = before or Text()
        if self._plain:
            self._console.print(Text(" " * INDENT) + before + text, soft_wrap=True)
            return
        line = Table.grid()
        line.add_column(no_wrap=True, width=len(before.plain))
        line.add_column()
        line.add_row(before, text)
        self._console.print(Padding(line, (0, 0, 0, INDENT)))


def _as_typed(word: str) -> str:
    return f'"{word}"' if not word or set(word) & set(" *;&|<>()") else word


def summary(story: Story, took_s: float) -> RenderableType:
    """A line for each scene, and one sentence on whether all held."""
    table = Table(box=box.ROUNDED, border_style=DIM, padding=(0, 1))
    table.add_column("scene", no_wrap=True)
    table.add_column("")
    table.add_column("checks", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for act in story.acts:
        held = sum(one.held for one in act.findings)
        outcome = Text("ok", GOOD) if act.held else Text("FAILED", f"bold {BLOCK}")
        figures = f"{held} of {len(act.findings)}"
        table.add_row(act.name, act.title, figures, outcome)
    for name, why in story.left_out.items():
        table.add_row(name, Text(f"not played: {why}", DIM), "-", "")
    failed = [act.name for act in story.acts if not act.held]
    if story.held:
        words = Text(f"All held, in {took_s:.0f} s.", f"bold {GOOD}")
    else:
        words = Text(f"FAILED: {', '.join(failed) or 'nothing was played'}.", f"bold {BLOCK}")
    return Group(Text(), table, words)


def as_json(story: Story, servers: Servers, isos: tuple[str, ...], took_s: float) -> bytes:
    """The steps as JSON: what was done, expected and seen."""
    whole = {
        "held": story.held,
        "seconds": round(took_s, 1),
        "countries": isos,
        "broker": servers.broker,
        "redis": servers.redis,
        "scenes": [_act(act) for act in story.acts],
        "not_played": story.left_out,
    }
    return msgspec.json.format(msgspec.json.encode(whole)) + b"\n"


def _act(act: Act) -> dict[str, Any]:
    return {
        "name": act.name,
        "title": act.title,
        "held": act.held,
        "failed": act.failed,
        "seconds": round(act.took_s, 1),
        "done": act.lines,
        "checks": [one._asdict() for one in act.findings],
    }

"""What is left of an exercise: a table at the end, and a file with every step of it."""

from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.lab.demo.screen import BLOCK, DIM, GOOD
from stream.lab.demo.servers import Servers
from stream.lab.exercise.story import Act, Story


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
    """All that was done, expected and seen."""
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

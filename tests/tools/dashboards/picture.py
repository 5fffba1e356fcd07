"""A dashboard drawn as an SVG: `python -m tests.tools.dashboards.picture overview FILE.svg`.

For docs/how-to/operate/monitor.md, where no Grafana is at hand: panels lie where the dashboard's
file says, and show what a real Prometheus answers to its queries over a real run of all
processes. How Grafana draws them differs in detail.
"""

import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from stream.ops.tasks import running
from tests.tools.dashboards.files import FOLDER
from tests.tools.faults.place import JOBS, Place, fresh
from tests.tools.faults.watch import Prometheus

COLUMN: Final = 50
LINE: Final = 34
GAP: Final = 8
RUN_S: Final = 120
SHOWN_S: Final = 90
COLOURS: Final = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#b877d9", "#37872d")
NAMED: Final = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c", "transparent": ""}


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and values over time (seconds since the epoch)."""

    name: str
    points: Sequence[tuple[float, float]]


def said(value: float, unit: str) -> str:
    """A value as a person reads it."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if value < 1 else f"{value:,.3g} s"
    return f"{value:,.3g}" + ("/s" if unit in {"cps", "reqps"} else "")


def drawn(document: dict[str, Any], answers: dict[int, list[Series]]) -> str:
    """The whole dashboard; `answers` by the place of a panel in the file."""
    parts: list[str] = []
    bottom = 0
    for place, panel in enumerate(document["panels"]):
        at = panel["gridPos"]
        x, y = at["x"] * COLUMN + GAP, at["y"] * LINE + 44
        width, height = at["w"] * COLUMN - GAP, at["h"] * LINE - GAP
        bottom = max(bottom, y + height)
        if panel["type"] == "row":
            parts.append(_text(x, y + 20, panel["title"], 15, "#ccccdc", weight=600))
            continue
        box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3"'
        parts.append(f'{box} fill="#181b1f" stroke="#2c3235"/>')
        parts.append(_text(x + 10, y + 20, panel["title"], 13, "#ccccdc", weight=600))
        inner = _figure if panel["type"] == "stat" else _graph
        parts += inner(panel, answers[place], x + 10, y + 30, width - 20, height - 40)
    size = f'width="{24 * COLUMN + GAP}" height="{bottom + GAP}"'
    head = _text(GAP, 28, document["title"], 20, "#ffffff", weight=600)
    style = "font-family='Inter, system-ui, sans-serif'"
    back = '<rect width="100%" height="100%" fill="#111217"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style} role="img">'
        f"<title>{escape(document['title'])}</title>{back}{head}{''.join(parts)}</svg>\n"
    )


def _text(x: float, y: float, text: str, size: int, colour: str, **more: Any) -> str:
    extra = f' font-weight="{more["weight"]}"' if "weight" in more else ""
    anchor = f' text-anchor="{more["anchor"]}"' if "anchor" in more else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}"{extra}{anchor}>'
        f"{escape(text)}</text>"
    )


def _figure(
    panel: dict[str, Any], series: list[Series], x: int, y: int, width: int, height: int
) -> Iterable[str]:
    defaults = panel["fieldConfig"]["defaults"]
    value = series[0].points[-1][1] if series and series[0].points else 0.0
    steps = defaults["thresholds"]["steps"]
    reached = [one["color"] for one in steps if one["value"] is None or value >= one["value"]]
    colour = NAMED[reached[-1]]
    yield _text(x, y + 40, said(value, defaults["unit"]), 30, colour, weight=600)
    if series:
        yield _line(series[0], x, y + 48, width, height - 48, _most(series), colour)


def _graph(
    panel: dict[str, Any], series: list[Series], x: int, y: int, width: int, height: int
) -> Iterable[str]:
    unit, most = panel["fieldConfig"]["defaults"]["unit"], _most(series)
    left, plot = x + 56, height - 20 * min(len(series), 4) - 8
    for part in (0, 0.5, 1):
        at = y + plot - part * (plot - 8)
        yield f'<path d="M{left} {at:g}H{x + width}" stroke="#2c3235"/>'
        yield _text(left - 6, at + 4, said(part * most, unit), 11, "#9fa7b3", anchor="end")
    for place, one in enumerate(series):
        colour = COLOURS[place % len(COLOURS)]
        yield _line(one, left, y + 8, width - 56, plot - 8, most, colour)
        if place < 4:
            below = y + plot + 20 * (place + 1) - 2
            yield f'<path d="M{left} {below - 4:g}h14" stroke="{colour}" stroke-width="3"/>'
            yield _text(left + 20, below, one.name, 12, "#ccccdc")
            last = said(one.points[-1][1], unit) if one.points else "-"
            yield _text(x + width, below, last, 12, "#ccccdc", anchor="end")


def _most(series: Iterable[Series]) -> float:
    return max((value for one in series for _, value in one.points), default=0.0) or 1.0


def _line(
    series: Series, x: float, y: float, width: float, height: float, most: float, colour: str
) -> str:
    if len(series.points) < 2:
        return ""
    first, last = series.points[0][0], series.points[-1][0]
    places = " ".join(
        f"{x + width * (at - first) / (last - first):.1f},{y + height * (1 - value / most):.1f}"
        for at, value in series.points
    )
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>'


async def _asked(prometheus: Prometheus, panel: dict[str, Any], end_s: float) -> list[Series]:
    found: list[Series] = []
    for target in panel["targets"]:
        words = {"start": f"{end_s - SHOWN_S}", "end": f"{end_s}", "step": "2"}
        data = await prometheus.ask("query_range", query=target["expr"], **words)
        for one in data["result"]:
            labels = one["metric"]
            legend = target["legendFormat"]
            name = re.sub(r"\{\{(\w+)\}\}", lambda m, of=labels: of.get(m[1], ""), legend)  # type: ignore[misc]
            points = [(at, float(value)) for at, value in one["values"] if value != "NaN"]
            found.append(Series(name, points))
    return sorted(found, key=lambda one: -one.points[-1][1] if one.points else 0)


async def main(name: str, file: Path) -> None:
    """Run everything for two minutes, ask, draw."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    with tempfile.TemporaryDirectory() as folder, Place(fresh(Path(folder) / "place")) as place:
        place.keys.with_name("away").rename(place.keys)
        place.rate, place.listed_share = 300.0, 0.05
        jobs = {job: [place.ports[one] for one in names] for job, names in JOBS.items()}
        async with (
            Prometheus(Path(folder) / "prometheus", jobs) as prometheus,
            running(place.calls(), "calls"),
        ):
            await asyncio.sleep(RUN_S)
            answers = {
                at: await _asked(prometheus, panel, time.time())
                for at, panel in enumerate(document["panels"])
                if panel["type"] != "row"
            }
    file.write_text(drawn(document, answers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))

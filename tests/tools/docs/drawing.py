"""A picture of boxes and arrows as SVG, from a small TOML file.

`[boxes.<id>]`: `at` = column and row, `text`, `kind` (outside, process, store). `arrows`: from, to,
and with `by` the side that each end leaves or enters by (r, l, t, b).
"""

import tomllib
from html import escape
from pathlib import Path
from typing import Any, Final

COLUMN: Final = 178
ROW: Final = 92
WIDTH: Final = 144
HEIGHT: Final = 56
EDGE: Final = 20
_STYLE: Final = """\
svg{font:14px system-ui,sans-serif}
.ground{fill:#fbfbfd;stroke:#d6d8de}
.box{stroke-width:1.5}
.outside{fill:#ffffff;stroke:#8a8f99;stroke-dasharray:4 3}
.process{fill:#e3eefc;stroke:#2f6fba}
.store{fill:#fdf1d8;stroke:#b0792b}
text{fill:#1b1f27;text-anchor:middle}
.small{font-size:12px;fill:#4a505c}
path{fill:none;stroke:#4a505c;stroke-width:1.4;marker-end:url(#head)}
"""
_ROLE: Final = 'role="img" aria-labelledby="title"'
_HEAD: Final = """\
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" \
orient="auto"><path d="M0 0L8 4L0 8z" style="fill:#4a505c;stroke:none;marker-end:none"/></marker>\
</defs>"""


def drawing(path: Path) -> str:
    """The picture that the file describes."""
    table = tomllib.loads(path.read_text())
    boxes = table["boxes"]
    columns = 1 + max(box["at"][0] for box in boxes.values())
    rows = 1 + max(box["at"][1] for box in boxes.values())
    width = int(columns * COLUMN - (COLUMN - WIDTH) + 2 * EDGE)
    height = int(rows * ROW - (ROW - HEIGHT) + 2 * EDGE)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_ROLE}>',
        f'<title id="title">{escape(table["title"])}</title>',
        f"<style>{_STYLE}</style>",
        _HEAD,
        f'<rect class="ground" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>',
    ]
    lines += [_arrow(boxes, *arrow) for arrow in table["arrows"]]
    lines += [line for box in boxes.values() for line in _box(box)]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _corner(box: dict[str, Any]) -> tuple[float, float]:
    return EDGE + box["at"][0] * COLUMN, EDGE + box["at"][1] * ROW


def _box(box: dict[str, Any]) -> list[str]:
    x, y = _corner(box)
    words = box["text"].split("\n")
    top = y + HEIGHT / 2 + 4 - 8 * (len(words) - 1)
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    lines = [f'<rect class="box {box["kind"]}" x="{x:g}" y="{y:g}" {size} rx="6"/>']
    for index, word in enumerate(words):
        kind = ' class="small"' if index else ""
        lines.append(
            f'<text{kind} x="{x + WIDTH / 2:g}" y="{top + 16 * index:g}">{escape(word)}</text>'
        )
    return lines


def _end(box: dict[str, Any], side: str) -> tuple[float, float]:
    x, y = _corner(box)
    places = {
        "l": (x, y + HEIGHT / 2),
        "r": (x + WIDTH, y + HEIGHT / 2),
        "t": (x + WIDTH / 2, y),
        "b": (x + WIDTH / 2, y + HEIGHT),
    }
    return places[side]


def _arrow(boxes: dict[str, Any], begin: str, end: str, sides: str = "rl") -> str:
    """An arrow in one or two bends, leaving and entering by the sides."""
    (ax, ay), (bx, by) = _end(boxes[begin], sides[0]), _end(boxes[end], sides[1])
    if sides in ("rl", "lr"):
        middle = (ax + bx) / 2
        way = f"H{middle:g}V{by:g}H{bx:g}"
    elif sides in ("bt", "tb"):
        middle = (ay + by) / 2
        way = f"V{middle:g}H{bx:g}V{by:g}"
    elif sides[0] in "rl":
        way = f"H{bx:g}V{by:g}"
    else:
        way = f"V{by:g}H{bx:g}"
    return f'<path d="M{ax:g} {ay:g}{way}"/>'

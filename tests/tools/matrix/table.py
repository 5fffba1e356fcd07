"""The table of versions in the documentation, which is also where earlier runs are kept."""

import re
from collections.abc import Mapping
from dataclasses import astuple, dataclass

from tests.tools.matrix.versions import MAIN, ROOT, VERSIONS, WITHOUT_REDIS

PAGE = ROOT / "docs" / "how-to" / "operate" / "versions.md"
_BEGIN, _END = "<!-- written by make matrix -->\n", "<!-- end -->\n"
_HEAD = ("| version | in full | beside it | tests that passed | day |", "|---|---|---|---|---|")
LACKING = "Not passed, or not to be had when it was asked for: "


@dataclass(frozen=True, slots=True)
class Row:
    """A version that passed: what it was in full, with which others, how many tests, and when."""

    name: str
    full: str
    beside: str
    passed: str
    day: str


def read() -> dict[str, Row]:
    """Return the rows of the page."""
    found = re.findall(r"^\| (.+?) \|$", _written(PAGE.read_text()), re.MULTILINE)
    rows = [Row(*line.split(" | ")) for line in found if not line.startswith(("version", "-"))]
    return {row.name: row for row in rows}


def write(rows: Mapping[str, Row]) -> None:
    """Write the rows into the page, and which versions have none."""
    before, begin, rest = PAGE.read_text().partition(_BEGIN)
    PAGE.write_text(before + begin + block(rows) + _END + rest.partition(_END)[2])


def block(rows: Mapping[str, Row]) -> str:
    """Return the written part of the page."""
    lines = [*_HEAD]
    lines += [f"| {' | '.join(astuple(rows[one.name]))} |" for one in VERSIONS if one.name in rows]
    lacking = [one.name for one in VERSIONS if one.name not in rows]
    if lacking:
        lines += ["", f"{LACKING}{', '.join(lacking)}."]
    passed_over = dict.fromkeys(WITHOUT_REDIS, " (not on another Redis)")
    lines += ["", "The tests of a run:", ""]
    lines += [f"- {subject}{passed_over.get(subject, '')}" for subject in MAIN]
    return "\n" + "\n".join(lines) + "\n\n"


def _written(text: str) -> str:
    """Return what stands between the two marks."""
    return text.partition(_BEGIN)[2].partition(_END)[0]

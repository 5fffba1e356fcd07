"""The index of decisions: one file each in docs/decisions, `NNNN-slug.md`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.tools.docs.markdown import page, table

PARTS: Final = ("## Choice", "## Alternatives", "## Price", "## How we would notice")
"""The headings below the title that each decision has, in this order."""
STATUSES: Final = ("accepted", "replaced")
_NAME: Final = re.compile(r"(\d{4})-[a-z0-9-]+\.md")
_FACT: Final = re.compile(r"^- (Date|Status|Area): (.+)$", re.MULTILINE)
# Any line that begins so: Markdown takes `##Choice` for text, and the part would be missing.
_HEADING: Final = re.compile(r"^ {0,3}#.*$", re.MULTILINE)
_CODE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, as its file has it."""

    path: Path
    number: int
    title: str
    date: str
    status: str
    area: str
    headings: tuple[str, ...]


def decisions(folder: Path) -> Iterator[Decision]:
    """Every decision of the folder, by its number. Raises ValueError where a file has no form."""
    for path in sorted(folder.glob("*.md")):
        name = _NAME.fullmatch(path.name)
        text = path.read_text()
        facts = dict(_FACT.findall(text))
        if name is None or facts.keys() != {"Date", "Status", "Area"}:
            raise ValueError(f"{path}: NNNN-slug.md with the lines Date, Status and Area")
        yield Decision(
            path,
            int(name[1]),
            text.partition("\n")[0].removeprefix("# ").strip(),
            facts["Date"],
            facts["Status"],
            facts["Area"],
            tuple(_HEADING.findall(_CODE.sub("", text))),
        )


def decisions_index(folder: Path) -> str:
    """The page that lists them, by area."""
    found = list(decisions(folder))
    parts = []
    for area in dict.fromkeys(sorted(one.area for one in found)):
        rows = [
            (f"{one.number:04}", one.date.replace("-", "\u2011"), _titled(one))
            for one in found
            if one.area == area
        ]
        parts.append([f"## {area[0].upper()}{area[1:]}", "", *table(_HEADER, rows)])
    return page(
        "Decisions",
        [
            "Each page is one choice: its reasons, alternatives and price, and how we would",
            "notice that it was wrong. `replaced` names the successor.",
            "",
        ],
        *parts,
    )


_HEADER: Final = ("no.", "date", "decision")


def _titled(one: Decision) -> str:
    status = "" if one.status == "accepted" else f" ({one.status})"
    return f"[{one.title}]({one.path.name}){status}"

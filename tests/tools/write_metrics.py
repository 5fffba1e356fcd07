"""Write the catalogue of metrics into deploy/METRICS.md: `make docs-metrics`."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import MetricEntry
from tests.support.metrics import CATALOGUES

TABLE = Path(__file__).parents[2] / "deploy/METRICS.md"
BEGIN, END = "<!-- written by `make docs-metrics` -->", "<!-- end -->"


def _row(entry: MetricEntry) -> str:
    cells = (
        f"`{entry.name}`",
        entry.kind,
        ", ".join(entry.labels),
        entry.unit,
        entry.meaning,
        entry.do,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table() -> Iterator[str]:
    """The lines between the markers, a table for each kind of process."""
    for make, title in CATALOGUES.items():
        yield f"\n## {title}\n"
        yield "| name | type | labels | unit | meaning | what to do |"
        yield "|---|---|---|---|---|---|"
        yield from map(_row, make(CollectorRegistry()).entries)


def renewed(text: str) -> str:
    """`text` with the part between the markers replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(table()) + "\n" + END + after


if __name__ == "__main__":
    TABLE.write_text(renewed(TABLE.read_text()))

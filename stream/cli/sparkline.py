"""A row of figures as a line of blocks, for a terminal."""

from collections.abc import Sequence

SPARKS = "▁▂▃▄▅▆▇█"


def spark(values: Sequence[float], width: int) -> str:
    """The last `width` values as a line of blocks, scaled to the largest of them."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    if most <= 0:
        return " " * width
    line = "".join(SPARKS[min(7, int(value / most * 7.99))] for value in shown)
    return line.rjust(width)

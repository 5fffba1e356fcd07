"""Rows that are found one at a time, gathered into chunks of `Rows`."""

from collections.abc import Iterator, Sequence

from stream.feeds.formats.rows import RejectedRow, Rows, Wrong

ROWS_MAX = 20_000
"""Rows of a chunk: their Python objects take some 20 MB."""
CHARS_MAX = 16 << 20
"""Characters that a chunk holds, should its rows be long ones."""
TAGS_MAX = 100
"""Tags of a row that are looked at."""


class Collector:
    """Holds rows until there are enough for a chunk.

    `drain` gives what is full, `rest` what is left at the end.
    """

    def __init__(self, *, holds_from_then: bool = False) -> None:
        self._holds_from_then = holds_from_then
        self._rows: list[tuple[int, str, str | None, tuple[str | None, ...]]] = []
        self._tags: list[Sequence[str]] = []
        self._removed: list[bool] = []
        self._unreadable: list[RejectedRow] = []
        self._passed_over = 0
        self._chars = 0

    def add(
        self,
        line: int,
        original: str,
        number: str | None,
        *,
        category: str | None = None,
        source: str | None = None,
        reported_at: str | None = None,
        expires_at: str | None = None,
        confidence: str | None = None,
        tags: Sequence[str] = (),
        removed: bool = False,
    ) -> None:
        """One row; see `Rows`."""
        values = (category, source, reported_at, expires_at, confidence)
        tags = tags[:TAGS_MAX]
        self._chars += len(original) + sum(map(len, tags)) + len(source or "") + len(category or "")
        self._rows.append((line, original, number, values))
        self._tags.append(tags)
        self._removed.append(removed)

    def reject(self, line: int, wrong: Wrong, detail: str, original: str) -> None:
        """One row that cannot be read."""
        self._chars += len(original) + len(detail)
        self._unreadable.append(RejectedRow(line, wrong, detail, original))

    def pass_over(self) -> None:
        """One row that its own file wants on no list."""
        self._passed_over += 1

    def drain(self) -> Iterator[Rows]:
        """Yield a chunk, if there are rows enough for one."""
        if len(self._rows) + len(self._unreadable) >= ROWS_MAX or self._chars > CHARS_MAX:
            yield from self.rest()

    def rest(self) -> Iterator[Rows]:
        """Yield the rows held back, as a chunk."""
        rows = self._rows
        fields = list(zip(*(row[3] for row in rows), strict=True)) or [()] * 5
        yield Rows(
            lines=[row[0] for row in rows],
            originals=[row[1] for row in rows],
            number=[row[2] for row in rows],
            category=fields[0],
            source=fields[1],
            reported_at=fields[2],
            expires_at=fields[3],
            confidence=fields[4],
            unreadable=tuple(self._unreadable),
            tags=self._tags,
            removed=self._removed,
            passed_over=self._passed_over,
            holds_from_then=self._holds_from_then,
        )
        self._rows, self._tags, self._removed = [], [], []
        self._unreadable, self._passed_over, self._chars = [], 0, 0

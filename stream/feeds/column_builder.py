"""The good rows of a file, gathered chunk by chunk until they are columns. Pure.

Each chunk is hashed as soon as it is read, and only its numbers' codes are kept: 28 bytes a row, of
which nothing is there twice but what is being put in order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import COLUMNS
from stream.core.model.entry import Columns
from stream.core.numbers.codes import codes_of
from stream.feeds.parse import Parsed
from stream.lists.snapshot.merge import in_order


class Gathered:
    """Rows of one file, of numbers in the circle with `key`."""

    def __init__(self, key: bytes) -> None:
        self.rows = 0
        self._key = key
        self._parts: dict[str, list[NDArray[Any]]] = {column.name: [] for column in COLUMNS}

    def add(self, parsed: Parsed, category: NDArray[np.uint8] | None = None) -> None:
        """More rows; with `category` in place of their own."""
        if not len(parsed):
            return
        self.rows += len(parsed)
        made: dict[str, NDArray[Any]] = {
            # A copy: what fingerprints are a view of is eight times as large.
            "fingerprint": Digests(elements(parsed.numbers, self._key)).fingerprints().copy(),
            "number": codes_of(parsed.numbers),
            "category": parsed.category if category is None else category,
        }
        for name, part in self._parts.items():
            part.append(made[name] if name in made else getattr(parsed, name))

    def columns(self, sources: tuple[str, ...]) -> Columns:
        """All rows in order, which are let go of; `sources` are the parser's.

        Of a (number, source) given twice the last row counts. Raises SnapshotUnreadable for more
        sources than a list can have.
        """
        arrays: dict[str, NDArray[Any]] = {}
        for column in COLUMNS:
            parts = self._parts.pop(column.name)
            arrays[column.name] = np.concatenate(parts) if parts else np.empty(0, column.dtype)
        return in_order(arrays, sources)

"""One set of columns over another. Pure."""

import numpy as np
from numpy.typing import NDArray

from stream.core.entry import Columns
from stream.core.snapshot import COLUMNS


def empty_columns() -> Columns:
    """No entries."""
    return Columns(**{c.name: np.empty(0, c.dtype) for c in COLUMNS}, sources=())


def merged(old: Columns, new: Columns) -> Columns:
    """`old` with the entries of `new`; where both hold a number, `new` says what is true of it."""
    if not len(old):
        return new
    kept = ~held_in(new, old.fingerprint)
    places = {name: i for i, name in enumerate(old.sources)}
    for name in new.sources:
        places.setdefault(name, len(places))
    moved = np.array([places[name] for name in new.sources] or [0], np.uint16)
    fingerprint = np.concatenate([old.fingerprint[kept], new.fingerprint])
    order = np.argsort(fingerprint, kind="stable")
    arrays = {}
    for column in COLUMNS:
        added = getattr(new, column.name)
        if column.name == "source":
            added = moved[added]
        arrays[column.name] = np.concatenate([getattr(old, column.name)[kept], added])[order]
    return Columns(**arrays, sources=tuple(places))


def held_in(columns: Columns, fingerprints: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which of `fingerprints` are in `columns`."""
    return columns.find(fingerprints) >= 0

"""A list, or what changed in it, as a change file that another Ringfence reads as a feed. Pure."""

from collections.abc import Iterable, Iterator

import numpy as np

from stream.core.model.entry import Columns, Entry, text_of
from stream.feeds.formats.ringfence import Header, write
from stream.lists.snapshot.version_diff import Difference


def whole_list(name: str, generation: int, columns: Columns) -> Iterator[str]:
    """Yield all reports of a list at a generation, line by line.

    What only has a fingerprint cannot be named and is left out, here and in `increment`.
    """
    header = Header(name, whole=True, from_generation=0, to=generation)
    return write(header, _entries(columns, range(len(columns))), ())


def increment(name: str, old: int, new: int, found: Difference) -> Iterator[str]:
    """Yield the lines of a change file from generation `old` of a list to `new`."""
    header = Header(name, whole=False, from_generation=old, to=new)
    listed = np.concatenate([found.added, found.changed[1]]).tolist()
    was = found.old
    removed = (
        (text, was.sources[int(was.source[row])])
        for row in found.removed.tolist()
        if (text := text_of(int(was.number[row]))) is not None
    )
    return write(header, _entries(found.new, listed), removed)


def _entries(columns: Columns, rows: Iterable[int]) -> Iterator[Entry]:
    return (columns.entry(row) for row in rows)

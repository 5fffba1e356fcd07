"""A bare pybloom-live file: no rows, no reasons, only bits. What can be told of it is checked.

It becomes a list by `build.bare_snapshot`; all its matches are unconfirmed. Whether it was made
with another circle's key, or by pybloom-live 3, can only be told by `samples`: numbers known to be
on it, which the feed names.
"""

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.bloom import Filter, check_members, read_filter
from stream.core.model.errors import FilterUnreadable
from stream.feeds.formats.rows import InputUnreadable


def read(data: bytes, key: bytes = b"", samples: NDArray[np.bytes_] | None = None) -> Filter:
    """The filter in a file, for the circle with `key`; `samples` S16. Raises InputUnreadable."""
    try:
        held = read_filter(data)
        if samples is not None:
            check_members(held, key, samples)
    except FilterUnreadable as error:
        raise InputUnreadable(f"not a filter that can be used: {error}") from error
    if not held.count:
        raise InputUnreadable("the filter says that it is empty")
    return held

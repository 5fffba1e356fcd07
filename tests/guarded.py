"""Memory that ends where it says: a read beyond it kills the process, instead of passing unseen."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from tests.guard import guarded


@contextmanager
def guarded_bytes(size: int) -> Iterator[NDArray[np.uint8]]:
    """`size` bytes whose end is the end of what may be read."""
    yield guarded(size)

"""Memory behind which no byte can be read or written: a process that tries ends."""

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class Guarded:
    """Makes such memory; in place of a module's `np` it makes its bytes there as well."""

    def __init__(self) -> None:
        self.made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any) -> NDArray[Any]:
        """`numpy.empty`."""
        if dtype is not np.uint8:
            return np.empty(shape, dtype)
        self.made += 1
        return guarded(shape)


def guarded(size: int) -> NDArray[np.uint8]:
    """`size` bytes, all 0, whose end is the end of what may be read."""
    whole = -(-max(size, 1) // _PAGE) * _PAGE
    memory = mmap.mmap(-1, whole + _PAGE)
    end = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + whole
    # It stays so until the process ends: an array may outlive the caller that asked for it.
    assert _libc.mprotect(ctypes.c_void_p(end), _PAGE, 0) == 0
    _KEPT.append(memory)
    return np.frombuffer(memory, np.uint8, size, whole - size)


_KEPT: list[mmap.mmap] = []

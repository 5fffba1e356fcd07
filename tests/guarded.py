"""Memory that ends where it says: a read beyond it kills the process, instead of passing unseen."""

import ctypes
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LIBC = ctypes.CDLL(None, use_errno=True)
_KEPT: list[mmap.mmap] = []


def guarded(array: NDArray[Any]) -> NDArray[Any]:
    """A copy of `array` whose last byte is the last of a page; the page behind may not be touched.

    The pages stay until the process ends.
    """
    page = mmap.PAGESIZE
    pages = -(-array.nbytes // page)
    held = mmap.mmap(-1, (pages + 1) * page)
    _KEPT.append(held)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(held))
    refused = _LIBC.mprotect(
        ctypes.c_void_p(begin + pages * page), ctypes.c_size_t(page), ctypes.c_int(0)
    )
    assert not refused, "a page could not be guarded"
    whole = np.frombuffer(held, np.uint8, pages * page)
    copy = whole[pages * page - array.nbytes :].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy

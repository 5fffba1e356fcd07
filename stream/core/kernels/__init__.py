"""The loops that are measured in nanoseconds a number, twice: compiled by Numba, and in NumPy.

The modules here that import `jit` are compiled; they are imported only once `activate` has said
that they can be used, so that a command which looks at one list never pays for Numba (0.5 s).
`reference` is the same in NumPy: it serves where Numba is missing, and is what tests hold the
compiled ones against.
"""

from stream.core.kernels import reference

__all__ = ["compiled", "reference"]


class _State:
    compiled = False


def compiled() -> bool:
    """Whether compiled kernels are in use; they are after `warm.activate`."""
    return _State.compiled

"""The loops that are measured in nanoseconds a number, twice: compiled by Numba, and in NumPy.

docs/understand/fast-path.md says how they, the fetcher and record batches work together.

The modules here that import `jit` are compiled; they are imported only once `activate` has said
that they can be used, so that a command which looks at one list never pays for Numba (0.5 s).
`reference` is the same in NumPy. It stays in the product: it serves where Numba is missing or may
not run, and tests hold the compiled ones against it. Oracles of tests alone are in tests/oracles.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from stream.core.kernels import reference

__all__ = ["activate", "cache_names", "compiled", "reference", "reference_only"]

_NOT_COMPILED = frozenset({"jit", "reference"})


class _State:
    # Of the process: kernels are loaded once, and serve all its threads.
    compiled = False


def compiled() -> bool:
    """Report whether compiled kernels are in use; they are after `activate`."""
    return _State.compiled


def activate(cache_dir: Path | None) -> str:
    """Use the compiled kernels from now on; "" if they are in use, else why they are not.

    What was compiled before is read from `cache_dir`, what was not is compiled (about 20 s in all)
    and kept there; None: compiled for this process alone. Who can write into the folder can run
    code here, since Numba keeps its results as pickles: see `ops.kernels`, which checks the folder.
    """
    try:
        jit = import_module("stream.core.kernels.jit")
    except ImportError as error:
        return f"Numba cannot be imported: {error}"
    jit.keep_in(cache_dir)
    try:
        for name in _modules():
            import_module(f"{__name__}.{name}")
    except jit.CompileFailed as error:
        return f"the kernels cannot be compiled here: {error}"
    except OSError as error:
        return f"the kernels' cache cannot be used: {error}"
    _State.compiled = True
    return ""


def cache_names() -> frozenset[str]:
    """The folders of the cache that hold the kernels as they are now; other folders are old.

    Raises ImportError without Numba.
    """
    jit = import_module("stream.core.kernels.jit")
    return frozenset(jit.folder_of(name) for name in _modules())


def _modules() -> list[str]:
    return [found.name for found in iter_modules(__path__) if found.name not in _NOT_COMPILED]


@contextmanager
def reference_only() -> Iterator[None]:
    """Without the compiled kernels while the block runs: how tests compare both."""
    before, _State.compiled = _State.compiled, False
    try:
        yield
    finally:
        _State.compiled = before

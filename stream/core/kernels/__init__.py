"""The loops that are measured in nanoseconds a number, twice: compiled by Numba, and in NumPy.

docs/understand/fast-path.md says how they, the fetcher and record batches work together.

The modules here that import `jit` are compiled; they are imported only once `activate` or
`activate_linked` has said that they can be used.
`reference` is the same in NumPy. It stays in the product: it serves where Numba is missing or may
not run, and tests hold the compiled ones against it. Oracles of tests alone are in tests/oracles.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from stream.core.kernels import linked, reference
from stream.core.kernels.linked import Unlinkable

__all__ = [
    "Unlinkable",
    "activate",
    "activate_linked",
    "cache_names",
    "compiled",
    "linked_name",
    "packed",
    "reference",
    "reference_only",
]

_NOT_COMPILED = frozenset({"compiler", "jit", "linked", "reference"})


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
    if _State.compiled:
        return ""
    try:
        compiler = import_module("stream.core.kernels.compiler")
    except ImportError as error:
        return f"Numba cannot be imported: {error}"
    compiler.keep_in(cache_dir)
    try:
        _import_all()
    except compiler.CompileFailed as error:
        return f"the kernels cannot be compiled here: {error}"
    except OSError as error:
        return f"the kernels' cache cannot be used: {error}"
    _State.compiled = True
    return ""


def activate_linked(file: Path) -> str:
    """Use the kernels of a file that `packed` made: "" if they are in use, else why they are not.

    Takes 0.02 s, where `activate` takes more than a second even if nothing has to be compiled.
    """
    if _State.compiled:
        return ""
    if f"{__name__}.jit" in sys.modules:
        return "modules of kernels are imported already, by Numba"
    try:
        linked.link(linked.unpacked(file.read_bytes()))
    except OSError as error:
        return f"{file}: {error.strerror}"
    except (linked.Unlinkable, ImportError) as error:
        return f"{file}: {error}"
    _import_all()
    _State.compiled = True
    return ""


def linked_name(processor: str) -> str:
    """The name of the file of `activate_linked` for kernels as they are now, and a processor.

    Raises ImportError without Numba, and OSError.
    """
    return linked.file_name(processor)


def packed() -> bytes:
    """The file for `activate_linked` of the kernels that `activate` brought from its cache.

    Raises Unlinkable where they cannot be linked so, as on processors other than x86-64, and
    ImportError.
    """
    return linked.packed(import_module("stream.core.kernels.compiler").machine_code())


def cache_names() -> frozenset[str]:
    """The folders of the cache that hold the kernels as they are now; other folders are old.

    Raises ImportError without Numba.
    """
    compiler = import_module("stream.core.kernels.compiler")
    return frozenset(compiler.folder_of(name) for name in _modules())


def _import_all() -> None:
    for name in _modules():
        import_module(f"{__name__}.{name}")


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

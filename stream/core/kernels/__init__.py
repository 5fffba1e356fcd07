"""Loops that take nanoseconds a number, in two forms: compiled by Numba, and in NumPy.

docs/understand/fast-path.md explains how kernels, the fetcher and record batches work together.

Modules here that import `jit` are compiled. They are imported only after `activate` or
`activate_linked` has made kernels available.
`reference` is the NumPy form. It stays in the product for hosts where Numba is missing or may not
run, and tests compare the compiled form with it. Oracles for tests only are in tests/oracles.
"""

import sys
from collections.abc import Iterable, Iterator
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
    "compile_from_the_end",
    "compiled",
    "linked_name",
    "packed",
    "reference",
    "reference_only",
]

_NOT_COMPILED = frozenset({"compiler", "jit", "linked", "reference"})


class _State:
    # Process-wide: kernels are loaded once and serve all threads.
    compiled = False


def compiled() -> bool:
    """Report whether compiled kernels are in use; `activate` turns them on."""
    return _State.compiled


def activate(cache_dir: Path | None) -> str:
    """Use the compiled kernels from now on. Return "" on success, else why they cannot be used.

    Kernels are read from `cache_dir`; missing ones are compiled (about 20 s in all) and stored
    there. None compiles for this process alone. Numba stores pickles, so a user who can write to
    the folder can run code here. `ops.kernels` checks the folder.
    """
    if _State.compiled:
        return ""
    try:
        compiler = import_module("stream.core.kernels.compiler")
    except ImportError as error:
        return f"Numba cannot be imported: {error}"
    compiler.keep_in(cache_dir)
    try:
        _import_all(_modules())
    except compiler.CompileFailed as error:
        return f"the kernels cannot be compiled here: {error}"
    # Numba raises RuntimeError where it finds no folder of this code and may make none.
    except (OSError, RuntimeError) as error:
        return f"the kernels' cache cannot be used: {error}"
    _State.compiled = True
    return ""


def compile_from_the_end(cache_dir: Path) -> None:
    """Store the kernels that `cache_dir` lacks, from the last module to the first.

    For a process beside one that calls `activate`. Raises ImportError, OSError, or CompileFailed.
    """
    import_module("stream.core.kernels.compiler").keep_in(cache_dir)
    _import_all(reversed(_modules()))


def activate_linked(file: Path) -> str:
    """Use the kernels of a file that `packed` made. Return "" on success, else why not.

    This takes 0.02 s. `activate` takes more than a second even if nothing has to be compiled.
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
    _import_all(_modules())
    _State.compiled = True
    return ""


def linked_name(processor: str) -> str:
    """Return the name of the `activate_linked` file for the current kernels and a processor.

    Raises ImportError without Numba, and OSError.
    """
    return linked.file_name(processor)


def packed() -> bytes:
    """Return the `activate_linked` file of the kernels that `activate` read from its cache.

    Raises Unlinkable where kernels cannot be linked, for example on processors other than x86-64.
    Raises ImportError too.
    """
    return linked.packed(import_module("stream.core.kernels.compiler").machine_code())


def cache_names() -> frozenset[str]:
    """Return the cache folders that hold the current kernels; other folders are out of date.

    Raises ImportError without Numba.
    """
    compiler = import_module("stream.core.kernels.compiler")
    return frozenset(compiler.folder_of(name) for name in _modules())


def _import_all(names: Iterable[str]) -> None:
    for name in names:
        import_module(f"{__name__}.{name}")


def _modules() -> list[str]:
    return [found.name for found in iter_modules(__path__) if found.name not in _NOT_COMPILED]


@contextmanager
def reference_only() -> Iterator[None]:
    """Run the block without the compiled kernels, so that tests can compare both forms."""
    before, _State.compiled = _State.compiled, False
    try:
        yield
    finally:
        _State.compiled = before

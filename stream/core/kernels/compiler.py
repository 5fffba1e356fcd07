"""Compilation of kernels by Numba, and the machine instructions that Numba has no name for.

Each kernel declares its types. So it is compiled, or read from the cache, when its module is
imported, and never while calls wait.
"""

import re
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import config, extending, types
from numba.core import boxing, caching, cgutils, pythonapi
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.np.numpy_support import as_dtype

from stream.core.kernels.linked import NDARRAY, Kernel, Overload, Unlinkable

CompileFailed = NumbaError
"""Raised by the import of a module with a kernel that cannot be compiled."""

_njit: Any = numba.njit
intrinsic: Callable[[Callable[..., Any]], Any] = extending.intrinsic
"""Numba's decorator. Its own type omits that callers leave out the code generator's argument."""

U8, U16, U32, U64, I64 = types.uint8, types.uint16, types.uint32, types.uint64, types.int64


def reads(item: Any, dimensions: int = 1) -> Any:
    """Return the type of an array that the kernel only reads, also a map or a bytes object."""
    return types.Array(item, dimensions, "C", readonly=True)


def writes(item: Any, dimensions: int = 1) -> Any:
    """Return the type of an array that the kernel fills."""
    return types.Array(item, dimensions, "C")


class _Cache:
    # Process-wide, like Numba's own setting: decorators have no other way to receive it.
    root: Path | None = None
    kernels: list[tuple[Any, tuple[Any, ...]]] = []  # noqa: RUF012 - all, with their types


_Locator: Any = caching.UserProvidedCacheLocator


class FolderLocator(_Locator):  # type: ignore[misc]
    """Numba's locator for a named cache folder, which may be read-only, as in an image."""

    def ensure_cache_path(self) -> None:
        """Create the folder if it is missing. Raises OSError."""
        try:
            super().ensure_cache_path()
        except OSError:
            # Numba tries to write a file even if it will only read.
            if not Path(self.get_cache_path()).is_dir():
                raise


def keep_in(root: Path | None) -> None:
    """Cache the kernels of modules imported from now on in `root`; None: do not cache them."""
    _Cache.root = root


def folder_of(module: str) -> str:
    """Return the name of the folder for a module's kernels: a digest of all that went into them.

    Numba checks only the time and size of a kernel's own file. It does not notice a change in a
    file that this one calls.
    """
    # The digest covers the processor and its features: AVX-512 code stops a process on a machine
    # without AVX-512.
    target = cpu_target.target_context.codegen().magic_tuple()
    parts = [sys.implementation.cache_tag, numba.__version__, *map(str, target)]
    # Neither the interface `jit` nor the linker changes what is compiled.
    folder, wanted, read = Path(__file__).parent, [module, "compiler"], {"jit", "linked"}
    while wanted:
        name = wanted.pop()
        if name not in read:
            read.add(name)
            text = (folder / f"{name}.py").read_text("utf-8")
            parts.append(f"{name}\n{text}")
            wanted += re.findall(r"^from stream\.core\.kernels\.(\w+) import", text, re.MULTILINE)
    return f"{module}-{sha256(chr(0).join(parts).encode()).hexdigest()[:24]}"


def kernel(*signatures: Any, counted: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for `signatures`, or read it from the cache.

    Numba counts references to arrays wherever a function passes them on. In a kernel that takes a
    nanosecond, this costs ten times the work. A kernel with `counted` False does not count. So it
    may neither create arrays nor call a function that counts (see `part`).
    """

    def compile_or_load(function: Callable[..., Any]) -> Any:
        root = _Cache.root
        if root is not None:
            module = function.__module__.rpartition(".")[2]
            # Numba has no argument for it; it reads this setting when it decorates a function.
            config.CACHE_DIR = str(root / folder_of(module))  # type: ignore[attr-defined]
            locator = f"{__name__}.{FolderLocator.__name__}"
            config.CACHE_LOCATOR_CLASSES = locator  # type: ignore[attr-defined]
        compiler = _njit(
            list(signatures),
            cache=root is not None,
            nogil=True,  # no kernel touches a Python object; other threads go on
            error_model="numpy",  # no divisor here can be 0, so a division needs no check
            _nrt=counted,  # as in Numba's own modules; no documented option does this
        )
        made = compiler(function)
        _Cache.kernels.append((made, signatures))
        return made

    return compile_or_load


def machine_code() -> Iterator[Kernel]:
    """Yield the kernels of this process with their machine code, as in Numba's cache on disk.

    Raises Unlinkable where the cache has none.
    """
    codegen = cpu_target.target_context.codegen()
    for made, signatures in _Cache.kernels:
        cache = made._cache  # noqa: SLF001 - no public way leads to it
        if not isinstance(cache, caching.FunctionCache):
            raise Unlinkable(f"{made} is not cached")
        items = [[_itemsize(kind) for kind in signature.args] for signature in signatures]
        # The first argument whose item sizes differ selects the overload.
        told_by = next((at for at, of in enumerate(zip(*items, strict=True)) if len({*of}) > 1), 0)
        overloads = []
        for signature, sizes in zip(signatures, items, strict=True):
            key = cache._index_key(signature, codegen)  # noqa: SLF001
            kept = cache._cache_file.load(key)  # noqa: SLF001
            if kept is None:
                raise Unlinkable(f"{made} is not in Numba's cache")
            _, _, (code, _) = kept[0]
            overloads.append(Overload(sizes[told_by], code))
        yield Kernel(made.__module__, made.__name__, told_by, tuple(overloads))


def _itemsize(kind: Any) -> int:
    return int(as_dtype(kind.dtype).itemsize) if isinstance(kind, types.Array) else 0


def inlined(function: Callable[..., Any]) -> Any:
    """Mark a function for kernels only; it becomes part of each caller."""
    return _njit(inline="always", error_model="numpy")(function)


def part(function: Callable[..., Any]) -> Any:
    """Mark a function for kernels only that is called and counts no references (see `kernel`)."""
    return _njit(error_model="numpy", _nrt=False)(function)


@intrinsic
def load64(context: Any, data: Any, index: Any) -> Any:
    """Return the 8 bytes of `data` (uint8[]) from `index` as a little-endian word, unaligned.

    There is no bounds check: buffers end in `byte_strings.PADDING` spare bytes for this.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()))
        word.align = 1
        return word

    return types.uint64(data, types.int64), generate


@intrinsic
def trailing_zeros(context: Any, word: Any) -> Any:
    """Count the zero bits below the lowest set bit of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic
def byte_swap(context: Any, word: Any) -> Any:
    """Return a uint64 with its bytes in reverse order."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return types.uint64(types.uint64), generate


_POINTER = ir.IntType(8).as_pointer()
_TYPE, _DIMENSIONS, _DESCRIPTION, _FLAGS = 8, 24, 56, 64
"""Offsets in an array of its type, number of dimensions (int), dtype and flags (int)."""
_KIND, _ORDER = 24, 26
"""Offsets in a dtype of the letters for its kind and its byte order."""
_CONTIGUOUS, _IS_ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
"""NumPy's array flags. Offsets and values are NumPy's ABI, equal in versions 1 and 2."""


def _unbox(kind: Any, value: Any, c: Any) -> Any:
    """Take an array from Python; raise TypeError unless it matches `kind` completely.

    Numba's own wrapper checks only the item size, since its dispatcher has compared the types
    before. Linked kernels have no dispatcher, and code for another layout would read other memory.
    """
    builder, failed = c.builder, cgutils.alloca_once_value(c.builder, cgutils.true_bit)
    held = cgutils.alloca_once(builder, c.context.get_value_type(kind), zfill=True)
    address = builder.bitcast(value, _POINTER)

    def at(start: Any, offset: int, read: Any) -> Any:
        place = builder.gep(start, [ir.Constant(ir.IntType(64), offset)])
        return builder.load(builder.bitcast(place, read.as_pointer()))

    def is_same(found: Any, wanted: int) -> Any:
        return builder.icmp_unsigned("==", found, ir.Constant(found.type, wanted))

    inherits = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.IntType(32), [_POINTER] * 2), "PyType_IsSubtype"
    )
    ndarray = c.pyapi.get_c_object(NDARRAY)
    asked = builder.call(
        inherits, [at(address, _TYPE, _POINTER), builder.bitcast(ndarray, _POINTER)]
    )
    with builder.if_then(cgutils.is_not_null(builder, asked), likely=True):
        flags, dtype = at(address, _FLAGS, ir.IntType(32)), at(address, _DESCRIPTION, _POINTER)
        wanted = _IS_ALIGNED | (_CONTIGUOUS if kind.layout == "C" else 0)
        wanted |= _WRITEABLE if kind.mutable else 0
        letter = ord(as_dtype(kind.dtype).kind)
        alike = is_same(builder.and_(flags, ir.Constant(ir.IntType(32), wanted)), wanted)
        alike = builder.and_(alike, is_same(at(address, _DIMENSIONS, ir.IntType(32)), kind.ndim))
        alike = builder.and_(alike, is_same(at(dtype, _KIND, ir.IntType(8)), letter))
        foreign = is_same(at(dtype, _ORDER, ir.IntType(8)), ord(">"))
        with builder.if_then(builder.and_(alike, builder.not_(foreign)), likely=True):
            taken = boxing.unbox_array(kind, value, c)
            builder.store(taken.value, held)
            builder.store(taken.is_error, failed)
    refused = builder.load(failed)
    with builder.if_then(refused, likely=False):
        c.pyapi.err_set_string("PyExc_TypeError", f"expected {kind}")
    return pythonapi.NativeValue(builder.load(held), is_error=refused)


llvmlite.binding.add_symbol(NDARRAY, id(np.ndarray))
_register: Any = pythonapi.unbox
# It refuses a type that it already has, and has no call to replace one.
_register.__self__.functions[types.Array] = _unbox

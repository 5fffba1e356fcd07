"""Machine code of the kernels in one file, linked into a process without Numba and LLVM.

To import both, and to let LLVM link Numba's cache, takes 1.1 s of CPU and 125 MB in each process.
This takes 0.07 s and 2 MB (docs/decisions/0236-kernels-are-linked-without-numba.md).

The file holds the objects that Numba compiled, as LLVM wrote them (ELF, x86-64). A line of JSON and
its SHA-256 come first. The file's name is a digest of all that went into it, so another version,
another Numba or another processor never finds it. Numba's wrappers in it check the types of
arguments themselves (see `compiler`). They call a few functions of Numba's C extensions, which
load without Numba.

Anything unexpected in an object raises `Unlinkable`; the process then uses Numba.
"""

import ctypes
import json
import mmap
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

NDARRAY: Final = "rf_ndarray"
"""Symbol of NumPy's array type in our objects."""
_ENVIRONMENT, _WRAPPER = "_ZN08NumbaEnv", "_ZN7cpython"
"""Prefixes of symbols: the pointer to Numba's environment, and the function that takes Python's
arguments."""
_ALIGNED: Final = 64
"""Alignment of sections: a cache line, more than the 32 bytes that any of them needs."""
_EXTENSIONS: Final = ("_helperlib", "_dynfunc", "core/runtime/_nrt_python")


class Unlinkable(Exception):
    """An object or a machine that this linker does not support. The text says why."""


class Overload(NamedTuple):
    """A kernel compiled for one set of types.

    `itemsize`: bytes of an item of the argument that selects the overload.
    """

    itemsize: int
    machine_code: bytes


class Kernel(NamedTuple):
    """A kernel by module and name. `told_by`: index of the argument that selects the overload."""

    module: str
    name: str
    told_by: int
    overloads: tuple[Overload, ...]


class _Nothing:
    # A stub for types and intrinsics, which only the compiler reads.
    def __call__(self, *_: object, **__: object) -> "_Nothing":
        return self

    def __getattr__(self, name: str) -> "_Nothing":
        return self


NOTHING: Any = _Nothing()


class _State:
    # Process-wide: code is linked once.
    functions: dict[tuple[str, str], Callable[..., Any]] | None = None


def in_use() -> bool:
    """Report whether the kernels of this process are linked."""
    return _State.functions is not None


def kernel(*_: object, **__: object) -> Callable[[Callable[..., Any]], Any]:
    """Replace the decorated function by the linked one."""

    def taken(function: Callable[..., Any]) -> Any:
        assert _State.functions is not None, "nothing is linked"
        return _State.functions[function.__module__, function.__name__]

    return taken


def unchanged(function: Callable[..., Any]) -> Any:
    """Return a function that is part of kernels; nothing calls it once they are linked."""
    return function


def file_name(processor: str) -> str:
    """Return the name of the file for these sources, this Python, Numba and NumPy.

    Raises OSError, and ImportError without Numba.
    """
    versions = [_package(name) / "_version.py" for name in ("numba", "llvmlite")]
    parts = [processor, sys.version, np.__version__]
    # Only the text counts, not its time: a folder may move together with its machine's state.
    for path in (*versions, *sorted(Path(__file__).parent.glob("*.py"))):
        parts += (path.name, path.read_text("utf-8"))
    return f"linked-{sha256(chr(0).join(parts).encode()).hexdigest()[:24]}"


def _package(name: str) -> Path:
    """Return a package's folder without importing the package."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise ImportError(f"no package {name}")
    return Path(found.origin).parent


def packed(kernels: Iterable[Kernel]) -> bytes:
    """Return the file of these kernels, which `link` takes.

    Raises Unlinkable if `link` would refuse it, and ImportError.
    """
    kernels = list(kernels)
    if not kernels:
        raise Unlinkable("nothing was compiled in this process")
    _linked(kernels)
    head = [
        (one.module, one.name, one.told_by, [(of.itemsize, len(of.machine_code)) for of in one[3]])
        for one in kernels
    ]
    code = b"".join(of.machine_code for one in kernels for of in one.overloads)
    whole = json.dumps(head).encode() + b"\n" + code
    return sha256(whole).hexdigest().encode() + b"\n" + whole


def unpacked(file: bytes) -> list[Kernel]:
    """Return the kernels of a file that `packed` made. Raises Unlinkable if it is damaged."""
    digest, _, whole = file.partition(b"\n")
    if sha256(whole).hexdigest().encode() != digest:
        raise Unlinkable("its checksum is wrong")
    head, _, code = whole.partition(b"\n")
    kernels, at = [], 0
    for module, name, told_by, sizes in json.loads(head):
        overloads = []
        for itemsize, size in sizes:
            overloads.append(Overload(itemsize, code[at : at + size]))
            at += size
        kernels.append(Kernel(module, name, told_by, tuple(overloads)))
    return kernels


def link(kernels: list[Kernel]) -> None:
    """Use these kernels from now on in this process. Raises Unlinkable and ImportError."""
    if not in_use():
        _State.functions = _linked(kernels)


def _linked(kernels: list[Kernel]) -> dict[tuple[str, str], Callable[..., Any]]:
    """Return the functions of kernels, by module and name. Raises as `link` does."""
    if object.__basicsize__ != 2 * ctypes.sizeof(ctypes.c_void_p):
        raise Unlinkable("this Python has another object header")
    try:
        return _placed(kernels)
    except (struct.error, IndexError, OverflowError, ValueError) as error:
        raise Unlinkable(f"object cut short: {error}") from error


def _placed(kernels: list[Kernel]) -> dict[tuple[str, str], Callable[..., Any]]:
    extensions = [_extension(name) for name in _EXTENSIONS]
    symbols, make = _Symbols(extensions), extensions[1]
    objects = [_Object(of.machine_code) for one in kernels for of in one.overloads]
    memory = mmap.mmap(-1, sum(one.size for one in objects) or mmap.PAGESIZE)
    base, offset, made = ctypes.addressof(ctypes.c_char.from_buffer(memory)), 0, iter(objects)
    functions = {}
    for one in kernels:
        by_size = {}
        for itemsize, _ in one.overloads:
            part = next(made)
            environment = make.Environment({})
            part.place(memory, base, offset, symbols, id(environment))
            address = base + offset + part.wrapper
            # The function keeps its environment and the memory alive.
            by_size[itemsize] = make.make_function(
                sys.modules[__name__], one.name, one.name, address, environment, (memory,)
            )
            offset += part.size
        functions[one.module, one.name] = _by_itemsize(by_size, one.told_by)
    library = ctypes.CDLL(None, use_errno=True)
    right = mmap.PROT_READ | mmap.PROT_EXEC
    if library.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(len(memory)), right):
        raise Unlinkable("this process may not run code that it makes")
    return functions


def _by_itemsize(functions: dict[int, Callable[..., Any]], at: int) -> Callable[..., Any]:
    """Return a function that selects one of `functions` by the item size of its argument `at`."""
    if len(functions) == 1:
        return next(iter(functions.values()))

    def chosen(*arguments: Any) -> Any:
        function = functions.get(arguments[at].itemsize)
        if function is None:
            raise TypeError(f"no kernel for items of {arguments[at].itemsize} bytes")
        return function(*arguments)

    return chosen


def _extension(name: str) -> Any:
    """Load one of Numba's C extensions by its path; it needs no other part of the package."""
    path = _package("numba") / f"{name}{EXTENSION_SUFFIXES[0]}"
    full = f"numba.{name.replace('/', '.')}"
    spec = ModuleSpec(full, ExtensionFileLoader(full, str(path)), origin=str(path))
    module = module_from_spec(spec)
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


class _Symbols:
    """Addresses of the functions that objects call, as Numba gives them to LLVM."""

    def __init__(self, extensions: list[Any]) -> None:
        helpers, dynamic, runtime = (module.c_helpers for module in extensions)
        self._known = {"_Py_NoneStruct": id(None), NDARRAY: id(np.ndarray)}
        self._known |= {f"numba_{name}": at for name, at in (helpers | dynamic).items()}
        for name, at in runtime.items():
            self._known[name if name.startswith("_") else f"NRT_{name}"] = at
        for error in (RuntimeError, TypeError, SystemError, StopIteration, ValueError):
            self._known[f"PyExc_{error.__name__}"] = id(error)
        self._process = ctypes.CDLL(None)

    def address(self, name: str) -> int:
        if name not in self._known:
            try:
                function = getattr(self._process, name)
            except AttributeError:
                raise Unlinkable(f"unknown symbol {name}") from None
            self._known[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
        return self._known[name]


# The ELF format: man 5 elf, and the x86-64 psABI. This reads only what LLVM writes for our kernels.
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_CLASS_64_LITTLE = b"\x7fELF\x02\x01"
_RELOCATABLE, _X86_64 = 1, 62
_CODE_OR_DATA, _SYMBOLS, _STRINGS, _RELOCATIONS, _UNWIND = 1, 2, 3, 4, 0x70000001
_WRITABLE, _LOADED = 1, 2
_UNDEFINED, _COMMON = 0, 0xFFF2
_POINTER = 8
_ABSOLUTE_64 = 1
"""The only kind of relocation in LLVM's large code model, which Numba asks for."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class _Object:
    """A relocatable object. `size`: bytes in memory; `wrapper`: offset of Python's entry point."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        head = _HEADER.unpack_from(data)
        if not head[0].startswith(_CLASS_64_LITTLE) or head[1:3] != (_RELOCATABLE, _X86_64):
            raise Unlinkable("no object for x86-64")
        self._sections = [
            _Section(*_SECTION.unpack_from(data, head[6] + _SECTION.size * index))
            for index in range(head[12])
        ]
        self.size = 0
        self._places: dict[int, int] = {}
        for index, section in enumerate(self._sections):
            if section.kind == _CODE_OR_DATA and section.flags & _LOADED and section.size:
                self._add_section(index, section)
        self._values = list(self._read_symbols())
        self.size = _rounded(self.size)
        wrappers = [at for name, at in self._values if name.startswith(_WRAPPER) and at is not None]
        if len(wrappers) != 1:
            raise Unlinkable("no wrapper, or more than one")
        self.wrapper = wrappers[0]

    def _add_section(self, index: int, section: _Section) -> None:
        if section.flags & _WRITABLE or section.align > _ALIGNED:
            raise Unlinkable("a section is writable or aligned to more than a cache line")
        if section.offset + section.size > len(self._data):
            raise Unlinkable("a section is cut short")
        self._places[index] = self.size
        self.size = _rounded(self.size + section.size)

    def _read_symbols(self) -> Iterator[tuple[str, int | None]]:
        """Yield each symbol's name and place in memory; None: it is not in this object."""
        table, *more = [one for one in self._sections if one.kind == _SYMBOLS]
        if more:
            raise Unlinkable("more than one symbol table")
        strings = self._sections[table.link].offset
        for at in range(table.offset, table.offset + table.size, _SYMBOL.size):
            named, _, _, section, value, size = _SYMBOL.unpack_from(self._data, at)
            start = strings + named
            name = self._data[start : self._data.index(0, start)].decode()
            if section == _UNDEFINED:
                yield name, None
            elif section == _COMMON:
                if size != _POINTER:
                    raise Unlinkable("a variable is not a pointer")
                yield name, self.size
                self.size += _POINTER
            else:
                # A symbol of a file, or of a section that is not loaded: nothing refers to it.
                held = self._places.get(section)
                yield name, None if held is None else held + value

    def place(
        self, memory: mmap.mmap, base: int, offset: int, symbols: _Symbols, environment: int
    ) -> None:
        """Write the object to `memory` at `offset`, bound to addresses of this process."""
        for index, at in self._places.items():
            section = self._sections[index]
            start = offset + at
            data = self._data[section.offset : section.offset + section.size]
            memory[start : start + section.size] = data
        for name, place in self._values:
            if name.startswith(_ENVIRONMENT) and place is not None:
                struct.pack_into("<Q", memory, offset + place, environment)
        for section in self._sections:
            if section.kind == _RELOCATIONS and section.info in self._places:
                self._bind(memory, base, offset, symbols, section)
            elif (
                section.kind > _RELOCATIONS and section.kind != _UNWIND and section.flags & _LOADED
            ):
                raise Unlinkable(f"unknown section kind {section.kind}")

    def _bind(
        self, memory: mmap.mmap, base: int, offset: int, symbols: _Symbols, section: _Section
    ) -> None:
        start = offset + self._places[section.info]
        for at in range(section.offset, section.offset + section.size, _RELOCATION.size):
            place, info, addend = _RELOCATION.unpack_from(self._data, at)
            if info & 0xFFFFFFFF != _ABSOLUTE_64:
                raise Unlinkable(f"unknown relocation kind {info & 0xFFFFFFFF}")
            if place + _POINTER > self._sections[section.info].size:
                raise Unlinkable("a relocation lies outside its section")
            name, value = self._values[info >> 32]
            address = symbols.address(name) if value is None else base + offset + value
            struct.pack_into("<Q", memory, start + place, (address + addend) & 0xFFFFFFFFFFFFFFFF)


def _rounded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED

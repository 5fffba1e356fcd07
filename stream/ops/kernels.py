"""Switch the compiled kernels on, from a cache in a folder that only we can write.

Numba keeps compiled code as pickles, and a user who can write those can run code as us. So the
folder belongs to us alone, or to root as in an image. Otherwise the kernels stay off and the
reference does their work, several times slower.

An image compiles for a level of processors and not for its builder's own: NUMBA_CPU_NAME, which
Numba reads, says which. The folder keeps that name, so that each process that reads from it asks
Numba for the same.
"""

import ctypes
import fcntl
import logging
import mmap
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from stream.core import kernels

log = logging.getLogger(__name__)
FOLDER = "kernels"
"""Their folder in a state directory, if the settings name no other place."""
LEVEL = "x86-64-v3"
"""The level of the x86-64 psABI that images are compiled for: processors since 2013 to 2015."""
CPU_FILE = "cpu"
"""The file of a folder with the level of its kernels; without it they are for the machine's own."""
_OF_LEVEL = frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"})
"""Features of that level, as Linux names them (`abm` has lzcnt)."""
KEPT_S = 30 * 86_400.0
"""Seconds that kernels of another version are kept: a rolling update may still want them."""


CPUS = Path("/proc/cpuinfo")
_FROM_THE_END = (
    "import pathlib, sys; from stream.core import kernels; "
    "kernels.compile_from_the_end(pathlib.Path(sys.argv[1]))"
)


class KernelStatus(NamedTuple):
    """Result of `warm_up`: `why_not` is "" if the kernels are in use; `seconds` it took.

    `final`: to compile them into that folder would not help.
    """

    why_not: str
    seconds: float
    final: bool = False


def warm_up(folder: Path, *, may_compile: bool = True, side_by_side: bool = False) -> KernelStatus:
    """Switch the kernels on in this process, compiling those that are not in `folder` yet.

    Takes half a minute the first time and a second from then on. Safe while others do the same:
    they wait for the first. Unless it `may_compile`, it takes that second or returns why not.
    With `side_by_side` a second process compiles too, which takes 320 MB. Blocks. Never raises.
    """
    began_s = time.monotonic()
    final = bool(why_not := _obstacle())
    try:
        if not why_not:
            level = _level(_private(folder))
            final = bool(why_not := _too_old(level, folder))
        if not why_not:
            why_not = _activated(folder, level, may_compile=may_compile, side_by_side=side_by_side)
    except ImportError as error:
        why_not = f"Numba cannot be imported: {error}"
    except OSError as error:
        why_not = f"{error.filename or folder}: {error.strerror}"
    except _Unsafe as unsafe:
        why_not = str(unsafe)
    return KernelStatus(why_not, time.monotonic() - began_s, final)


def _level(folder: Path) -> str:
    """Return the processor that the kernels of `folder` are for; "": the machine's own.

    It is put where Numba reads it, which happens once, at its import.
    """
    level = os.environ.get("NUMBA_CPU_NAME", "")
    if not level and (kept := folder / CPU_FILE).exists():
        level = os.environ["NUMBA_CPU_NAME"] = kept.read_text("ascii").strip()
    if level:
        # Else Numba adds the features of the machine's own processor.
        os.environ.setdefault("NUMBA_CPU_FEATURES", "")
    return level


def _activated(folder: Path, level: str, *, may_compile: bool, side_by_side: bool) -> str:
    """Link the kernels in `folder`, or bring them from Numba's cache there; why not, or ""."""
    processor = _processor(level)
    if not processor:
        return _by_numba(folder, level, may_compile=may_compile, side_by_side=side_by_side)
    linked = folder / kernels.linked_name(processor)
    if not kernels.activate_linked(linked):
        return ""
    why_not = _by_numba(
        folder, level, may_compile=may_compile, side_by_side=side_by_side, keep=linked.name
    )
    if not why_not:
        # What cannot be linked or written, as in an image, goes by Numba the next time too.
        with suppress(kernels.Unlinkable, OSError):
            aside = linked.with_suffix(f".{os.getpid()}")
            aside.write_bytes(kernels.packed())
            aside.replace(linked)
    return why_not


def _processor(level: str) -> str:
    """Describe the processor that LLVM compiles for; "": nothing here names its features."""
    if level:
        return f"{level} {os.environ['NUMBA_CPU_FEATURES']}"
    try:
        with CPUS.open(encoding="ascii", errors="replace") as file:
            # As much as one processor takes: a kernel with a hundred needs milliseconds for all.
            first = file.read(8192).partition("\n\n")[0]
    except OSError:
        return ""
    named = ("vendor_id", "cpu family", "model", "stepping", "flags")
    lines = [line for line in first.splitlines() if line.startswith(named)]
    return "\n".join(lines) if _flags(first) else ""


def _by_numba(
    folder: Path, level: str, *, may_compile: bool, side_by_side: bool, keep: str = ""
) -> str:
    """Load the kernels from Numba's cache, or fill it while others wait; why not, or ""."""
    current = kernels.cache_names()
    marker = folder / f".warm-{sha256(''.join(sorted(current)).encode()).hexdigest()[:24]}"
    if not may_compile and not marker.exists():
        return f"they are not compiled in {folder} yet (ringfence warm)"
    if marker.exists():
        # Nobody writes any more, so nobody has to wait; and an image's folder takes no lock.
        return kernels.activate(folder)
    log.info(
        "compiling the kernels into %s, or waiting for a process that does: about half a minute, "
        "and calls wait; `ringfence warm` does it before a start",
        folder,
    )
    with (folder / ".lock").open("a") as lock:
        # One process compiles, the others wait for its half minute instead of taking a core each.
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _second_compiler(folder) if side_by_side and not marker.exists() else nullcontext():
            why_not = kernels.activate(folder)
        if not why_not and not marker.exists():
            if level:
                (folder / CPU_FILE).write_text(level, "ascii")
            marker.touch()
            _forget_old(folder, {*current, marker.name, keep})
    return why_not


@contextmanager
def _second_compiler(folder: Path) -> Iterator[None]:
    """Let another process compile from the last module on, until this one has all kernels.

    They meet in the middle: 20 instead of 35 s on two cores. One that fails leaves it to us.
    """
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-c", _FROM_THE_END, str(folder)]
    try:
        other = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        other.kill()
        other.wait()


class _Unsafe(Exception):
    """Others could put their code where ours is read from."""


def _obstacle() -> str:
    """Return what about this machine forbids compiled code; "": nothing.

    LLVM does not notice that memory stays without the right to run, and dies when it calls there.
    """
    if sys.byteorder != "little":
        return "this machine is big-endian"
    library = ctypes.CDLL(None, use_errno=True)
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as page:
        held = ctypes.c_char.from_buffer(page)
        place = ctypes.c_void_p(ctypes.addressof(held))
        right = mmap.PROT_READ | mmap.PROT_EXEC
        refused = library.mprotect(place, ctypes.c_size_t(mmap.PAGESIZE), right)
        library.mprotect(place, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE)
        del held
    if refused:
        return "this process may not run code that it makes (MemoryDenyWriteExecute, SELinux?)"
    return ""


def _too_old(level: str, folder: Path) -> str:
    """Return why this processor cannot run kernels of `level`; "": it can."""
    if level != LEVEL:
        return ""
    missing = _OF_LEVEL - _flags(CPUS.read_text())
    if not missing:
        return ""
    # Code for what the processor has not ends the process with SIGILL.
    return (
        f"those in {folder} are for {LEVEL}, this processor has no {', '.join(sorted(missing))}: "
        "set RINGFENCE_OPS__KERNELS_DIR to a folder of the state volume, without NUMBA_CPU_NAME; "
        "then `ringfence warm` compiles for this machine"
    )


def _flags(cpuinfo: str) -> frozenset[str]:
    """Return the features of the first processor, as Linux names them."""
    found = re.search(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)
    return frozenset(found[1].split() if found else ())


def _private(folder: Path) -> Path:
    """Make the cache if need be. Raises `_Unsafe` where anybody else could write into it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    above, found = folder.parent.stat(), folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _Unsafe(f"{folder} is no folder")
    if found.st_uid not in {0, os.geteuid()}:
        raise _Unsafe(f"{folder} belongs to another user: remove it")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _Unsafe(f"others may write into {folder}: chmod go-w {folder}")
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        raise _Unsafe(f"others may write into {folder.parent}: chmod o-w {folder.parent}")
    return folder


def _forget_old(folder: Path, current: Collection[str]) -> None:
    """Remove what other versions left long ago."""
    oldest_s = time.time() - KEPT_S
    for path in folder.iterdir():
        if path.name not in {".lock", CPU_FILE, *current} and path.stat().st_mtime < oldest_s:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

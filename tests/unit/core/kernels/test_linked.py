"""Kernels linked without Numba: the same machine code, and no other types than it was made for."""

import platform
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.core import kernels
from stream.core.kernels import linked
from stream.core.kernels.linked import Kernel, Overload, Unlinkable
from stream.ops import kernels as warm
from tests.support.engine import KERNELS_DIR

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="on other processors Numba brings the kernels"
)
RANDOM = random.Random(236)


@pytest.fixture(scope="module")
def file() -> bytes:
    """The file that `packed` wrote for this machine, when conftest warmed the kernels."""
    name = kernels.linked_name(warm._processor(warm._level(KERNELS_DIR)))
    return (KERNELS_DIR / name).read_bytes()


@pytest.fixture(scope="module")
def check() -> Any:
    """A kernel of one argument, int64[:, :] that it writes."""
    from stream.core.kernels import parse_batches

    return parse_batches.check


def test_a_process_links_its_kernels_without_numba() -> None:
    """They are what it would otherwise take 1.3 s and 120 MB to bring."""
    code = (
        "import sys; from pathlib import Path; from stream.ops.kernels import warm_up\n"
        "why_not = warm_up(Path(sys.argv[1]), may_compile=False).why_not\n"
        "from stream.core.kernels import linked\n"
        "print([why_not, linked.in_use(), *{'numba', 'llvmlite'} & set(sys.modules)])"
    )
    command = [sys.executable, "-c", code, str(KERNELS_DIR)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.strip() == "['', True]"


COLUMNS = np.zeros((4, 20), np.int64)


def read_only() -> np.ndarray:
    """Columns that a kernel may not write."""
    columns = COLUMNS.copy()
    columns.flags.writeable = False
    return columns


def misaligned() -> np.ndarray:
    """Columns that begin at an odd address."""
    return np.frombuffer(bytearray(8 * 80 + 1), np.int64, 80, 1).reshape(4, 20)


@pytest.mark.parametrize(
    "wrong",
    [
        COLUMNS.astype(np.float64),
        COLUMNS.astype(np.uint64),
        COLUMNS.astype(np.int32),
        COLUMNS.astype("M8[s]"),
        COLUMNS.astype(">i8"),
        COLUMNS[0],
        COLUMNS[None],
        COLUMNS.T,
        COLUMNS[:, ::2],
        read_only(),
        misaligned(),
        COLUMNS.tolist(),
        bytes(1280),
        None,
        5,
    ],
    ids=lambda wrong: f"{type(wrong).__name__} {getattr(wrong, 'dtype', '')}",
)
def test_arguments_of_other_types_are_refused(check: Any, wrong: Any) -> None:
    """Machine code for another layout would read and write elsewhere."""
    with pytest.raises(TypeError, match="expected array"):
        check(wrong)


def test_arrays_of_the_kernels_type_are_taken(check: Any) -> None:
    """Also of a class that inherits from NumPy's, and of no row."""
    for columns in (COLUMNS.copy(), COLUMNS.copy().view(np.memmap), COLUMNS[:0]):
        assert check(columns) is None
    for count in (0, 2):
        with pytest.raises(TypeError):
            check(*[COLUMNS] * count)


def test_items_choose_among_the_overloads_of_a_kernel() -> None:
    """Words of 2, 4 and 8 bytes each have machine code; other words are refused."""
    from stream.core.kernels.filter_bits import set_bits

    for size in (2, 4, 8):
        bits = np.zeros(8, np.uint8)
        set_bits(bits, 0, np.array([[33]], f"u{size}"), 31)
        assert np.flatnonzero(np.unpackbits(bits, bitorder="little")).tolist() == [2]
    with pytest.raises(TypeError):
        set_bits(bits, 0, np.array([[33]], np.uint8), 31)


def test_a_file_that_is_damaged_or_cut_is_refused(file: bytes) -> None:
    """A bit that a disk flipped would be another instruction."""
    assert linked.unpacked(file)
    for _ in range(50):
        at = RANDOM.randrange(len(file))
        damaged = file[:at] + bytes([file[at] ^ (1 << RANDOM.randrange(8))]) + file[at + 1 :]
        for other in (damaged, file[:at]):
            with pytest.raises(Unlinkable, match="checksum"):
                linked.unpacked(other)


def test_what_is_packed_can_be_unpacked(file: bytes) -> None:
    """And links: `packed` tries."""
    held = linked.unpacked(file)
    assert linked.unpacked(linked.packed(held)) == held
    with pytest.raises(Unlinkable, match="nothing was compiled"):
        linked.packed([])


def test_no_object_does_more_than_fail_to_link(file: bytes) -> None:
    """Of any bytes: nothing of it runs, and nothing else is raised."""
    linkable = 0
    for kernel in linked.unpacked(file):
        code = kernel.overloads[0].machine_code
        for _ in range(60):
            # Where the format's own tables lie: at the beginning, and in the last quarter.
            start = RANDOM.choice((0, len(code) * 3 // 4))
            at = start + RANDOM.randrange(64 if not start else len(code) - start)
            other = code[:at] + RANDOM.randbytes(1) + code[at + 1 :]
            changed = kernel._replace(overloads=(Overload(0, other),))
            try:
                linked.packed([changed])
            except Unlinkable:
                continue
            linkable += 1
    assert linkable, "a byte of a name or of a constant does no harm"


@pytest.mark.parametrize(
    ("place", "byte", "why"),
    [(18, 183, "no object for x86-64"), (16, 2, "no object for x86-64"), (0, 0, "no object")],
)
def test_objects_of_other_machines_are_refused(
    file: bytes, place: int, byte: int, why: str
) -> None:
    """Such as AArch64's (183), and programs (2)."""
    kernel = linked.unpacked(file)[0]
    code = bytearray(kernel.overloads[0].machine_code)
    code[place] = byte
    with pytest.raises(Unlinkable, match=why):
        linked.packed([kernel._replace(overloads=(Overload(0, bytes(code)),))])


def test_a_name_that_nothing_here_has_is_refused(file: bytes) -> None:
    """A function of another version of Numba, say."""
    kernel = linked.unpacked(file)[0]
    code = kernel.overloads[0].machine_code.replace(b"PyEval_SaveThread", b"PyEval_SaveThraed")
    with pytest.raises(Unlinkable, match="PyEval_SaveThraed"):
        linked.packed([Kernel("module", "name", 0, (Overload(0, code),))])


KERNELS = """
from stream.core.kernels.compiler import I64, U8, U16, kernel, reads

@kernel(I64(reads(U8), I64), I64(reads(U16), I64))
def total(items, more):
    found = more
    for item in items:
        found += item
    return found
"""
COMPILES = """
import sys
from pathlib import Path
import numpy as np
from stream.core.kernels import compiler, linked
compiler.folder_of = lambda module: module
compiler.keep_in(Path("kept"))
import sums
def answers(total):
    yield total(np.arange(5, dtype=np.uint8), 1)
    yield total(np.arange(300, dtype=np.uint16), 2)
    for wrong in (np.zeros(3, np.int16), np.zeros(6, np.uint16)[::2], np.zeros((1, 3), np.uint8)):
        try:
            yield total(wrong, 1)
        except TypeError:
            yield "refused"
held = linked.unpacked(linked.packed(compiler.machine_code()))
linked.link(held)
assert linked.in_use()
print([*answers(sums.total)], [*answers(linked.kernel()(sums.total.py_func))])
"""


def test_a_kernel_answers_alike_by_numba_and_linked(tmp_path: Path) -> None:
    """Compiled now, kept by Numba, packed and linked: in a process of its own."""
    (tmp_path / "sums.py").write_text(KERNELS)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'){COMPILES}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    each = [11, 44852, "refused", "refused", "refused"]
    assert done.stdout == f"{each} {each}\n", done.stderr

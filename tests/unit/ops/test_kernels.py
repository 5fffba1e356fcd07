"""Kernels are read from a cache that only we can write, or not at all."""

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stream.core import kernels
from stream.ops import kernels as warm
from stream.ops.kernels import warm_up
from tests.support.engine import KERNELS_DIR
from tests.support.waiting import HANGS_S, until_now


@pytest.fixture
def activated(monkeypatch) -> list[Path]:
    """The folders that kernels were read from by Numba; nothing is compiled, and nothing linked."""
    folders: list[Path] = []

    def activate(folder: Path) -> str:
        folders.append(folder)
        return ""

    monkeypatch.setattr(kernels, "activate_linked", lambda _file: "it is not there")
    monkeypatch.setattr(kernels, "activate", activate)
    return folders


def test_the_cache_is_made_for_us_alone(tmp_path: Path, activated: list[Path]) -> None:
    """Also below a state directory that is not there yet; a second time it is used as it is."""
    state_dir = tmp_path / "new" / "state"
    for _ in range(2):
        assert warm_up(state_dir / "kernels").why_not == ""
    assert activated == [state_dir / "kernels"] * 2
    assert (state_dir / "kernels").stat().st_mode & 0o777 == 0o700


def test_without_leave_nothing_is_compiled(
    tmp_path: Path, activated: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """A command takes what a worker compiled, and never half a minute to compile it itself."""
    caplog.set_level("INFO")
    folder = tmp_path / "kernels"
    assert "not compiled" in warm_up(folder, may_compile=False).why_not
    assert not activated
    assert not caplog.messages
    warm_up(folder)
    assert [str(folder) in text for text in caplog.messages] == [True], "calls wait: it says so"
    warm_up(folder)
    assert len(caplog.messages) == 1
    assert warm_up(folder, may_compile=False).why_not == ""
    assert activated == [folder] * 3


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_cache_that_others_can_write_is_refused(tmp_path, activated, mode) -> None:
    """Their pickles would run as us; what to do is said."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(mode)
    assert (
        warm_up(tmp_path / "kernels").why_not
        == f"others may write into {folder}: chmod go-w {folder}"
    )
    assert not activated


def test_a_state_directory_that_anybody_can_write_is_refused(tmp_path, activated) -> None:
    """Anybody could put a folder of theirs in the cache's place, unless the sticky bit forbids."""
    tmp_path.chmod(0o777)
    assert "others may write into" in warm_up(tmp_path / "kernels").why_not
    tmp_path.chmod(0o1777)
    assert warm_up(tmp_path / "kernels").why_not == ""


def test_a_cache_that_is_no_folder_of_ours_is_refused(tmp_path, activated, monkeypatch) -> None:
    """A link, a file, another user's folder."""
    folder = tmp_path / "kernels"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")
    assert "is no folder" in warm_up(tmp_path / "kernels").why_not
    folder.unlink()
    folder.touch()
    assert "is no folder" in warm_up(tmp_path / "kernels").why_not
    folder.unlink()
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:  # what is root's is an image's
        os.chown(folder, 12_345, -1)
    monkeypatch.setattr("os.geteuid", lambda: folder.lstat().st_uid + 1)
    assert "belongs to another user" in warm_up(tmp_path / "kernels").why_not
    assert not activated


def test_one_compiles_while_the_others_wait(tmp_path: Path, monkeypatch) -> None:
    """Workers of one supervisor start together: a cold cache is filled once; a warm one is read by
    all at a time.
    """
    inside: list[Path] = []
    together: list[int] = []
    all_three = threading.Barrier(3)

    def cold(folder: Path) -> str:
        inside.append(folder)
        time.sleep(0.05)  # long enough for the others to come in, if they could
        together.append(len(inside))
        inside.remove(folder)
        return ""

    def read(_folder: Path) -> str:
        all_three.wait(HANGS_S)
        return ""

    monkeypatch.setattr(kernels, "activate_linked", lambda _file: "it is not there")
    for activate in (cold, read):
        monkeypatch.setattr(kernels, "activate", activate)
        with ThreadPoolExecutor(3) as pool:
            assert {done.why_not for done in pool.map(warm_up, [tmp_path / "kernels"] * 3)} == {""}
    assert together[0] == 1, "the first was alone; once it is done, others need not wait"


def test_a_second_process_compiles_from_the_end(tmp_path: Path, monkeypatch) -> None:
    """It is gone when the first has all kernels, whatever it does then."""
    code = "import sys, time, os; open(sys.argv[1] + '/came', 'w').write(str(os.getpid())); "
    came = tmp_path / "kernels" / "came"

    def activate(_folder: Path) -> str:
        until_now(lambda: came.exists() and came.read_text(), "the second process")
        return ""

    monkeypatch.setattr(kernels, "activate_linked", lambda _file: "it is not there")
    monkeypatch.setattr(kernels, "activate", activate)
    monkeypatch.setattr(warm, "_FROM_THE_END", code + "time.sleep(600)")
    assert warm_up(tmp_path / "kernels", side_by_side=True).why_not == ""
    assert not Path("/proc", came.read_text()).exists()
    came.unlink()
    monkeypatch.setattr(kernels, "activate", lambda _folder: "")
    assert warm_up(tmp_path / "kernels", side_by_side=True).why_not == ""
    assert not came.exists(), "there was nothing left to compile"


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
def test_the_second_process_finds_its_kernels() -> None:
    """Here they are compiled already."""
    command = [sys.executable, "-c", warm._FROM_THE_END, str(KERNELS_DIR)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes what is root's: run as root")
def test_an_images_folder_is_read_by_anybody(tmp_path: Path, activated, monkeypatch) -> None:
    """It is root's, on a root file system that nobody can write; another user runs there."""
    folder = tmp_path / "kernels"
    assert warm_up(folder).why_not == ""
    folder.chmod(0o755)
    (folder / ".lock").unlink()
    (folder / ".lock").mkdir()  # opening it for writing fails
    monkeypatch.setattr("os.geteuid", lambda: 10_001)
    assert warm_up(folder).why_not == ""
    assert activated == [folder] * 2


def test_a_folder_that_nobody_can_write_is_read(tmp_path: Path, monkeypatch) -> None:
    """An image's root file system is read-only; Numba itself would want to write there."""
    jit = pytest.importorskip("stream.core.kernels.compiler")
    monkeypatch.setattr(jit.config, "CACHE_DIR", str(tmp_path))

    def refused(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    locator = jit.FolderLocator(test_a_folder_that_nobody_can_write_is_read, __file__)
    locator.ensure_cache_path()
    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    locator.ensure_cache_path()
    shutil.rmtree(locator.get_cache_path())
    monkeypatch.setattr("os.makedirs", refused)
    with pytest.raises(OSError, match="Read-only"):
        locator.ensure_cache_path()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("fpu abm avx avx2 bmi1 bmi2 f16c fma movbe xsave avx512f", ""),
        ("fpu abm avx f16c xsave", "this processor has no avx2, bmi1, bmi2, fma, movbe: set"),
        (None, "this processor has no abm, avx, avx2"),
    ],
)
def test_code_for_another_processor_is_not_run(
    tmp_path: Path, activated, monkeypatch, flags: str | None, why: str
) -> None:
    """An image's kernels are for a level; on an older machine a process would end by SIGILL."""
    cpus = tmp_path / "cpuinfo"
    cpus.write_text(f"processor : 0\nflags\t\t: {flags}\n" if flags else "processor : 0\n")
    monkeypatch.setattr("stream.ops.kernels.CPUS", cpus)
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        monkeypatch.setenv(name, "")  # so that what is set in this test leaves with it
        monkeypatch.delenv(name)
    assert warm_up(tmp_path / "own").why_not == ""
    (tmp_path / "image").mkdir(mode=0o700)
    (tmp_path / "image" / "cpu").write_text("x86-64-v3")
    said, _, final = warm_up(tmp_path / "image")
    assert (why in said and final) if why else said == ""
    assert activated == [tmp_path / "own", *([] if why else [tmp_path / "image"])]


def test_the_level_of_an_image_goes_with_its_kernels(
    tmp_path: Path, activated: list[Path], monkeypatch
) -> None:
    """Compiled for a level, they are asked for by that level where no variable names it."""
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "")
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert warm_up(tmp_path / "kernels").why_not == ""
    monkeypatch.delenv("NUMBA_CPU_NAME")
    monkeypatch.delenv("NUMBA_CPU_FEATURES")
    assert warm_up(tmp_path / "kernels", may_compile=False).why_not == ""
    assert (os.environ["NUMBA_CPU_NAME"], os.environ["NUMBA_CPU_FEATURES"]) == ("generic", "")
    assert activated == [tmp_path / "kernels"] * 2


def test_a_disk_that_refuses_is_no_crash(tmp_path, activated) -> None:
    """A worker starts all the same, without kernels."""
    blocked = tmp_path / "file"
    blocked.touch()
    assert str(blocked) in warm_up(blocked / "state" / "kernels").why_not


def test_what_activation_says_is_handed_on(tmp_path, monkeypatch) -> None:
    """And such a cache is not taken for whole."""
    monkeypatch.setattr(kernels, "activate_linked", lambda _file: "it is not there")
    monkeypatch.setattr(kernels, "activate", lambda _folder: "no such luck")
    assert warm_up(tmp_path / "kernels").why_not == "no such luck"
    assert not list((tmp_path / "kernels").glob(".warm-*"))


def test_machine_code_is_kept_for_processes_to_link(tmp_path, activated, monkeypatch) -> None:
    """After Numba brought the kernels once; the next process does without Numba."""
    monkeypatch.setattr(kernels, "packed", lambda: b"machine code")
    assert warm_up(tmp_path / "kernels").why_not == ""
    (file,) = (tmp_path / "kernels").glob("linked-*")
    assert file.read_bytes() == b"machine code"
    monkeypatch.setattr(kernels, "activate_linked", lambda asked: "" if asked == file else "no")
    assert warm_up(tmp_path / "kernels", may_compile=False).why_not == ""
    assert len(activated) == 1


@pytest.mark.parametrize("cpuinfo", ["", "processor : 0\nFeatures : fp asimd\n", None])
def test_nothing_is_linked_where_no_feature_is_named(
    tmp_path, activated, monkeypatch, cpuinfo
) -> None:
    """The file's name could not say for which processor it is: Numba looks for itself."""
    monkeypatch.setattr("stream.ops.kernels.CPUS", tmp_path / "cpuinfo")
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(kernels, "packed", lambda: b"machine code")
    assert warm_up(tmp_path / "kernels").why_not == ""
    assert activated == [tmp_path / "kernels"]
    assert not list((tmp_path / "kernels").glob("linked-*"))


def test_another_processor_has_another_file(tmp_path, activated, monkeypatch) -> None:
    """Else a state directory that moves to an older machine would end a process by SIGILL."""
    cpus = tmp_path / "cpuinfo"
    monkeypatch.setattr("stream.ops.kernels.CPUS", cpus)
    monkeypatch.setattr(kernels, "packed", lambda: b"machine code")
    for flags in ("avx avx2", "avx avx2 avx512f", "avx avx2"):
        cpus.write_text(f"processor : 0\nmodel : 1\nflags : {flags}\n\nprocessor : 1\n")
        assert warm_up(tmp_path / "kernels").why_not == ""
    assert len(list((tmp_path / "kernels").glob("linked-*"))) == 2


@pytest.mark.parametrize("error", [kernels.Unlinkable("a relocation"), OSError(30, "Read-only")])
def test_what_cannot_be_linked_goes_by_numba(tmp_path, activated, monkeypatch, error) -> None:
    """An object of a later LLVM, or a folder that nobody can write."""

    def packed() -> bytes:
        raise error

    monkeypatch.setattr(kernels, "packed", packed)
    assert warm_up(tmp_path / "kernels").why_not == ""
    assert not list((tmp_path / "kernels").glob("linked-*"))


def test_other_versions_leave_after_a_month(tmp_path, activated, monkeypatch) -> None:
    """A folder in use stays at any age, and so does one that was used lately."""
    monkeypatch.setattr(kernels, "packed", lambda: b"")
    assert warm_up(tmp_path / "kernels").why_not == ""
    cache = tmp_path / "kernels"
    current = min(kernels.cache_names())
    for name in (current, "scan-old"):
        (cache / name).mkdir()
        (cache / name / "file").touch()
    (cache / ".warm-old").touch()
    (marker,) = set(cache.glob(".warm-*")) - {cache / ".warm-old"}
    (linked,) = cache.glob("linked-*")
    kept = {".lock", current, linked.name, marker.name}
    marker.unlink()
    warm_up(tmp_path / "kernels")
    assert {path.name for path in cache.iterdir()} == kept | {"scan-old", ".warm-old"}
    marker.unlink()
    monkeypatch.setattr(warm, "KEPT_S", -60.0)
    warm_up(tmp_path / "kernels")
    assert {path.name for path in cache.iterdir()} == kept


def test_a_process_that_may_not_run_its_own_code_does_without() -> None:
    """Under systemd's MemoryDenyWriteExecute LLVM would die; we say why and go on."""
    # 65, 1: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN; Linux 6.3 and later.
    code = (
        "import ctypes, sys; from pathlib import Path; from stream.ops.kernels import warm_up\n"
        "refused = ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)\n"
        "print('unknown' if refused else warm_up(Path(sys.argv[1])).why_not)"
    )
    command = [sys.executable, "-c", code, "unused"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "may not run code" in said or said == "unknown\n"


@pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")
def test_a_folder_of_other_code_that_may_not_be_written_ends_no_process() -> None:
    """Numba raises RuntimeError there: a second environment beside the one that compiled it."""
    code = (
        "from pathlib import Path; from stream.core import kernels\n"
        "print(kernels.activate(Path('/dev/null/kernels')))"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("the kernels' cache cannot be used: ")


def test_big_endian_machines_do_without(tmp_path, activated, monkeypatch) -> None:
    """Kernels read files' little-endian words as they lie."""
    monkeypatch.setattr("sys.byteorder", "big")
    assert warm_up(tmp_path / "kernels").why_not == "this machine is big-endian"
    assert not activated

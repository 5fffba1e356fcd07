"""The image's environment without what no process loads."""

import os
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

from stream.edge.http.languages import LANGUAGES
from tests.conftest import KERNELS_DIR

DEPLOY = Path(__file__).parents[3] / "deploy"
PACKAGES = (
    *("babel", "botocore", "fastavro", "llvmlite", "numba", "numpy", "phonenumbers", "pygments"),
)

SPEAK = """
from stream.edge.http import languages
for code in languages.LANGUAGES:
    with languages.reading(code):
        print(languages.lasting(9 * 86_400).strip("9\\N{NO-BREAK SPACE} "))
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A folder of the packages that lose something, which goes before those that are installed."""
    for package in PACKAGES:
        for file in files(package) or ():
            source, target = Path(str(file.locate())), tmp_path / file
            if source.is_file() and ".." not in file.parts:
                target.parent.mkdir(parents=True, exist_ok=True)
                _same(source, target)
    return tmp_path


def _same(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


@pytest.mark.campaign  # every module and every help, from a copy of the environment
def test_a_trimmed_environment_loads_all_of_ringfence(environment: Path) -> None:
    """Every module, every command's help, and the kernels: an upgrade that needs more is seen."""
    trim = runpy.run_path(str(DEPLOY / "trim.py"))
    freed = trim["trim"](environment)
    assert freed > 130e6
    kept = {path.stem for path in (environment / "babel" / "locale-data").glob("*.dat")}
    assert kept == {"root", *LANGUAGES}
    assert not [path for pattern in trim["REMOVED"] for path in environment.glob(pattern)]
    assert not (environment / "botocore" / "data" / "ec2").exists()
    done = subprocess.run(
        [sys.executable, DEPLOY / "check_image.py", KERNELS_DIR],
        env={**os.environ, "PYTHONPATH": f"{environment}:{DEPLOY.parent}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "modules" in done.stdout
    assert "extras: s3, registry" in done.stdout
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(environment)!r}]\n{SPEAK}"],
        cwd=DEPLOY.parent, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.split() == ["days", "วัน", "ថ្ងៃ", "ရက်", "ngày", "天"]

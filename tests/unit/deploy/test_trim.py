"""The image's environment without what no process loads."""

import os
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import files
from pathlib import Path

import pytest

from tests.conftest import KERNELS_DIR

DEPLOY = Path(__file__).parents[3] / "deploy"
PACKAGES = ("botocore", "fastavro", "llvmlite", "numba", "numpy", "phonenumbers", "pygments")


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


def test_a_trimmed_environment_loads_all_of_ringfence(environment: Path) -> None:
    """Every module, every command's help, and the kernels: an upgrade that needs more is seen."""
    trim = runpy.run_path(str(DEPLOY / "trim.py"))
    freed = trim["trim"](environment)
    assert freed > 100e6
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

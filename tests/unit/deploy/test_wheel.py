"""The wheel, which has everything that a machine without the repository needs."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from shutil import copy2, copytree, ignore_patterns
from zipfile import ZipFile

import pytest

from stream.config.bundled_files import ASSETS, file_names

ROOT = Path(__file__).parents[3]


def built(to: Path, source: Path) -> Path:
    """The wheel of a copy of the repository's files, made by the locked build back end."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(to)],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = to.glob("ringfence-*.whl")
    return wheel


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two wheels of the same files, which lie in other folders and are of another age."""
    wheels = []
    for name, written_s in (("one", 1_700_000_000), ("another", 1_750_000_000)):
        source = tmp_path_factory.mktemp(name)
        for part in ("stream", "config", "deploy"):
            copytree(ROOT / part, source / part, ignore=ignore_patterns("__pycache__"))
        for part in ("pyproject.toml", "README.md", "LICENSE"):
            copy2(ROOT / part, source / part)
        for path in source.rglob("*"):
            os.utime(path, (written_s, written_s))
        wheels.append(built(source / "dist", source))
    return wheels


def test_two_builds_of_one_commit_are_identical(copies: list[Path]) -> None:
    """Byte for byte: a reader who doubts a release can make it again."""
    one, another = (sha256(wheel.read_bytes()).hexdigest() for wheel in copies)
    assert one == another


def test_the_wheel_works_without_the_repository(copies: list[Path], tmp_path: Path) -> None:
    """Licence, settings, runbook and assets are in it, and the commands find them."""
    with ZipFile(copies[0]) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "site")
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "stream/edge/http/languages/th.po" in names
    assert not [name for name in names if name.startswith(("tests/", "config/", "deploy/"))]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "RINGFENCE_CONFIG": ""}

    def says(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path, env=environ, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    there = str(tmp_path / "site" / "stream" / "__init__.py")
    assert says("-c", "from stream import __file__; print(__file__)").strip() == there
    says("-m", "stream", "init", "etc")
    says("-m", "stream", "check-config", "--config", "etc/ringfence.toml")
    says("-m", "stream", "assets", "export", "out")
    for name in ASSETS:
        for to, source in file_names(name).items():
            assert (tmp_path / "out" / to).read_bytes() == source.read_bytes()

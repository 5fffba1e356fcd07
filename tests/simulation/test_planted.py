"""Faults of the project's own history, put back one by one: the simulation finds each."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.needs_git
PLANTED = sorted((Path(__file__).parent / "planted").glob("*.patch"))
CPU_S = 120
"""Each is found within so much of one core, from seed 1 on."""
KINDS = {
    "beyond-the-end": "topic_again",
    "kept-out-of-the-group": "refuse",
    "leader-does-not-know": "partitions",
    "left-amid-a-request": "doors",
    "lost-to-a-race": "lists",
    "made-again-while-read": "lists",
    "older-after-a-restart": "older",
    "overtaken-by-a-late-answer": "abort",
    "partitions-unread": "partitions",
    "refused-in-transaction": "refuse",
    "rewound-too-far": "refuse",
    "timestamp-first": "partners",
    "topic-made-again": "topic_again",
    "topics-by-two-answers": "topic_again",
}
"""Faults that need a fault or a side which few seeds draw: the others are not played."""


def planted(patch: Path, tree: Path) -> None:
    """Copy what the simulation needs, and put the fault back in the copy."""
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "tests").mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("stream", "config", "tests/simulation", "tests/support"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    shutil.copy(ROOT / "tests" / "__init__.py", tree / "tests")
    # Outside of any repository: git would else apply it there.
    environ = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    subprocess.run(["git", "apply", str(patch)], cwd=tree, env=environ, check=True)


@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_each_fault_can_still_be_put_back(patch, tmp_path):
    """A patch that no longer fits is written again, not forgotten."""
    planted(patch, tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_each_fault_is_found(patch):
    """A seed breaks, within two minutes of one core."""
    # One place for all: Numba knows the kernels it has compiled by their file's place and time.
    # Elsewhere each fault would cost half a minute of compiling.
    tree = ROOT / "build" / "planted" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
    planted(patch, tree)
    kernels = ROOT / "state" / "kernels"
    command = [sys.executable, "-m", "tests.simulation", "--whole", "--kernels", str(kernels)]
    found = subprocess.run(
        [*command, "--seconds", str(CPU_S), "--kind", KINDS.get(patch.stem, "")],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1, found.stdout[-2000:] + found.stderr[-2000:]
    assert "BROKEN" in found.stdout, found.stderr[-2000:]

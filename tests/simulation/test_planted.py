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
OPTIONS = {
    # Topics made again are known by their ids since: only an unclean election still leads there.
    "beyond-the-end": "--with unclean --seeds 3",
    "kept-out-of-the-group": "--kind refuse",
    "leader-does-not-know": "--kind partitions",
    "left-amid-a-request": "--kind doors",
    "lost-to-a-race": "--kind lists",
    "made-again-while-read": "--kind lists",
    "older-after-a-restart": "--kind older --kind feeds_kill",
    "overtaken-by-a-late-answer": "--kind abort",
    "partitions-unread": "--kind partitions",
    "refused-in-transaction": "--kind refuse",
    "rewound-too-far": "--kind refuse",
    "timestamp-first": "--kind partners",
    "topic-made-again": "--kind topic_again",
    "topics-by-two-answers": "--kind topic_again",
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


def played(tree: Path, options: list[str]) -> "subprocess.CompletedProcess[str]":
    """Play seeds in a tree, for two minutes of one core at most."""
    kernels = ROOT / "state" / "kernels"
    command = [sys.executable, "-m", "tests.simulation", "--whole", "--kernels", str(kernels)]
    return subprocess.run(
        [*command, "--seconds", str(CPU_S), *options],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_each_fault_can_still_be_put_back(patch):
    """A patch that no longer fits is written again, not forgotten."""
    subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, check=True)


@pytest.mark.campaign
@pytest.mark.parametrize("patch", PLANTED, ids=lambda patch: patch.stem)
def test_each_fault_is_found(patch):
    """A seed breaks, within two minutes of one core."""
    # One place for all: Numba knows the kernels it has compiled by their file's place and time.
    # Elsewhere each fault would cost half a minute of compiling.
    tree = ROOT / "build" / "planted" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
    planted(patch, tree)
    options = OPTIONS.get(patch.stem, "").split()
    if "--with" in options:  # no seed of `make simulate` has that kind: they may break without it
        found = played(ROOT, options)
        assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]
    found = played(tree, options)
    assert found.returncode == 1, found.stdout[-2000:] + found.stderr[-2000:]
    assert "BROKEN" in found.stdout, found.stderr[-2000:]

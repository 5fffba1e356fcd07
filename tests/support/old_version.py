"""The Ringfence before formats were numbered, from the history of this repository."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.engine import ROOT

OLD = "dfb0c7d92247c331e037bbced66c6b3184edc0a4"
"""The commit before the settings from variables (decision 0138): version N of upgrades."""


def unpacked(folder: Path) -> Path:
    """The tree of that version below `folder`; skips where the history does not reach so far."""
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", OLD, "stream", "config", "deploy/RUNBOOK.md"],
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        pytest.skip(f"commit {OLD[:8]} is not in the history here: `git fetch --unshallow`")
    tree = folder / "old"
    tree.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as held:
        held.extractall(tree, filter="data")
    return tree

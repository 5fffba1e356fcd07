"""Files made to fill memory, or to take for ever."""

import json
import subprocess
import sys

import pytest

from tests.support.hostile_files import FILES

GROWTH_MB_MAX = 350
"""An event of MISP may have 64 MB, and is held twice while it is read; the rest is far below."""


@pytest.mark.campaign  # files of 80 to 200 MB
def test_memory_is_bounded(tmp_path):
    """One line of 200 MB, deep nesting, a million objects, a zip bomb end in time and bounds."""
    command = [sys.executable, "-m", "tests.support.hostile_files", str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    found = json.loads(said.stdout)
    assert {name: ended for name, (ended, _) in found.items()} == {
        name: one.ending for name, one in FILES.items()
    }
    assert max(grown for _, grown in found.values()) < GROWTH_MB_MAX, found

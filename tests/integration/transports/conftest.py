"""Fixtures that tests of transports share."""

from pathlib import Path

import pytest


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """Where a version shall land; its folder is empty."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "version"

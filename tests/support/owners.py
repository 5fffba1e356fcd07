"""Folders of other users."""

import os
from pathlib import Path

from stream.ops import private_files


def someone_s(folder: Path) -> Path:
    """A folder where this user's files would not be its owner's."""
    if os.geteuid() != private_files.ROOT:
        return Path("/")
    folder.mkdir()
    os.chown(folder, 65_534, -1)
    return folder

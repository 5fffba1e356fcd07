"""Where multiprocessing listens: a socket's name is short, a temporary folder's may be long."""

import os
import tempfile
from multiprocessing import util
from typing import Final

_LONGEST: Final = 107 - len("/pymp-12345678/listener-12345678")
"""Bytes of a folder's name that leave room for the socket's own (107 in all, unix(7))."""
_SHORT: Final = "/tmp"  # noqa: S108 - multiprocessing makes a folder of its own in it, mode 0700


def make_room() -> None:
    """Have multiprocessing's folder where its sockets can be, before the first process is forked.

    With a long TMPDIR no process would begin: "AF_UNIX path too long".
    """
    if len(os.fsencode(tempfile.gettempdir())) <= _LONGEST:
        return
    folder, tempfile.tempdir = tempfile.tempdir, _SHORT
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = folder

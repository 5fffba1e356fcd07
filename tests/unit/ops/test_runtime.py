"""Processes that are forked begin, wherever temporary files are."""

import os
import subprocess
import sys

PROGRAM = """
import asyncio, binascii
from stream.feeds.follow import subprocess_job
subprocess_job.prepare([])
limits = subprocess_job.JobLimits(memory_max=1 << 33, cpu_s_max=100)
work = subprocess_job.apart(binascii.hexlify, b"+", limits, within_s=100)
print(asyncio.run(work))
"""


def test_a_version_is_worked_on_where_the_temporary_folder_has_a_long_name(tmp_path):
    """A Unix socket's name has 107 bytes: it is elsewhere then, and nothing stays behind."""
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "b'2b'\n"), done.stderr
    assert not list(folder.iterdir())

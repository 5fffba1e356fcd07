"""The runtime of processes: forked wherever temporary files are, and free of old garbage."""

import asyncio
import gc
import os
import subprocess
import sys
import weakref

import pytest

from stream.ops import runtime
from stream.ops.runtime import give_memory_back
from stream.ops.tasks import cancelled

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


class Knot:
    """An object that holds itself, as a closed connection of asyncio does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.parametrize(("generation", "turns"), [(0, 1), (1, 2), (2, 4)])
async def test_a_quiet_process_collects_its_garbage(
    generation: int, turns: int, monkeypatch: pytest.MonkeyPatch
):
    """Python's own collections wait for numbers of objects that it does not make."""
    monkeypatch.setattr(runtime, "_YOUNG_S", 0.0)
    monkeypatch.setattr(runtime, "_OLDER", 2)
    monkeypatch.setattr(runtime, "_ALL", 4)
    knot = Knot()
    left = weakref.ref(knot)
    for younger in range(generation):
        gc.collect(younger)
    before = gc.isenabled()
    gc.disable()
    try:
        del knot
        collecting = asyncio.create_task(give_memory_back())
        for _ in range(turns):
            assert left() is not None
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert left() is None
        await cancelled(collecting)
    finally:
        if before:
            gc.enable()

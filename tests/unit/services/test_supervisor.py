"""The supervisor goes on with the workers that it has while one cannot be started."""

import asyncio
import errno
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stream.config.settings import load
from stream.core.model.errors import CLEAN
from stream.services.supervisor import Supervisor, Work
from tests.support import waiting

READY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    os.write(1, b'{"missing": []}\\n')
    time.sleep(0.05)
"""
DIES = "import os; os._exit(9)"


@pytest.mark.expects_errors("worker 0 died|worker 0 cannot be started")
async def test_a_worker_that_cannot_be_started_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for one more process the supervisor tries again; it ended, and all with it."""
    start = asyncio.create_subprocess_exec
    of_first: Iterator[str] = iter((DIES, "", READY))

    async def started(*words: str, **named: Any) -> asyncio.subprocess.Process:
        program = next(of_first) if words[words.index("--worker") + 1] == "0" else READY
        if not program:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await start(sys.executable, "-c", program, **named)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    settings = load([], {})
    settings = replace(settings, ops=replace(settings.ops, http_port=0))
    supervisor = Supervisor(settings, 2, Work("run", (), 0), tmp_path)
    running = asyncio.create_task(supervisor.run())

    async def whole() -> bool:
        return running.done() or supervisor.readiness.ready

    await waiting.until(whole, "both workers to be ready")
    supervisor.stop("enough")
    assert await running == CLEAN

"""Run `ringfence` as its command does, and write on SIGUSR2 what its event loop holds.

    python -m tests.campaigns.inside FILE run --config ringfence.toml

FILE gets JSON: tasks by the name of their function, and threads. Under PYTHONTRACEMALLOC it has the
places that hold most memory too: compare two of them to find what grows.
"""

import asyncio
import json
import signal
import sys
import threading
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

PLACES = 40
"""Places of memory that are written, the largest first."""


def held() -> dict[str, Any]:
    """Tasks of this thread's loop, threads, and where memory was taken."""
    tasks: Counter[str] = Counter()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # it has not begun, or is over
        pass
    else:
        for task in asyncio.all_tasks(loop):
            tasks[getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))] += 1
    found: dict[str, Any] = {
        "tasks": dict(sorted(tasks.items())),
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }
    if tracemalloc.is_tracing():
        places = tracemalloc.take_snapshot().statistics("lineno")[:PLACES]
        found["memory_kb"] = {str(one.traceback[0]): one.size >> 10 for one in places}
    return found


def main() -> None:
    """Listen for the signal, and become `ringfence`."""
    path = Path(sys.argv.pop(1))

    def told(_signal: int, _frame: object) -> None:
        aside = path.with_suffix(".new")
        aside.write_text(json.dumps(held()))
        aside.replace(path)

    signal.signal(signal.SIGUSR2, told)
    from stream.__main__ import main as ringfence

    ringfence()


if __name__ == "__main__":
    main()

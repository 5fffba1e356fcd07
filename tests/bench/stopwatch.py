"""`ringfence run` with a stopwatch in it: whose CPU time is it, step by step, without a rest.

    python -m tests.bench.stopwatch CONFIG STEPS_FILE REPORT

Started by the stages bench. The functions that STEPS_FILE names (JSON, name of the step -> list of
"module:attribute") are wrapped before the engine starts; each reading of the clock gives the
process's CPU time since the last one to the step that was under way, so steps inside others are
counted once and all of them add up to the whole. What is in no step is "elsewhere". The report
(JSON) holds a line for each batch taken: records so far, and nanoseconds so far by step.

Functions only, no coroutines: while one awaits, others run. The clock costs about 0.3 us a reading
and is read twice a call, so a step must not be called once a record.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from stream.cli.common import settings_of
from stream.services import worker

ELSEWHERE = "elsewhere"


class Stopwatch:
    """CPU nanoseconds of this process by step; one step is under way at any moment."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = defaultdict(int)
        self._under_way = [ELSEWHERE]
        self._since_ns = time.process_time_ns()

    def read(self) -> None:
        """Give what has passed to the step under way."""
        now_ns = time.process_time_ns()
        self.ns[self._under_way[-1]] += now_ns - self._since_ns
        self._since_ns = now_ns

    def timed(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, all of whose time belongs to `step`, but for steps inside it."""

        @wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.read()
            self._under_way.append(step)
            try:
                return function(*arguments, **named)
            finally:
                self.read()
                self._under_way.pop()

        return wrapped


def found(place: str) -> tuple[Any, str]:
    """The owner and the name of "module:attribute" or "module:Class.method".

    Raises ImportError, AttributeError where there is no such thing any more.
    """
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *names, last = path.split(".")
    for name in names:
        owner = getattr(owner, name)
    getattr(owner, last)
    return owner, last


def main(config: Path, steps_file: Path, report: Path) -> int:
    """Run until SIGTERM; the engine's exit code."""
    watch = Stopwatch()
    lines: list[dict[str, Any]] = []
    records = 0

    def taken(original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: Any, raw: Any) -> None:
            nonlocal records
            watch.read()
            lines.append({"records": records, "ns": dict(watch.ns)})
            records += len(raw)
            original(self, raw)

        return noted

    watched = import_module("stream.engine.worker_metrics").WorkerMetrics
    watched.taken = taken(watched.taken)
    for step, places in json.loads(steps_file.read_text()).items():
        for place in places:
            owner, name = found(place)
            setattr(owner, name, watch.timed(step, getattr(owner, name)))
    code = worker.run(settings_of([config]))
    report.write_text(json.dumps(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))

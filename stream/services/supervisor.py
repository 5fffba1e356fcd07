"""`run`, `serve`, `serve-sip` with `--workers N`: N processes, restarted when they die.

A worker's stdin is a pipe that ends only when this process does, so that kill -9 of the supervisor
leaves no worker behind. Its stdout carries one JSON line a second: what it still misses. `/metrics`
is the sum of the workers' files, `/ready` is ready when all are, `/live` fails when one hangs.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.config.settings import Settings
from stream.core.model.errors import CLEAN, CONFIG_WRONG, CRASHED, UNUSABLE
from stream.ops.clock import monotonic_s
from stream.ops.health_server import Readiness
from stream.ops.metrics.exposition import FILES_ENV, forget_gauges_of, sum_of_workers
from stream.ops.metrics.shared_catalogue import TokenMetrics
from stream.ops.metrics.worker_catalogue import SupervisorMetrics
from stream.ops.retry import Backoff
from stream.ops.tasks import running
from stream.services import service
from stream.services.service import Service, Words, WorkerPlace

log = logging.getLogger(__name__)

RESTART_S_FIRST, RESTART_S_MOST = 0.5, 30.0
"""Seconds until a restart: soon after one death, seldom after many."""
GRACE_S = 2.0
"""Seconds that a worker gets beyond its own shutdown deadline before it is killed."""
_FOLDER = "ringfence-metrics-"
_USES = {
    "run": ("kafka", "redis"),
    "serve": ("kafka", "redis", "http"),
    "serve-sip": ("redis", "sip"),
}
"""Certificates whose expiry /metrics shows, by command."""


@dataclass(slots=True)
class Worker:
    """The slot of one worker, and the process that is in it now."""

    slot: int
    process: asyncio.subprocess.Process | None = None
    missing: tuple[str, ...] = ("it is being started",)
    started_s: float = 0.0
    heard_s: float = 0.0
    was_ready: bool = False
    backoff: Backoff = field(default_factory=lambda: Backoff(RESTART_S_FIRST, RESTART_S_MOST))


def place_of_worker(slot: int, workers: int) -> WorkerPlace:
    """Return the place of a process that a supervisor started."""
    # A supervisor that hangs, or is gone, must not make its worker hang: then a line is lost.
    os.set_blocking(sys.stdout.fileno(), False)

    def report(readiness: Readiness) -> None:
        line = json.dumps({"missing": readiness.missing}) + "\n"
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(sys.stdout.fileno(), line.encode())

    async def gone() -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.read()

    return WorkerPlace(slot, workers, report, gone)


@dataclass(frozen=True, slots=True)
class Work:
    """The command of each worker: `ringfence <command> <arguments>`. `port` shows the health."""

    command: str
    arguments: Sequence[str]
    port: int


def run(settings: Settings, workers: int, work: Work) -> int:
    """Supervise until a signal; return the exit code."""

    async def main() -> int:
        with metrics_folder() as folder:
            return await Supervisor(settings, workers, work, folder).run()

    return service.run(settings, main, worker="supervisor")


@contextlib.contextmanager
def metrics_folder() -> Iterator[Path]:
    """Make a folder for the workers' metrics; those of killed supervisors are removed first."""
    # A supervisor that was killed could not remove its own.
    for old in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = old.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Supervisor(Service):
    """Keeps `workers` processes running, until one ends with a code that a restart keeps."""

    def __init__(self, settings: Settings, workers: int, work: Work, folder: Path) -> None:
        super().__init__(
            settings,
            work.port,
            words=Words(stopping=f"{workers} workers", late="workers that run are killed"),
            uses=_USES[work.command],
            grace_s=GRACE_S,
        )
        self._command = work
        self._folder = folder
        self._workers = [Worker(slot) for slot in range(workers)]
        self._metrics = SupervisorMetrics(self.registry)
        sum_of_workers(folder, self.registry)
        for worker in self._workers:
            self._metrics.restarts.labels(str(worker.slot))
        self._hopeless = CLEAN

    async def _work(self) -> None:
        # Each place ends by itself: it stops its process, and kills it at the deadline.
        self.ends_by(lambda: None)
        async with self._tokens(), asyncio.TaskGroup() as group:
            lives = [group.create_task(self._life(worker)) for worker in self._workers]
        failed = any(life.result() for life in lives)
        self.code = self._hopeless or (CRASHED if failed else CLEAN)

    @contextlib.asynccontextmanager
    async def _tokens(self) -> AsyncIterator[None]:
        """Let the workers of `serve` read the file of tokens again as soon as this process does."""
        if self._command.command != "serve":
            yield
            return
        metrics = TokenMetrics(self.registry)
        tokens = self.settings.token_file(lambda changed: metrics.show(changed.expiries))
        metrics.show(tokens.held.expiries)

        def again() -> None:
            tokens.read()
            for worker in self._workers:
                # One that has not reported yet reads the file anyway, and a signal would end it.
                if worker.process is not None and worker.heard_s > worker.started_s:
                    with contextlib.suppress(ProcessLookupError):
                        worker.process.send_signal(signal.SIGHUP)

        async with running(tokens.run(again), "tokens"):
            yield

    async def _life(self, worker: Worker) -> int:
        """Run the processes of one place, one after the other. Return the last exit code."""
        while True:
            code = await self._one_process(worker)
            if self.stopping.is_set():
                # One that has not reported yet is loading: it has no handler, and nothing to end.
                was_loading = worker.heard_s == worker.started_s
                was_ended = code == -signal.SIGTERM and was_loading
                return CLEAN if code is None or was_ended else code
            if code in (CONFIG_WRONG, UNUSABLE) and not worker.was_ready:
                self._hopeless = self._hopeless or code
                self.stop(f"worker {worker.slot} cannot start")
                return code
            wait_s = worker.backoff.next_s()
            worker.missing = (f"it died ({_how(code)}) and restarts",)
            log.error("worker %d died (%s), again in %.1f s", worker.slot, _how(code), wait_s)
            self._metrics.restarts.labels(str(worker.slot)).inc()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.stopping.wait()
                return CLEAN

    async def _one_process(self, worker: Worker) -> int | None:
        """Start a worker, listen to it until it ends, and return its exit code.

        None: it cannot be started now, for example without memory for one more process.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "stream", self._command.command, *self._command.arguments),
                *("--worker", str(worker.slot), "--workers", str(len(self._workers))),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # A terminal's Ctrl-C is for the supervisor, which then stops its workers in order.
                start_new_session=True,
                env={**os.environ, FILES_ENV: str(self._folder)},
            )
        except OSError as error:  # the others go on meanwhile
            log.error("worker %d cannot be started: %s", worker.slot, error)  # noqa: TRY400
            return None
        worker.process = process
        worker.started_s = worker.heard_s = monotonic_s()
        self._count_running()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(worker, process))
                return await self._ended(worker, process)
        finally:
            worker.process = None
            self._count_running()
            forget_gauges_of(worker.slot, self._folder)

    async def _ended(self, worker: Worker, process: asyncio.subprocess.Process) -> int:
        """Wait until a worker ends; return its exit code. Cancelled at the deadline: kill it."""
        # No TaskGroup: `ended` has to outlive the cancellation, or the killed worker is a zombie.
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                process.terminate()
                await asyncio.wait({ended})
        finally:
            stopping.cancel()
            if not ended.done():
                log.error("worker %d did not stop in time and is killed", worker.slot)
                process.kill()
            code = await ended
        return code

    async def _listen(self, worker: Worker, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None, "it is a pipe"
        async for line in process.stdout:
            worker.heard_s = monotonic_s()
            worker.missing = tuple(json.loads(line)["missing"])
            if not worker.missing:
                worker.was_ready = True
                if worker.heard_s - worker.started_s > RESTART_S_MOST:
                    worker.backoff.reset()

    def _count_running(self) -> None:
        self._metrics.running.set(sum(worker.process is not None for worker in self._workers))

    def _missing(self) -> tuple[str, ...]:
        return tuple(f"worker {w.slot}: {what}" for w in self._workers for what in w.missing)

    def _stalled(self) -> bool:
        """Return whether a running worker has sent no report for too long."""
        longest_s = self.settings.ops.stalled_s
        now_s = monotonic_s()
        return any(w.process is not None and now_s - w.heard_s > longest_s for w in self._workers)


def _how(code: int | None) -> str:
    if code is None:
        return "it cannot be started"
    return f"signal {-code}" if code < 0 else f"exit code {code}"

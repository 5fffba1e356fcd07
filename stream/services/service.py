"""The shell of every process: from its first log line to its exit code.

Common parts are here: signals, one deadline for the whole shutdown, health pages or reports to a
supervisor, and certificates' expiry. Faults become one log line and an exit code.
"""

import asyncio
import logging
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Timer
from typing import Any, Final, NoReturn, TypeVar

from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import CLEAN, CRASHED, Fault, ListStoreDown, ListStoreRefuses
from stream.ops import log as logs
from stream.ops.clock import Deadline
from stream.ops.health_server import HealthServer, LoopWatchdog, Readiness, tell_systemd
from stream.ops.metrics.exposition import keep_in_files
from stream.ops.metrics.shared_catalogue import CertificateMetrics, DeploymentMetrics
from stream.ops.retry import Backoff
from stream.ops.runtime import give_memory_back, share_one_arena
from stream.ops.tasks import cancelled, supervised

log = logging.getLogger(__name__)
T = TypeVar("T")

LOOK_S: Final = 1.0
"""Seconds between two readings of gauges, and between two reports to a supervisor."""
LOOPBACK: Final = ("127.", "::1", "localhost")
"""Beginnings of addresses that only this machine reaches."""
STOP_S_MAX: Final = 5.0
"""Seconds that a cancelled work, or one client of it, may take to close."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """One process among those of a supervisor.

    `report` tells it every second what is missing; `gone` returns when the supervisor has ended.
    """

    slot: int
    workers: int
    report: Callable[[Readiness], None]
    gone: Callable[[], Awaitable[None]]


def run(
    settings: Settings,
    main: Callable[[], Coroutine[Any, Any, int]],
    place: WorkerPlace | None = None,
    **fields: object,
) -> int:
    """Run a process; return its exit code. `fields` are in each of its log lines."""
    refuse_optimised()
    share_one_arena()
    logs.set_up(
        settings.ops.log_level, fields if place is None else fields | {"worker": place.slot}
    )
    if place is not None:
        # Before the first metric is made: each chooses its kind of value when it is made.
        keep_in_files(place.slot)
    try:
        with ExitStack() as after, asyncio.Runner() as runner:
            # An orderly exit waits for every task and thread, also for those that hang in a dead
            # mount or compile kernels. Nothing is lost without them: what was not committed or
            # stored is read again.
            try:
                code = runner.run(main())
            except Late:
                _leave(CRASHED)
            leave = Timer(STOP_S_MAX, _leave, (code,))
            leave.daemon = True
            leave.start()
            after.callback(leave.cancel)
            return code
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return fault.exit_code
    except Exception:
        log.critical("crashed: unhandled exception", exc_info=True)
        raise


def _leave(code: int) -> NoReturn:
    logging.shutdown()
    os._exit(code)


def refuse_optimised() -> None:
    """Refuse python -O: without asserts a bug would go on working."""
    if not __debug__:
        raise SystemExit("Ringfence does not run under python -O: its checks are asserts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The log lines of a shutdown that differ between processes."""

    stopping: str = ""
    stopped: str = "stopped"
    late: str = "work that did not end is left behind"


WORDS: Final = Words()
DELIVERS: Final = Words(
    stopped="stopped; what was delivered is committed",
    late="what was not committed is delivered again",
)
"""Of every process that delivers records at least once."""


async def once_up(connect: Callable[[], Awaitable[T]]) -> T:
    """Return what `connect` gives as soon as the list store answers.

    After a power cut Redis may answer minutes after us, and systemd restarts no process that ended
    with UNUSABLE. Raises ListStoreRefuses and ListStoreUnsafe: there, waiting does not help.
    """
    backoff, waits = Backoff(0.5, 10.0), False
    while True:
        try:
            connected = await connect()
        except ListStoreRefuses:
            raise
        except ListStoreDown as fault:
            if not waits:
                log.warning("the list store is waited for: %s", fault)
            waits = True
        else:
            if waits:
                log.info("the list store answers")
            return connected
        await backoff.pause()


class Late(Fault):
    """The deadline came before the work had ended."""


class Service(ABC):
    """One process: works until a signal stops it, and shows its health meanwhile.

    A process is a subclass with its `_work`, and with what is `_missing` until it is ready.
    """

    def __init__(
        self,
        settings: Settings,
        port: int,
        *,
        words: Words = WORDS,
        place: WorkerPlace | None = None,
        uses: tuple[str, ...] = (),
        grace_s: float = 0.0,
    ) -> None:
        """Show health pages on `port`; under a supervisor, at `place`, report to it instead.

        `uses` names the settings with certificates whose expiry /metrics shows. The work gets
        `grace_s` on top of `[ops] shutdown_s`.
        """
        self.settings = settings
        self.registry = CollectorRegistry()
        self.place = place
        self.stopping = asyncio.Event()
        self.deadline = Deadline()
        self.code = CLEAN
        """The exit code of a work that ends in order; a process sets it where something failed."""
        self._port = port
        self._words = words
        self._uses = uses
        self._turning = LoopWatchdog(settings.ops.stalled_s)
        self._grace_s = grace_s
        self._ask: Callable[[], None] | None = None
        self._hurry = asyncio.Event()
        self._in_terminal = os.isatty(0)

    @abstractmethod
    async def _work(self) -> None:
        """Do the process' work until it is asked to end, or cancelled. Raises Faults."""

    def _missing(self) -> tuple[str, ...]:
        """Return what is missing until the process is ready."""
        return ()

    def _stalled(self) -> bool:
        """Return whether the process hangs; of one, whether its event loop does."""
        return self._turning.stalled

    @property
    def readiness(self) -> Readiness:
        """The missing parts. A process that stops is not ready."""
        stopping = ("it is being stopped",) if self.stopping.is_set() else ()
        return Readiness((*self._missing(), *stopping))

    async def run(self) -> int:
        """Work until a signal stops it; return the exit code. Raises Faults, also Late."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._signalled, number.name)
        # Before the first report: a supervisor that hears of us may send it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        place, host = self.place, self.settings.ops.http_host
        if place is not None:
            await supervised(
                self._until_stopped(),
                report=self._report(place),
                supervisor=self._watch_supervisor(place),
                memory=give_memory_back(),
            )
        else:
            if self._uses:
                CertificateMetrics(self.registry, self.settings.certificates(*self._uses))
            DeploymentMetrics(self.registry, self.settings.deployment())
            async with HealthServer(
                host, self._port, self.registry, lambda: self.readiness, self._stalled
            ) as server:
                log.info("http://%s:%d/metrics /live /ready", host, server.port)
                await supervised(
                    self._until_stopped(),
                    turning=self._turning.run(),
                    systemd=self.repeated(self._tell_systemd),
                    memory=give_memory_back(),
                )
        log.info("%s", self._words.stopped)
        return self.code

    def stop(self, why: str) -> None:
        """Begin the shutdown. Later calls change nothing."""
        if not self.stopping.is_set():
            self.deadline.start(self.settings.ops.shutdown_s + self._grace_s)
            more = self._words.stopping and f"; {self._words.stopping}"
            log.info("%s: stopping within %.1f s%s", why, self.deadline.left_s or 0.0, more)
            self.stopping.set()

    def ends_by(self, ask: Callable[[], None]) -> None:
        """From now on, ask the work by `ask` to end by itself. Before, it is cancelled.

        A work that has begun nothing can be cancelled at any line. One that holds calls, files or
        requests ends them in its own order.
        """
        self._ask = ask
        if self.stopping.is_set():
            ask()

    async def until_stopping(self) -> None:
        """Wait for the shutdown to begin; from now on, the work ends by itself after that."""
        self.ends_by(lambda: None)
        await self.stopping.wait()

    def _signalled(self, name: str) -> None:
        """Begin the shutdown; a person's second signal ends it at once.

        Under a supervisor a second one does not come from a person. systemd and a terminal signal
        all processes of the group, and the supervisor then signals its workers too.
        """
        if self.stopping.is_set() and self.place is None:
            log.warning("%s again: stopping at once", name)
            self.deadline = Deadline()
            self.deadline.start(0.0)
            self._hurry.set()
        self.stop(name)

    def _hung_up(self) -> None:
        """Go on: what can be read again is read again by itself, all else needs a restart.

        Without this SIGHUP would end us, which systemd takes for a wanted end: it starts no other
        process. A terminal that was closed ends us in order.
        """
        if self._in_terminal:
            self._signalled(signal.SIGHUP.name)
        else:
            log.info("SIGHUP: going on; settings need a restart, other files are read again anyway")

    async def _until_stopped(self) -> None:
        # No TaskGroup: the work is cancelled in an orderly shutdown, which is no failure, and the
        # wait for it ends at the deadline even if the work does not.
        task = asyncio.create_task(self._work(), name="work")
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await self._wind_up(task)
        except asyncio.CancelledError:
            await cancelled(task)
            raise
        finally:
            stopping.cancel()
        if not (task.cancelled() and self.stopping.is_set()):
            task.result()

    async def _wind_up(self, task: "asyncio.Task[None]") -> None:
        """Let the work end what it began, for as long as the deadline allows. Raises Late."""
        if self._ask is None:
            task.cancel()
        else:
            self._ask()
        # No TaskGroup: it would wait for a work that hangs.
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            left_s = self.deadline.left_s
            await asyncio.wait({task, hurry}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancelled(hurry)
        if task.done():
            return
        log.error("the deadline came first: %s", self._words.late)
        # Once, not until it has ended: after the deadline the process ends all the same.
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_S_MAX)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: %s", type(error).__name__, error)
        raise Late(self._words.late)

    async def repeated(self, look: Callable[[], object]) -> None:
        """Call `look` every second, until cancelled: for gauges."""
        while True:
            look()
            await asyncio.sleep(LOOK_S)

    def _tell_systemd(self) -> None:
        """Report to systemd, which restarts a process that hangs (WatchdogSec= of its unit)."""
        if not self._stalled():
            tell_systemd("WATCHDOG=1")

    async def _report(self, place: WorkerPlace) -> None:
        while True:
            place.report(self.readiness)
            await asyncio.sleep(LOOK_S)

    async def _watch_supervisor(self, place: WorkerPlace) -> None:
        await place.gone()
        self.stop("the supervisor is gone")
        await asyncio.Event().wait()

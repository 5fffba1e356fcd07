"""What the processes of all sinks share: signals, health pages, one deadline."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from prometheus_client import CollectorRegistry

from stream.config.settings import Settings
from stream.core.model.errors import Fault
from stream.kafka.settings import SourceSettings
from stream.lists.follower.list_events import EventKind
from stream.ops import log as logs
from stream.ops.clock import Deadline
from stream.ops.health import HealthServer, Readiness, Turning
from stream.ops.metrics.certificate import CertificateMetrics
from stream.ops.tasks import cancelled, running
from stream.services.worker import CLEAN, CRASHED, exit_code_of, refuse_optimised

log = logging.getLogger(__name__)

RECORDS_MAX: Final = 4000
"""Decisions written at once: 8 scripts of 500 keys, about 40 ms."""
LOOK_S: Final = 1.0
_QUIET: Final = (EventKind.SWAPPED, EventKind.LOADED)


def run(settings: Settings, name: str, work: Callable[[], Awaitable[int]]) -> int:
    """The exit code of a sink's process that does `work`; a fault is its last log line."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": name})

    async def whole() -> int:
        return await work()

    try:
        return asyncio.run(whole())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


class Life:
    """One process: works until told to stop, and is seen from outside meanwhile."""

    def __init__(self, settings: Settings, port: int, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._port = port
        self._registry = registry
        self._told = asyncio.Event()
        self._deadline = Deadline()
        self._turning = Turning(settings.ops.stalled_s)

    async def run(
        self,
        work: Callable[[], Awaitable[None]],
        wind_up: Callable[[], None],
        missing: Callable[[], tuple[str, ...]],
    ) -> int:
        """Until told to stop: CLEAN, or CRASHED if the deadline came first. Raises Faults.

        `wind_up` asks `work`, once it was begun, to end by itself.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        ops = self._settings.ops
        CertificateMetrics(self._registry, self._settings.certificates("kafka"))
        server = HealthServer(
            ops.http_host,
            self._port,
            self._registry,
            lambda: Readiness(("it is being stopped",) if self._told.is_set() else missing()),
            lambda: self._turning.stalled,
        )
        async with (
            server,
            running(self._turning.run(), "turning") as turning,
            running(work(), "work") as task,
        ):
            log.info("http://%s:%d/metrics /live /ready", ops.http_host, server.port)
            told = asyncio.create_task(self._told.wait())
            try:
                await asyncio.wait({task, told, turning}, return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    wind_up()
                    await asyncio.wait({task}, timeout=self._deadline.left_s)
            finally:
                await cancelled(told)
            if not task.done():
                log.error("the deadline came first: what was not committed is delivered again")
                return CRASHED
            task.result()
        log.info("stopped; what was delivered is committed")
        return CLEAN

    def _stop(self, why: str) -> None:
        self._deadline.start(self._settings.ops.shutdown_s)
        log.info("%s: stopping", why)
        self._told.set()


POLL_INTERVAL_MS: Final = 8 * 86_400_000
"""A batch is delivered for as long as it takes, a week at most; `/live` tells of one that hangs.
Were it Kafka's default of 5 minutes, an endpoint that is down would be tried from the beginning
each time, and never be given up."""


def source_settings(settings: Settings, group_id: str, start_at: str) -> SourceSettings:
    """How a sink reads decisions, in a group of its own."""
    calls = settings.calls
    return SourceSettings(
        topics=(calls.decisions_topic,),
        group_id=group_id,
        instance_id=calls.instance_id,
        start_at=start_at,
        session_timeout_ms=calls.session_timeout_ms,
        rebalance_timeout_ms=calls.rebalance_timeout_ms,
        fetch=calls.fetch,
        corrupt_batches=calls.corrupt_batches,
        poll_interval_ms=POLL_INTERVAL_MS,
    )

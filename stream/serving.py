"""`ringfence serve`, put together: HTTP in front of the lists, until told to stop."""

import asyncio
import logging
import signal

from prometheus_client import CollectorRegistry

from stream.app import CLEAN, exit_code_of, refuse_optimised
from stream.config import Settings
from stream.core.faults import Fault
from stream.ops import log as logs
from stream.ops.health import HealthServer, Readiness, Turning
from stream.ops.metrics import exposition
from stream.ops.serve_metrics import ServeMetrics
from stream.ops.tasks import cancelled
from stream.serve.app import application
from stream.serve.guard import Guard
from stream.serve.parts import Parts
from stream.serve.problems import Kind
from stream.serve.server import serving

log = logging.getLogger(__name__)

_LOOPBACK = ("127.", "::1", "localhost")


def run(settings: Settings) -> int:
    """Serve until told to stop; the exit code."""
    refuse_optimised()
    logs.set_up(settings.ops.log_level, {"process": "serve"})
    try:
        return asyncio.run(_Serving(settings).run())
    except Fault as fault:
        log.critical("%s: %s", type(fault).__name__, fault)
        return exit_code_of(fault)


class _Serving:
    """One process's life."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = metrics = ServeMetrics(self._registry)
        for kind in Kind:
            metrics.problems.labels(kind)
        self._told = asyncio.Event()
        self._turning = Turning(settings.ops.stalled_s)

    async def run(self) -> int:
        """Until told to stop. Raises Faults."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop, number.name)
        settings, ops = self._settings, self._settings.ops
        self._warn()
        parts = Parts(
            settings=settings.serve,
            guard=Guard(settings.secrets.http_tokens, settings.serve.refusals_per_minute),
            metrics=self._metrics,
            readiness=self._readiness,
        )
        health = HealthServer(
            ops.http_host,
            settings.serve.health_port,
            lambda: exposition(self._registry),
            self._readiness,
            lambda: self._turning.stalled,
        )
        turning = asyncio.create_task(self._turning.run())
        try:
            async with (
                health,
                serving(
                    application(parts), settings.serve, self._metrics, shutdown_s=ops.shutdown_s
                ) as port,
            ):
                scheme = "https" if settings.serve.cert_file else "http"
                log.info("%s://%s:%d/docs lists what is served", scheme, settings.serve.host, port)
                log.info("http://%s:%d/metrics /live /ready", ops.http_host, health.port)
                await self._told.wait()
        finally:
            await cancelled(turning)
        log.info("stopped")
        return CLEAN

    def _stop(self, why: str) -> None:
        log.info("%s: stopping; requests that run are answered", why)
        self._told.set()

    def _warn(self) -> None:
        """Of what is allowed, and seldom meant."""
        serve = self._settings.serve
        if not self._settings.secrets.http_tokens.held:
            log.warning(
                "there is no token, so nobody may ask anything: `ringfence token NAME --role ROLE` "
                "makes one"
            )
        if not serve.cert_file and not serve.host.startswith(_LOOPBACK):
            log.warning(
                "%s is served without TLS: tokens and numbers can be read on the way; set "
                "cert_file and key_file in [serve], or put a TLS proxy before a loopback address",
                serve.host,
            )

    def _readiness(self) -> Readiness:
        return Readiness(())

"""Spans for OpenTelemetry, where `[ops] traces` names a collector; else nothing, at no price.

OpenTelemetry is the optional extra `otel`, and imported only where traces are on. Spans leave in a
thread of their own; a collector that is away costs spans, never calls.
"""

import threading
from typing import TYPE_CHECKING

from stream import __version__
from stream.core.model.errors import ConfigInvalid

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

STOP_S_MAX = 2.0
"""Seconds that a process that stops waits for its last spans to leave."""


class Traces:
    """Target of spans. `tracer` None: nowhere."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self.tracer: Tracer | None = None
        if provider is not None:
            self.tracer = provider.get_tracer("ringfence", __version__)

    def told(self, name: str, began_ns: int, **attributes: str | int) -> None:
        """Send a span of its own, from `began_ns` (nanoseconds of the epoch) to now."""
        if self.tracer is not None:
            named = {f"ringfence.{key}": value for key, value in attributes.items()}
            self.tracer.start_span(name, attributes=named, start_time=began_ns).end()

    def stop(self) -> None:
        """Send what is left; blocks, for at most STOP_S_MAX."""
        if self._provider is not None:
            # Its own time limit is 30 s, and a thread that is no daemon would keep the process.
            leaving = threading.Thread(target=self._provider.shutdown, daemon=True, name="spans")
            leaving.start()
            leaving.join(STOP_S_MAX)


OFF = Traces()


def traces_to(endpoint: str, ratio: float, instance: str) -> Traces:
    """Return spans to the OTLP/HTTP collector at `endpoint`, `ratio` (0..1) of traces; else OFF.

    `instance` tells this process from its like. Headers (a token) and certificates are taken from
    OpenTelemetry's own variables, OTEL_EXPORTER_OTLP_HEADERS and others. Raises ConfigInvalid where
    OpenTelemetry is not installed.
    """
    if not endpoint:
        return OFF
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        how = "pip install 'ringfence[otel]', or set it to \"\""
        raise ConfigInvalid((f"ops.traces needs OpenTelemetry ({error}): {how}",)) from error
    about = {
        "service.name": "ringfence",
        "service.version": __version__,
        "service.instance.id": instance,
    }
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create(about),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return Traces(provider)

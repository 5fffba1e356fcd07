"""The catalogue of what every process of ours says of itself, whatever it is there for."""

import platform

from prometheus_client import CollectorRegistry, ProcessCollector

from stream import __version__
from stream.ops.metrics.catalogue import Catalogue


class ProcessMetrics(Catalogue):
    """Which version runs, and the client's own: since when, its memory, CPU and open files.

    Those have the names that all of Prometheus' clients use (process_start_time_seconds,
    process_resident_memory_bytes, ...). With several workers they are the supervisor's.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        ProcessCollector(registry=registry)
        self.build = self._gauge(
            "ringfence_build_info",
            "Always 1; the labels say what runs.",
            "More than one version at a time: a rolling update that has not ended.",
            ["version", "python"],
        )
        self.build.labels(__version__, platform.python_version()).set(1)

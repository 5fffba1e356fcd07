"""Metrics that several kinds of process have."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from prometheus_client import CollectorRegistry, ProcessCollector

from stream import __version__
from stream.core.model.errors import ConfigInvalid
from stream.core.stir.verifier import Finding
from stream.ops.metrics.catalogue import Catalogue
from stream.ops.skipped_records import StoredKind, count_with


class ProcessMetrics(Catalogue):
    """The version that runs, and the client's own: start time, memory, CPU and open files.

    Those have the names that all of Prometheus' clients use (process_start_time_seconds,
    process_resident_memory_bytes, ...). With several workers they are the supervisor's.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        ProcessCollector(registry=registry)
        self.build = self._gauge("ringfence_build_info")
        self.build.labels(__version__, platform.python_version()).set(1)


class DeploymentMetrics(Catalogue):
    """The deployment that a process is of: two on one machine may use the same default ports."""

    def __init__(self, registry: CollectorRegistry, deployment: str) -> None:
        super().__init__(registry)
        self.deployment = self._gauge("ringfence_deployment_info")
        self.deployment.labels(deployment).set(1)


class _Expiry:
    """When a certificate's file expires; while it cannot be read, what it said last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._last_s = self._read_s()
        except (OSError, ValueError) as error:
            # A decoder's own words name a page of its documentation.
            why = error.strerror if isinstance(error, OSError) else "it is no PEM file"
            raise ConfigInvalid((f"{path}: no certificate can be read from it: {why}",)) from error

    def __call__(self) -> float:
        # ValueError: half of it is written.
        with suppress(OSError, ValueError):
            self._last_s = self._read_s()
        return self._last_s

    def _read_s(self) -> float:
        held = x509.load_pem_x509_certificate(self._path.read_bytes())
        return held.not_valid_after_utc.timestamp()


class CertificateMetrics(Catalogue):
    """Expiry of certificates, of the files as they are: a renewed one counts without a restart.

    `of` is what for: `kafka`, `redis`, `proxies` (a client's), `http` or `sip` (a server's).
    """

    def __init__(self, registry: CollectorRegistry, files: Mapping[str, str]) -> None:
        """`files`: PEM by what it is for. Raises ConfigInvalid for one of no use."""
        super().__init__(registry)
        self.expires = self._gauge("ringfence_certificate_expires_timestamp_seconds")
        for of, file in files.items():
            self.expires.labels(of).set_function(_Expiry(Path(file)))


class StirMetrics(Catalogue):
    """Results for calls with a PASSporT, of processes that decide or answer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.checked = self._counter("ringfence_signed_calls")
        for finding in Finding:
            self.checked.labels(finding)

    def tell(self, finding: Finding) -> None:
        """Count one call."""
        self.checked.labels(finding).inc()


class TokenMetrics(Catalogue):
    """Expiry of clients' tokens, which change while the process runs.

    `client` is a name in the file of tokens, which the operator gives.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.expires = self._gauge("ringfence_http_token_expires_timestamp_seconds")
        self._shown: frozenset[str] = frozenset()

    def show(self, expiries: Mapping[str, int]) -> None:
        """Show expiries by client; a client that is gone has no series any more."""
        for gone in self._shown - expiries.keys():
            self.expires.remove(gone)
        for client, at_s in expiries.items():
            self.expires.labels(client).set(at_s)
        self._shown = frozenset(expiries)


class RedisMetrics(Catalogue):
    """Memory of one Redis, as its INFO has it.

    `redis` is which one: `register` (shown by `ringfence feeds run`) or `proxies` (by the sink).
    """

    def __init__(self, registry: CollectorRegistry, which: Literal["register", "proxies"]) -> None:
        super().__init__(registry)
        self._which = which
        self._evicted_before: int | None = None
        self.memory = self._gauge("ringfence_redis_memory_bytes")
        self.memory_max = self._gauge("ringfence_redis_memory_max_bytes")
        self.evicted = self._counter("ringfence_redis_evicted_keys")
        self.evicted.labels(which)

    def told(self, info: Mapping[str, Any]) -> None:
        """Show what INFO said just now. A server that is no true Redis may leave some out."""
        self.memory.labels(self._which).set(int(info.get("used_memory", 0)))
        self.memory_max.labels(self._which).set(int(info.get("maxmemory", 0)))
        evicted = int(info.get("evicted_keys", 0))
        if self._evicted_before is not None:
            # Less than before: Redis was restarted, and its count began at 0.
            more = evicted - self._evicted_before if evicted >= self._evicted_before else evicted
            self.evicted.labels(self._which).inc(more)
        self._evicted_before = evicted


class SkipMetrics(Catalogue):
    """Stored records that could not be read back, and were skipped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.skipped = self._counter("ringfence_register_records_skipped")
        for place in StoredKind:
            self.skipped.labels(place)
        count_with(lambda place: self.skipped.labels(place).inc())

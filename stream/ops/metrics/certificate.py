"""The catalogue of the certificates that a process shows others; by the rules of `catalogue.py`.

`of` is what for: `kafka` (a client's certificate) or `http` (that of `ringfence serve`).
"""

from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue


class CertificateMetrics(Catalogue):
    """When they expire. Read once, as the process itself does: a new file needs a restart."""

    def __init__(self, registry: CollectorRegistry, files: Mapping[str, str]) -> None:
        """`files`: PEM by what it is for; one that cannot be read stops the process elsewhere."""
        super().__init__(registry)
        self.expires = self._gauge(
            "ringfence_certificate_expires_timestamp_seconds",
            "When a certificate in use expires, since the epoch.",
            "This minus time() is what is left: renew the file, then restart the process; "
            "deploy/RUNBOOK.md, CertificateExpires.",
            ["of"],
        )
        for of, file in files.items():
            held = x509.load_pem_x509_certificate(Path(file).read_bytes())
            self.expires.labels(of).set(held.not_valid_after_utc.timestamp())

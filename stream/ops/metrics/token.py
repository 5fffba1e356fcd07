"""The catalogue of the tokens of `ringfence serve`; by the rules of `catalogue.py`.

`client` is a name in the file of tokens, which the operator gives.
"""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue


class TokenMetrics(Catalogue):
    """When clients' tokens expire. They change while the process runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.expires = self._gauge(
            "ringfence_http_token_expires_timestamp_seconds",
            "When a client's token expires, since the epoch; only of those that do.",
            "This minus time() is what is left: make a new token before, then its line takes the "
            "old one's place; deploy/RUNBOOK.md, TokenExpires.",
            ["client"],
        )
        self._shown: frozenset[str] = frozenset()

    def show(self, expiries: Mapping[str, int]) -> None:
        """By client; those that are not there any more are forgotten."""
        for gone in self._shown - expiries.keys():
            self.expires.remove(gone)
        for client, at_s in expiries.items():
            self.expires.labels(client).set(at_s)
        self._shown = frozenset(expiries)

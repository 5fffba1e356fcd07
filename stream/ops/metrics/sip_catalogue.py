"""The catalogue of `ringfence serve-sip`, by the rules of `catalogue.py`."""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import BoundedLabels, Catalogue
from stream.ops.metrics.shared_catalogue import SkipMetrics, StirMetrics

ANSWER_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
CUT_OFF = ("slow", "unread", "unframed", "too_many", "handshake")


class SipMetrics(Catalogue):
    """Every metric of the process that answers SIP. `lists`: those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry, list=lists or BoundedLabels())
        SkipMetrics(registry)
        self.signatures = StirMetrics(registry)
        self.answers = self._counter("ringfence_sip_answers")
        self.unanswered = self._counter("ringfence_sip_unanswered")
        self.answer = self._histogram("ringfence_sip_answer_duration_seconds", ANSWER_BUCKETS_S)
        self.connections = self._gauge("ringfence_sip_connections")
        self.cut_off = self._counter("ringfence_sip_cut_off")
        for reason in CUT_OFF:
            self.cut_off.labels(reason)
        self.lookups = self._counter_by("ringfence_sip_lookups")
        self.followed = self._gauge("ringfence_sip_register_up")
        self.kept = self._counter("ringfence_sip_decisions_kept")
        self.kept_now = self._gauge("ringfence_sip_decisions_stored")

    def took(self, transport: str, messages: int, seconds: float) -> None:
        """Observe the time of messages that were answered together."""
        if messages:
            self.answer.labels(transport).observe(seconds)

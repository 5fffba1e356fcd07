"""The catalogue of `ringfence serve-sip`, by the rules of `catalogue.py`."""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import BoundedLabels, Catalogue
from stream.ops.metrics.shared_catalogue import SkipMetrics

ANSWER_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
CUT_OFF = ("slow", "unread", "unframed", "too_many")


class SipMetrics(Catalogue):
    """Every metric of the process that answers SIP. `lists`: those with series of their own."""

    def __init__(self, registry: CollectorRegistry, lists: BoundedLabels | None = None) -> None:
        super().__init__(registry)
        self.lists = lists or BoundedLabels()
        self.skips = SkipMetrics(registry)
        self._of_messages()
        self._of_decisions()

    def _of_messages(self) -> None:
        self.answers = self._counter(
            "ringfence_sip_answers",
            "SIP requests answered, by transport and status code.",
            "503 rises: a trunk asks more than [sip] requests_per_s. 400: what does the switch "
            "send? 405: it sends calls, not questions: docs/how-to/ask/sip.md. 603 are the blocks.",
            ["transport", "code"],
        )
        self.unanswered = self._counter(
            "ringfence_sip_unanswered",
            "Messages on SIP's port that got no answer, by transport and reason.",
            "ack and keep_alive are usual. flood: deploy/RUNBOOK.md, SIP is flooded. unreadable, "
            "no_via: what is it that sends there? too_long: somebody whom [sip.trunks] does not "
            "name tries to have long answers sent to an address that may be false.",
            ["transport", "reason"],
        )
        self.answer = self._histogram(
            "ringfence_sip_answer_duration_seconds",
            "From reading messages to their answers being sent.",
            "Above 5 ms: a machine that is busy with something else, or more than a core can "
            "answer: a second machine.",
            ["transport"],
            buckets=ANSWER_BUCKETS_S,
        )
        self.connections = self._gauge(
            "ringfence_sip_connections",
            "TCP connections that are open.",
            "Near [sip] connections_max: switches that keep too many, or an attack.",
        )
        self.cut_off = self._counter(
            "ringfence_sip_cut_off",
            "TCP connections that were refused or cut off, by reason.",
            "too_many: see ringfence_sip_connections. slow, unread: a peer that hangs. unframed: "
            "one that does not say where its messages end.",
            ["reason"],
        )
        for reason in CUT_OFF:
            self.cut_off.labels(reason)

    def _of_decisions(self) -> None:
        self.lookups = self._counter_each(
            self.lists,
            "ringfence_sip_lookups",
            "Callers asked about by SIP, by verdict, rule, list and simulation: each identity of a "
            "call counts.",
            "Compare with ringfence_decisions_total: what switches ask and what the stream sees.",
            ["verdict", "rule", "list", "simulated"],
            by="list",
            others=["rule"],
        )
        self.followed = self._gauge(
            "ringfence_sip_register_up",
            "Whether the list store's changes are followed by the process that answers SIP.",
            "0: calls are answered from what was last good; is Redis there?",
        )
        self.kept = self._counter(
            "ringfence_sip_decisions_kept",
            "Decisions that were kept to be asked for by their id.",
            "Stands still while blocks go on: their pages are not found; is Redis there?",
        )
        self.kept_now = self._gauge(
            "ringfence_sip_decisions_stored",
            "Decisions that can be asked for by their id, as this process last saw it.",
            "Near [serve] decisions_max: the oldest days are forgotten before their time.",
        )

    def took(self, transport: str, messages: int, seconds: float) -> None:
        """Messages that were answered together took so long."""
        if messages:
            self.answer.labels(transport).observe(seconds)

"""The catalogue of `ringfence enforcement run`: as `metrics.py`, and by its rules.

`country` is a partner that the settings name; the other labels are closed enums.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge


class EnforcementMetrics:
    """Every metric of the process that counts what lists do and tells their owners."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Blocked and flagged stand still while ringfence_decisions_total rises: look at the log.
        self.calls = Counter(
            "ringfence_enforced_calls",
            "Calls counted that partners' lists blocked, flagged, or would have (simulated).",
            ["outcome"],
            registry=registry,
        )
        # unreadable rises: somebody else writes to the decisions topic. too_old: it was away for a
        # week. repeated: workers were killed, and nothing was counted twice.
        self.passed = Counter(
            "ringfence_enforced_passed",
            "Records of the decisions topic that were not counted: unreadable, repeated, too_old.",
            ["why"],
            registry=registry,
        )
        # Grows: more is decided than is counted; documents tell of it later, nothing is lost.
        self.left = Gauge(
            "ringfence_enforced_left",
            "Records of the decisions topic that are not counted yet.",
            registry=registry,
        )
        # Rises: the log says why; counting, publishing and reading go on as soon as they can.
        self.faults = Counter(
            "ringfence_enforcement_faults",
            "Rounds that failed: counting, publishing, reading.",
            ["what"],
            registry=registry,
        )
        # time() minus this beyond a few of [enforcement] publish_s: partners hear nothing of us.
        self.published = Gauge(
            "ringfence_enforcement_published_timestamp_seconds",
            "When our documents were last up to date in our repository, since the epoch; 0: never.",
            registry=registry,
        )
        # refused: `ringfence enforcement show --refused` says which and why; tell the partner.
        self.documents = Counter(
            "ringfence_enforcement_documents",
            "Documents of partners: taken, refused.",
            ["country", "result"],
            registry=registry,
        )
        # time() minus this grows: the partner's repository can not be read; the log says why.
        self.read = Gauge(
            "ringfence_enforcement_read_timestamp_seconds",
            "When a partner's repository was last read, since the epoch; 0: never.",
            ["country"],
            registry=registry,
        )
        # A rise: a partner finds that we list innocent numbers; `ringfence circle why` names them.
        self.sightings = Counter(
            "ringfence_enforcement_sightings",
            "Sightings of partners: taken (the list doubts the number now), unlisted.",
            ["country", "result"],
            registry=registry,
        )

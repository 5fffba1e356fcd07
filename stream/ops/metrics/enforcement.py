"""The catalogue of `ringfence enforcement run`: as `metrics.py`, and by its rules.

`country` is a partner that the settings name; the other labels are closed enums.
"""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue
from stream.ops.metrics.skips import SkipMetrics


class EnforcementMetrics(Catalogue):
    """Every metric of the process that counts what lists do and tells their owners."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.skips = SkipMetrics(registry)
        self.calls = self._counter(
            "ringfence_enforcement_calls",
            "Calls counted that partners' lists blocked, flagged, or would have (simulated).",
            "Blocked and flagged stand still while ringfence_decisions_total rises: look at the"
            " log.",
            ["outcome"],
        )
        self.passed = self._counter(
            "ringfence_enforcement_skipped",
            "Records of the decisions topic that were not counted: unreadable, repeated, too_old.",
            "unreadable rises: somebody else writes to the decisions topic. too_old: it was "
            "away for a week. repeated: workers were killed, and nothing was counted twice.",
            ["reason"],
        )
        self.left = self._gauge(
            "ringfence_enforcement_lag_records",
            "Records of the decisions topic that are not counted yet.",
            "Grows: more is decided than is counted; documents tell of it later, nothing is lost.",
        )
        self.faults = self._counter(
            "ringfence_enforcement_faults",
            "Rounds that failed: counting, publishing, reading.",
            "Rises: the log says why; counting, publishing and reading go on as soon as they can.",
            ["step"],
        )
        self.published = self._gauge(
            "ringfence_enforcement_published_timestamp_seconds",
            "When our documents were last up to date in our repository, since the epoch; 0: never.",
            "time() minus this beyond a few of [enforcement] publish_s: partners hear nothing "
            "of us.",
        )
        self.documents = self._counter(
            "ringfence_enforcement_documents",
            "Documents of partners: taken, refused.",
            "refused: `ringfence enforcement show --refused` says which and why; tell the partner.",
            ["country", "result"],
        )
        self.read = self._gauge(
            "ringfence_enforcement_read_timestamp_seconds",
            "When a partner's repository was last read, since the epoch; 0: never.",
            "time() minus this grows: the partner's repository cannot be read; the log says why.",
            ["country"],
        )
        self.sightings = self._counter(
            "ringfence_enforcement_sightings",
            "Sightings of partners: taken (the list doubts the number now), unlisted.",
            "A rise: a partner finds that we list innocent numbers; `ringfence circle why` "
            "names them.",
            ["country", "result"],
        )

"""The catalogue of `ringfence ingest --follow`: as `metrics.py`, and by its rules."""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue


class IngestMetrics(Catalogue):
    """Every metric of the process that reads files of records."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.records = self._counter(
            "ringfence_ingest_records",
            "Records of files that Kafka has, by dialect: taken, unreadable, too_long.",
            "taken stands still while calls are made: does the switch still write, and to this "
            "file? unreadable: they end on the topic of rejected records, which says why. "
            "too_long: so do their beginnings; the log names file, line and byte.",
            ["dialect", "outcome"],
        )
        self.files = self._counter(
            "ringfence_ingest_files",
            "What happened to files: begun, finished, rotated, truncated, lost, too_large, "
            "unreadable.",
            "lost: a file was gone before it was read to its end, see deploy/RUNBOOK.md, Records "
            "in files. unreadable: look at the log and at the file's permissions.",
            ["happening"],
        )
        self.behind = self._gauge(
            "ringfence_ingest_behind_bytes",
            "Bytes in the files that were not sent yet.",
            "Rises and does not fall: Kafka is away or slow, ringfence_ingest_waiting_seconds "
            "says so; or one process is not enough for what the switch writes.",
        )
        self.waits = self._gauge(
            "ringfence_ingest_waiting_seconds",
            "How long the records under way have waited for Kafka; 0: none are.",
            "Above a few seconds: Kafka takes no records. They wait in the file; nothing is lost "
            "while it is there.",
        )

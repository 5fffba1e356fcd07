"""The catalogue of stored records that cannot be read back and were skipped."""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue
from stream.ops.skipped_records import Place, count_with


class SkipMetrics(Catalogue):
    """The catalogue of what a process had to skip; by the rules of `catalogue.py`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.skipped = self._counter(
            "ringfence_register_records_skipped",
            "Records in Redis that could not be read and were skipped, by what they are.",
            "Above 0: something else wrote to our keys, or a newer Ringfence did; the log names "
            "each, and the version. deploy/RUNBOOK.md, RecordsSkipped.",
            ["place"],
        )
        for place in Place:
            self.skipped.labels(place)
        count_with(lambda place: self.skipped.labels(place).inc())

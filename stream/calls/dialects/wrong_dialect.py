"""Topics whose records are all rejected: most likely they are in another dialect. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stream.calls.batch import CallBatch
from stream.calls.dialects.detect_dialect import likely
from stream.kafka.batch import RawBatch

RECORDS_MIN = 50
"""So many rejects without a call between them are no accident."""
SAMPLES_MAX = 50
SAMPLE_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Suspect:
    """A topic whose last `records` records were all rejected, mostly for `reason`.

    `likely` is the dialect that they seem to be in, None: none that is known.
    """

    topic: str
    records: int
    reason: str
    likely: str | None


@dataclass(slots=True)
class _Streak:
    """What was rejected of one topic since its last call."""

    records: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[bytes] = field(default_factory=list)
    told: bool = False


class Suspicion:
    """Watches for topics in a wrong dialect; a batch without rejects costs nothing if all is well.

    Bounded: some samples of each topic that has no calls.
    """

    def __init__(self, region: str) -> None:
        """`region` is where numbers are read in while dialects are tried."""
        self._region = region
        self._streaks: dict[str, _Streak] = {}

    def look(self, raw: RawBatch, batch: CallBatch) -> tuple[Sequence[Suspect], Sequence[str]]:
        """Topics that are suspect now, and those that are not any more."""
        if not batch.rejected and not self._streaks:
            return (), ()
        rejected = Counter(one.origin.topic for one in batch.rejected)
        records: Counter[str] = Counter()
        for segment in raw.segments:
            records[segment.partition.topic] += segment.stop - segment.start
        cleared = self._with_calls(records, rejected)
        for one in batch.rejected:
            if records[one.origin.topic] == rejected[one.origin.topic]:
                self._add(one.origin.topic, f"{one.reason}: {one.detail}", one.value)
        return self._told_now(), cleared

    def _with_calls(self, records: Mapping[str, int], rejected: Mapping[str, int]) -> list[str]:
        """End the streaks of topics that had a call; those of which it was told."""
        cleared = []
        for topic, count in records.items():
            if count > rejected.get(topic, 0):
                streak = self._streaks.pop(topic, None)
                if streak is not None and streak.told:
                    cleared.append(topic)
        return cleared

    def _add(self, topic: str, reason: str, value: bytes | None) -> None:
        streak = self._streaks.setdefault(topic, _Streak())
        streak.records += 1
        streak.reasons[reason[:200]] += 1
        if len(streak.reasons) > SAMPLES_MAX:
            streak.reasons = Counter(dict(streak.reasons.most_common(SAMPLES_MAX // 2)))
        if value and len(streak.samples) < SAMPLES_MAX and len(value) <= SAMPLE_BYTES_MAX:
            streak.samples.append(value)

    def _told_now(self) -> list[Suspect]:
        suspects = []
        for topic, streak in self._streaks.items():
            if streak.records >= RECORDS_MIN and not streak.told:
                streak.told = True
                reason = streak.reasons.most_common(1)[0][0]
                name = likely(streak.samples, self._region)
                streak.samples.clear()
                suspects.append(Suspect(topic, streak.records, reason, name))
        return suspects

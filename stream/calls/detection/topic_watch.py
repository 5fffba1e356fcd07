"""Topics whose records look wrong: in another dialect, or with one call id for many calls. Pure.

Where all records of a topic are rejected it is most likely in another dialect. Where one id has
many callers and many called numbers a column is most likely another one. A CSV file in another
order of columns may have a hangup cause in place of the id. Then every call has the id "16", and
all after the first are its repeats. A decoder cannot know; here calls are looked at together. A
call has one caller and rings a group, or many callers and one conference.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stream.calls.call_batch import CallBatch
from stream.calls.detection.detect_dialect import likely
from stream.core.model.call import Rejected, RejectReason
from stream.kafka.batch import RawBatch

RECORDS_MIN = 50
"""So many rejects without a call between them are no accident."""
OTHERS_MIN = 1_000
"""The same for records that are all other events, of no switch that is known by them. In a quiet
night a switch writes nothing but begins and ends of files."""
SAMPLES_MAX = 50
SAMPLE_BYTES_MAX = 65_536
"""Samples kept of a topic, and bytes of each: 3 MB, until its dialect was looked for."""
SAMPLE = 64
"""Calls of a topic that are looked at together."""
SHARE = 0.5
"""So many of them have an id that is no call's."""
NUMBERS_MIN = 8
"""An id with as many callers, and as many called numbers, is no call's."""


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
    """Rejects of one topic since its last call."""

    records: int = 0
    others: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[bytes] = field(default_factory=list)
    looked: bool = False
    likely: str | None = None
    told: bool = False


class Suspicion:
    """Watches for topics in a wrong dialect; a batch without rejects costs nothing.

    Bounded: some samples of each topic that has no calls.
    """

    def __init__(self, region: str) -> None:
        """`region` is where numbers are read in while dialects are tried."""
        self._region = region
        self._streaks: dict[str, _Streak] = {}

    def look(self, raw: RawBatch, batch: CallBatch) -> tuple[Sequence[Suspect], Sequence[str]]:
        """Return topics that are suspect now, and those that are not any more."""
        if not batch.rejected and not self._streaks:
            return (), ()
        rejected = Counter(one.origin.topic for one in batch.rejected)
        records: Counter[str] = Counter()
        for segment in raw.segments:
            records[segment.partition.topic] += segment.stop - segment.start
        cleared = self._with_calls(records, rejected)
        for one in batch.rejected:
            if records[one.origin.topic] == rejected[one.origin.topic]:
                self._add(one)
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

    def _add(self, one: Rejected) -> None:
        streak, value = self._streaks.setdefault(one.origin.topic, _Streak()), one.value
        streak.records += 1
        streak.others += one.reason is RejectReason.OTHER_EVENT
        streak.reasons[f"{one.reason}: {one.detail}"[:200]] += 1
        # Bounded, however many reasons there are: the rarer half goes, the main one stays.
        if len(streak.reasons) > SAMPLES_MAX:
            streak.reasons = Counter(dict(streak.reasons.most_common(SAMPLES_MAX // 2)))
        room = len(streak.samples) < SAMPLES_MAX and not streak.looked
        if value and room and len(value) <= SAMPLE_BYTES_MAX:
            streak.samples.append(value)

    def _told_now(self) -> list[Suspect]:
        suspects = []
        for topic, streak in self._streaks.items():
            if streak.records < RECORDS_MIN or streak.told:
                continue
            if not streak.looked:
                streak.looked, streak.likely = True, likely(streak.samples, self._region)
                streak.samples.clear()
            if streak.likely is None and streak.others == streak.records < OTHERS_MIN:
                continue
            streak.told = True
            reason = streak.reasons.most_common(1)[0][0]
            suspects.append(Suspect(topic, streak.records, reason, streak.likely))
        return suspects


@dataclass(frozen=True, slots=True)
class OneId:
    """A topic of whose last `calls` calls `share` had one of `ids` call ids."""

    topic: str
    calls: int
    ids: int
    share: float


@dataclass(slots=True)
class _Seen:
    """Calls with one id: how many, and hashes of who called whom."""

    calls: int = 0
    callers: set[int] = field(default_factory=set)
    callees: set[int] = field(default_factory=set)


@dataclass(slots=True)
class _Sample:
    """Some calls of one topic, by the hash of their id. `told`: the one before was wrong."""

    told: bool = False
    calls: int = 0
    ids: dict[int, _Seen] = field(default_factory=dict)


class OneIdWatch:
    """Looks at some calls of a batch. Bounded: `SAMPLE` calls of each topic, as hashes."""

    def __init__(self) -> None:
        self._samples: dict[str, _Sample] = {}

    def look(self, batch: CallBatch) -> Iterator[tuple[str, OneId | None]]:
        """Yield topics whose state changed: the fault, None: it is over."""
        for segment in batch.raw.segments:
            topic = segment.partition.topic
            sample = self._samples.setdefault(topic, _Sample())
            first, last = batch.rows.searchsorted([segment.start, segment.stop]).tolist()
            for call in range(first, min(last, first + SAMPLE - sample.calls)):
                _add(sample, batch, call)
            if sample.calls >= SAMPLE:
                found = _judged(topic, sample)
                self._samples[topic] = _Sample(told=found is not None)
                if sample.told != (found is not None):
                    yield topic, found


def _add(sample: _Sample, batch: CallBatch, call: int) -> None:
    call_fields = batch.key_fields[call]
    # Hashes, as a record chooses how long its texts are.
    seen = sample.ids.setdefault(hash(call_fields.call_id), _Seen())
    sample.calls += 1
    seen.calls += 1
    seen.callers.add(hash(call_fields.caller))
    seen.callees.add(hash(call_fields.callee))


def _judged(topic: str, sample: _Sample) -> OneId | None:
    """Return what is wrong with a whole sample; None: nothing."""
    wrong = [
        seen.calls
        for seen in sample.ids.values()
        if min(len(seen.callers), len(seen.callees)) >= NUMBERS_MIN
    ]
    share = sum(wrong) / sample.calls
    return OneId(topic, sample.calls, len(wrong), share) if share >= SHARE else None

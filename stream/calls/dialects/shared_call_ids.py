"""Topics in which one call id stands for many calls: most likely a column is another one. Pure.

A CSV file in another order of columns may have a hangup cause where the id belongs. Then every call
has the id "16", and all after the first are repeats of it. A decoder cannot know; here calls are
looked at together. An id with many callers and many called numbers is no call's: a call has one
caller and rings a group, or many callers and one conference.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from stream.calls.batch import CallBatch

SAMPLE = 64
"""Calls of a topic that are looked at together."""
SHARE = 0.5
"""So many of them have an id that is no call's."""
NUMBERS_MIN = 8
"""An id with as many callers, and as many called numbers, is no call's."""


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
        """Topics of which something new is to be told: what is wrong, None: nothing any more."""
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
    glance = batch.glances[call]
    seen = sample.ids.setdefault(hash(glance.call_id), _Seen())
    sample.calls += 1
    seen.calls += 1
    seen.callers.add(hash(glance.caller))
    seen.callees.add(hash(glance.callee))


def _judged(topic: str, sample: _Sample) -> OneId | None:
    """What is wrong with a whole sample; None: nothing."""
    wrong = [
        seen.calls
        for seen in sample.ids.values()
        if min(len(seen.callers), len(seen.callees)) >= NUMBERS_MIN
    ]
    share = sum(wrong) / sample.calls
    return OneId(topic, sample.calls, len(wrong), share) if share >= SHARE else None

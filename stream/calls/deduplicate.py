"""Records of one call: the first that is blocked or flagged answers for it, later ones repeat it.

A switch writes a call more than once: an attempt and its end, one record for each leg, a CDR that
was sent again. They share the call id. With it as their key they are in one partition. There the
decisions of the last `window_s` are remembered by call id and deciding number. A later record with
the same ruling is decided as usual, and its decision names the first (`repeats`). It adds nothing,
so a reader counts the call once. One with a weaker ruling is left out: a call is not blocked and
then merely flagged. A record with a stricter ruling, or of another number (a leg that shows the
real caller), gets its own decision. It is never held back. Decisions are remembered, not calls: an
innocent call costs nothing and is in no memory.

A SIP caller chooses the id of its calls, and a topic in a wrong dialect has one for all of them. So
at most `RECORDS_MAX` records are one call: what comes then begins the next, and is counted.

Bounded: `CALLS_MAX` calls of each of `PARTITIONS_MAX` partitions, the oldest go first. A restart
forgets; then a repeat is an unmarked decision, with an id of its own as ever. Pure: time is Kafka's
own of each record.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.calls.call_batch import CallBatch
from stream.calls.ruling_columns import Rulings
from stream.core.model.byte_strings import PADDING, Texts
from stream.core.model.decision import Action
from stream.kafka.batch import Partition, RawBatch

CALLS_MAX = 16_384
"""Of one partition: 7 MB where so many were blocked within the window, at 100 a second nearly three
minutes of them."""
RECORDS_MAX = 64
"""Of one call in which a number decides. Attempts, ends and legs are fewer, except for a call that
rings a large group for long."""
PARTITIONS_MAX = 64
"""That had such calls last, of one worker."""


@dataclass(slots=True)
class _First:
    """The first decision of a call by a number: its id, its strength, and when.

    `repeats` counts the records that repeated it.
    """

    decision_id: bytes
    strength: int
    at_ms: int
    repeats: int = 0


class Deduplicator:
    """The decisions of each partition's last calls. Used by one worker's decider alone."""

    def __init__(self, window_s: float, topics: Collection[str]) -> None:
        """`topics` are those whose calls may have several records; 0 seconds: none have."""
        self._window_ms = window_s * 1000
        self._topics = frozenset(topics) if window_s else frozenset()
        self._first: OrderedDict[Partition, OrderedDict[tuple[str, bytes], _First]] = OrderedDict()

    def concern(self, raw: RawBatch) -> bool:
        """Return whether any record is of a topic whose calls may have several."""
        return any(segment.partition.topic in self._topics for segment in raw.segments)

    def look(
        self,
        batch: CallBatch,
        rulings: Rulings,
        ids: NDArray[np.bytes_],
        numbers: NDArray[np.bytes_],
    ) -> tuple[NDArray[np.int64], Mapping[int, bytes]]:
        """Return the places of the rulings that are kept, and by place among those the id repeated.

        `ids` are the rulings' decision ids, `numbers` the deciding ones. A record that is worked on
        again repeats nothing but what it repeated before.
        """
        # By action, and every real action above every simulated one.
        strengths = rulings.actions.astype(np.int64)
        strengths += (~rulings.simulated & (rulings.actions > Action.OBSERVE)) * (Action.BLOCK + 1)
        starts = [segment.start for segment in batch.raw.segments]
        rows = batch.rows[rulings.calls]
        segments = np.searchsorted(starts, rows, "right") - 1
        left_out = set()
        repeated: dict[int, bytes] = {}
        # By rows: rulings of rules come after those of lists, and the first record is the first
        # in Kafka.
        for place in np.argsort(rows, kind="stable").tolist():
            partition = batch.raw.segments[int(segments[place])].partition
            if partition.topic not in self._topics:
                continue
            first = self._seen(
                partition,
                (batch.text("call_id", int(rulings.calls[place])) or "", numbers[place]),
                _First(
                    ids[place], int(strengths[place]), int(batch.raw.timestamps_ms[rows[place]])
                ),
            )
            if first is not None:
                repeated[place] = first.decision_id
                if strengths[place] < first.strength:
                    left_out.add(place)
        kept = np.array([p for p in range(len(rulings)) if p not in left_out], np.int64)
        marks = {new: repeated[old] for new, old in enumerate(kept.tolist()) if old in repeated}
        return kept, marks

    def _seen(self, partition: Partition, call: tuple[str, bytes], now: _First) -> _First | None:
        """Return the decision that `now` adds nothing to; remember what is new and acts."""
        calls = self._first.setdefault(partition, OrderedDict())
        self._first.move_to_end(partition)
        if len(self._first) > PARTITIONS_MAX:
            self._first.popitem(last=False)
        first = calls.get(call)
        if (
            first is not None
            # The same id: the record itself, worked on again after an aborted transaction.
            and first.decision_id != now.decision_id
            and now.strength <= first.strength
            # Both ways: times that producers set may go back.
            and abs(now.at_ms - first.at_ms) <= self._window_ms
            and first.repeats < RECORDS_MAX - 1
        ):
            first.repeats += 1
            return first
        if now.strength > 0:
            calls[call] = now
            calls.move_to_end(call)
            self._forget(calls, now.at_ms)
        return None

    def _forget(self, calls: OrderedDict[tuple[str, bytes], _First], at_ms: int) -> None:
        """Let the oldest go: those beyond the window, and beyond what may be held."""
        while len(calls) > 1:
            oldest = next(iter(calls.values()))
            if len(calls) <= CALLS_MAX and at_ms - oldest.at_ms <= self._window_ms:
                break
            calls.popitem(last=False)


def marked(values: Texts, marks: Mapping[int, bytes]) -> Texts:
    """Decisions, as JSON, of which those at the keys of `marks` name the id that they repeat."""
    # Behind all others in a new buffer, since a text cannot grow where it lies. Few have marks.
    starts, sizes = values.starts.copy(), values.sizes.copy()
    more: list[bytes] = []
    at = len(values.data)
    for place, decision_id in marks.items():
        whole = values[place]
        assert whole is not None, "a decision is text"
        text = b'%b,"repeats":"%b"}' % (whole[:-1], decision_id)
        starts[place], sizes[place] = at, len(text)
        more.append(text)
        at += len(text)
    tail = np.frombuffer(b"".join([*more, bytes(PADDING)]), np.uint8)
    return Texts(np.concatenate([values.data, tail]), starts, sizes)

"""Decode and decide under a note, so that a record that stops workers is found and set aside.

The loop decodes and decides a batch without a pause, so one note is enough: `calls.crash_notes`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from stream.calls.call_batch import CallBatch
from stream.calls.crash_notes import CrashLog, time_ms_of
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Rejected, RejectReason
from stream.kafka.batch import Partition, RawBatch, Segment

log = logging.getLogger(__name__)

_PROBES = 20
"""So many records are probed before others have their turn: heartbeats must go out meanwhile."""
_DETAIL = "it has stopped workers: the bug is worth a report; see RUNBOOK"

Decode = Callable[[RawBatch], CallBatch]
T = TypeVar("T")
U = TypeVar("U")


class CrashGuard:
    """Keeps the note of one worker, looks for those of others, and probes what is suspected."""

    def __init__(
        self,
        crashes: CrashLog,
        starts: Callable[[], Mapping[Partition, int]],
        revoking: Callable[[], bool],
    ) -> None:
        """`starts` gives from where each partition of the assignment is read.

        `revoking`: the partitions go, so nothing more is to be probed.
        """
        self._crashes = crashes
        self._starts = starts
        self._revoking = revoking
        self._epoch: int | None = None
        self._suspected: dict[Partition, list[tuple[int, int]]] = {}

    def reading(self, decode: Decode) -> Decode:
        """`decode`, where a record that is set aside is rejected, with its bytes."""

        def read(raw: RawBatch) -> CallBatch:
            rows = self._rows_aside(raw) if self._crashes.aside else []
            return _without(raw, rows, decode) if rows else decode(raw)

        return read

    def noting(
        self, decode: Decode, decide: Callable[[CallBatch], T]
    ) -> tuple[Decode, Callable[[CallBatch], T]]:
        """Both steps under a crash note, which is removed once the second has succeeded."""
        crashes = self._crashes

        def decoded(raw: RawBatch) -> CallBatch:
            crashes.begin(raw)
            return _noted(crashes, decode, raw)

        def decided(batch: CallBatch) -> T:
            outcome = _noted(crashes, decide, batch)
            crashes.end()
            return outcome

        return decoded, decided

    async def before(
        self, raw: RawBatch, decode: Decode, decide: Callable[[CallBatch], object]
    ) -> None:
        """Look for crashes with each assignment, and probe what of `raw` is suspected."""
        if raw.epoch != self._epoch:
            self._epoch = raw.epoch
            try:
                await asyncio.to_thread(self._crashes.look, dict(self._starts()))
            except OSError as error:  # it is a help for odd times; the calls go on without it
                log.warning("a record that stops workers would not be found: %s", error)
            self._suspected = {
                place: list(ranges) for place, ranges in self._crashes.suspected.items()
            }
        if self._suspected:
            await self._probe(raw, decode, decide)

    async def _probe(
        self, raw: RawBatch, decode: Decode, decide: Callable[[CallBatch], object]
    ) -> None:
        """Decide suspected records one by one, so that a crash leaves a note; drop the results."""
        aside = self._rows_aside(raw)
        rows = [(row, place) for row, place in self._rows_suspected(raw) if row not in aside]
        if not rows:
            return
        log.warning("%d records among which one may stop workers are probed one by one", len(rows))
        for count, (row, place) in enumerate(rows):
            alone = _row(raw, row, place)
            self._crashes.begin(alone, alone=True)
            _noted(self._crashes, decide, _noted(self._crashes, decode, alone))
            self._crashes.end()
            if count % _PROBES == 0:
                # A worker that sends no heartbeat loses its partitions, and its successor probes
                # the same records.
                await asyncio.sleep(0)
                if self._revoking():
                    return

    def _rows_suspected(self, raw: RawBatch) -> list[tuple[int, Partition]]:
        """Rows to probe; suspicions that end within the batch are done with afterwards."""
        found = []
        for segment in raw.segments:
            ranges = self._suspected.get(segment.partition)
            if not ranges or segment.start >= segment.stop:
                continue
            offsets = raw.offsets[segment.start : segment.stop]
            wanted = np.zeros(len(offsets), np.bool_)
            for first, last in ranges:
                wanted |= (offsets >= first) & (offsets <= last)
            found += [
                (segment.start + row, segment.partition) for row in np.flatnonzero(wanted).tolist()
            ]
            last_offset = int(offsets[-1])
            ranges = [(first, last) for first, last in ranges if last > last_offset]
            self._suspected[segment.partition] = ranges
        self._suspected = {place: ranges for place, ranges in self._suspected.items() if ranges}
        return found

    def _rows_aside(self, raw: RawBatch) -> list[int]:
        found = []
        for record in self._crashes.aside:
            for segment in raw.segments:
                if segment.partition == record.place:
                    offsets = raw.offsets[segment.start : segment.stop]
                    places = np.flatnonzero(offsets == record.offset) + segment.start
                    found += [
                        row
                        for row in places.tolist()
                        if time_ms_of(raw, row) == record.timestamp_ms
                    ]
        return sorted(found)


def _noted(crashes: CrashLog, step: Callable[[T], U], value: T) -> U:
    """`step(value)`; an exception that comes out of it is noted on its way."""
    # `finally` and no `except`: it notes whatever comes out, and hides none of it.
    done = False
    try:
        result = step(value)
        done = True
    finally:
        if not done:
            crashes.failed()
    return result


def _row(raw: RawBatch, row: int, place: Partition) -> RawBatch:
    """Return one record of a batch, as a batch."""
    rows = slice(row, row + 1)
    return replace(
        raw,
        values=raw.values[rows],
        offsets=raw.offsets[rows],
        timestamps_ms=raw.timestamps_ms[rows],
        segments=(Segment(place, 0, 1),),
        headers=raw.headers[rows] if raw.headers else (),
    )


def _without(raw: RawBatch, rows: Sequence[int], decode: Decode) -> CallBatch:
    """Decode the batch without the records in `rows`, which are rejected."""
    # A record without a value is a tombstone to every decoder, and costs no other record its row.
    values = raw.values
    if isinstance(values, Texts):
        sizes = values.sizes.copy()
        sizes[list(rows)] = -1
        others = replace(raw, values=Texts(values.data, values.starts, sizes))
    else:
        others = replace(
            raw, values=[None if row in rows else one for row, one in enumerate(values)]
        )
    batch = decode(others)
    origins = {raw.origin(row): row for row in rows}
    rejected = [one for one in batch.rejected if one.origin not in origins]
    for origin, row in origins.items():
        log.error("record %s has stopped workers and is set aside in calls.rejected", origin)
        rejected.append(Rejected(values[row], RejectReason.STOPPED_WORKER, _DETAIL, origin))
    return replace(batch, rejected=rejected)

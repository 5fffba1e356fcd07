"""The replay itself: all recorded calls once, and once more for who was called back."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from stream.calls.batch import CallBatch
from stream.insight.replay.compare import Side, compare
from stream.insight.replay.recording import Recording
from stream.insight.replay.totals import Sums
from stream.kafka.batch import RawBatch
from stream.kafka.topic_reader import Progress

Decode = Callable[[RawBatch], CallBatch]


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared. `at_s`: both decide as if it were that moment, seconds since the epoch."""

    production: Side
    candidate: Side
    at_s: int


async def replay(
    recording: Recording, decode: Decode, sides: Sides, sums: Sums, progress: Progress
) -> None:
    """Decide all calls of `recording` twice and count what differs. Raises SourceDown."""
    async with aclosing(recording.batches(progress)) as batches:
        async for raw in batches:
            sums.add(compare(decode(raw), sides.production, sides.candidate, sides.at_s))
            await asyncio.sleep(0)  # the next answer comes in meanwhile


async def look_for_calls_back(
    recording: Recording, decode: Decode, sums: Sums, progress: Progress
) -> None:
    """Read all calls again for those to newly blocked numbers, where there are such numbers.

    `decode` reads called numbers too. Which numbers are wanted is known only after the first time,
    and a call back may lie before the call that it answers, in another partition.
    """
    wanted = sums.wanted()
    if not len(wanted):
        return
    async with aclosing(recording.batches(progress)) as batches:
        async for raw in batches:
            sums.called_back(decode(raw), wanted)
            await asyncio.sleep(0)

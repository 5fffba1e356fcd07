"""`/v1/decision`: the verdict that the stream would give, from memory, while the call is set up.

A question becomes a record of dialect `ringfence`, and goes through the stream's own decoding and
deciding. Questions that come while others are decided, or within a millisecond of each other, are
decided together: a batch of sixty costs about what one does. Nothing is asked of Kafka or Redis.
What is decided here is published nowhere.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np

from stream.calls.batch import CallBatch, Partition, RawBatch, Segment
from stream.calls.decide import Outcome

TOPIC: Final = "lookup"
"""In a decision's `origin`, where the topic of a record stands."""
TEXT_MAX: Final = 256
"""Characters of a number, trunk or call id."""
TOGETHER_MAX: Final = 500
"""Questions of one request that are decided without looking up: about 2 ms."""
PACE_S: Final = 0.001
"""The least time from one batch to the next. A single question costs 0.3 ms to decide, twenty 0.4:
without it, 2,000 questions a second, each alone, would take all of a core and wait for each other.
The first one after a millisecond without any does not wait."""
_encode = msgspec.json.Encoder().encode

Text = str | None


class Question(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Who calls whom, as the switch sees it. A number that is not known, or withheld, is null."""

    caller: Text = None
    callee: Text = None
    trunk: Text = None
    ingress: Text = None
    call_id: Text = None

    def wrong(self) -> str | None:
        """What can not be asked, or None."""
        if not self.caller and not self.callee:
            return "needs caller or callee"
        long = [
            name for name in self.__struct_fields__ if len(getattr(self, name) or "") > TEXT_MAX
        ]
        return f"{long[0]} is longer than {TEXT_MAX} characters" if long else None

    def record(self, call_id: str) -> bytes:
        """The same as a record of dialect `ringfence`."""
        return _encode(
            {
                "call_id": self.call_id or call_id,
                "caller": self.caller or None,
                "callee": self.callee or None,
                "trunk": self.trunk or None,
                "ingress": self.ingress or None,
            }
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """On what answers rest: whether there are lists at all, and whether all are being followed.

    `followed` is false with the register away, and while one list is not what the register has.
    `rules_not_told` are rules that are on and of which one call says nothing.
    """

    loaded: bool
    followed: bool
    rules_not_told: tuple[str, ...] = ()


class Lookup:
    """Answers questions with decisions, as JSON.

    `decode` and `decide` are the stream's, with a decision for every call. `standing` is asked once
    for each batch.
    """

    def __init__(
        self,
        decode: Callable[[RawBatch], CallBatch],
        decide: Callable[[CallBatch], Outcome],
        standing: Callable[[], Standing],
        clock_ms: Callable[[], int],
    ) -> None:
        self._decode = decode
        self._decide = decide
        self._standing = standing
        self._clock_ms = clock_ms
        # Ids of decisions are made from this, as from a topic's partition: two processes never
        # give the same.
        self._partition = Partition(TOPIC, random.SystemRandom().randrange(1 << 31))
        self._asked = 0
        self._decided_s = -PACE_S
        self._waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []

    async def one(self, question: Question, call_id: str) -> bytes:
        """The answer to one question; `call_id` is taken if it names none."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_at(max(self._decided_s + PACE_S, loop.time()), self._flush)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((question.record(call_id), answer))
        return await answer

    async def many(self, questions: Sequence[Question], call_id: str) -> list[bytes]:
        """The answers in the order of the questions; others are answered in between."""
        answers: list[bytes] = []
        for start in range(0, len(questions), TOGETHER_MAX):
            asked = questions[start : start + TOGETHER_MAX]
            answers += self._answers([question.record(call_id) for question in asked])
            await asyncio.sleep(0)
        return answers

    def at_once(self, questions: Sequence[Question]) -> list[bytes]:
        """The answers, before anything else is done; each question names its call."""
        return self._answers([question.record("") for question in questions])

    def _flush(self) -> None:
        self._decided_s = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        answers = self._answers([record for record, _ in waiting])
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _answers(self, records: Sequence[bytes]) -> list[bytes]:
        count, now_ms, standing = len(records), self._clock_ms(), self._standing()
        first, self._asked = self._asked, self._asked + count
        raw = RawBatch(
            values=records,
            offsets=np.arange(first, first + count, dtype=np.int64),
            timestamps_ms=np.full(count, now_ms, np.int64),
            segments=(Segment(self._partition, 0, count),),
            epoch=0,
        )
        batch = self._decode(raw)
        assert len(batch) == count, "a question is a record that can be read"
        values: list[bytes] = [b""] * count
        for value, offset in _by_offset(self._decide(batch)):
            values[offset - first] = _with(value, standing)
        return values


@lru_cache(maxsize=16)
def _end(standing: Standing) -> bytes:
    said: dict[str, object] = {
        "fail_open": not standing.loaded,
        "lists_followed": standing.followed,
    }
    if standing.rules_not_told:
        said["rules_not_told"] = standing.rules_not_told
    return b"," + _encode(said)[1:]


def _with(decision: bytes, standing: Standing) -> bytes:
    """The decision, and on what it rests."""
    return decision[:-1] + _end(standing)


class _Placed(msgspec.Struct, gc=False):
    origin: str


_placed = msgspec.json.Decoder(_Placed).decode


def _by_offset(outcome: Outcome) -> list[tuple[bytes, int]]:
    """Each decision with the offset of its record: ruled calls come before the others."""
    return [
        (bytes(value), int(_placed(value).origin.rpartition("/")[2]))
        for value in outcome.values
        if value is not None
    ]

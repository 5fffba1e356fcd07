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
from itertools import islice
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import asdict, replace

from stream.calls.batch import CallBatch
from stream.calls.decide import Outcome
from stream.calls.trunks import Trunks
from stream.core.model.decision import Verdict
from stream.core.numbers.caller_readings import readings_of
from stream.kafka.batch import Partition, RawBatch, Segment

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

    def readings(self, trunks: Trunks) -> list["Question"]:
        """The same question for each number that the caller's text may be read as; never none."""
        if not self.caller:
            return [self]
        trunk = self.trunk
        found = readings_of(self.caller, trunks.country(trunk), trunks.prefix(trunk))
        others = (replace(self, caller=number) for number in found.others)
        return [self, *others, *(self.guess(number) for number in found.guesses)]

    def guess(self, caller: str) -> "Guess":
        """The same question of a number that the caller's text may hide."""
        return Guess(**{**asdict(self), "caller": caller})

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


class Guess(Question, frozen=True, gc=False):
    """A question whose answer counts only where it is a list that speaks.

    It is about digits dug out of a name. They may be the number that somebody hides so, and not
    the number of a call from abroad, or of a block that is given to nobody.
    """


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
    for each batch. `trunks` say how the numbers of each are read.

    A call may be several questions: one for each identity of its caller, and for each number that
    one may be read as. Its answer is the strictest: nobody is spared by what he adds.
    """

    def __init__(
        self,
        decode: Callable[[RawBatch], CallBatch],
        decide: Callable[[CallBatch], Outcome],
        standing: Callable[[], Standing],
        clock_ms: Callable[[], int],
        trunks: Trunks,
    ) -> None:
        self._decode = decode
        self._decide = decide
        self._standing = standing
        self._clock_ms = clock_ms
        self._trunks = trunks
        # Ids of decisions are made from this, as from a topic's partition: two processes never
        # give the same.
        self._partition = Partition(TOPIC, random.SystemRandom().randrange(1 << 31))
        self._asked = 0
        self._decided_s = -PACE_S
        self._waiting: list[tuple[_Asked, asyncio.Future[bytes]]] = []

    async def one(self, question: Question, call_id: str) -> bytes:
        """The answer to one question; `call_id` is taken if it names none."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_at(max(self._decided_s + PACE_S, loop.time()), self._flush)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((self._asked_of(question, call_id), answer))
        return await answer

    async def many(self, questions: Sequence[Question], call_id: str) -> list[bytes]:
        """The answers in the order of the questions; others are answered in between."""
        answers: list[bytes] = []
        for start in range(0, len(questions), TOGETHER_MAX):
            asked = questions[start : start + TOGETHER_MAX]
            answers += self._answers([self._asked_of(question, call_id) for question in asked])
            await asyncio.sleep(0)
        return answers

    def at_once(self, calls: Sequence[Sequence[Question]]) -> list[bytes]:
        """The answer to each call's questions, before anything else is done.

        Each question names its call, and its caller as one number.
        """
        return self._answers([_Asked.of(questions, "") for questions in calls])

    def _asked_of(self, question: Question, call_id: str) -> "_Asked":
        return _Asked.of(question.readings(self._trunks), call_id)

    def _flush(self) -> None:
        self._decided_s = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        answers = self._answers([record for record, _ in waiting])
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _answers(self, calls: Sequence["_Asked"]) -> list[bytes]:
        decisions = iter(self._decisions([record for call in calls for record in call.records]))
        end = _end(self._standing())
        return [
            call.strictest(list(islice(decisions, len(call.records))))[:-1] + end for call in calls
        ]

    def _decisions(self, records: Sequence[bytes]) -> list[bytes]:
        count, now_ms = len(records), self._clock_ms()
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
            values[offset - first] = value
        return values


@lru_cache(maxsize=16)
def _end(standing: Standing) -> bytes:
    """On what a decision rests, as the rest of its JSON."""
    said: dict[str, object] = {
        "fail_open": not standing.loaded,
        "lists_followed": standing.followed,
    }
    if standing.rules_not_told:
        said["rules_not_told"] = standing.rules_not_told
    return b"," + _encode(said)[1:]


class _Placed(msgspec.Struct, gc=False):
    origin: str


class _Judged(msgspec.Struct, gc=False):
    verdict: str
    simulated: bool
    rule: str


_placed = msgspec.json.Decoder(_Placed).decode
_judged = msgspec.json.Decoder(_Judged).decode
_ORDER: Final = (Verdict.ALLOW, Verdict.FLAG, Verdict.BLOCK)
_BY_LISTS: Final = ("list:", "agreement:", "rule:do_not_originate")
"""How the rules of decisions begin that lists have brought about."""


class _Asked(NamedTuple):
    """The records of one call; the last `guesses` of them ask what its caller may be besides."""

    records: Sequence[bytes]
    guesses: int

    @classmethod
    def of(cls, questions: Sequence[Question], call_id: str) -> "_Asked":
        guesses = sum(isinstance(question, Guess) for question in questions)
        return cls([question.record(call_id) for question in questions], guesses)

    def strictest(self, decisions: Sequence[bytes]) -> bytes:
        """The decision on the call, of those on its records: of equals the first."""
        if len(decisions) == 1:
            return decisions[0]
        sure = len(decisions) - self.guesses
        judged = [(_judged(decision), place >= sure) for place, decision in enumerate(decisions)]
        return decisions[max(range(len(decisions)), key=lambda place: _strictness(*judged[place]))]


def _strictness(judged: _Judged, is_guess: bool) -> tuple[int, bool]:
    """How strict a decision is; one on trial comes before one that says nothing."""
    if is_guess and not judged.rule.startswith(_BY_LISTS):
        return -1, False
    return _ORDER.index(Verdict(judged.verdict)), judged.simulated


def _by_offset(outcome: Outcome) -> list[tuple[bytes, int]]:
    """Each decision with the offset of its record: ruled calls come before the others."""
    return [
        (bytes(value), int(_placed(value).origin.rpartition("/")[2]))
        for value in outcome.values
        if value is not None
    ]

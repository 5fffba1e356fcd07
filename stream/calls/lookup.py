"""`/v1/decision`: the verdict that the stream would give, from memory, while the call is set up.

A question's fields become a call of a batch, which is decided as the stream decides. Questions that
arrive while others are decided, or within a millisecond of each other, are decided together. A
batch of sixty costs about as much as one. Nothing is asked of Kafka or Redis. Nothing is published.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import asdict, replace

from stream.calls.call_batch import CallBatch, KeyFields
from stream.calls.decide import Decided
from stream.calls.encode import DecisionColumns, encode
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.core.model.decision import SipAnswer, Verdict
from stream.core.numbers.caller_readings import readings_of
from stream.core.numbers.e164 import is_canonical
from stream.core.stir.attestation import NOT_TOLD, read_verstat, verstat_of
from stream.core.stir.verifier import SignedCall, Verifier
from stream.kafka.batch import Partition, RawBatch

TOPIC: Final = "lookup"
"""In a decision's `origin`, in place of a record's topic."""
TEXT_MAX: Final = 256
"""Characters of a number, trunk or call id."""
SHORT: Final = ("trunk", "ingress")
"""Fields of a question that are refused above that length."""
TOGETHER_MAX: Final = 500
"""Questions of one request that are decided without looking up: about 2 ms."""
PACE_S: Final = 0.001
"""The least time from one batch to the next. A single question costs 0.3 ms to decide, twenty cost
0.4. Without it, 2,000 questions a second, each alone, would take all of a core and wait for each
other. The first one after a millisecond without any does not wait."""
_encode = msgspec.json.Encoder().encode

Text = str | None


class Question(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One call, as the switch sees it. A number that is not known, or withheld, is null."""

    caller: Text = None
    callee: Text = None
    trunk: Text = None
    ingress: Text = None
    call_id: Text = None
    verstat: Text = None
    attestation: Text = None
    passport: Text = None

    def wrong(self) -> str | None:
        """Return what cannot be asked, or None."""
        if not self.caller and not self.callee:
            return "needs caller or callee"
        # A caller writes all others. After an error switches let the call go on.
        for name in SHORT:
            if len(getattr(self, name) or "") > TEXT_MAX:
                return f"{name} is longer than {TEXT_MAX} characters"
        return None

    @property
    def says_attestation(self) -> bool:
        """Return whether it says what is known of the call's signature, be it that it has none."""
        # A PASSporT that is not verified proves nothing; an empty one says that there is none.
        return self.verstat is not None or self.attestation is not None or self.passport == ""

    def readings(self, trunks: Trunks) -> list["Question"]:
        """Return the question for each number that the caller's text may be read as; never none."""
        # Nearly every caller is written as E.164, which everybody reads as it stands.
        if not self.caller or (self.caller[0] == "+" and is_canonical(self.caller[1:])):
            return [self]
        trunk = self.trunk
        found = readings_of(self.caller, trunks.country(trunk), trunks.prefix(trunk))
        others = (replace(self, caller=number) for number in found.others)
        return [self, *others, *(self.guess(number) for number in found.guesses)]

    def guess(self, caller: str) -> "GuessedQuestion":
        """Return the question of a number that the caller's text may hide."""
        return GuessedQuestion(**{**asdict(self), "caller": caller})

    def fields(self, call_id: str) -> KeyFields:
        """Return the fields of the call; `call_id` where the question has none, no empty text."""
        return KeyFields(
            (self.call_id or call_id)[:TEXT_MAX],
            self.caller or None,
            self.callee or None,
            self.trunk or None,
            self.ingress or None,
            # A switch that asks nothing of signatures must not have its calls taken for unsigned.
            self.verstat if self.says_attestation else NOT_TOLD,
            self.attestation,
        )


class GuessedQuestion(Question, frozen=True, gc=False):
    """A question whose answer counts only where it is a list that speaks.

    It is about digits dug out of a name. They may be the number that somebody hides so, and not
    the number of a call from abroad, or of an unassigned block.
    """


@dataclass(frozen=True, slots=True)
class LookupStatus:
    """On what answers rest: whether there are lists at all, and whether all are being followed.

    `followed` is false with the list store away, and while one list is not what is there.
    `rules_not_told` are rules that are on and of which one call says nothing; `of_attestation`
    those that need a question with `verstat` or `attestation`.
    """

    loaded: bool
    followed: bool
    rules_not_told: tuple[str, ...] = ()
    of_attestation: tuple[str, ...] = ()


class Lookup:
    """Answers questions with decisions.

    `read` and `decide` are the stream's, with a decision for every call. `status` is asked once
    for each batch. `trunks` say how the numbers of each are read. `keep`, where it is set, gets the
    JSON of decisions: all of those that are answered as JSON, of others the ones that act.

    A call may be several questions: one for each identity of its caller, and for each number that
    one may be read as. Its answer is the strictest: an identity that a caller adds cannot help him.
    """

    def __init__(
        self,
        read: Callable[[RawBatch, Sequence[KeyFields]], CallBatch],
        decide: Callable[[CallBatch], Decided],
        status: Callable[[], LookupStatus],
        clock_ms: Callable[[], int],
        trunks: Trunks,
        verifier: Verifier | None = None,
    ) -> None:
        self.keep: Callable[[Iterable[bytes]], None] | None = None
        self._read = read
        self._decide = decide
        self._status = status
        self._clock_ms = clock_ms
        self._trunks = trunks
        self._verifier = verifier
        # Ids of decisions are made from this, as from a topic's partition: two processes never
        # give the same.
        self._partition = Partition(TOPIC, random.SystemRandom().randrange(1 << 31))
        self._asked = 0
        self._decided_s = -PACE_S
        self._waiting: list[tuple[_Asked, asyncio.Future[bytes]]] = []

    async def one(self, question: Question, call_id: str) -> bytes:
        """Return the answer to one question as JSON; `call_id` is taken if it names none."""
        return await self.begin(question, call_id)

    def begin(self, question: Question, call_id: str) -> "asyncio.Future[bytes]":
        """Return the answer to come, as `one` gives it, for a caller that is no task."""
        loop = asyncio.get_running_loop()
        asked = self._asked_of(question, call_id)
        # The first question of a batch sets its moment; later ones until then join it.
        if not self._waiting:
            loop.call_at(max(self._decided_s + PACE_S, loop.time()), self._flush)
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting.append((asked, answer))
        return answer

    async def many(self, questions: Sequence[Question], call_id: str) -> list[bytes]:
        """Return the answers in the order of the questions; others are answered in between."""
        answers: list[bytes] = []
        for start in range(0, len(questions), TOGETHER_MAX):
            asked = questions[start : start + TOGETHER_MAX]
            answers += self._answers([self._asked_of(question, call_id) for question in asked])
            await asyncio.sleep(0)
        return answers

    def sip_answers(self, calls: Sequence[Sequence[Question]]) -> list[SipAnswer | None]:
        """Decide calls at once: the answer to each one's INVITE, None where the call goes on.

        Each question names its call, and its caller as one number.
        """
        asked = [_Asked.of(questions, "") for questions in calls]
        decisions = self._decisions(asked)
        if self.keep is not None:
            acting = [place for place in range(len(decisions)) if _acts(decisions, place)]
            if acting:
                self.keep(_values(encode(decisions.at(np.array(acting)))))
        return [decisions.sip_answer(place) for place in _strictest(decisions, asked)]

    @property
    def judges_attestation(self) -> bool:
        """Return whether a rule goes by STIR/SHAKEN."""
        return bool(self._status().of_attestation)

    def verified(
        self, passport: str, verstat: str | None, callers: Collection[str], callees: Collection[str]
    ) -> str | None:
        """Return `verstat`, or what the call's PASSporTs say if that is worse or there is none.

        The numbers are all that its parties may be, E.164. The call begins now.
        """
        if self._verifier is None or not passport:
            return verstat
        now_s = self._clock_ms() / 1000
        found = self._verifier.attested(passport, SignedCall(callers, callees, now_s), now_s)
        return verstat_of(found if verstat is None else max(found, read_verstat(verstat)))

    def _asked_of(self, question: Question, call_id: str) -> "_Asked":
        if question.passport:
            parties = (question.caller, question.callee)
            callers, callees = (self._numbers(text, question.trunk) for text in parties)
            found = self.verified(question.passport, question.verstat, callers, callees)
            question = replace(question, verstat=found)
        return _Asked.of(question.readings(self._trunks), call_id)

    def _numbers(self, text: str | None, trunk: str | None) -> Collection[str]:
        if not text:
            return ()
        found = readings_of(text, self._trunks.country(trunk), self._trunks.prefix(trunk))
        return (*found.numbers, *found.guesses)

    def _flush(self) -> None:
        self._decided_s = asyncio.get_running_loop().time()
        waiting, self._waiting = self._waiting, []
        answers = self._answers([asked for asked, _ in waiting])
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():  # its asker may have gone
                future.set_result(answer)

    def _answers(self, asked: Sequence["_Asked"]) -> list[bytes]:
        decisions = self._decisions(asked)
        values = _values(encode(decisions))
        if self.keep is not None:
            self.keep(values)
        status = self._status()
        ends = [_end(status, told) for told in (False, True)]
        return [
            values[place][:-1] + ends[one.says_attestation]
            for place, one in zip(_strictest(decisions, asked), asked, strict=True)
        ]

    def _decisions(self, asked: Sequence["_Asked"]) -> DecisionColumns:
        """Decide all calls of `asked`; the decisions are in the order of the calls."""
        calls = [fields for one in asked for fields in one.calls]
        count, now_ms = len(calls), self._clock_ms()
        first, self._asked = self._asked, self._asked + count
        raw = RawBatch.of([b""] * count, self._partition, first, now_ms)
        columns = self._decide(self._read(raw, calls)).columns
        assert columns is not None, "every call has a decision"
        assert len(columns) == count, "every call has one decision"
        # Ruled calls come before the others.
        return columns.at(np.argsort(columns.calls))


def _values(texts: Texts) -> list[bytes]:
    return [bytes(view) for view in texts.views() if view is not None]


@lru_cache(maxsize=16)
def _end(status: LookupStatus, says_attestation: bool) -> bytes:
    """Return what a decision rests on, as the rest of its JSON."""
    said: dict[str, object] = {"fail_open": not status.loaded, "lists_followed": status.followed}
    untold = status.rules_not_told + (() if says_attestation else status.of_attestation)
    if untold:
        said["rules_not_told"] = untold
    return b"," + _encode(said)[1:]


_ORDER: Final = (Verdict.ALLOW, Verdict.FLAG, Verdict.BLOCK)
_BY_LISTS: Final = ("list:", "agreement:", "rule:do_not_originate")
"""Beginnings of the rules of decisions that lists have brought about."""


class _Asked(NamedTuple):
    """The readings of one call; the last `guesses` of them are what its caller may be besides."""

    calls: Sequence[KeyFields]
    guesses: int

    @property
    def says_attestation(self) -> bool:
        """Return whether the question has a field about its call's signature."""
        return self.calls[0].verstat != NOT_TOLD

    @classmethod
    def of(cls, questions: Sequence[Question], call_id: str) -> "_Asked":
        guesses = sum(isinstance(question, GuessedQuestion) for question in questions)
        return cls([question.fields(call_id) for question in questions], guesses)


def _strictest(decisions: DecisionColumns, asked: Sequence[_Asked]) -> Iterator[int]:
    """Yield the place of the decision on each call, of those on its readings: of equals the first.

    The readings of one call are adjacent.
    """
    first = 0
    for one in asked:
        last = first + len(one.calls)
        sure = last - one.guesses
        # Nearly every call has one reading, of which nothing needs to be compared.
        yield (
            first
            if last - first == 1
            else max(
                range(first, last),
                key=lambda place: _strictness(decisions, place, is_guess=place >= sure),
            )
        )
        first = last


def _strictness(decisions: DecisionColumns, place: int, *, is_guess: bool) -> tuple[int, bool]:
    """Return how strict a decision is; a simulated one comes before one that does nothing."""
    verdict, simulated, rule = decisions.verdict(place)
    if is_guess and not rule.startswith(_BY_LISTS):
        return -1, False
    return _ORDER.index(verdict), simulated


def _acts(decisions: DecisionColumns, place: int) -> bool:
    verdict, simulated, _ = decisions.verdict(place)
    return simulated or verdict is not Verdict.ALLOW

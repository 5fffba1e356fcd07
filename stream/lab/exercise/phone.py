"""Calls in one country, one record each, and what its engine decides of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import NamedTuple, Self

import msgspec

from stream.lab.demo.demo_kafka import CallSender, listen
from stream.lab.demo.judge import SeenDecision
from stream.lab.demo.product import DemoFailed, Places
from stream.lab.demo.traffic import SentRecord

ANSWER_S_MAX = 20.0
"""A call of which nothing was decided by then has no answer, and every check on it fails."""
AGAIN_S = 0.1


class CallAnswer(NamedTuple):
    """The decision on a call: block, flag or allow; by which rule, for which lists, and when.

    `decided_ms` is the engine's clock, milliseconds since the epoch.
    """

    verdict: str
    rule: str
    lists: tuple[str, ...]
    decided_ms: int
    decision_id: str = ""

    @property
    def stopped(self) -> bool:
        """The call does not simply ring."""
        return self.verdict != "allow"


Answers = dict[str, CallAnswer | None]
"""By the caller's number; None: nothing was decided."""


class Phone:
    """Places calls in one country, all to `callee`, through the trunk `trunk`.

    `stopped` counts them by the list that held the number and by what was decided.
    """

    def __init__(self, places: Places, callee: str, trunk: str) -> None:
        self._places, self._callee, self._trunk = places, callee, trunk
        self._sender = CallSender(places.bootstrap, places.topics.calls)
        self._waiting: dict[str, asyncio.Future[CallAnswer]] = {}
        self._ids = count(1)
        self.stopped: Counter[tuple[str, str]] = Counter()

    async def __aenter__(self) -> Self:
        await self._sender.__aenter__()
        topics = self._places.topics
        self._listening = asyncio.create_task(listen(self._places.bootstrap, topics, self))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening
        await self._sender.__aexit__()

    async def call(self, numbers: Sequence[str]) -> Answers:
        """A call from each of `numbers`, and what was decided of it."""
        placed = {number: await self._place(number) for number in numbers}
        await asyncio.wait(placed.values(), timeout=ANSWER_S_MAX)
        if self._listening.done():
            raise DemoFailed(f"decisions cannot be read: {self._listening.exception()!r}")
        return {
            number: future.result() if future.done() else None for number, future in placed.items()
        }

    async def until(
        self, number: str, wanted: Callable[[CallAnswer], bool], within_s: float
    ) -> list[CallAnswer]:
        """Calls from `number`, ten a second, until one is answered as wanted; all answers."""
        answers: list[CallAnswer] = []
        ends_s = time.monotonic() + within_s
        while time.monotonic() < ends_s:
            answer = (await self.call([number]))[number]
            if answer is not None:
                answers.append(answer)
                if wanted(answer):
                    break
            await asyncio.sleep(AGAIN_S)
        return answers

    async def _place(self, number: str) -> "asyncio.Future[CallAnswer]":
        call_id = f"x-{next(self._ids)}"
        future: asyncio.Future[CallAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        call = {
            "call_id": call_id,
            "caller": number,
            "callee": self._callee,
            "trunk": self._trunk,
            "stage": "attempt",
        }
        await self._sender.send(SentRecord(call_id, msgspec.json.encode(call)), lambda *_: None)
        return future

    def decision(self, value: bytes | None, appended_ms: int) -> None:
        """A record of the decisions topic; a repeat of one changes nothing."""
        del appended_ms
        try:
            seen = msgspec.json.decode(value or b"", type=SeenDecision)
        except msgspec.MsgspecError:
            return  # that call stays without an answer
        future = self._waiting.pop(seen.call_id, None)
        if seen.decided_at is not None and future is not None and not future.done():
            lists = tuple(named.list for named in seen.reasons)
            at_ms = round(seen.decided_at.timestamp() * 1000)
            future.set_result(
                CallAnswer(seen.verdict, seen.rule or "", lists, at_ms, seen.decision_id)
            )
            self.stopped.update((name, seen.verdict) for name in lists if seen.verdict != "allow")

    def rejected(self, value: bytes | None) -> None:
        """A call that was none for the engine: it stays without an answer."""
        del value

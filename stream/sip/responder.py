"""Messages in, answers out, for a batch: what the sockets call. No socket, no await.

An INVITE is answered by the lookup's own deciding, from memory. All of a batch are decided
together, which costs about what one does.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from stream.core.decision import SipAnswer
from stream.ops.sip_metrics import SipMetrics
from stream.serve.lookup import Lookup, Question
from stream.sip.answering import Address, Answer, alive, allowed, answer, blocked, unavailable
from stream.sip.asking import Asking, called
from stream.sip.checks import UNANSWERED, Status, refusal, vias_of
from stream.sip.message import Request, Response, Via, read
from stream.sip.settings import SipSettings
from stream.sip.sources import Admission, Sources

RETRY_S: Final = 1
EMERGENCY: Final = "emergency"
"""The rule of a decision about a call for help: it goes on where it was going, never elsewhere."""


class Transport(StrEnum):
    """How a message came."""

    UDP = "udp"
    TCP = "tcp"


class Unanswered(StrEnum):
    """Why a message gets no answer."""

    ACK = "ack"
    CANCEL = "cancel"
    RESPONSE = "response"
    UNREADABLE = "unreadable"
    NO_VIA = "no_via"
    FLOOD = "flood"
    KEEP_ALIVE = "keep_alive"
    NOT_SENT = "not_sent"


class _Decision(msgspec.Struct, gc=False):
    verdict: str
    rule: str
    sip: SipAnswer | None


_decision = msgspec.json.Decoder(_Decision).decode
_Asked = tuple[int, Request, list[Via], Question, Address]


class Responder:
    """Answers SIP messages. `country` gives the country of a trunk (None: no trunk is known).

    `loaded` is whether there are lists: until then every call goes on, and OPTIONS say 503.
    """

    def __init__(
        self,
        settings: SipSettings,
        lookup: Lookup,
        country: Callable[[str | None], str],
        loaded: Callable[[], bool],
        metrics: SipMetrics,
    ) -> None:
        self._asking: Asking = settings.asking()
        self._hop = settings.hop
        self._bytes_max = settings.message_bytes_max
        self._sources = Sources(settings.trunks, settings.requests_per_s, settings.strangers_per_s)
        self._lookup = lookup
        self._country = country
        self._loaded = loaded
        self.metrics = metrics

    def answers(
        self, messages: Sequence[tuple[bytes, Address]], transport: Transport, now_s: float
    ) -> list[Answer | None]:
        """The answer to each message, None where there is none; `now_s` never goes back."""
        made: list[Answer | None] = [None] * len(messages)
        asked: list[_Asked] = []
        dropped = 0
        for index, (data, source) in enumerate(messages):
            allowance = self._sources.of(source.host)
            admission = allowance.take(now_s)
            if admission is Admission.DROPPED:
                dropped += 1
                continue
            request = self._request(data, transport)
            if request is None:
                continue
            vias = vias_of(request)
            busy = unavailable(RETRY_S) if admission is Admission.BUSY else None
            status = busy or self._at_once(request, vias)
            if status is None:
                assert vias is not None, "a request without them is refused"
                trunk = self._asking.trunk(request) or allowance.trunk
                question = self._asking.question(request, trunk, self._country(trunk))
                asked.append((index, request, vias, question, source))
                continue
            made[index] = self._answer(request, vias, status, source, transport)
        if dropped:
            self.unanswered(transport, Unanswered.FLOOD, dropped)
        statuses = self._decided([one[3] for one in asked], [one[1] for one in asked])
        for (index, request, vias, _, source), status in zip(asked, statuses, strict=True):
            made[index] = self._answer(request, vias, status, source, transport)
        return made

    def unanswered(self, transport: Transport, reason: Unanswered, count: int = 1) -> None:
        """Count what gets no answer."""
        self.metrics.unanswered.labels(transport, reason).inc(count)

    def _request(self, data: bytes, transport: Transport) -> Request | None:
        """The request, if it is one that is answered."""
        if not data.strip(b"\r\n\0"):
            self.unanswered(transport, Unanswered.KEEP_ALIVE)
            return None
        message = read(data) if len(data) <= self._bytes_max else None
        if message is None or isinstance(message, Response):
            reason = Unanswered.UNREADABLE if message is None else Unanswered.RESPONSE
            self.unanswered(transport, reason)
            return None
        if message.method in UNANSWERED:
            self.unanswered(transport, Unanswered[message.method])
            return None
        return message

    def _at_once(self, request: Request, vias: list[Via] | None) -> Status | None:
        """The status that no list is asked for; None: an INVITE that can be worked on."""
        status = refusal(request, vias)
        if status is None and request.method == "OPTIONS":
            return alive(None if self._loaded() else RETRY_S)
        return status

    def _decided(self, questions: Sequence[Question], requests: Sequence[Request]) -> list[Status]:
        decisions = map(_decision, self._lookup.at_once(questions)) if questions else ()
        return [
            self._status(decision, request)
            for decision, request in zip(decisions, requests, strict=True)
        ]

    def _status(self, decision: _Decision, request: Request) -> Status:
        if decision.sip is not None:
            return blocked(decision.sip.code, decision.sip.phrase, decision.sip.reason)
        if not self._hop or decision.rule == EMERGENCY:
            return allowed(None, "")
        return allowed(called(request.uri), self._hop)

    def _answer(
        self,
        request: Request,
        vias: list[Via] | None,
        status: Status,
        source: Address,
        transport: Transport,
    ) -> Answer | None:
        made = answer(request, vias, status, source)
        if made is None:
            self.unanswered(transport, Unanswered.NO_VIA)
        else:
            self.metrics.answers.labels(transport, str(made.code)).inc()
        return made

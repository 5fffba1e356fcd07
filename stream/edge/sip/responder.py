"""Answer a batch of messages: what the sockets call. No socket, no await.

The live lookup decides an INVITE, from memory. It decides all of a batch together, which costs
about as much as deciding one.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from stream.calls.lookup import Lookup, Question
from stream.calls.trunks import Trunks
from stream.core.model.decision import SipAnswer
from stream.core.numbers.emergency import EmergencyNumbers
from stream.edge.sip.message import SipRequest, SipResponse, Via, read
from stream.edge.sip.question import UNASKED, Callers, QuestionReader, called
from stream.edge.sip.rate_limits import Admission, Allowance, RateLimits
from stream.edge.sip.response import (
    UNANSWERED,
    Address,
    SipReply,
    SipStatus,
    Unanswered,
    alive,
    allowed,
    answer,
    blocked,
    refusal,
    unavailable,
    vias_of,
)
from stream.edge.sip.settings import SipSettings
from stream.ops.metrics.sip_catalogue import SipMetrics

REJECTED: Final = 608
RETRY_S: Final = 1
"""Of the 503 to a trunk beyond its rate: its allowance grows again each second."""
LONGER_MAX: Final = 200
"""Bytes by which an answer over UDP to an unknown source may exceed the request: no amplifier."""


class SipTransport(StrEnum):
    """Transport that a message came by."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class _Got(NamedTuple):
    """A request with its index in the batch, and the bound of its answer in bytes (None: none).
    `wrong` refuses it if nothing blocks it.
    """

    place: int
    request: SipRequest
    vias: list[Via] | None
    source: Address
    size_max: int | None
    wrong: SipStatus | None


class _Call(NamedTuple):
    """An INVITE to look up in the lists."""

    got: _Got
    country: str
    callers: Callers
    questions: Sequence[Question]


class Responder:
    """Answers SIP messages. `trunks` say how numbers are read, and which identities are trusted.

    A call to one of `emergency` continues to its destination: it is neither redirected nor refused
    for how its caller is written. Until `loaded` says that there are lists, every call continues,
    and OPTIONS get 503. `card` gives the Call-Info of answers 608.
    """

    def __init__(
        self,
        settings: SipSettings,
        lookup: Lookup,
        trunks: Trunks,
        emergency: EmergencyNumbers,
        loaded: Callable[[], bool],
        metrics: SipMetrics,
        card: Callable[[], str] | None = None,
    ) -> None:
        self._asking = QuestionReader(settings)
        self._hop = settings.hop
        self._bytes_max = settings.message_bytes_max
        self._sources = RateLimits(
            settings.trunks, settings.requests_per_s, settings.strangers_per_s
        )
        self._lookup = lookup
        self._trunks = trunks
        self._emergency = emergency
        self._loaded = loaded
        self._card = card
        self.metrics = metrics

    def answers(
        self, messages: Sequence[tuple[bytes, Address]], transport: SipTransport, now_s: float
    ) -> list[SipReply | None]:
        """Return the answer to each message, None where there is none; `now_s` never goes back."""
        made: list[SipReply | None] = [None] * len(messages)
        asked: list[_Call] = []
        dropped = 0
        for index, (data, source) in enumerate(messages):
            # Each refusal brings one by UDP and TCP: counted, they would take half of a rate.
            if data.startswith(b"ACK "):
                self.unanswered(transport, Unanswered.ACK)
                continue
            allowance = self._sources.of(source.host)
            admission = allowance.take(now_s)
            if admission is Admission.DROPPED:
                dropped += 1
                continue
            request = self._request(data, transport)
            if request is None:
                continue
            # Over UDP the address of an unknown source may be false: a long answer would flood it.
            may_be_false = transport is SipTransport.UDP and allowance.trunk is None
            size_max = len(data) + LONGER_MAX if may_be_false else None
            wrong = refusal(request, vias := vias_of(request))
            got = _Got(index, request, vias, source, size_max, wrong)
            busy = unavailable(RETRY_S) if admission is Admission.BUSY else None
            status = self._at_once(got) or busy
            if status is None:
                asked.append(self._call(got, allowance))
            else:
                made[index] = self._answer(got, status, transport)
        if dropped:
            self.unanswered(transport, Unanswered.FLOOD, dropped)
        for call, status in zip(asked, self._decided(asked), strict=True):
            made[call.got.place] = self._answer(call.got, status, transport)
        return made

    def unanswered(self, transport: SipTransport, reason: Unanswered, count: int = 1) -> None:
        """Count messages without an answer."""
        self.metrics.unanswered.labels(transport, reason).inc(count)

    def _request(self, data: bytes, transport: SipTransport) -> SipRequest | None:
        """Return the request, if it is one that gets an answer."""
        if not data.strip(b"\r\n\0"):
            self.unanswered(transport, Unanswered.KEEP_ALIVE)
            return None
        message = read(data, self._bytes_max)
        if message is None or isinstance(message, SipResponse):
            reason = Unanswered.UNREADABLE if message is None else Unanswered.RESPONSE
            self.unanswered(transport, reason)
            return None
        if message.method in UNANSWERED:
            self.unanswered(transport, Unanswered[message.method])
            return None
        return message

    def _at_once(self, got: _Got) -> SipStatus | None:
        """Return a status that needs no list; None: an INVITE to look up."""
        # A malformed one too: proxies pass it on, and after a 400 switches let the call go on.
        if got.request.method.upper() == "INVITE":
            return None
        if got.wrong is None and got.request.method == "OPTIONS":
            return alive(None if self._loaded() else RETRY_S)
        return got.wrong

    def _call(self, got: _Got, allowance: Allowance) -> _Call:
        """Return caller, trunk and questions for the lists."""
        request, named = got.request, self._asking.trunk(got.request)
        trunk = named or allowance.trunk
        # A message may name its trunk, but its address has to be of a trusted one as well.
        vouched = self._trunks.vouches(allowance.trunk) and self._trunks.vouches(trunk)
        country, prefix = self._trunks.country(trunk), self._trunks.prefix(trunk)
        callers = self._asking.callers(request, country, prefix, vouched=vouched)
        signed = UNASKED
        if self._lookup.judges_attestation:
            signed = self._asking.signed(request, vouched=vouched)
        if signed.passports:
            callees = self._asking.callees(request, country, prefix)
            found = self._lookup.verified(
                signed.passports, signed.verstat, callers.numbers, callees
            )
            signed = signed._replace(verstat=found)
        questions = self._asking.questions(request, trunk, callers, signed)
        return _Call(got, country, callers, questions)

    def _decided(self, calls: Sequence[_Call]) -> list[SipStatus]:
        answers = self._lookup.sip_answers([call.questions for call in calls]) if calls else ()
        return [self._status(answer, call) for answer, call in zip(answers, calls, strict=True)]

    def _status(self, refused: SipAnswer | None, call: _Call) -> SipStatus:
        if refused is not None:
            card = self._card() if refused.code == REJECTED and self._card is not None else ""
            return blocked(refused.code, refused.phrase, refused.reason, card)
        callee = call.questions[0].callee
        unread = call.callers.unread or ("so long a head" if call.got.request.is_cut else "")
        if (self._hop or unread) and self._emergency.is_emergency(callee, call.country):
            return allowed(None, "")
        # The next proxy may read more of it than we do, and find a listed number: so refuse it.
        if unread:
            return SipStatus(403, f"Forbidden: {unread} cannot be read")
        if call.got.wrong is not None:
            return call.got.wrong
        uri = call.got.request.uri
        scheme = "sips" if uri[:5].lower() == "sips:" else "sip"
        return allowed(called(uri) if self._hop else None, self._hop, scheme)

    def _answer(self, got: _Got, status: SipStatus, transport: SipTransport) -> SipReply | None:
        made = answer(got.request, got.vias, status, got.source, got.size_max)
        if isinstance(made, SipReply):
            self.metrics.answers.labels(transport, str(made.code)).inc()
            return made
        self.unanswered(transport, made)
        return None

"""Checks of a request (RFC 3261, 8.2), and its answer as bytes with its address. Pure.

The same request always gets the same To tag (RFC 3261, 8.2.7), so no state is kept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from stream.edge.sip.message import SipRequest, Via, listed, parameters_of, uri_of, via_of

ALLOW: Final = "INVITE, ACK, OPTIONS"
UNANSWERED: Final = frozenset({"ACK", "CANCEL"})
"""RFC 3261, 8.2.7: a stateless server ignores both. Nothing is left to cancel: each answer is
final."""
_ANSWERED: Final = frozenset({"INVITE", "OPTIONS"})
_ONCE: Final = ("to", "from", "call-id", "cseq")
_CSEQ: Final = re.compile(r"(\d{1,20})\s+(\S+)", re.ASCII)
_CSEQ_MAX: Final = 2**31  # RFC 3261, 8.1.1.5
_SCHEMES: Final = ("sip", "sips", "tel")
_EMERGENCY: Final = "urn:service:sos"
VIAS_MAX: Final = 70
"""Max-Forwards begins at 70: a message with more Vias has been in a loop."""


@dataclass(frozen=True, slots=True)
class SipStatus:
    """A status line with its header fields."""

    code: int
    phrase: str
    fields: Sequence[tuple[str, str]] = field(default=())


def bad(what: str) -> SipStatus:
    """Return a 400 that names the fault, as 21.4.1 asks."""
    return SipStatus(400, f"Bad Request: {what}")


def vias_of(request: SipRequest) -> list[Via] | None:
    """Return all values of Via, the sender's first; None: one is malformed."""
    texts = listed(request.fields.get("via", ()))
    vias = [via_of(text) for text in texts[: VIAS_MAX + 1]]
    return None if None in vias or len(vias) > VIAS_MAX else [one for one in vias if one]


def refusal(request: SipRequest, vias: list[Via] | None) -> SipStatus | None:
    """Return the status that refuses the request; None: it is answered."""
    if request.version.upper() != "SIP/2.0":
        return SipStatus(505, "Version Not Supported")
    wrong = _malformed(request, vias)
    if wrong is not None:
        return bad(wrong)
    if request.method not in _ANSWERED:
        return SipStatus(405, "Method Not Allowed", (("Allow", ALLOW),))
    if not _scheme_is_known(request.uri):
        return SipStatus(416, "Unsupported URI Scheme")
    # 8.3: a redirect server answers an INVITE whatever extensions it requires.
    required = listed(request.fields.get("require", ())) if request.method == "OPTIONS" else []
    if any(required):
        return SipStatus(420, "Bad Extension", (("Unsupported", ", ".join(required)),))
    return None


def _malformed(request: SipRequest, vias: list[Via] | None) -> str | None:
    """Return the malformed part of a request."""
    if not request.strict or "<" in request.uri or '"' in request.uri:
        return "Request-Line"
    for name in _ONCE:
        if len(request.fields.get(name, ())) != 1:
            return f"{name.title()} must be there once"
    if vias is None:
        return "Via"
    cseq = _CSEQ.fullmatch(request.one("cseq"))
    if cseq is None or int(cseq[1]) >= _CSEQ_MAX or cseq[2] != request.method:
        return "CSeq"
    if not uri_of(request.one("to")):
        return "To"
    return _wrong_length(request)


def _wrong_length(request: SipRequest) -> str | None:
    lengths = set(request.fields.get("content-length", ()))
    if len(lengths) > 1 or any(not (one.isascii() and one.isdigit()) for one in lengths):
        return "Content-Length"
    if request.body_bytes is None:
        return "no blank line"
    if any(len(one) > 9 or int(one) > request.body_bytes for one in lengths):
        return "Content-Length is more than came"
    return None


def _scheme_is_known(uri: str) -> bool:
    scheme = uri.partition(":")[0].lower()
    return scheme in _SCHEMES or uri.lower().startswith(_EMERGENCY)


PORT: Final = 5060
_TAG_BYTES: Final = 8
_OURS: Final = re.compile(r";\s*+(?:rport|received)\s*+(?:=\s*+[^;]*+)?(?=;|$)", re.IGNORECASE)


class Address(NamedTuple):
    """Source address of a request."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SipReply:
    """An answer, and its address over UDP (RFC 3261, 18.2.2; RFC 3581, 4)."""

    code: int
    data: bytes
    to: Address


class Unanswered(StrEnum):
    """Reason that a message gets no answer."""

    ACK = "ack"
    CANCEL = "cancel"
    RESPONSE = "response"
    UNREADABLE = "unreadable"
    NO_VIA = "no_via"
    """It names no address to answer."""
    TOO_LONG = "too_long"
    """The answer would be too long for an address that may be false."""
    FLOOD = "flood"
    OVERFLOW = "overflow"
    """More came than this process reads: it found the kernel's buffer full, or waited too long."""
    KEEP_ALIVE = "keep_alive"
    NOT_SENT = "not_sent"


def answer(
    request: SipRequest,
    vias: Sequence[Via] | None,
    status: SipStatus,
    source: Address,
    size_max: int | None = None,
) -> SipReply | Unanswered:
    """Return the answer to a request from `source`, of `size_max` bytes at most.

    It goes to the address that the request came from, never to another that it names (`maddr`,
    `received`). So a sender cannot direct answers to a third party. `vias` None: Via is malformed.
    """
    first = vias[0] if vias else None
    if vias is not None:
        own = [via.text for via in vias]
    else:
        # Without parsed Vias only the sender's is repeated: more would echo arbitrary bytes.
        own = list(request.fields.get("via", ()))[:1]
    if not own:
        return Unanswered.NO_VIA
    if first is not None:
        own[0] = _received(first, source)
    port = source.port if first is None or first.rport else first.port or PORT
    common = [*(f"Via: {text}" for text in own), *_copied(request, first)]
    for said in (status, _shorter(status)):
        data = _message(said, common)
        if size_max is None or len(data) <= size_max:
            return SipReply(said.code, data, Address(source.host, port))
    return Unanswered.TOO_LONG


def _message(status: SipStatus, common: Sequence[str]) -> bytes:
    lines = [
        f"SIP/2.0 {status.code} {status.phrase}",
        *common,
        *(f"{name}: {value}" for name, value in status.fields),
        *("Content-Length: 0", "", ""),
    ]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _shorter(status: SipStatus) -> SipStatus:
    """Return the status without its explanation; a 302, which is nothing without, becomes 404."""
    return (
        SipStatus(404, "Not Found") if status.code == 302 else SipStatus(status.code, status.phrase)
    )


def _copied(request: SipRequest, first: Via | None) -> Iterator[str]:
    """Yield the fields that every answer repeats (8.2.6.2), one value of each; To gets a tag."""
    for name in ("From", "To", "Call-ID", "CSeq"):
        for value in request.fields.get(name.lower(), ())[:1]:
            tagged = name != "To" or "tag" in parameters_of(value)
            yield f"{name}: {value}" + ("" if tagged else f";tag={_tag(request, first)}")


def _tag(request: SipRequest, first: Via | None) -> str:
    said = [request.one(name) for name in ("call-id", "from", "cseq")]
    text = "\0".join([*said, first.branch if first else "", request.uri])
    return blake2b(text.encode("latin-1"), digest_size=_TAG_BYTES).hexdigest()


def _received(via: Via, source: Address) -> str:
    """Return the sender's Via with the real source of the request."""
    text = _OURS.sub("", via.text)
    # An IPv4 peer of a dual-stack socket has an IPv4-mapped address.
    host = source.host.partition("%")[0]
    host = host.removeprefix("::ffff:") if "." in host else host
    if via.rport or host != via.host.strip("[]"):
        text += f";received={host}"
    if via.rport:
        text += f";rport={source.port}"
    return text


def allowed(number: str | None, next_hop: str, scheme: str = "sip") -> SipStatus:
    """Let the call continue: 404, or 302 to the number at the next hop, if both are known.

    A call to a `sips` URI goes on to one (RFC 3261, 26.4.4).
    """
    if not next_hop or number is None:
        return SipStatus(404, "Not Found")
    return SipStatus(302, "Moved Temporarily", (("Contact", f"<{scheme}:{number}@{next_hop}>"),))


def blocked(code: int, phrase: str, reason: str, call_info: str = "") -> SipStatus:
    """Block the call: 603+ (ATIS-1000099), 607 or 608, with the way to appeal in the Reason."""
    fields = [("Reason", reason), *([("Call-Info", call_info)] if call_info else [])]
    return SipStatus(code, phrase, fields)


def alive(retry_s: int | None) -> SipStatus:
    """Answer OPTIONS: 200, or 503 with Retry-After where `retry_s` is given."""
    if retry_s is not None:
        return unavailable(retry_s)
    return SipStatus(200, "OK", (("Allow", ALLOW), ("Accept", "application/sdp")))


def unavailable(retry_s: int) -> SipStatus:
    """Return a 503 with Retry-After."""
    return SipStatus(503, "Service Unavailable", (("Retry-After", str(retry_s)),))

"""The answers to requests, as bytes, and where they go. Pure.

The same request always gets the same To tag (RFC 3261, 8.2.7): nothing is remembered of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from typing import Final, NamedTuple

from stream.edge.sip.message import Request, Via, parameters_of
from stream.edge.sip.validate import ALLOW, Status

PORT: Final = 5060
_TAG_BYTES: Final = 8
_OURS: Final = re.compile(r";\s*+(?:rport|received)\s*+(?:=\s*+[^;]*+)?(?=;|$)", re.IGNORECASE)


class Address(NamedTuple):
    """Where a request came from."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent, and over UDP where to (RFC 3261, 18.2.2; RFC 3581, 4)."""

    code: int
    data: bytes
    to: Address


class NoAnswer(Enum):
    """Why a request gets no answer."""

    NO_VIA = auto()
    """It names nobody to answer."""
    TOO_LONG = auto()
    """The answer would be too long for somebody whose address may be false."""


def answer(
    request: Request,
    vias: Sequence[Via] | None,
    status: Status,
    source: Address,
    size_max: int | None = None,
) -> Answer | NoAnswer:
    """The answer to a request from `source`, of `size_max` bytes at most.

    It goes to the address that the request came from, never to another that it names (`maddr`,
    `received`): nobody can have answers sent to a third. `vias` None: what came is no Via.
    """
    first = vias[0] if vias else None
    if vias is not None:
        own = [via.text for via in vias]
    else:
        # The way back is not known beyond the first; more of them would be an echo.
        own = list(request.fields.get("via", ()))[:1]
    if not own:
        return NoAnswer.NO_VIA
    if first is not None:
        own[0] = _received(first, source)
    port = source.port if first is None or first.rport else first.port or PORT
    common = [*(f"Via: {text}" for text in own), *_copied(request, first)]
    for said in (status, _shorter(status)):
        data = _message(said, common)
        if size_max is None or len(data) <= size_max:
            return Answer(said.code, data, Address(source.host, port))
    return NoAnswer.TOO_LONG


def _message(status: Status, common: Sequence[str]) -> bytes:
    lines = [
        f"SIP/2.0 {status.code} {status.phrase}",
        *common,
        *(f"{name}: {value}" for name, value in status.fields),
        *("Content-Length: 0", "", ""),
    ]
    return "\r\n".join(lines).encode("latin-1", "replace")


def _shorter(status: Status) -> Status:
    """The same without what explains it. Where to go is no explanation: then 404, go on."""
    return Status(404, "Not Found") if status.code == 302 else Status(status.code, status.phrase)


def _copied(request: Request, first: Via | None) -> Iterator[str]:
    """What every answer repeats of its request (8.2.6.2), one value of each; To gets a tag."""
    for name in ("From", "To", "Call-ID", "CSeq"):
        for value in request.fields.get(name.lower(), ())[:1]:
            tagged = name != "To" or "tag" in parameters_of(value)
            yield f"{name}: {value}" + ("" if tagged else f";tag={_tag(request, first)}")


def _tag(request: Request, first: Via | None) -> str:
    said = [request.one(name) for name in ("call-id", "from", "cseq")]
    text = "\0".join([*said, first.branch if first else "", request.uri])
    return blake2b(text.encode("latin-1"), digest_size=_TAG_BYTES).hexdigest()


def _received(via: Via, source: Address) -> str:
    """The sender's Via with where the request really came from."""
    text = _OURS.sub("", via.text)
    # An IPv4 peer of a socket that takes both has an address of both.
    host = source.host.partition("%")[0]
    host = host.removeprefix("::ffff:") if "." in host else host
    if via.rport or host != via.host.strip("[]"):
        text += f";received={host}"
    if via.rport:
        text += f";rport={source.port}"
    return text


def allowed(number: str | None, next_hop: str) -> Status:
    """Go on: 404, or where there is a next hop and a number, 302 to it there."""
    if not next_hop or number is None:
        return Status(404, "Not Found")
    return Status(302, "Moved Temporarily", (("Contact", f"<sip:{number}@{next_hop}>"),))


def blocked(code: int, phrase: str, reason: str) -> Status:
    """No further: 603+ (ATIS-1000099), with how to appeal in the Reason."""
    return Status(code, phrase, (("Reason", reason),))


def alive(retry_s: int | None) -> Status:
    """To OPTIONS: 200; or 503 where `retry_s` says when to ask again."""
    if retry_s is not None:
        return unavailable(retry_s)
    return Status(200, "OK", (("Allow", ALLOW), ("Accept", "application/sdp")))


def unavailable(retry_s: int) -> Status:
    """503, for so many seconds."""
    return Status(503, "Service Unavailable", (("Retry-After", str(retry_s)),))

"""The answers to requests, as bytes, and where they go. Pure.

The same request always gets the same To tag (RFC 3261, 8.2.7): nothing is remembered of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from stream.sip.checks import ALLOW, Status
from stream.sip.message import Request, Via, parameters_of

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


def answer(
    request: Request, vias: Sequence[Via] | None, status: Status, source: Address
) -> Answer | None:
    """The answer to a request from `source`; None: it names nobody to answer (no Via).

    It goes to the address that the request came from, never to another that it names (`maddr`,
    `received`): nobody can have answers sent to a third.
    """
    own = [via.text for via in vias] if vias is not None else list(request.fields.get("via", ()))
    if not own:
        return None
    first = vias[0] if vias else None
    if first is not None:
        own[0] = _received(first, source)
    lines = [f"SIP/2.0 {status.code} {status.phrase}"]
    lines += (f"Via: {text}" for text in own)
    lines += _copied(request, first)
    lines += (f"{name}: {value}" for name, value in status.fields)
    lines += ("Content-Length: 0", "", "")
    port = source.port if first is None or first.rport else first.port or PORT
    data = "\r\n".join(lines).encode("latin-1", "replace")
    return Answer(status.code, data, Address(source.host, port))


def _copied(request: Request, first: Via | None) -> Iterator[str]:
    """What every answer repeats of its request (8.2.6.2); To gets a tag."""
    for name in ("From", "To", "Call-ID", "CSeq"):
        for value in request.fields.get(name.lower(), ()):
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

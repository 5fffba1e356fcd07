"""Whether a request can be worked on, and what it is told if not (RFC 3261, 8.2). Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stream.edge.sip.message import Request, Via, listed, uri_of, via_of

ALLOW: Final = "INVITE, ACK, OPTIONS"
UNANSWERED: Final = frozenset({"ACK", "CANCEL"})
"""RFC 3261, 8.2.7: a stateless server ignores both. What could be cancelled is over: the answer
was final."""
_ANSWERED: Final = frozenset({"INVITE", "OPTIONS"})
_ONCE: Final = ("to", "from", "call-id", "cseq")
_CSEQ: Final = re.compile(r"(\d{1,20})\s+(\S+)", re.ASCII)
_CSEQ_MAX: Final = 2**31
_SCHEMES: Final = ("sip", "sips", "tel")
_EMERGENCY: Final = "urn:service:sos"
VIAS_MAX: Final = 70
"""Max-Forwards begins at 70: a message that went through more proxies has gone in circles."""


@dataclass(frozen=True, slots=True)
class Status:
    """A status line, and header fields that belong to it."""

    code: int
    phrase: str
    fields: Sequence[tuple[str, str]] = field(default=())


def bad(what: str) -> Status:
    """400 with what is wrong, as 21.4.1 asks for."""
    return Status(400, f"Bad Request: {what}")


def vias_of(request: Request) -> list[Via] | None:
    """All values of Via, the sender's first; None: one of them is none."""
    texts = listed(request.fields.get("via", ()))
    vias = [via_of(text) for text in texts[: VIAS_MAX + 1]]
    return None if None in vias or len(vias) > VIAS_MAX else [one for one in vias if one]


def refusal(request: Request, vias: list[Via] | None) -> Status | None:
    """Why the request is refused; None: it is worked on."""
    if request.version.upper() != "SIP/2.0":
        return Status(505, "Version Not Supported")
    wrong = _malformed(request, vias)
    if wrong is not None:
        return bad(wrong)
    if request.method not in _ANSWERED:
        return Status(405, "Method Not Allowed", (("Allow", ALLOW),))
    if not _scheme_is_known(request.uri):
        return Status(416, "Unsupported URI Scheme")
    # 8.3: what asks for a redirection is redirected, whatever it requires.
    required = listed(request.fields.get("require", ())) if request.method == "OPTIONS" else []
    if any(required):
        return Status(420, "Bad Extension", (("Unsupported", ", ".join(required)),))
    return None


def _malformed(request: Request, vias: list[Via] | None) -> str | None:
    """What is wrong with the form of a request."""
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


def _wrong_length(request: Request) -> str | None:
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

"""What an INVITE asks: who calls whom, on which trunk. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from stream.core.number import Kind, party_of
from stream.core.number import parse as read_number
from stream.serve.lookup import TEXT_MAX, Question
from stream.sip.message import Request, listed, parameters_of, uri_of

CALLERS: Final = ("p-asserted-identity", "p-preferred-identity", "remote-party-id", "from")
"""Fields that say who calls. The first is what a trusted network vouches for (RFC 3325)."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How questions are read: `callers` are fields in order, `trunk_*` where a trunk is named."""

    callers: Sequence[str]
    trunk_header: str
    trunk_parameter: str

    def question(self, request: Request, trunk: str | None, country: str) -> Question:
        """The question of an INVITE that came on `trunk`, with national numbers of `country`."""
        return Question(
            caller=self.caller(request, country),
            callee=_text(request.uri),
            trunk=trunk,
            call_id=_text(request.one("call-id")),
        )

    def trunk(self, request: Request) -> str | None:
        """The trunk that the request itself names; None: it does not."""
        named = request.one(self.trunk_header.lower()) if self.trunk_header else ""
        if not named and self.trunk_parameter:
            named = _uri_parameter(request.uri, self.trunk_parameter.lower())
        return _text(named) if named else None

    def caller(self, request: Request, country: str) -> str | None:
        """The first number that a field gives, in the fields' order; None: the caller is withheld.

        Where no field has a number, the first that says anything: a short code, a name, rubbish.
        """
        other = None
        for name in self.callers:
            values = request.fields.get(name, ())
            for value in values if name == "from" else listed(values):
                if name == "remote-party-id" and _is_not_calling(value):
                    continue
                # Who can be read in no strict way may be listed all the same.
                uri = uri_of(value)
                text = _text(value if uri is None else uri)
                kind = read_number(text, country).kind
                if kind is Kind.E164:
                    return text
                if other is None and kind is not Kind.ANONYMOUS:
                    other = text
        return other


def _is_not_calling(value: str) -> bool:
    """Whether a Remote-Party-ID speaks of the called party."""
    return parameters_of(value).get("party", "calling").lower() != "calling"


def _uri_parameter(uri: str, name: str) -> str:
    """A parameter of a SIP URI, of its user part too, where trunk groups stand (RFC 4904)."""
    for part in uri.replace("@", ";").split(";")[1:]:
        key, _, value = part.partition("=")
        if key.lower() == name:
            return unquote(value)
    return ""


def _text(latin: str) -> str:
    """As a question takes it: UTF-8 where it is that, and of a size that can be asked."""
    return latin.encode("latin-1").decode("utf-8", "replace")[:TEXT_MAX]


def called(uri: str) -> str | None:
    """The user part of a called URI as it came, for another host; None: it names no number."""
    scheme, _, rest = uri.partition(":")
    user = rest.partition("@")[0] if scheme.lower() in ("sip", "sips") and "@" in rest else rest
    if scheme.lower() == "tel":
        user = rest.partition(";")[0]
    party = party_of(uri)
    if party is None or party.dialled is None or any(sign in user for sign in '<>"\\ \t'):
        return None
    return user

"""Questions of an INVITE: caller, called number and trunk. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from stream.calls.lookup import TEXT_MAX, Question
from stream.core.numbers.caller_readings import Readings, readings_of
from stream.core.numbers.number import Kind
from stream.core.numbers.parties import party_of, uris_in
from stream.core.numbers.spelling import unescaped, utf8_or_latin
from stream.core.stir.attestation import Attested, read_verstat, verstat_of_uri
from stream.edge.sip.message import SipRequest, listed, parameters_of, uri_of
from stream.edge.sip.settings import FROM, SipSettings

VALUES_MAX: Final = 4
"""Values read of one field; P-Asserted-Identity has at most two, a SIP and a tel URI."""
CALLERS_MAX: Final = 8
"""Callers looked up for one INVITE: each is a lookup, and a hostile one may name hundreds."""
_LEVELS: Final = ("p-attestation-indicator", "attestation-info")
"""ATIS-1000074 and 3GPP TS 24.229: how well the network before us knows the caller."""
_CONTEXT: Final = re.compile(r";phone-context=(\+?[A-Za-z0-9.-]++)(?![^;?])", re.IGNORECASE)
"""The context in a tel URI; one that could be read as another host is none."""
_NAMES: Final = {
    "p-asserted-identity": "P-Asserted-Identity",
    "p-preferred-identity": "P-Preferred-Identity",
    "remote-party-id": "Remote-Party-ID",
    FROM: "From",
}


@dataclass(frozen=True, slots=True)
class Callers:
    """All possible callers of one INVITE, as texts for questions; None: withheld.

    `guesses` are numbers of `core.numbers.caller_readings`. `unread` names a field that holds more
    than was read, "" if none does.
    """

    texts: Sequence[str | None]
    guesses: Sequence[str]
    unread: str

    @property
    def numbers(self) -> Sequence[str]:
        """The callers that are numbers, E.164, guesses too."""
        return [text for text in (*self.texts, *self.guesses) if text and text.startswith("+")]


class SignedParts(NamedTuple):
    """Results of STIR/SHAKEN in an INVITE; `verstat` None: no rule needs them.

    `passports` are its Identity fields, not verified yet.
    """

    verstat: str | None
    attestation: str | None
    passports: str


UNASKED: Final = SignedParts(None, None, "")


class QuestionReader:
    """Reader of an INVITE's questions from the fields that `[sip]` names."""

    def __init__(self, settings: SipSettings) -> None:
        self.fields = settings.callers
        self.trunk_header = settings.trunk_header
        self.trunk_parameter = settings.trunk_parameter

    def questions(
        self, request: SipRequest, trunk: str | None, callers: Callers, signed: SignedParts
    ) -> list[Question]:
        """Return the questions of an INVITE on `trunk`: one for each of its callers."""
        callee, call_id = _text(request.uri), _text(request.one("call-id"))
        questions = [
            Question(
                caller=caller,
                callee=callee,
                trunk=trunk,
                call_id=call_id,
                verstat=signed.verstat,
                attestation=signed.attestation,
            )
            for caller in callers.texts
        ]
        return [*questions, *(questions[0].guess(number) for number in callers.guesses)]

    def trunk(self, request: SipRequest) -> str | None:
        """Return the trunk that the request itself names; None: it names none."""
        named = request.one(self.trunk_header.lower()) if self.trunk_header else ""
        if not named and self.trunk_parameter:
            # RFC 4904: the trunk group that a call came in by is in Contact.
            name, contact = self.trunk_parameter.lower(), uri_of(request.one("contact")) or ""
            named = _uri_parameter(request.uri, name) or _uri_parameter(contact, name)
        return _text(named) if named else None

    def signed(self, request: SipRequest, *, vouched: bool) -> SignedParts:
        """Return what an INVITE says of its signature.

        Anybody can write a result, so it is believed from a network that vouches alone. A failed
        one counts from all: adding it brings no advantage.
        """
        # All of them, however many: a failed one may be behind others. A message is bounded.
        values = [value for name in (*self.fields, FROM) for value in _values(request, name)]
        said = [text for value in values if (text := verstat_of_uri(value))]
        failed = [text for text in said if read_verstat(text) is Attested.FAILED]
        believed = failed or (said if vouched else [])
        levels = [level for name in _LEVELS for level in request.fields.get(name, ()) if vouched]
        return SignedParts(
            (believed or [""])[0],
            _text(levels[0]) if levels else None,
            ", ".join(request.fields.get("identity", ())),
        )

    def callees(self, request: SipRequest, country: str, prefix: str) -> Sequence[str]:
        """Return the called numbers, E.164: of the Request-URI, and of To if it was changed."""
        uris = (request.uri, uri_of(request.one("to")) or "")
        texts = {_whole_text(uri) for uri in uris if len(uri) <= TEXT_MAX}
        return [number for text in texts for number in readings_of(text, country, prefix).numbers]

    def callers(
        self, request: SipRequest, country: str, prefix: str = "", *, vouched: bool
    ) -> Callers:
        """Return the callers. National numbers are of `country`; `prefix` marks international ones.

        From a network that vouches for its identities: the numbers of the first field that has one,
        since the caller wrote From himself. From any other: the numbers of all fields and of From,
        since a number that a caller adds can only get him blocked.
        """
        if vouched:
            for name in self.fields:
                found = list(_readings(request, name, country, prefix))
                if any(each.numbers for each in found):
                    return _callers(found)
        names = dict.fromkeys((*self.fields, FROM))
        return _callers(
            [each for name in names for each in _readings(request, name, country, prefix)]
        )


def _callers(found: Sequence["_Read"]) -> Callers:
    """Return the callers of some fields, each once; withheld only if no field has one."""
    texts: dict[str, None] = {}
    guesses: dict[str, None] = {}
    unread = ""
    for field, readings in found:
        if readings is None or not readings.whole:
            unread = unread or field
        if readings is None:
            continue
        # A text that is no number is asked as well: a rule may block it.
        if readings.first.kind is not Kind.ANONYMOUS:
            texts.setdefault(readings.first.text)
        texts.update(dict.fromkeys(readings.numbers))
        guesses.update(dict.fromkeys(readings.guesses))
    if len(texts) > CALLERS_MAX or len(guesses) > CALLERS_MAX:
        unread = unread or found[-1].field
    return Callers(list(texts)[:CALLERS_MAX] or [None], list(guesses)[:CALLERS_MAX], unread)


class _Read(NamedTuple):
    """Readings of a field's value; None: further values that were not read."""

    field: str
    readings: Readings | None

    @property
    def numbers(self) -> Sequence[str]:
        found = self.readings
        return (*found.numbers, *found.guesses) if found is not None else ()


def _values(request: SipRequest, name: str) -> Sequence[str]:
    """Return the values of a field; From has one, in which a comma is a part of it."""
    lines = request.fields.get(name, ())
    return lines if name == FROM else listed(lines)


def _readings(request: SipRequest, name: str, country: str, prefix: str) -> Iterator[_Read]:
    values = _values(request, name)
    for value in values[:VALUES_MAX]:
        if name != "remote-party-id" or not _is_not_calling(value):
            uris, is_all = uris_in(value)
            # RFC 3261 allows one URI. Name and parameters may be of any length, so only it is read.
            text = uris[0] if is_all and len(uris) == 1 else value
            yield _Read(_NAMES[name], readings_of(_whole_text(text), country, prefix))
    if len(values) > VALUES_MAX:
        yield _Read(_NAMES[name], None)


def _is_not_calling(value: str) -> bool:
    """Return whether a Remote-Party-ID is about the called party."""
    return parameters_of(value).get("party", "calling").lower() != "calling"


def _uri_parameter(uri: str, name: str) -> str:
    """Return a parameter of a SIP URI, also of its user part: trunk groups are there (RFC 4904)."""
    for part in uri.replace("@", ";").split(";")[1:]:
        key, _, value = part.partition("=")
        if key.lower() == name:
            return unescaped(value)
    return ""


def _whole_text(latin: str) -> str:
    return utf8_or_latin(latin.encode("latin-1"))


def _text(latin: str) -> str:
    """Return the text cut to the size of a question."""
    return _whole_text(latin)[:TEXT_MAX]


def called(uri: str) -> str | None:
    """Return the user part of a called URI as it came; None: it names no number."""
    scheme, _, rest = uri.partition(":")
    user = rest.partition("@")[0] if scheme.lower() in ("sip", "sips") and "@" in rest else rest
    if scheme.lower() == "tel":
        user = rest.partition(";")[0]
        # A local number means nothing without its context (RFC 3966, 5.1.5).
        if not user.startswith("+") and (context := _CONTEXT.search(rest)):
            user += f";phone-context={context[1]}"
    party = party_of(uri)
    if party is None or party.dialled is None or any(sign in user for sign in '<>"\\ \t'):
        return None
    return user

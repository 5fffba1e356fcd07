"""SIP addresses (RFC 3261, 20.10 and 25.1), and the party that a text names. Pure.

A party is the user part of a SIP or tel URI, alone or in `"Name" <URI>`. No expression here goes
back over what it has read (`*+`, `(?>`): else a hostile text takes time that grows with its square.
"""

import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

import phonenumbers

from stream.core.numbers.spelling import BLANKS, folded, unescaped

NAME_ADDR: Final = re.compile(r'(?:"(?>(?:[^"\\]|\\.)*)"\s*+|[^"<]*+)<([^<>]*+)>', re.DOTALL)
"""A name, in quotes or not, and a URI in angle brackets, which is the group."""
_NAME: Final = r"[A-Za-z0-9.!%*_+`'~-]"
_HOST: Final = r"[A-Za-z0-9.!%*_+`'~:\[\]-]"
_QUOTED: Final = r'"(?>(?:[^"\\]|\\.)*)"'
_STRICT: Final = re.compile(
    rf"\s*+(?:{_QUOTED}\s*+|(?>(?:{_NAME}++\s++)*)(?>(?:{_NAME}++)?))<([^<>]*+)>\s*+"
    rf"(?>(?:;\s*+{_NAME}++\s*+(?>(?:=\s*+(?:{_QUOTED}|{_HOST}++)\s*+)?))*)",
    re.DOTALL,
)
"""The same by the letter of RFC 3261: no reader takes it for another address."""
URIS_MAX: Final = 4
"""URIs that are returned of one address; each is looked up in all lists."""
PLACES_MAX: Final = 8
"""Places in one address at which a URI is looked for: a hostile one has thousands."""
_SCHEME: Final = re.compile(r"(?:sips?|tel):", re.IGNORECASE)


def uris_in(text: str) -> tuple[list[str], bool]:
    """Return the URIs that readers of SIP may take, likeliest first; whether these are all.

    An address by the letter has one. In another text (`a;b <sip:...>`, quotes that do not close, a
    URI with `;` and no brackets), readers take different parts. At most `URIS_MAX` count.
    """
    strict = _STRICT.fullmatch(text)
    if strict is not None:
        uri, behind = strict[1], text[strict.end(1) + 1 :]
        # A caller may write the context after the brackets, and some readers accept it there.
        has_context = "phone-context" in behind.lower()
        return [uri, uri + behind] if has_context else [uri], True
    likely = NAME_ADDR.match(text)
    before, *pieces = text.split("<", PLACES_MAX)
    places = list(islice(_SCHEME.finditer(text, 1), PLACES_MAX))
    found = [likely[1] if likely is not None else text]
    found += (piece.partition(">")[0] for piece in pieces)
    # `;` belongs to the URI for one reader, to the header for another.
    found.append(before.partition(";")[0])
    found += (text[one.start() :].partition(">")[0] for one in places)
    uris = list(dict.fromkeys(found))
    return uris[:URIS_MAX], max(len(pieces), len(places)) < PLACES_MAX and len(uris) <= URIS_MAX


TEXT_MAX: Final = 256
"""Characters that are read of a text. A longer one is invalid, unless the number's end (`@`, `;`,
`>`) lies within: a long tail of URI parameters hides no number."""
DIALLED_MAX: Final = 32
"""Characters of dialled digits: 15 of a number, and whatever prefixes and codes come before."""
NO_HOST: Final = ".invalid"
"""RFC 3323: who withholds the number calls from `anonymous.invalid`."""
_SEPARATORS: Final = str.maketrans("", "", " -.()/")
_EDGE: Final = BLANKS + "\"'"


@dataclass(frozen=True, slots=True)
class CallParty:
    """The user part of a URI, or the whole text where it is none.

    `context` is the URI's `phone-context` (RFC 3966), "+66" or "+1914", None if there is none. It
    is the prefix that makes the number international, or the country in which it is dialled.
    `parameters` are those of the user part (`phone-context=+66;isub=1`).
    """

    user: str
    context: str | None = None
    parameters: str = ""

    @property
    def region(self) -> str | None:
        """The region of the context; None: there is none."""
        return None if self.context is None else main_region(self.context[1:])

    @property
    def dialled(self) -> str | None:
        """The digits, after `+` where there is one; separators are gone. None: something else."""
        user = folded(self.user)
        if is_dotted_quad(user):
            return None
        digits = user.translate(_SEPARATORS)
        bare = digits.removeprefix("+")
        if bare.isascii() and bare.isdigit() and len(digits) <= DIALLED_MAX:
            return digits
        return None


def party_of(text: str) -> CallParty | None:
    """Return the party of a number, a SIP or tel URI, or `"Name" <URI>`; None: cut or no party."""
    # The last `<`; but a quoted name may hold one, and then the expression knows which it is.
    inner = text[text.rfind("<") + 1 :]
    if text.count("<") > 1 and (address := NAME_ADDR.match(text)):
        inner = text[address.start(1) :]
    is_cut = len(inner) > TEXT_MAX
    inner = inner[:TEXT_MAX]
    inner, closing, _ = inner.partition(">")
    inner = inner.strip(_EDGE)
    scheme, rest = _scheme_of(inner)
    if not scheme and "%" in inner:
        scheme, rest = _scheme_of(unescaped(inner).strip(_EDGE))
    user, at, host = rest.partition("@")
    user, semicolon, parameters = user.partition(";")
    if is_cut and not (closing or at or semicolon):
        return None
    if scheme or at:
        user = user.partition("?")[0].partition(":")[0]
        parameters = parameters.partition("?")[0].partition(":")[0]
        if scheme:
            user, parameters = unescaped(user), unescaped(parameters)
    if scheme in ("sip", "sips") and not at and not _may_stand_alone(user):
        return None
    # Some stacks write the context after the host.
    context = _context_in(parameters) or _context_in(unescaped(host.partition(";")[2]))
    return CallParty(user.strip(_EDGE), context, parameters)


def _may_stand_alone(rest: str) -> bool:
    """Return whether a SIP URI without `@` still names a party; as a rule it names a host."""
    return rest.endswith(NO_HOST) or CallParty(rest).dialled is not None


def _scheme_of(text: str) -> tuple[str, str]:
    """The scheme of a SIP or tel URI in lower case, and the rest; "" and the text for others."""
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if colon and scheme in ("sip", "sips", "tel"):
        return scheme, rest
    return "", text


def _context_in(parameters: str) -> str | None:
    """`+` and the digits of `phone-context=+66` (RFC 3966) among URI parameters."""
    if not parameters:
        return None
    for parameter in folded(parameters).lower().split(";"):
        name, _, value = parameter.partition("=")
        value = value.strip(_EDGE)
        if name.strip() == "phone-context" and value.startswith("+"):
            digits = value[1:].translate(_SEPARATORS)
            return f"+{digits}" if main_region(digits) and len(digits) <= DIALLED_MAX else None
    return None


def main_region(digits: str) -> str | None:
    """Return the region, or the largest region, whose country code the digits begin with."""
    if not (digits.isascii() and digits[:3].isdigit()):
        return None
    for size in (1, 2, 3):
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:size]))
        if regions:
            return None if regions[0] == "001" else str(regions[0])
    return None


def is_dotted_quad(text: str) -> bool:
    """Return whether this is an IPv4 address, which would otherwise read as a number with
    separators.
    """
    parts = text.split(".")
    return len(parts) == 4 and all(
        len(part) <= 3 and part.isascii() and part.isdigit() and int(part) <= 255 for part in parts
    )

"""SIP addresses: `"Name" <uri>;parameter`, or a URI alone (RFC 3261, 20.10 and 25.1). Pure.

No expression here goes back over what it has read (`*+`, `(?>`): time grows as the text does.
"""

import re
from itertools import islice
from typing import Final

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
"""URIs that are told of one address."""
PLACES_MAX: Final = 8
"""Places in one address at which a URI is looked for: a hostile one has thousands."""
_SCHEME: Final = re.compile(r"(?:sips?|tel):", re.IGNORECASE)


def uris_in(text: str) -> tuple[list[str], bool]:
    """The URIs for which readers of SIP may take an address, likeliest first; whether it is all.

    An address by the letter has one. Of another (`a;b <sip:...>`, quotes that do not close, a URI
    with `;` and no brackets) one reader takes this part and one that; `URIS_MAX` are told.
    """
    strict = _STRICT.fullmatch(text)
    if strict is not None:
        uri, behind = strict[1], text[strict.end(1) + 1 :]
        # Who writes the context behind the brackets may find somebody who reads it there.
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

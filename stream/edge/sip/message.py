"""One SIP message: bytes in, a value out, whatever the bytes are. Pure.

It reads only what a redirect server needs, and refuses nothing that RFC 3261 allows. Examples are
compact names, folded lines, any case, and several values in one field or in many. Texts are
latin-1, so that an answer repeats them byte for byte. No expression here backtracks (`*+`). The
time for a message grows with its length alone, so a hostile one costs no more than its bytes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stream.core.numbers.parties import NAME_ADDR

MESSAGE_BYTES_MAX: Final = 65_535  # RFC 3261, 18.1.1: all that a datagram can carry
COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""The one-letter names that IANA registers."""
_WORD: Final = r"[A-Za-z0-9.!%*_+`'~-]+"
_STRICT: Final = re.compile(rf"({_WORD}) (\S+) (SIP/\d+\.\d+)", re.ASCII | re.IGNORECASE)
_VALUE: Final = r"[A-Za-z0-9.!%*_+`'~:\[\]-]+"
_VERSION: Final = re.compile(r"SIP/\d+\.\d+", re.ASCII | re.IGNORECASE)
_LINE_END: Final = re.compile(r"\r?\n")
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_BREAKS: Final = re.compile(r"[\r\n]+")


@dataclass(frozen=True, slots=True)
class SipRequest:
    """A request as it came. `fields` are the values by long field name, in small letters.

    `strict`: the first line is as in RFC 3261, 25.1. `body_bytes` counts the bytes after the blank
    line; None: there is no such line. `is_cut`: its head is longer than what was read of it.
    """

    method: str
    uri: str
    version: str
    strict: bool
    fields: Mapping[str, Sequence[str]]
    body_bytes: int | None
    is_cut: bool

    def one(self, name: str) -> str:
        """Return the first value of a field, "" where there is none."""
        return self.fields.get(name, ("",))[0]


@dataclass(frozen=True, slots=True)
class SipResponse:
    """An answer, though we never send requests."""


def read(data: bytes, head_bytes_max: int = MESSAGE_BYTES_MAX) -> SipRequest | SipResponse | None:
    """Return the message in `data`, of its head the lines within the limit; None: it is not SIP."""
    # Kamailio passes on a caller's lines that end without CR, and so do others.
    head, *bodies = _HEAD_END.split(data.lstrip(b"\r\n"), 1)
    is_cut = len(head) >= head_bytes_max
    if is_cut:
        head = head[:head_bytes_max].rpartition(b"\n")[0]
    text = _FOLD.sub(" ", head.decode("latin-1"))
    first, *lines = _LINE_END.split(text)
    if first[:4].upper() == "SIP/":
        return SipResponse()
    found = _STRICT.fullmatch(first)
    words = list(found.groups()) if found else first.split()
    if len(words) < 3 or not _VERSION.fullmatch(words[-1]):
        return None
    fields: dict[str, list[str]] = {}
    for name, value in _fields_in(lines):
        fields.setdefault(name, []).append(value)
    method, *uri, version = words
    size = len(bodies[0]) if bodies else None
    return SipRequest(method, " ".join(uri), version, bool(found), fields, size, is_cut)


def _fields_in(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            # A lone CR or LF would become a line of our answer: header injection.
            yield COMPACT.get(name, name), _BREAKS.sub(" ", value).strip()


def listed(values: Sequence[str]) -> list[str]:
    """Return the values of a field that may hold several, separated by commas (7.3.1)."""
    return [one for value in values for one in split(value, ",")]


def split(text: str, mark: str) -> list[str]:
    """Split `text` at each `mark` that is neither in quotes nor between `<` and `>`."""
    if mark not in text:
        return [text.strip()]
    parts, start, quoted, angle = [], 0, False, False
    place = 0
    while place < len(text):
        sign = text[place]
        if quoted:
            if sign == "\\":
                place += 1
            elif sign == '"':
                quoted = False
        elif sign == '"':
            quoted = True
        elif sign == "<":
            angle = True
        elif sign == ">":
            angle = False
        elif sign == mark and not angle:
            parts.append(text[start:place].strip())
            start = place + 1
        place += 1
    parts.append(text[start:].strip())
    return parts


def uri_of(address: str) -> str | None:
    """Return the URI of a `From`, `To` or the like: `"Name" <uri>;tag=x` or `uri;tag=x`.

    A `<` in the name, or another URI in a parameter, is not taken for it. None: quotes or angle
    brackets do not close.
    """
    plain = address.partition(";")[0]
    if "<" not in plain and '"' not in plain:
        return plain.strip()
    found = NAME_ADDR.match(address)
    return found[1].strip() if found else None


def parameters_of(address: str) -> dict[str, str]:
    """Return the parameters of an address or Via, by name in small letters; without value: ""."""
    found = NAME_ADDR.match(address)
    rest = address[found.end() :] if found else address
    parameters: dict[str, str] = {}
    for part in split(rest, ";")[1:]:
        name, _, value = part.partition("=")
        parameters.setdefault(name.strip().lower(), value.strip().strip('"'))
    return parameters


_VIA: Final = re.compile(
    rf"SIP\s*+/\s*+(\d++\.\d++)\s*+/\s*+({_WORD}+)\s++"
    r"(\[[0-9A-Fa-f:.%]++\]|[A-Za-z0-9._-]++)\s*+(?::\s*+(\d{1,5}))?\s*+"
    rf"((?>(?:;\s*+{_WORD}+\s*+(?:=\s*+(?:{_VALUE}+|\"(?>(?:[^\"\\]|\\.)*)\")\s*+)?)*))",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Via:
    """A Via: the address for the answer (RFC 3261, 18.2.2). `port` None: none is named.

    `rport`: the answer goes to the port that the request came from (RFC 3581).
    """

    text: str
    host: str
    port: int | None
    branch: str
    rport: bool


def via_of(text: str) -> Via | None:
    """Parse one value of Via; None: it is malformed."""
    found = _VIA.fullmatch(text)
    if found is None:
        return None
    _, _, host, port, rest = found.groups()
    parameters = parameters_of(rest)
    number = int(port) if port else None
    if number is not None and not 1 <= number <= 65_535:
        return None
    return Via(text, host, number, parameters.get("branch", ""), "rport" in parameters)


PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
"""RFC 5626, 4.4.1: two line ends between messages are a ping, and one is the pong."""
_LENGTH: Final = re.compile(
    rb"(?:^|\n)(?:content-length|l)[ \t]*+:[ \t\r\n]*+(-?\d++)[ \t]*+(?=\r?\n)", re.IGNORECASE
)
_DIGITS_MAX: Final = 9
"""Of a Content-Length: int() of a million digits would take seconds."""


class Lost(Exception):
    """The start of the next message is unknown: the connection has to be closed.

    `message`, or its beginning, can still be answered.
    """

    def __init__(self, message: bytes) -> None:
        super().__init__()
        self.message = message


class SipFraming:
    """Bytes of one connection, cut into messages by Content-Length (RFC 3261, 18.3).

    It holds at most one message, of at most `bytes_max`, with a head shorter than `head_bytes_max`.
    """

    def __init__(self, head_bytes_max: int, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._head_bytes_max = head_bytes_max
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._searched = 0
        self._whole = 0
        self.pings = 0

    @property
    def waiting(self) -> bool:
        """Return whether a message has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> None:
        """Take received bytes."""
        self._held += data

    def next(self) -> bytes | None:
        """Return the next whole message; None: it has not come yet. Raises Lost.

        Counts keep-alives on the way in `pings`, which the caller resets.
        """
        if not self._whole:
            self._skip_line_ends()
            self._find_end()
        if not self._whole or len(self._held) < self._whole:
            return None
        message = bytes(self._held[: self._whole])
        del self._held[: self._whole]
        self._searched = self._whole = 0
        return message

    def _skip_line_ends(self) -> None:
        """Skip line ends before a message (7.5); a lone CR may be half of one."""
        place = 0
        while self._held.startswith(PONG, place):
            two = self._held.startswith(PING, place)
            place += 4 if two else 2
            self.pings += two
        del self._held[:place]

    def _find_end(self) -> None:
        """Set `_whole` once the head of the message is there."""
        # Only new bytes are searched: a byte at a time would else cost the square of the length.
        end = _HEAD_END.search(self._held, max(0, self._searched - 3), self._head_bytes_max)
        self._searched = len(self._held)
        if end is None:
            if len(self._held) >= self._head_bytes_max:
                raise Lost(bytes(self._held[: self._head_bytes_max]))
            return
        head = bytes(self._held[: end.start()]) + b"\r\n"
        lengths = {match[1] for match in _LENGTH.finditer(head)}
        length = lengths.pop() if len(lengths) == 1 else b""
        # 20.14: without a length a stream cannot be cut.
        if not length.isdigit() or len(length) > _DIGITS_MAX:
            raise Lost(head + b"\r\n")
        self._whole = end.end() + int(length)
        if self._whole > self._bytes_max:
            raise Lost(head + b"\r\n")

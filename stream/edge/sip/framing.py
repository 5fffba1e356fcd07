"""Messages out of a stream: cut by Content-Length (RFC 3261, 18.3), with keep-alives. Pure.

What is held of a connection is one message at most, and `bytes_max`.
"""

import re
from typing import Final

from stream.edge.sip.message import BLANK_LINE

PING: Final = b"\r\n\r\n"
PONG: Final = b"\r\n"
"""RFC 5626, 4.4.1: whoever sends two line ends between messages wants one back."""
_LENGTH: Final = re.compile(
    rb"(?:^|\r\n)(?:content-length|l)[ \t]*+:[ \t\r\n]*+(-?\d++)[ \t]*+(?=\r\n)", re.IGNORECASE
)
_DIGITS_MAX: Final = 9


class Lost(Exception):
    """Where the next message begins cannot be known: the connection is of no more use.

    `message` is what can still be answered, b"" for nothing.
    """

    def __init__(self, message: bytes = b"") -> None:
        super().__init__()
        self.message = message


class Framing:
    """What one connection has sent and is not worked on yet."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._searched = 0
        self._whole = 0
        self.pings = 0

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._held += data

    def next(self) -> bytes | None:
        """The next whole message; None: it has not come yet. Raises Lost.

        Each keep-alive on the way is counted in `pings`, which the caller sets back.
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
        """Line ends before a message (7.5); a lone CR may be half of one."""
        place = 0
        while self._held.startswith(PONG, place):
            two = self._held.startswith(PING, place)
            place += 4 if two else 2
            self.pings += two
        del self._held[:place]

    def _find_end(self) -> None:
        """Set `_whole` once the head of the message is there."""
        end = self._held.find(BLANK_LINE, max(0, self._searched - 3), self._bytes_max)
        self._searched = len(self._held)
        if end < 0:
            if len(self._held) >= self._bytes_max:
                raise Lost
            return
        head = bytes(self._held[: end + 2])
        lengths = {match[1] for match in _LENGTH.finditer(head)}
        length = lengths.pop() if len(lengths) == 1 else b""
        # 20.14: without a length a stream cannot be cut.
        if not length.isdigit() or len(length) > _DIGITS_MAX:
            raise Lost(head + b"\r\n")
        self._whole = end + 4 + int(length)
        if self._whole > self._bytes_max:
            raise Lost(head + b"\r\n")

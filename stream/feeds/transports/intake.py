"""Take in a version's bytes: unpack, check, count, hash and write them, always within limits.

Every transport that gets a file of others does so. There are two hashes: that of the published
file, to which a checksum beside it belongs, and that of the file on disk.
"""

import hashlib
import re
from collections.abc import Iterator

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.landing import Landing, too_large
from stream.feeds.transports.unpack import ByMark, Plain, unpacker

BOMB_RATIO = 200
"""Lists of numbers shrink to a tenth, those of one number again and again to a fiftieth."""
_HEAD_BYTES = 1024
"""A login page names itself in its first lines."""
# What was taken is never given back (`*+`): blanks could be divided in more ways than can be tried.
_PAGE = re.compile(
    rb"\A(?>(?:\xef\xbb\xbf)?)(?>(?:\s++|<\?xml[^>]*+>|<!--(?>(?:[^-]|-(?!->))*)-->)*)"
    rb"<(?:!doctype\s++html|html|head|body)\b",
    re.IGNORECASE,
)


class Intake:
    """Takes a version's bytes as they come. `coding` is the Content-Encoding, "": none."""

    def __init__(self, land: Landing, coding: str = "") -> None:
        self._land = land
        self._coding = unpacker(coding, land.origin)
        self._file = ByMark(land.origin)
        self._published = hashlib.sha256()
        self._head = b""
        self.taken = 0

    @property
    def published_sha256(self) -> str:
        """The SHA-256 of the file as its source has it: only the Content-Encoding is undone."""
        return self._published.hexdigest()

    @property
    def knows_its_end(self) -> bool:
        """True if a missing half would be noticed: compressed data has a mark at its end."""
        return not isinstance(self._coding, Plain) or self._file.is_packed

    def feed(self, data: bytes) -> Iterator[None]:
        """Take more bytes; yield after each bounded step, so that others run. Raises FeedDown."""
        self.taken += len(data)
        # The limit holds for both: packed bytes here, unpacked ones where they are written.
        if self.taken > self._land.bytes_max:
            raise too_large(self._land.origin, self._land.bytes_max)
        for raw in self._coding.feed(data):
            self._published.update(raw)
            for piece in self._file.feed(raw):
                self._keep(piece)
                yield

    def end(self) -> None:
        """End the input. Raises FeedDown where bytes are missing."""
        self._coding.end()
        for piece in self._file.rest():
            self._keep(piece)
        self._file.end()
        self._refuse_page()

    def _keep(self, piece: bytes) -> None:
        land, size = self._land, self._land.size + len(piece)
        if size > land.bytes_max and size > BOMB_RATIO * self.taken:
            text = f"{land.origin} unpacks to more than bytes_max = {land.bytes_max:,} bytes"
            raise FeedDown(FeedFault.BOMB, f"{text} from the first {self.taken:,}")
        if len(self._head) < _HEAD_BYTES:
            self._head += piece[:_HEAD_BYTES]
            self._refuse_page()
        land.write(piece)

    def _refuse_page(self) -> None:
        """Refuse a login or error page in place of the feed. No format of ours is HTML."""
        if _PAGE.match(self._head[:_HEAD_BYTES]):
            text = f"{self._land.origin} is a web page, not a feed: does it want a login?"
            raise FeedDown(FeedFault.NOT_A_FEED, text)


def checked(published_sha256: str, expected: str, origin: str) -> None:
    """Raise FeedDown(CHECKSUM) if the sums differ."""
    if published_sha256 != expected.lower():
        text = f"{origin} has SHA-256 {published_sha256}, its checksum says {expected.lower()}"
        raise FeedDown(FeedFault.CHECKSUM, f"{text}: damaged, or replaced in between")


_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])")


def checksum_in(text: str, name: str, origin: str) -> str:
    """Return the SHA-256 in a checksum file for the file `name`, or the only one that it has.

    `sha256sum` and BSD's `sha256` write such files. Raises FeedDown(CHECKSUM) if there is none.
    """
    lines = [line for line in text.splitlines() if _HEX.search(line)]
    named = [line for line in lines if name and _names(line, name)]
    if len(named) == 1 or len(lines) == 1:
        found = _HEX.search((named or lines)[0])
        assert found is not None
        return found[0].lower()
    text = f"{origin} has {len(lines)} SHA-256 sums and not exactly one for {name}"
    raise FeedDown(FeedFault.CHECKSUM, text)


def _names(line: str, name: str) -> bool:
    """Return whether a line names the file: alone, in brackets, or at the end of a path."""
    at = line.find(name)
    while at >= 0:
        before, after = line[at - 1 : at] if at else "", line[at + len(name) :][:1]
        if (before.isspace() or before in {"*", "(", "/"}) and (
            after in {"", ")"} or after.isspace()
        ):
            return True
        at = line.find(name, at + 1)
    return False

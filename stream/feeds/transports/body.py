"""Reading the body of an answer: no longer, no slower and no larger than was agreed."""

import asyncio
import hashlib
from dataclasses import dataclass

import aiohttp
from aiohttp.http import HttpProcessingError

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.headers import digests, length
from stream.feeds.transports.intake import Intake, checked
from stream.feeds.transports.landing import Landing, too_large
from stream.ops.clock import monotonic_s

_PIECE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """`bytes_max` of a body, packed and unpacked; at least so many bytes a second in each window.

    Without the second a server that sends a byte now and then would hold us to the deadline.
    """

    bytes_max: int
    bytes_per_s_min: int
    window_s: float


async def read_body(
    response: aiohttp.ClientResponse, land: Landing, pace: Pace, origin: str
) -> Intake:
    """Unpack the body into `land`; what is returned knows its hash. Raises FeedDown.

    An answer with neither a length nor chunks ends where the connection does (RFC 9112 6.3), and
    so does half of it: it is taken only if what is compressed in it knows its own end.
    """
    announced = length(response.headers)
    if announced is not None and announced > pace.bytes_max:
        raise too_large(f"{origin} ({announced:,} bytes announced)", pace.bytes_max)
    intake = Intake(land, pace.bytes_max, origin, response.headers.get("Content-Encoding", ""))
    sums = digests(response.headers)
    over_wire = hashlib.sha256()
    slow = _Slowness(pace, origin)
    protocol = response.connection.protocol if response.connection is not None else None
    try:
        async for chunk in response.content.iter_chunked(_PIECE):
            slow.took(len(chunk))
            if sums:
                over_wire.update(chunk)
            for _ in intake.feed(chunk):
                await asyncio.sleep(0)
    except aiohttp.ClientPayloadError as error:
        of = f" of {announced:,}" if announced is not None else ""
        text = f"{origin} broke off after {intake.taken:,}{of} bytes"
        raise FeedDown(FeedFault.TRUNCATED, text) from error
    if announced is not None and intake.taken != announced:
        text = f"{origin} announced {announced:,} bytes and sent {intake.taken:,}"
        raise FeedDown(FeedFault.WRONG_LENGTH, text)
    if protocol is not None and isinstance(protocol.exception(), HttpProcessingError):
        text = f"{origin} goes on after its end, at {intake.taken:,} bytes: is it cut short?"
        raise FeedDown(FeedFault.WRONG_LENGTH, text)
    intake.end()
    if announced is None and not _is_chunked(response) and not (sums or intake.knows_its_end):
        text = f"{origin} came without a length, so half of it would look whole: the server"
        text += " should send Content-Length or chunks, or a file that is compressed"
        raise FeedDown(FeedFault.TRUNCATED, text)
    for name, expected in sums.items():
        checked(over_wire.hexdigest(), expected, f"{origin} ({name})")
    return intake


def _is_chunked(response: aiohttp.ClientResponse) -> bool:
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()


class _Slowness:
    """Refuses a body that drips."""

    def __init__(self, pace: Pace, origin: str) -> None:
        self._pace, self._origin = pace, origin
        self._since_s = monotonic_s()
        self._bytes = 0

    def took(self, size: int) -> None:
        """So many bytes came. Raises FeedDown(TOO_SLOW) at the end of a slow window."""
        self._bytes += size
        past_s = monotonic_s() - self._since_s
        if past_s < self._pace.window_s:
            return
        if self._bytes < self._pace.bytes_per_s_min * past_s:
            text = f"{self._origin} sent {self._bytes:,} bytes in {past_s:.0f} s, less than"
            text += f" bytes_per_s_min = {self._pace.bytes_per_s_min:,}"
            raise FeedDown(FeedFault.TOO_SLOW, text)
        self._since_s += past_s
        self._bytes = 0

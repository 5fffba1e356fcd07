"""The protocol of transports: fetch a feed's newest version as one complete file, or say why not.

A transport does not parse, does not decide on a version, and does not retry. The feed's follower
retries, with back-off, and keeps what a transport wants to remember.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from yarl import URL

from stream.ops.schema.toml import Between

BYTES_MAX = 256 * 1024 * 1024
"""Ten million numbers in CSV with all fields have about this size."""

# Upper bounds of settings: a slip of the hand fails at start, not at the first full disk.
BytesMax = Annotated[int, Between(1, 16 * 1024**3)]
Seconds = Annotated[float, Between(0.01, 86_400)]
Rate = Annotated[int, Between(0, 1_000_000_000)]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One version of a feed: a complete file, within its size limit, with no other writer.

    `path` is the `into` of `fetch`; `sha256` (hex) and `size` (bytes) are of that very file,
    decompressed. The next `fetch` gets `remember` once this version was accepted. `whole`: all that
    the feed says, else an increment to what was remembered. `as_of_s` is the time at which its
    source says that it was made, seconds since the epoch. `wait_s_min`: the source wants no request
    before. `origin` names its source in reports and holds no secret. `published_ms` has the time at
    which the owner published each of its changes, ms since the epoch. It is empty if that is
    unknown, or everything is new here.
    """

    path: Path
    size: int
    sha256: str
    remember: Mapping[str, str]
    whole: bool = True
    as_of_s: int | None = None
    wait_s_min: float = 0.0
    origin: str = ""
    published_ms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nothing is newer than what was remembered; no file was written.

    `remember` replaces what was remembered: it may say the same in newer words.
    """

    remember: Mapping[str, str]
    wait_s_min: float = 0.0


class Transport(Protocol):
    """One way by which bytes come in: a module of `stream.feeds.transports`."""

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Write the newest version as the file `into`. Its folder exists, the file does not.

        `remembered` came with the last version that was accepted. It is empty at first, and where
        the caller wants a whole version. After a failure or a cancellation nothing is left. Raises
        FeedDown.
        """


def shown(url: URL) -> str:
    """Return the address without what may be secret in it."""
    return str(url.with_user(None).with_query(None).with_fragment(None))

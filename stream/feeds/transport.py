"""The protocol of transports: fetch a feed's newest version as one complete file, or say why not.

A transport never parses, never decides whether a version may go live, and never tries again: the
supervisor does, with back-off, and it keeps what a transport wants to remember.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

from yarl import URL

from stream.ops.schema.toml import Between

BYTES_MAX = 256 * 1024 * 1024
"""Ten million numbers in CSV with all fields have about this size."""

BytesMax = Annotated[int, Between(1, 16 * 1024**3)]
Seconds = Annotated[float, Between(0.01, 86_400)]
Rate = Annotated[int, Between(0, 1_000_000_000)]


@dataclass(frozen=True, slots=True)
class Fetched:
    """One version of a feed: a complete file, within its size limit, with no other writer.

    `path` is the `into` that `fetch` was given; `sha256` (hex) and `size` (bytes) are of that very
    file, decompressed. `remember` is given to the next `fetch` once this version was accepted.
    `whole`: all that the feed says; else an increment to what was remembered. `as_of_s`: when its
    source says that it was made, seconds since the epoch. `wait_s_min`: its source wants to be
    left alone for so long. `origin`: where it came from, for reports; it holds no secret.
    `published_ms`: when its owner published each change that it brings, ms since the epoch; empty
    where that is not known, or all of it is taken for the first time.
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
    """There is nothing newer than what was remembered; no file was written.

    `remember` takes the place of what was remembered: it may say the same in newer words.
    """

    remember: Mapping[str, str]
    wait_s_min: float = 0.0


class Transport(Protocol):
    """One way by which bytes come in."""

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the newest version, as the file `into`, which is not there yet; its folder is.

        `remembered` is what came with the last version that was accepted, empty at first, and to
        be emptied by the caller when a whole version is wanted. After a failure or a cancellation
        nothing is left. Raises FeedDown.
        """


def shown(url: URL) -> str:
    """Return the address without what may be secret in it."""
    return str(url.with_user(None).with_query(None).with_fragment(None))

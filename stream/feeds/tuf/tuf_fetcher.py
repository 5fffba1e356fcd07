"""Fetch files of a repository from a web server or a folder, within limits of size and speed."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import IO

import urllib3
from tuf.api.exceptions import DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from stream.core.model.errors import FeedFault
from stream.feeds.transports.landing import Pace, Slowness, date_s
from stream.feeds.tuf.tuf_errors import refused
from stream.ops.untrusted_folders import open_plain

_PIECE = 64 * 1024
_KEPT_S = 86_400
"""So long the beginning of a file waits for its rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """Limits of time for a server, and its settings.

    `answer_s`: seconds of silence; less than `bytes_per_s_min` over `slow_window_s` is too slow.
    `headers`: sent with each request, a token for example; never printed.
    """

    answer_s: float = 30.0
    bytes_per_s_min: int = 1000
    slow_window_s: float = 30.0
    ca_file: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)


class BoundedFetcher(FetcherInterface):
    """A fetcher for one repository, used by one thread at a time; python-tuf gives size limits.

    The folder `partial` keeps the beginning of a target whose download breaks off, so that the next
    one goes on there. Its content is not trusted before its hash was compared.
    """

    def __init__(self, limits: FetchLimits, partial: Path) -> None:
        self._limits, self._partial = limits, partial
        self.said = b""
        """The last small file that was read, for messages on what is wrong with it."""
        self.server_time_s: int | None = None
        """The server's clock at its last answer, if it sent one."""
        self._web = urllib3.PoolManager(
            headers={"User-Agent": "ringfence", **limits.headers},
            retries=False,
            timeout=urllib3.Timeout(connect=limits.answer_s, read=limits.answer_s),
            ca_certs=limits.ca_file or None,
        )

    def close(self) -> None:
        """Close the connections."""
        self._web.clear()

    def _fetch(self, url: str) -> Iterator[bytes]:
        return self._pieces(url, 0)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Return a metadata file."""
        taken = bytearray()
        for piece in self._pieces(url, 0):
            taken += piece
            if len(taken) > max_length:
                text = f"{url} has more than {max_length:,} bytes"
                raise DownloadLengthMismatchError(text)
        self.said = bytes(taken)
        return self.said

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """Download a target; go on where the last try for the same address broke off."""
        self._partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in self._partial.iterdir():
            if time.time() - old.stat().st_mtime > _KEPT_S:
                # Its owner has replaced it, and nobody asks for it again.
                old.unlink(missing_ok=True)
        part = self._partial / sha256(url.encode()).hexdigest()
        with os.fdopen(open_plain(part, os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+b") as file:
            have = file.tell()
            if have >= max_length:
                have = file.truncate(0)
            for piece in self._pieces(url, have):
                if not piece:  # the server begins again
                    have = file.truncate(0)
                    continue
                have += len(piece)
                if have > max_length:
                    part.unlink()
                    text = f"{url} goes on after {max_length:,} bytes, its signed length"
                    raise refused(FeedFault.WRONG_LENGTH, text)
                file.write(piece)
            file.seek(0)
            part.unlink()
            yield file

    def _pieces(self, url: str, after: int) -> Iterator[bytes]:
        """Yield the bytes at `url` from `after` on. An empty piece: from the beginning again."""
        if url.startswith("file:"):
            yield from _file_pieces(Path(url.removeprefix("file:")), after)
            return
        slow = Slowness(Pace(self._limits.bytes_per_s_min, self._limits.slow_window_s), url)
        try:
            yield from self._web_pieces(url, after, slow)
        except NewConnectionError as error:  # urllib3 counts it as a timeout too
            why = getattr(error.__cause__, "strerror", None) or type(error).__name__
            raise refused(FeedFault.DOWN, f"{url}: {why}") from error
        except (ReadTimeoutError, ConnectTimeoutError) as error:
            text = f"{url} was silent for {self._limits.answer_s:g} s"
            raise refused(FeedFault.TIMEOUT, text) from error
        except SSLError as error:
            raise refused(FeedFault.CERTIFICATE, f"{url}: {error}") from error
        except ProtocolError as error:
            raise refused(FeedFault.DOWN, f"{url} broke off") from error
        except HTTPError as error:
            raise refused(FeedFault.DOWN, f"{url}: {type(error).__name__}") from error

    def _web_pieces(self, url: str, after: int, slow: Slowness) -> Iterator[bytes]:
        # Not compressed: lengths and hashes are signed over the bytes as they lie on the server.
        headers = {**self._web.headers, "Accept-Encoding": "identity"}
        if after:
            headers["Range"] = f"bytes={after}-"
        answer = self._web.request(
            "GET", url, headers=headers, preload_content=False, redirect=False
        )
        whole = False
        try:
            self.server_time_s = date_s(answer.headers.get("Date"))
            if answer.status not in (200, 206):
                raise DownloadHTTPError(f"HTTP {answer.status}", answer.status)
            if after and answer.status == 200:
                yield b""
            while piece := answer.read1(_PIECE, decode_content=False):
                if too_slow := slow.took(len(piece)):
                    raise refused(FeedFault.TOO_SLOW, too_slow)
                yield piece
            whole = True
        finally:
            # A connection amid a body cannot be used again: its rest would answer the next request.
            if whole:
                answer.release_conn()
            else:
                answer.close()


def _file_pieces(path: Path, after: int) -> Iterator[bytes]:
    try:
        # What is read is verified, so a link does no harm; a FIFO would hold us for ever.
        with os.fdopen(open_plain(path, links=True), "rb") as file:
            file.seek(after)
            while piece := file.read(_PIECE):
                yield piece
    except FileNotFoundError as error:
        raise DownloadHTTPError(f"{path} is not there", 404) from error
    except OSError as error:
        raise refused(FeedFault.DOWN, f"{path}: {error.strerror}") from error

"""A folder of files as one file: a tar that is the same whenever the folder is.

For MISP feeds, which are a manifest.json and a file for each event; see `lists/folders.py`.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from stream.feeds.transports.landing import Landing


class Bundle:
    """Files are added one after the other; no name has a folder in it."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar

    def add(self, name: str, size: int, file: IO[bytes]) -> None:
        """The first `size` bytes of a file. Raises FeedDown(TOO_LARGE), OSError if it is shorter.

        Of a file's time, owner and rights nothing is kept: they say nothing of what is in it.
        """
        assert "/" not in name, name
        info = tarfile.TarInfo(name)
        info.size = size
        self._tar.addfile(info, file)


class _Sink:
    """A landing as far as tarfile needs a file."""

    def __init__(self, land: Landing) -> None:
        self._land = land

    def write(self, data: bytes) -> int:
        self._land.write(data)
        return len(data)

    def tell(self) -> int:
        return self._land.size


@contextmanager
def bundle(land: Landing) -> Iterator[Bundle]:
    """A tar that is written into `land`; it has its end only if the block ends well.

    Not tarfile's stream mode: its object writes what is left when it is collected, which after a
    failure may be into another file that has the number of ours by then.
    """
    sink = cast("IO[bytes]", _Sink(land))
    tar = tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT)
    yield Bundle(tar)
    tar.close()

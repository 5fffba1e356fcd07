"""Who has stolen a country's timestamp key, and may alter what its web server serves.

The key alone says what is newest. It cannot sign lists: all that is left is to serve an old state
as if it were the newest one.
"""

import shutil
from pathlib import Path

from tuf.api.metadata import Metadata, Timestamp

from stream.exchange.repository_files import read
from stream.exchange.signing import moment
from stream.exchange.signing_keys import HeldKey, KeyRing

AHEAD = 1000
"""So much higher is the version that is claimed: nobody takes a lower one."""
VALID_S = 6 * 3600


class Thief:
    """`key` is the stolen file, `den` an empty folder for what shall be served."""

    def __init__(self, key: Path, den: Path) -> None:
        self._pockets = den / "keys"
        self._pockets.mkdir(parents=True, mode=0o700)
        shutil.copy2(key, self._pockets)
        self.copy = den / "repository"
        self._name = key.stem

    def copies(self, repository: Path) -> None:
        """Keep a repository as it is now."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(repository, self.copy)

    def signs(self, newest: int, now_s: int) -> None:
        """Sign the copy's timestamp, as if it were newer than version `newest`, good from now."""
        path = self.copy / "metadata" / "timestamp.json"
        metadata = Metadata[Timestamp].from_bytes(path.read_bytes())
        metadata.signed.version = newest + AHEAD
        metadata.signed.expires = moment(now_s + VALID_S)
        metadata.sign(self._held().signer)
        path.write_bytes(metadata.to_bytes())

    def _held(self) -> HeldKey:
        key = KeyRing([self._pockets]).named(self._name)
        assert key is not None, "it was copied"
        return key


def version_of(repository: Path) -> int:
    """The version of a repository's timestamp."""
    return read(repository).read_timestamp().version

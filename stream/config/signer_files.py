"""Certificates of those who sign calls, from a folder that a job outside keeps up to date.

A call never waits for a fetch: an `x5u` is looked up among the files that are there. A file's place
in the folder is its address without `https://`, as `wget -x` and `curl --create-dirs` write it:
`certs.example.net/stir/one.pem`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.x509 import Certificate

from stream.core.model.errors import ConfigInvalid
from stream.core.stir.certificates import Signer, signer_of, trust_of
from stream.ops.clock import monotonic_s, now_s
from stream.ops.private_files import FileStamp, file_stamp

log = logging.getLogger(__name__)

FILES_MAX: Final = 20_000  # each is read and checked at the start
FILE_BYTES_MAX: Final = 64 * 1024
"""A certificate with its chain has 2 to 5 KB."""
CHECKED_S: Final = 3600.0
"""Chains are checked again after so long: an authority may have expired."""
JUMP_S: Final = 10.0
"""Also at once after the clock jumped so far. By the wrong time an authority was expired, or was
valid, and would stay so until the next check."""


class SignerFolder:
    """Certificates by their address, as the files are now.

    A file that cannot be read is none; one that is not trusted stays, with the reason, since its
    signatures must fail. Authorities that cannot be read any more stay as they were.
    """

    def __init__(self, trusted: Path, folder: Path) -> None:
        self.signers: Mapping[str, Signer] = {}
        """The same object until a file changes, so that what was verified with it stays known."""
        self._trusted = trusted
        self._folder = folder
        self._trust: Sequence[Certificate] = ()
        self._trust_stamp: FileStamp = (0, 0, 0)
        self._read: dict[str, tuple[FileStamp, Signer]] = {}
        self._checked_s = 0.0
        self._clock_apart_s = 0.0

    def start(self) -> None:
        """Read all for the first time. Raises ConfigInvalid for files that cannot be used."""
        try:
            self._trust = trust_of(self._trusted.read_bytes())
        except (OSError, ValueError) as error:
            text = f"stir: trusted: {self._trusted}: cannot be used: {_why(error)}"
            raise ConfigInvalid((text,)) from error
        if not self._folder.is_dir():
            text = f"stir: certificates: {self._folder}: there is no such folder: make it"
            raise ConfigInvalid((text,))
        self._trust_stamp = file_stamp(self._trusted)
        self.look()

    def look(self) -> None:
        """Read changed files. Blocks."""
        try:
            paths = [*self._files()]
        except OSError as error:  # a folder went while it was listed: a job writes them again
            log.warning("certificates stay as they were: %s: %s", self._folder, _why(error))
            return
        again = self._authorities_changed() or self._are_chains_due()
        held = {} if again else self._read
        if again:
            self._checked_s, self._clock_apart_s = monotonic_s(), now_s() - monotonic_s()
        found: dict[str, tuple[FileStamp, Signer]] = {}
        for path in paths:
            address = f"https://{path.relative_to(self._folder).as_posix()}"
            stamp = file_stamp(path)
            known = held.get(address)
            if known is not None and known[0] == stamp:
                found[address] = known
            elif (signer := self._signer(path)) is not None:
                found[address] = (stamp, signer)
        if again or found != self._read:
            self._read = found
            self.signers = {address: signer for address, (_, signer) in found.items()}
            usable = sum(not signer.wrong for signer in self.signers.values())
            log.info("certificates for signed calls: %d files, %d trusted", len(found), usable)

    def _are_chains_due(self) -> bool:
        at_s = monotonic_s()
        jumped = abs(now_s() - at_s - self._clock_apart_s) >= JUMP_S
        return jumped or at_s - self._checked_s > CHECKED_S

    def _authorities_changed(self) -> bool:
        stamp = file_stamp(self._trusted)
        if stamp == self._trust_stamp:
            return False
        self._trust_stamp = stamp
        try:
            self._trust = trust_of(self._trusted.read_bytes())
        except (OSError, ValueError) as error:
            log.warning("authorities stay as they were: %s: %s", self._trusted, _why(error))
            return False
        return True

    def _files(self) -> Iterator[Path]:
        """Yield the files of the folder, a bounded number."""
        for count, path in enumerate(sorted(self._folder.rglob("*"))):
            if count >= FILES_MAX:
                log.warning("%s: more than %d files; the rest is not read", self._folder, FILES_MAX)
                return
            if path.is_file():
                yield path

    def _signer(self, path: Path) -> Signer | None:
        try:
            with path.open("rb") as file:
                signer = signer_of(file.read(FILE_BYTES_MAX), self._trust, now_s())
        except (OSError, ValueError) as error:
            log.warning("no certificate of a signer: %s: %s", path, _why(error))
            return None
        if signer.wrong:
            log.warning("a signer's certificate is not trusted: %s: %s", path, signer.wrong)
        return signer


def _why(error: Exception) -> str:
    return error.strerror or "cannot be read" if isinstance(error, OSError) else "it is no PEM file"

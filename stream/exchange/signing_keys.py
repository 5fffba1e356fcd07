"""Private keys as files: Ed25519 in PEM, mode 0600, never printed, never anywhere else.

Signing is securesystemslib's. A key is known by its name (the file's) and by its keyid, which is
the one in metadata.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from stream.core.model import names
from stream.core.model.errors import ExchangeFault
from stream.ops.private_files import read_private, write_private

SEALED_BY: Final = "RINGFENCE_EXCHANGE_PASSPHRASE"
"""The environment variable with the private keys' passphrase; `<it>_FILE` names a file of it."""
SUFFIX: Final = ".pem"


@dataclass(frozen=True, slots=True)
class HeldKey:
    """One private key that is at hand."""

    name: str
    path: Path
    signer: CryptoSigner

    @property
    def keyid(self) -> str:
        """The key's id in metadata."""
        return self.signer.public_key.keyid


class KeyRing:
    """The private keys in some folders: a machine's own, a stick that was put in."""

    def __init__(self, folders: Sequence[Path], passphrase: str = "") -> None:
        self._folders = tuple(folders)
        self._passphrase = passphrase.encode() or None
        self._held: dict[Path, HeldKey] = {}

    @property
    def folder(self) -> Path:
        """The folder of this machine's keys."""
        return self._folders[0]

    def held(self) -> Iterator[HeldKey]:
        """Yield all keys at hand, by folder and name. Raises SecretUnsafe, ExchangeFault."""
        for folder in self._folders:
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                yield self.at(path)

    def at(self, path: Path) -> HeldKey:
        """Return the key in a file. Raises SecretUnsafe, ExchangeFault."""
        if path not in self._held:  # once: unsealing with a passphrase takes time
            self._held[path] = self._read(path)
        return self._held[path]

    def place_of(self, name: str, folder: Path | None = None) -> Path:
        """Return the file of a key of that name in `folder`, else in the first one."""
        return (folder or self.folder) / f"{name}{SUFFIX}"

    def new(self, name: str, folder: Path | None = None) -> HeldKey:
        """Make a key; its file is in `folder`, else in the first one.

        Raises ExchangeFault, SecretUnsafe.
        """
        if (wrong := names.wrong(names.NameKind.KEY, name)) is not None:
            raise ExchangeFault(f"{name!r} {wrong}")
        path = self.place_of(name, folder)
        private = Ed25519PrivateKey.generate()
        sealed: KeySerializationEncryption = NoEncryption()
        if self._passphrase is not None:
            sealed = BestAvailableEncryption(self._passphrase)
        # It refuses to overwrite: a lost key cannot be made again.
        write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
        self._held[path] = HeldKey(name, path, CryptoSigner(private))
        return self._held[path]

    def next_name(self, stem: str) -> str:
        """Return `timestamp-3` where `timestamp-2` is there: names are never used again."""
        taken = [key.name for key in self.held()]
        numbers = [int(name[len(stem) + 1 :]) for name in taken if _numbered(name, stem)]
        return f"{stem}-{max(numbers, default=0) + 1}"

    def signers(self, keyids: Iterable[str]) -> list[CryptoSigner]:
        """Return the signers of those of `keyids` that are at hand."""
        at_hand: dict[str, CryptoSigner] = {key.keyid: key.signer for key in self.held()}
        return [at_hand[keyid] for keyid in keyids if keyid in at_hand]

    def named(self, name: str) -> HeldKey | None:
        """Return a key by its name or keyid (or the beginning of it, 8 letters at least)."""
        for key in self.held():
            if key.name == name or (len(name) >= 8 and key.keyid.startswith(name)):
                return key
        return None

    def _read(self, path: Path) -> HeldKey:
        data = read_private(path)
        try:
            private = load_pem_private_key(data, self._passphrase)
        except TypeError as error:
            what = "needs no passphrase" if self._passphrase else f"needs {SEALED_BY}"
            raise ExchangeFault(f"{path} {what}") from error
        except ValueError as error:
            text = f"{path} is no private key in PEM, or the passphrase is wrong"
            raise ExchangeFault(text) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ExchangeFault(f"{path} is no Ed25519 key")
        return HeldKey(path.name.removesuffix(SUFFIX), path, CryptoSigner(private))


def _numbered(name: str, stem: str) -> bool:
    return name.startswith(f"{stem}-") and name[len(stem) + 1 :].isdigit()

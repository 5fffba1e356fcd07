"""Keys of backups: X25519 in PEM. `NAME.pub` seals a backup, `NAME.pem` opens it.

The machine that makes backups needs `NAME.pub` alone: who breaks into it reads no older backup.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from stream.core.model import names
from stream.core.model.errors import BackupUnreadable, SecretUnsafe
from stream.ops.private_files import read_private, write_private

PRIVATE_SUFFIX: Final = ".pem"
PUBLIC_SUFFIX: Final = ".pub"
_ID_CHARS: Final = 16  # 64 bits: people compare them


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The public half of a key: its name (the file's), and what seals a backup for it."""

    name: str
    public: X25519PublicKey

    @property
    def key_id(self) -> str:
        """The key's id in backups: the beginning of the SHA-256 of the public key."""
        return hashlib.sha256(self.public.public_bytes_raw()).hexdigest()[:_ID_CHARS]


@dataclass(frozen=True, slots=True)
class OpeningKey:
    """The private half of a key, which reads backups."""

    sealing: SealingKey
    private: X25519PrivateKey


def new_key(path: Path) -> SealingKey:
    """Make `path` (private, mode 0600) and its public half beside it; neither is overwritten.

    Raises BackupUnreadable for a name that is none, SecretUnsafe.
    """
    if path.suffix != PRIVATE_SUFFIX:
        raise BackupUnreadable(f"{path}: the private key's file ends in {PRIVATE_SUFFIX}")
    if (wrong := names.wrong(names.NameKind.KEY, path.stem)) is not None:
        raise BackupUnreadable(f"{path}: {path.stem!r} {wrong}")
    half = path.with_suffix(PUBLIC_SUFFIX)
    if half.exists():  # before the private one is made, which could not open what that seals
        raise SecretUnsafe(f"{half} is there already and is not overwritten")
    private = X25519PrivateKey.generate()
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(path, secret)
    public = private.public_key()
    told = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_private(half, told)
    return SealingKey(path.stem, public)


def sealing_key(path: Path) -> SealingKey:
    """Return the key that seals backups, of its public file or its private one.

    Raises BackupUnreadable, SecretUnsafe.
    """
    if path.suffix == PRIVATE_SUFFIX:
        return opening_key(path).sealing
    try:
        public = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BackupUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BackupUnreadable(_no_key(path, "public")) from error
    if not isinstance(public, X25519PublicKey):
        raise BackupUnreadable(_no_key(path, "public"))
    return SealingKey(path.stem, public)


def opening_key(path: Path) -> OpeningKey:
    """Return the key that opens backups. Raises BackupUnreadable, SecretUnsafe."""
    if path.suffix == PUBLIC_SUFFIX:
        private = path.with_suffix(PRIVATE_SUFFIX).name
        raise BackupUnreadable(f"{path} only seals backups: {private} beside it opens them")
    data = read_private(path)
    try:
        private_key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BackupUnreadable(_no_key(path, "private")) from error
    if not isinstance(private_key, X25519PrivateKey):
        raise BackupUnreadable(_no_key(path, "private"))
    return OpeningKey(SealingKey(path.stem, private_key.public_key()), private_key)


def _no_key(path: Path, half: str) -> str:
    return f"{path} is no {half} X25519 key in PEM: `ringfence backup-key NAME.pem` makes one"

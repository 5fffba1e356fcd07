"""Circles: the keys by which numbers are hashed, their ids, and the folder that keeps them.

Each new key of a circle is a circle of its own, `asean`, then `asean@2`. A list names the one by
which its numbers are hashed. So in the overlap lists of both are read, each with its key.
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

from stream.core.model import names
from stream.core.model.errors import SecretUnsafe
from stream.ops.private_files import read_private, write_private

PLAIN = "plain"
"""The circle with no key."""
KEY_BYTES: Final = 32
"""The key size of the keyed hash: 256 bits cannot be guessed."""
_SUFFIX: Final = ".key"


def key_id(key: bytes) -> str:
    """Return the id of a key in manifests, 16 hex digits; "" in `plain`."""
    return sha256(b"ringfence key id\n" + key).hexdigest()[:16] if key else ""


def next_epoch(name: str) -> str:
    """Return the circle that follows: `asean` -> `asean@2` -> `asean@3`."""
    stem, _, epoch = name.partition("@")
    return f"{stem}@{int(epoch or 1) + 1}"


def newest(stem: str, keys: Mapping[str, bytes]) -> str | None:
    """Return the newest generation of a circle's key that is here (`asean@2` follows `asean`)."""
    epochs = [name for name in keys if name.partition("@")[0] == stem]
    return max(epochs, key=lambda name: int(name.partition("@")[2] or 1), default=None)


def is_later(name: str, than: str) -> bool:
    """Return whether a circle is a later rekeying of another, as `asean@3` of `asean@2`."""
    (stem, _, epoch), (other, _, before) = name.partition("@"), than.partition("@")
    return bool(stem == other and stem != PLAIN and int(epoch or 1) > int(before or 1))


def epochs_before(name: str) -> Iterator[str]:
    """Yield the circles that came before, the last one first: `asean@2`, `asean` of `asean@3`."""
    stem, _, epoch = name.partition("@")
    for earlier in range(int(epoch or 1) - 1, 0, -1):
        yield f"{stem}@{earlier}" if earlier > 1 else stem


@dataclass(frozen=True, slots=True)
class CircleKeys(Mapping[str, bytes]):
    """The keys of circles by name: `known` from the start, others as their files come.

    So a key that is put into `folder` counts without a restart. One that is
    deleted there counts until the restart: what is in memory cannot be called back by a file.
    """

    known: Mapping[str, bytes] = field(repr=False)
    folder: Path

    def __getitem__(self, name: str) -> bytes:
        if name in self.known:
            return self.known[name]
        if names.wrong(names.NameKind.CIRCLE, name) is not None:
            raise KeyError(name)
        try:
            return key_in(file_of(self.folder, name))
        except SecretUnsafe as fault:
            raise KeyError(name) from fault

    def __iter__(self) -> Iterator[str]:
        yield from self.known
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            name = path.name.removesuffix(_SUFFIX)
            if name not in self.known and name in self:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)


def file_of(folder: Path, name: str) -> Path:
    """Return the path of a circle's key. Raises SecretUnsafe for a name that no circle can have."""
    wrong = names.wrong(names.NameKind.CIRCLE, name)
    if name == PLAIN or wrong is not None:
        raise SecretUnsafe(f"{name!r} {wrong or 'is no name for a circle with a key'}")
    return folder / f"{name}{_SUFFIX}"


def new_key(folder: Path, name: str, key: bytes | None = None) -> bytes:
    """Keep a circle's key, a random one unless it is given. Raises SecretUnsafe."""
    key = key or secrets.token_bytes(KEY_BYTES)
    write_private(file_of(folder, name), key.hex().encode() + b"\n")
    return key


def keys_in(folder: Path) -> dict[str, bytes]:
    """Return every circle whose key lies in `folder`. Raises SecretUnsafe."""
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    return {path.name.removesuffix(_SUFFIX): key_in(path) for path in paths}


def key_in(path: Path) -> bytes:
    """Return the key in a file: 64 hex digits. Raises SecretUnsafe."""
    text = read_private(path).decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise SecretUnsafe(f"{path} does not hold 64 hex digits ({KEY_BYTES} bytes)")
    return bytes.fromhex(text)

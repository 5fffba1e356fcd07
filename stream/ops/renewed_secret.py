"""Secrets of files that are renewed without a restart: read again where they are used.

Vaults and Kubernetes write a new text in place of the old one. The file is looked at when a
connection begins or a request is sent, so no task has to watch it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from stream.ops.private_files import FileStamp, file_stamp

log = logging.getLogger(__name__)

T = TypeVar("T")


class RenewedSecret(Generic[T]):
    """The text of a file as `parse` reads it, and of the changed file from its next use on.

    A file that cannot be read, is empty or cannot be parsed changes nothing. The former text stays
    in use, one line is logged, and the next change is read again. It can be pickled.
    """

    def __init__(self, path: Path, value: T, parse: Callable[[str], T]) -> None:
        """Take the file, its text as it was read at the start, and how it is read."""
        self._path = path
        self._value = value
        self._parse = parse
        # Not the stamp of now: the file may have changed since it was read.
        self._seen: FileStamp | None = None

    def __repr__(self) -> str:
        """Return the file's name, never its text."""
        return f"{type(self).__name__}({str(self._path)!r})"

    def now(self) -> T:
        """Return the secret."""
        found = file_stamp(self._path)
        if found != self._seen:
            self._seen = found
            self._renew()
        return self._value

    def _renew(self) -> None:
        try:
            text = self._path.read_text(encoding="utf-8-sig").strip()
            value = self._parse(text) if text else None
        except (OSError, ValueError) as error:
            # A decoder's error would quote what it could not read.
            why = error.strerror if isinstance(error, OSError) else "it cannot be used"
            log.warning("secret stays as it was: %s: %s", self._path, why)
            return
        if value is None:
            log.warning("secret stays as it was: %s: it is empty", self._path)
        elif value != self._value:
            self._value = value
            log.info("secret was read again", extra={"file": str(self._path)})


Secret = str | RenewedSecret[str]
"""A secret of a variable, which a restart alone changes, or of a file."""


def text_of(secret: Secret | None) -> str | None:
    """Return the text of now; None: there is none."""
    return secret.now() if isinstance(secret, RenewedSecret) else secret


def held(
    variable: str, environ: Mapping[str, str], value: T, parse: Callable[[str], T]
) -> T | RenewedSecret[T]:
    """Return `value`, which `variable` has, or what follows the file of `<variable>_FILE`."""
    path = environ.get(f"{variable}_FILE")
    return RenewedSecret(Path(path), value, parse) if path else value


class SecretValues(Mapping[str, str]):
    """Secrets by the names of their variables, each as it is when it is asked for."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)

    def __getitem__(self, name: str) -> str:
        """Return the text of now."""
        secret = self._secrets[name]
        return secret.now() if isinstance(secret, RenewedSecret) else secret

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._secrets)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._secrets)

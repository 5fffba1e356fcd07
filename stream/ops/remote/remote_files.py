"""Addresses of files on servers, and the protocol of those who list and read them.

An address is `s3://BUCKET/KEY` or `sftp://USER@HOST:PORT/PATH`. A folder, or a prefix of keys, ends
with `/`. Nothing is decoded in it: a key may hold any character. It never holds a password.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple, Protocol

from stream.core.model.errors import FeedDown, FeedFault
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked
from stream.ops.untrusted_folders import UNFINISHED

PIECE: Final = 1 << 18
"""Bytes of one read; a slow line must bring so many within `answer_s`."""
LISTED_MAX: Final = 1_000_000
"""Files of one listing: their names are held in memory, 200 bytes each."""
SCHEMES: Final = ("s3", "sftp")
_PORT: Final = 22

AnswerSeconds = Annotated[float, Between(0.01, 3600)]
"""The longest silence of a server."""


class RemoteAddress(NamedTuple):
    """A file or folder on a server; `host` is the bucket of an S3 address."""

    scheme: str
    user: str
    host: str
    port: int
    path: str

    @property
    def is_folder(self) -> bool:
        """Return whether it names all files below it."""
        return self.path.endswith("/") or not self.path

    @property
    def key(self) -> str:
        """The address with its user: two users of a server may see other files there."""
        return f"{self.user}@{self}" if self.user else str(self)

    def __str__(self) -> str:
        """Return the address without its user."""
        if self.scheme == "s3":
            return f"s3://{self.host}/{self.path}"
        port = "" if self.port == _PORT else f":{self.port}"
        return f"sftp://{self.host}{port}{'' if self.path[:1] == '/' else '/~/'}{self.path}"


def is_remote(text: str) -> bool:
    """Return whether `text` is an address of a server, and no path on this machine."""
    return text.partition("://")[0] in SCHEMES and "://" in text


def address_in(text: str) -> RemoteAddress:
    """Return the address in `text`. Raises ValueError, which says what is wrong with it."""
    scheme, _, rest = text.partition("://")
    if not is_remote(text):
        raise ValueError('must begin with "s3://" or "sftp://"')
    server, slash, path = rest.partition("/")
    login, _, place = server.rpartition("@")
    user, colon, _ = login.partition(":")
    if colon or (login and scheme == "s3"):
        raise ValueError("must hold no secret: write it into the variable that the settings name")
    if scheme == "s3":
        if not place:
            raise ValueError('names no bucket: "s3://BUCKET/PREFIX/"')
        return RemoteAddress(scheme, "", place, 0, path)
    host, port = _host_and_port(place)
    if not user or not host or not slash:
        raise ValueError('must be "sftp://USER@HOST/PATH"')
    # A path from the login's own folder, as curl and OpenSSH write it.
    return RemoteAddress(scheme, user, host, port, path[2:] if path[:2] == "~/" else f"/{path}")


def _host_and_port(place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if place.endswith("]") or not colon:
        return place.strip("[]"), _PORT
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError(f'has no port after ":", but "{port[:10]}"')
    return host.strip("[]"), int(port)


def remote_url(scheme: str) -> Callable[[str], str | None]:
    """Return the check of an address of `scheme` in settings."""

    def check(text: str) -> str | None:
        try:
            found = address_in(text)
        except ValueError as error:
            return str(error)
        return None if found.scheme == scheme else f'must begin with "{scheme}://"'

    return check


def _host_key(text: str) -> str | None:
    """Check a server key: `SHA256:...` as ssh shows it, or type and key as ssh-keyscan writes."""
    words = text.split()
    if text.startswith("SHA256:") or (len(words) >= 2 and words[1].startswith("AAAA")):
        return None
    return 'must be "SHA256:..." or "ssh-ed25519 AAAA...", as `ssh-keyscan HOST` writes it'


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """The way to a bucket; credentials that nothing here names come from AWS' own chain.

    `endpoint`: of a store compatible with S3; "": AWS. `path_style`: the bucket goes into the
    path, not into the host's name. `anonymous`: nothing is signed, for public buckets.
    """

    endpoint: Annotated[str, Checked(checks.maybe(checks.web_url))] = ""
    region: str = ""
    path_style: bool = False
    anonymous: bool = False
    ca_file: str = ""
    answer_s: AnswerSeconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpAccess:
    """The way to an SFTP server: its host keys, and our key or password.

    `host_keys`: one of them must be the server's. No other server gets our login.
    """

    host_keys: tuple[Annotated[str, Checked(_host_key)], ...] = ()
    key_file: str = ""
    answer_s: AnswerSeconds = 30.0


@dataclass(frozen=True, slots=True)
class Login:
    """A secret of a login; for S3 `user` is the access key's id. Empty: there is none."""

    user: str = ""
    secret: str = field(default="", repr=False)


class RemoteFile(NamedTuple):
    """A file that was listed: `name` below the folder, in characters that may be shown.

    `path` is the server's own name of it. `mark` changes when its content does. `changed_s`: its
    last change by the server's clock, seconds since the epoch.
    """

    name: str
    path: str | bytes
    size: int
    mark: str
    changed_s: float


class RemoteFiles(Protocol):
    """The files of one address. All of it blocks, and raises FeedDown."""

    settles: bool
    """True: a file may be seen while it is being written. In S3 an object is there whole."""

    def listed(self) -> Iterator[RemoteFile]:
        """Yield the files that are not empty. A file of that name that is not there is a fault."""

    def pieces(self, file: RemoteFile, at: int = 0) -> Generator[bytes]:
        """Yield the bytes of `file` from `at` on. A file with another mark is a fault."""

    def close(self) -> None:
        """End the connection."""


def remote_files(
    address: RemoteAddress, access: S3Access | SftpAccess, login: Login
) -> RemoteFiles:
    """Return the files of an address; nothing is asked yet. Raises FeedDown."""
    # botocore and asyncssh take 0.4 s of CPU each to import: only for those who use them.
    if isinstance(access, SftpAccess):
        from stream.ops.remote.sftp_files import SftpFiles  # noqa: PLC0415

        return SftpFiles(address, access, login)
    try:
        from stream.ops.remote.s3_files import S3Files  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError as error:
        text = f"s3:// needs {error.name}: install `ringfence[s3]`"
        raise FeedDown(FeedFault.DOWN, text) from error
    return S3Files(address, access, login)


def is_wanted(name: str) -> bool:
    """Return whether a file of a folder counts: neither hidden nor unfinished."""
    return not name.endswith(("/", *UNFINISHED)) and not any(
        part.startswith(".") for part in name.split("/")
    )


def check_count(count: int, origin: str) -> None:
    """Raise FeedDown for a listing with more than LISTED_MAX names."""
    if count > LISTED_MAX:
        text = f"{origin} has more than {LISTED_MAX:,} files: name a folder with fewer"
        raise FeedDown(FeedFault.TOO_LARGE, text)


def missing(origin: str, *, is_folder: bool = False) -> FeedDown:
    """Return the fault of a file that is not there."""
    hint = "" if is_folder else '; the address of a folder ends with "/"'
    return FeedDown(FeedFault.MISSING, f"{origin} does not exist{hint}")


def changed(origin: str) -> FeedDown:
    """Return the fault of a file that changes while it is read."""
    text = f"{origin} changed while it was read: its maker should write a new one and rename it"
    return FeedDown(FeedFault.UNSTABLE, text)

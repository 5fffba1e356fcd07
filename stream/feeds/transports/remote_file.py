"""A file in S3 or on an SFTP server, or the newest one below a prefix or in a folder.

Each file is a whole version. Of a folder with several new files the newest counts: it says all that
its source knows.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, TypeVar

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.intake import Intake
from stream.feeds.transports.landing import Landing, Pace, Slowness, landing, too_large
from stream.feeds.transports.own_thread import OwnThread, Stop, WorkStopped
from stream.feeds.transports.transport import BYTES_MAX, BytesMax, Fetched, Rate, Seconds, Unchanged
from stream.ops.clock import now_s
from stream.ops.remote.remote_files import (
    Login,
    RemoteFile,
    RemoteFiles,
    S3Access,
    SftpAccess,
    address_in,
    missing,
    remote_files,
    remote_url,
)
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

Variable = Annotated[str, Checked(checks.maybe(checks.variable))]


# Without slots: a class has one base with them at most.
@dataclass(frozen=True, kw_only=True)
class RemoteLimits:
    """Limits of one fetch, and `pattern`: the names that count below an address that ends with /.

    `bytes_max` bounds a version. `deadline_s` bounds one fetch; less than `bytes_per_s_min` over
    `slow_window_s` is too slow.
    """

    pattern: Annotated[str, Checked(checks.filled)] = "*"
    bytes_max: BytesMax = BYTES_MAX
    deadline_s: Seconds = 600.0
    bytes_per_s_min: Rate = 1000
    slow_window_s: Seconds = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class S3FeedSettings(RemoteLimits, S3Access):
    """`url`: "s3://BUCKET/KEY", or "s3://BUCKET/PREFIX/" for the newest below it.

    Without `access_key_env` and `secret_key_env` AWS' own chain finds the credentials.
    """

    url: Annotated[str, Checked(remote_url("s3"))]
    access_key_env: Variable = ""
    secret_key_env: Variable = ""

    def __post_init__(self) -> None:
        found = []
        if bool(self.access_key_env) != bool(self.secret_key_env):
            name = "secret_key_env" if self.access_key_env else "access_key_env"
            text = "is missing: access_key_env and secret_key_env go together"
            found.append(Problem((name,), text))
        if self.anonymous and self.access_key_env:
            found.append(Problem(("anonymous",), "has no use for access_key_env"))
        if found:
            raise Problems(found)

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that must be set."""
        return tuple(name for name in (self.access_key_env, self.secret_key_env) if name)

    def login(self, secrets: Mapping[str, str]) -> Login:
        """Return the keys; none are named: an empty login."""
        if not self.access_key_env:
            return Login()
        return Login(secrets[self.access_key_env], secrets[self.secret_key_env])


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpFeedSettings(RemoteLimits, SftpAccess):
    """`url`: "sftp://USER@HOST/PATH", or with a / at its end the newest file in that folder.

    A file is finished if it has not changed for `settle_s`, by the clocks of both machines.
    """

    url: Annotated[str, Checked(remote_url("sftp"))]
    password_env: Variable = ""
    settle_s: Annotated[float, Between(0, 86_400)] = 5.0

    def __post_init__(self) -> None:
        found = []
        if not self.host_keys:
            text = "is missing: the server's keys, as `ssh-keyscan HOST` writes them"
            found.append(Problem(("host_keys",), text))
        if not (self.key_file or self.password_env):
            found.append(Problem(("key_file",), "is missing: or a password_env"))
        if found:
            raise Problems(found)

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that must be set."""
        return (self.password_env,) if self.password_env else ()

    def login(self, secrets: Mapping[str, str]) -> Login:
        """Return the password; none is named: an empty login."""
        return Login("", secrets[self.password_env] if self.password_env else "")


class _RemoteTransport:
    """A feed's file on a server."""

    def __init__(
        self, settings: S3FeedSettings | SftpFeedSettings, secrets: Mapping[str, str]
    ) -> None:
        self._settings, self._secrets = settings, secrets
        self._address = address_in(settings.url)
        self._origin = str(self._address)
        self._apart: OwnThread[Fetched | Unchanged] = OwnThread(self._origin, settings.deadline_s)

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the newest file, always whole. Raises FeedDown."""
        return await self._apart(lambda stop: self._fetch(remembered, into, stop))

    def _fetch(self, remembered: Mapping[str, str], into: Path, stop: Stop) -> Fetched | Unchanged:
        login = self._settings.login(self._secrets)
        with closing(remote_files(self._address, self._settings, login)) as files:
            file = self._newest(files, stop)
            known = remembered if remembered.get("address") == self._origin else {}
            place = {"address": self._origin, "name": file.name, "mark": file.mark}
            if place.items() <= known.items() or self._unsettled(files, file):
                return Unchanged(remembered)
            if file.size > self._settings.bytes_max:
                raise too_large(f"{self._origin} {file.name}", self._settings.bytes_max)
            with landing(into, self._settings.bytes_max, self._origin) as land:
                self._copy(files.pieces(file), land, stop)
                if known.get("sha256") == land.sha256:
                    land.drop()
        remember = {**place, "sha256": land.sha256}
        if land.dropped:
            return Unchanged(remember)
        return land.fetched(remember, as_of_s=int(file.changed_s))

    def _newest(self, files: RemoteFiles, stop: Stop) -> RemoteFile:
        newest: RemoteFile | None = None
        pattern = self._settings.pattern if self._address.is_folder else "*"
        for file in _until(stop, files.listed()):
            later = newest is None or (file.changed_s, file.name) > (newest.changed_s, newest.name)
            if later and fnmatch(file.name, pattern):
                newest = file
        if newest is None:
            is_folder = self._address.is_folder
            raise missing(f"{self._origin}{pattern if is_folder else ''}", is_folder=is_folder)
        return newest

    def _unsettled(self, files: RemoteFiles, file: RemoteFile) -> bool:
        settle_s = getattr(self._settings, "settle_s", 0.0)
        return files.settles and abs(now_s() - file.changed_s) < settle_s

    def _copy(self, pieces: Generator[bytes], land: Landing, stop: Stop) -> None:
        settings, intake = self._settings, Intake(land)
        slowness = Slowness(Pace(settings.bytes_per_s_min, settings.slow_window_s), self._origin)
        with closing(pieces):
            for piece in _until(stop, pieces):
                for _ in intake.feed(piece):
                    if stop.is_set():
                        raise WorkStopped
                if slow := slowness.took(len(piece)):
                    raise FeedDown(FeedFault.TOO_SLOW, slow)
        intake.end()


T = TypeVar("T")


def _until(stop: Stop, things: Iterator[T]) -> Iterator[T]:
    """Yield `things`; raise WorkStopped once `stop` is set."""
    for thing in things:
        if stop.is_set():
            raise WorkStopped
        yield thing


class S3Transport(_RemoteTransport):
    """One feed in a bucket."""


class SftpTransport(_RemoteTransport):
    """One feed on an SFTP server."""

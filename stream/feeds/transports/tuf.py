"""A list that its owner publishes in a signed repository (TUF): changes if possible, else whole.

The newest verified metadata are kept beside the feed, so that no server can serve an older version.
The parts of a whole list are kept too, until all have come: a download may break off.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from tuf.api.exceptions import LengthOrHashMismatchError

from stream.core.model.agreement import Shared
from stream.core.model.errors import FeedDown, FeedFault, SnapshotUnreadable
from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.formats.states import combined
from stream.feeds.published import CHANGES_PART
from stream.feeds.transports.http_get import LoginSettings, Secrets
from stream.feeds.transports.landing import Landing, bundle, landing
from stream.feeds.transports.own_thread import OwnThread, Stop, WorkStopped
from stream.feeds.transports.transport import BytesMax, Fetched, Seconds, Unchanged
from stream.feeds.tuf.tuf_client import Repository, TufClient, TufLimits, trusted_root
from stream.feeds.tuf.tuf_errors import refused
from stream.feeds.tuf.tuf_fetcher import FetchLimits
from stream.lists.snapshot.repository_layout import (
    LATEST_BYTES_MAX,
    Latest,
    change_target,
    latest_target,
    part_target,
    read_latest,
)
from stream.ops.schema import checks
from stream.ops.schema.checks import filled
from stream.ops.schema.toml import Checked, Problem, Problems

_CHANGES_BYTES_MAX: Final = 64 << 20
"""The most changes in one fetch: more are not quicker than the whole list."""
_AGAIN_S: Final = 30.0
"""Wait before the same whole list is fetched again that was not accepted."""
BYTES_MAX: Final = 2 << 30
"""The largest list: 134 million numbers as fingerprints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TufSettings:
    """`url` of the repository, or `path` of its copy on a disk; `root` is its trusted root.json.

    `targets` is the list as its owner calls it, such as `KH/scam`. `deadline_s` bounds one fetch; a
    download that breaks off goes on at the next one.
    """

    root: Annotated[str, Checked(filled)]
    targets: Annotated[str, Checked(checks.list_name)]
    url: str = ""
    path: str = ""
    login: LoginSettings = field(default_factory=LoginSettings)
    ca_file: str = ""
    bytes_max: BytesMax = BYTES_MAX
    answer_s: Seconds = 30.0
    deadline_s: Seconds = 900.0

    def __post_init__(self) -> None:
        if bool(self.url) == bool(self.path):
            text = "is one of two: url of a web server, or path of a folder with the repository"
            raise Problems([Problem(("url",), text)])
        if self.url and not self.url.startswith(("http://", "https://")):
            raise Problems([Problem(("url",), "must begin with https:// or http://")])

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that must be set."""
        return self.login.variables()


@dataclass(frozen=True, slots=True)
class _Stand:
    """A follower's position: epoch and generation, and the whole list that it began with."""

    epoch: str
    generation: int
    whole: int

    @classmethod
    def of(cls, remembered: Mapping[str, str], name: str) -> "_Stand | None":
        if remembered.get("targets") != name:
            return None
        try:
            return cls(remembered["epoch"], int(remembered["generation"]), int(remembered["whole"]))
        except (KeyError, ValueError):
            return None


class TufTransport:
    """One list of one repository."""

    def __init__(self, settings: TufSettings, secrets: Secrets) -> None:
        self._settings, self._secrets = settings, secrets
        self._place = settings.url or settings.path
        self._login = settings.login.headers(secrets)
        self._client: TufClient | None = None
        self._apart: OwnThread[Fetched | Unchanged] = OwnThread(self._place, settings.deadline_s)
        self._brought = ""

    async def fetch(self, remembered: Mapping[str, str], into: Path) -> Fetched | Unchanged:
        """Return the changes since what was remembered, else the whole list. Raises FeedDown."""
        return await self._apart(lambda stop: self._fetch(remembered, into, stop))

    def _fetch(self, remembered: Mapping[str, str], into: Path, stop: Stop) -> Fetched | Unchanged:
        try:
            return self._newest(remembered, into, stop)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise refused(FeedFault.DISK, f"{self._place}: {where}{error.strerror}") from error

    def _newest(self, remembered: Mapping[str, str], into: Path, stop: Stop) -> Fetched | Unchanged:
        name, state = self._settings.targets, into.parent / "tuf"
        repository = self._opened(state).refresh()
        repository.owned(name)
        try:
            latest = read_latest(repository.read(latest_target(name), LATEST_BYTES_MAX), name)
        except SnapshotUnreadable as error:
            raise FeedDown(FeedFault.NOT_A_FEED, f"{self._place}: {error}") from error
        remember = {
            "targets": name,
            "epoch": latest.epoch,
            "generation": str(latest.generation),
            "whole": str(latest.whole),
        }
        stand = _Stand.of(remembered, name)
        # Another epoch: generations do not follow ours, so changes could not be applied.
        if stand is not None and stand.epoch == latest.epoch:
            if stand.generation == latest.generation and not _needs_whole(stand, latest):
                return Unchanged(remembered)
            if (since := latest.changes_after(stand.generation)) is not None and since:
                if latest.shares is Shared.FINGERPRINTS:
                    remember["whole"] = str(stand.whole)
                data = self._changes(repository, name, since, stop)
                times = latest.times()
                published = tuple(times[span] for span in since if span in times)
                with landing(into, self._settings.bytes_max, self._place) as land:
                    land.write(data)
                made_s = latest.made_at_s or None
                got = land.fetched(remember, whole=False, as_of_s=made_s)
                return replace(got, published_ms=published)
        got = self._whole(repository, latest, remember, into, state, stop)
        now = latest.epoch, latest.generation
        if stand is not None and (stand.epoch, stand.generation) != now:
            got = replace(got, published_ms=(latest.made_at_s * 1000,))
        bringing = f"{latest.epoch} {latest.whole}"
        # It was not accepted, or it would be remembered: no download of it at each look.
        again_s = _AGAIN_S if self._brought == bringing else 0.0
        self._brought = bringing
        return replace(got, wait_s_min=again_s)

    def _opened(self, state: Path) -> TufClient:
        settings = self._settings
        login = settings.login.headers(self._secrets)
        if self._client is None or login != self._login:  # a client keeps the secret that it got
            self._login = login
            fetch = FetchLimits(answer_s=settings.answer_s, ca_file=settings.ca_file, headers=login)
            limits = TufLimits(fetch=fetch, target_bytes_max=settings.bytes_max)
            root = trusted_root(Path(settings.root))
            self._client = TufClient(self._place, state, root, limits)
        return self._client

    def _changes(
        self, repository: Repository, name: str, spans: tuple[tuple[int, int], ...], stop: Stop
    ) -> bytes:
        """Return several change files as one."""
        files, size = [], 0
        for begin, end in spans:
            if stop.is_set():
                raise WorkStopped
            files.append(repository.read(change_target(name, begin, end), _CHANGES_BYTES_MAX))
            size += len(files[-1])
            if size > _CHANGES_BYTES_MAX:
                text = f"the changes of {name} are more than {_CHANGES_BYTES_MAX:,} bytes"
                raise FeedDown(FeedFault.TOO_LARGE, text)
        try:
            return combined(files, name)
        except InputUnreadable as error:
            raise FeedDown(FeedFault.NOT_A_FEED, f"{self._place}: {error}") from error

    def _whole(
        self,
        repository: Repository,
        latest: Latest,
        remember: Mapping[str, str],
        into: Path,
        state: Path,
        stop: Stop,
    ) -> Fetched:
        """Write the whole list and the changes since as one file; reuse parts that are here."""
        name, kept = latest.list, state / "parts"
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        needed: dict[str, Path] = {}
        for part in latest.parts:
            if stop.is_set():
                raise WorkStopped
            needed[part] = self._part(repository, part_target(name, latest.whole, part), kept)
        for path in kept.iterdir():
            if path not in needed.values():
                path.unlink()
        since = latest.changes_after(latest.whole)
        if since is None:
            text = f"{self._place}: {latest_target(name)} has a gap after {latest.whole}"
            raise FeedDown(FeedFault.NOT_A_FEED, text)
        changes = self._changes(repository, name, since, stop) if since else b""
        with landing(into, self._settings.bytes_max, self._place) as land:
            _pack(land, needed, changes)
        return land.fetched(remember, as_of_s=latest.made_at_s or None)

    def _part(self, repository: Repository, target: str, kept: Path) -> Path:
        """Return a part's file, whose name is its hash; fetch the part if it is not here whole."""
        found = repository.signed(target)
        path = kept / next(iter(found.hashes.values()))
        try:
            # It was verified when it came. Since then a power cut may have emptied it, or the disk
            # altered it: each later fetch would take it for the part.
            with path.open("rb") as file:
                found.verify_length_and_hashes(file)
        except (FileNotFoundError, LengthOrHashMismatchError):
            landed = path.with_suffix(".part")
            repository.download(target, landed)
            landed.replace(path)
        return path


def _needs_whole(stand: _Stand, latest: Latest) -> bool:
    """Return whether a new whole list is needed though no number is new: its filter has hashes."""
    return latest.shares is not Shared.NUMBERS and latest.whole > stand.whole


def _pack(land: Landing, parts: Mapping[str, Path], changes: bytes) -> None:
    # Sorted: the same parts must give the same bytes, which the gate recognises.
    with bundle(land) as whole:
        for part, path in sorted(parts.items()):
            with path.open("rb") as file:
                whole.add(part, path.stat().st_size, file)
        if changes:
            whole.add(CHANGES_PART, len(changes), io.BytesIO(changes))

"""Follow a signed repository with python-tuf. Everything that it returns was verified.

Blocks: call it in a thread. One state folder belongs to one repository and one process. It has the
newest verified metadata, so that no older version is accepted.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from tuf.api.exceptions import DownloadError, RepositoryError, StorageError
from tuf.api.metadata import Metadata, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.tuf.tuf_errors import (
    explained,
    first_path,
    metadata_file,
    refused,
    safe_name,
    safe_role,
    safe_target,
)
from stream.feeds.tuf.tuf_fetcher import BoundedFetcher, FetchLimits
from stream.ops.clock import now_s

SIGNED_AT: Final = "x-ringfence-signed-at"
"""Our field of timestamp.json: seconds since the epoch by its signer's clock."""
HUB: Final = "x-ringfence-hub"
"""Our field of root.json: true for a hub, which owns no list."""
CLOCK_SLACK_S: Final = 1800
"""Clocks may differ by so much. A timestamp is signed again long before it expires, so half an hour
does no harm. Beyond it expiry cannot be judged."""
_ROOT_BYTES_MAX: Final = 512_000
"""python-tuf's own limit: a root has some KB."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TufLimits:
    """Sizes of the largest files, in bytes: they are read before they can be verified."""

    fetch: FetchLimits = field(default_factory=FetchLimits)
    metadata_bytes_max: int = 5_000_000
    target_bytes_max: int = 16 << 30


def trusted_root(path: Path) -> bytes:
    """Return the root.json that the operator trusts. Raises FeedDown(MISSING)."""
    try:
        return path.read_bytes()
    except OSError as error:
        text = f"root {path} cannot be read: {error.strerror}"
        raise FeedDown(FeedFault.MISSING, text) from error


class TufClient:
    """One repository at `url` (`https://...`, or a folder), trusted by `root`.

    `root` is the owner's root.json of any version, received by a trusted way. Newer ones follow
    from it. `state` is made if it is missing.
    """

    def __init__(self, url: str, state: Path, root: bytes, limits: TufLimits | None = None) -> None:
        self.limits = limits or TufLimits()
        web = url.startswith(("http://", "https://"))
        self.place = url.rstrip("/") if web else f"file:{Path(url).absolute()}"
        self._state, self._root = state, root
        self.kept = state / "metadata"
        self._fetcher = BoundedFetcher(self.limits.fetch, state / "partial")

    def refresh(self) -> "Repository":
        """Return the repository as it is now, one consistent version of it. Raises FeedDown."""
        try:
            self.kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._explained(error, "its state") from error
        updater = self.tried(self._updater, "the root that we trust")
        self.tried(updater.refresh, "metadata")
        self._check_clock()
        return Repository(self, updater)

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def _updater(self) -> Updater:
        config = UpdaterConfig(
            root_max_length=_ROOT_BYTES_MAX,
            snapshot_max_length=self.limits.metadata_bytes_max,
            targets_max_length=self.limits.metadata_bytes_max,
        )
        return Updater(
            metadata_dir=str(self.kept),
            metadata_base_url=f"{self.place}/metadata/",
            target_base_url=f"{self.place}/targets/",
            fetcher=self._fetcher,
            config=config,
            bootstrap=self._root,
        )

    def tried(self, work: Callable[[], T], doing: str) -> T:
        """Return the result of a call of python-tuf; its faults come as FeedDown."""
        try:
            return work()
        except (FeedDown, RepositoryError, DownloadError, StorageError, OSError) as error:
            raise self._explained(error, doing) from error
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            # python-tuf does not check the type of each signed field: a role may be named 5.
            text = f"{self.place}: {doing}: its metadata cannot be used: {error}"
            raise refused(FeedFault.MALFORMED, text) from error

    def _explained(self, error: Exception, doing: str) -> FeedDown:
        fault = explained(error, self.place, doing, self.kept, self._fetcher.said)
        said_s = self._fetcher.server_time_s
        if fault.reason is FeedFault.EXPIRED and said_s is not None:
            apart_s = now_s() - said_s
            if abs(apart_s) > CLOCK_SLACK_S:
                return _clock(self.place, apart_s, "its web server's")
        return fault

    def signed(self, role: str) -> Any:  # a Root, Timestamp, Snapshot or Targets, by the role
        """Return a role's verified metadata, decoded. Raises FeedDown."""
        path = str(self.kept / metadata_file(role))
        return self.tried(lambda: Metadata.from_file(path).signed, f"{role}.json")

    def _check_clock(self) -> None:
        """Refuse a timestamp of the future: a slow clock would accept expired metadata."""
        signed_at_s = self.signed(Timestamp.type).unrecognized_fields.get(SIGNED_AT)
        if isinstance(signed_at_s, int) and now_s() - signed_at_s < -CLOCK_SLACK_S:
            raise _clock(self.place, now_s() - signed_at_s, "its signer's")


def _clock(place: str, apart_s: int, whose: str) -> FeedDown:
    side = "ahead of" if apart_s > 0 else "behind"
    text = f"{place}: this machine's clock is {abs(apart_s) / 3600:.1f} h {side} {whose}"
    return refused(FeedFault.CLOCK, text)


class Repository:
    """One consistent version of a repository."""

    def __init__(self, client: TufClient, updater: Updater) -> None:
        self._client, self._updater = client, updater
        self.kept = client.kept
        """The folder of verified metadata, as they were fetched."""

    def find(self, name: str) -> TargetFile | None:
        """Return the signed length and hashes of a target (`KH/scam/latest.json`), None: absent.

        Only the roles that may sign that name are asked. Raises FeedDown.
        """
        safe_name(name)
        return self._client.tried(lambda: self._updater.get_targetinfo(name), f"who signs {name}")

    def signed(self, name: str) -> TargetFile:
        """Return a target as `find` does. Raises FeedDown(MISSING) too."""
        target = self.find(name)
        if target is None:
            text = f"{self._client.place}: it is not signed by anybody who may sign {name}"
            raise refused(FeedFault.MISSING, text)
        return target

    def download(self, name: str, into: Path, bytes_max: int | None = None) -> TargetFile:
        """Download and verify a target as the file `into`, which has no other writer.

        A download that breaks off goes on at the same place at the next try. Raises FeedDown, also
        beyond `bytes_max`.
        """
        target, most = self.signed(name), bytes_max or self._client.limits.target_bytes_max
        if target.length > most:
            text = f"{name} has {target.length:,} bytes, at most {most:,} are taken"
            raise refused(FeedFault.TOO_LARGE, text)
        try:
            self._client.tried(lambda: self._updater.download_target(target, str(into)), name)
        except FeedDown as fault:
            into.unlink(missing_ok=True)
            if fault.reason is FeedFault.MIXED:
                raise _altered(name, fault) from fault
            raise
        return target

    def read(self, name: str, bytes_max: int) -> bytes:
        """Return the content of a small target. Raises FeedDown, also beyond `bytes_max`."""
        into = self.kept.parent / "small"
        self.download(name, into, bytes_max)
        try:
            return into.read_bytes()
        finally:
            into.unlink()

    def roles(self) -> dict[str, dict[str, TargetFile]]:
        """Return every role that signs targets, `targets` first, with all that it has signed.

        A role two levels below `targets` is included: a hub's lists. Raises FeedDown.
        """
        # python-tuf loads a role when it looks for a name that the role may sign.
        self._client.tried(lambda: self._updater.get_targetinfo("-"), "targets.json")
        found, waiting = {}, [Targets.type]
        while waiting:
            role = waiting.pop(0)
            found[role] = self.targets_of(role)
            signed = self._client.signed(role)
            below = signed.delegations.roles if signed.delegations is not None else None
            for name, delegation in (below or {}).items():
                safe_role(name)
                if name in found or not delegation.paths:
                    continue
                self.find(safe_name(first_path(delegation).replace("*", "x")))
                if (self.kept / metadata_file(name)).is_file():
                    waiting.append(name)
        return found

    def owned(self, list_name: str) -> None:
        """Check that the trusted root is the list owner's, and no hub's.

        TUF lets a delegating role name other keys at any time. With a hub's root a hub could speak
        for every country, so a list is followed by its owner's root alone. A hub's root says that
        it is one, and a role between `targets` and the list's own is a delegation. Raises
        FeedDown(NOT_THEIRS).
        """
        self.find(f"{list_name}/x")  # loads the roles on the way to the list
        root = self._client.signed("root")
        below = self._client.signed(Targets.type).delegations
        asked = f"{list_name}/-"
        roles = self._client.tried(
            lambda: [*below.get_roles_for_target(asked)] if below is not None else [],
            f"who signs {asked}",
        )
        between = [role for role, _ in roles if role != list_name.replace("/", "~")]
        if root.unrecognized_fields.get(HUB) is not True and not between:
            return
        owner = list_name.partition("/")[0]
        place = self._client.place
        text = f"{place}: the root that is trusted is a hub's, which could say at any time"
        text += f" that other keys are {owner}'s. Not used: follow {place}/countries/{owner}"
        raise FeedDown(
            FeedFault.NOT_THEIRS, f"{text} with {owner}'s own root.json, had from {owner}"
        )

    def only_of(self, owner: str) -> None:
        """Check that a country signs names below its own only. Raises FeedDown(NOT_THEIRS)."""
        for role, targets in self.roles().items():
            if role != Targets.type and not role.startswith(f"{owner}~"):
                raise refused(FeedFault.NOT_THEIRS, f"{owner}'s repository has a role {role}")
            for name in targets:
                if not name.startswith(f"{owner}/"):
                    text = f"{owner}'s repository has a target {name}"
                    raise refused(FeedFault.NOT_THEIRS, text)

    def targets_of(self, role: str) -> dict[str, TargetFile]:
        """Return all targets that a role has signed; {}: `find` did not load that role.

        Raises FeedDown if a name among them cannot be used.
        """
        if not (self.kept / metadata_file(role)).is_file():
            return {}
        targets: dict[str, TargetFile] = self._client.signed(role).targets
        for target in targets.values():
            safe_target(target)
        return targets

    @property
    def version(self) -> str:
        """The timestamp's version: while it is the same, nothing has changed."""
        return str(self._client.signed(Timestamp.type).version)


def _altered(name: str, fault: FeedDown) -> FeedDown:
    """Return the fault of a target that is too short, too long, or has other bytes."""
    length = "length" in fault.detail.lower()
    reason = FeedFault.WRONG_LENGTH if length else FeedFault.CHECKSUM
    return refused(reason, f"{name} is not the file that was signed")

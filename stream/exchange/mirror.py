"""Copies of repositories, byte for byte and verified as a partner would: mirrors, hubs, bundles.

A copy has no key and needs none: who follows it trusts its owner's root. So the carrier can neither
alter nor forge, and can withhold news no longer than the owner's timestamp is good.

A hub carries the repositories of countries: `countries/KH/` is KH's repository byte for byte, to be
followed with KH's own root. The hub's own root leads to the same files by delegation (`KH/*`,
terminating, signed by KH's own keys). That is one root for all countries, for those who trust the
hub to say which keys are whose.

A bundle is a whole repository as one tar, for partners without a connection. The list of its files
is known from signed metadata. A bundle with one file too many or too few, another kind of member,
or a name that leads elsewhere is refused before any part of it is used.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Final

import msgspec
from tuf.api.metadata import DelegatedRole, Metadata, Snapshot, TargetFile, Timestamp

from stream.core.model import names
from stream.core.model.errors import UNREADABLE, ExchangeFault, Fault, FeedDown, FeedFault
from stream.exchange import repository_files, signing
from stream.exchange.repository import RoleStatus, role_statuses
from stream.exchange.repository_files import METADATA, TARGETS, PublishedMetadata
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import Repository, TufClient, TufLimits
from stream.feeds.tuf.tuf_errors import metadata_file, refused, safe_name


def roots_of(repository: Repository) -> dict[int, bytes]:
    """Return all roots that were seen, by version."""
    history = repository.kept / "root_history"
    return {
        int(path.name.partition(".")[0]): path.read_bytes() for path in history.glob("*.root.json")
    }


def verified(repository: Repository) -> PublishedMetadata:
    """Return the repository's metadata as fetched and verified. Raises FeedDown."""
    roles = repository.roles()
    kept = repository.kept
    published = PublishedMetadata(
        (kept / "root.json").read_bytes(),
        (kept / "timestamp.json").read_bytes(),
        (kept / "snapshot.json").read_bytes(),
        (kept / "targets.json").read_bytes(),
        {role: (kept / metadata_file(role)).read_bytes() for role in roles if role != "targets"},
    )
    version = Metadata[Timestamp].from_bytes(published.timestamp).signed.snapshot_meta.version
    assert Metadata[Snapshot].from_bytes(published.snapshot).signed.version == version
    return published


def carry(repository: Repository, folder: Path) -> PublishedMetadata:
    """Bring all of a repository into `folder`, timestamp last. Raises FeedDown, ExchangeFault."""
    published = verified(repository)
    for target in published.all_targets().values():
        bring(repository, target, folder)
    for version, data in sorted(roots_of(repository).items()):
        repository_files.write_root(folder, version, data)
    repository_files.write(folder, published)
    repository_files.prune(folder, published, repository_files.PRUNE_S)
    return published


def is_carried(repository: Repository, folder: Path) -> bool:
    """Return whether `folder` holds this very version already."""
    place = folder / METADATA / "timestamp.json"
    if not place.is_file() or repository_files.newest_root(folder) != max(roots_of(repository)):
        return False
    return place.read_bytes() == (repository.kept / "timestamp.json").read_bytes()


def bring(repository: Repository, target: TargetFile, folder: Path) -> None:
    """Fetch one target, unless it is there as it was signed. Raises FeedDown, ExchangeFault."""
    path = repository_files.place_of(folder, target)
    if path.is_file():
        found = path.stat()
        if _is_whole(path, target.hashes["sha256"], found.st_ino, found.st_mtime_ns):
            return
    landing = folder / METADATA / ".fetching"
    try:
        repository_files.open_folder(landing.parent)
    except OSError as error:
        raise ExchangeFault(f"{landing.parent} cannot be made: {error.strerror}") from error
    repository.download(target.path, landing)
    try:
        repository_files.put(path, landing)
    finally:
        landing.unlink(missing_ok=True)


@lru_cache(maxsize=100_000)
def _is_whole(path: Path, digest: str, inode: int, changed_ns: int) -> bool:
    """Return whether a file's SHA-256 is `digest`. A hub that runs hashes each file once."""
    del inode, changed_ns  # another file of the same name
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The status of each role, and the number and bytes of the targets that were compared.

    `faults`: what is wrong, in words; none: nothing is.
    """

    roles: tuple[RoleStatus, ...]
    targets: int
    size: int
    faults: tuple[str, ...]


def verify(
    url: str, root: bytes, state: Path | None, limits: TufLimits, *, whole: bool
) -> VerifyReport:
    """Verify everything at `url` from `root` on; `whole`: fetch and compare each target too.

    `state` remembers versions, so that a rollback is seen; None: nothing is remembered. Raises
    FeedDown where the metadata are not to be trusted.
    """
    with tempfile.TemporaryDirectory(prefix="ringfence-verify-") as scratch:
        place = Path(scratch)
        client = TufClient(url, state or place / "state", root, limits)
        try:
            repository = client.refresh()
            published = verified(repository)
            targets = published.all_targets()
            faults = list(_wrong(repository, sorted(targets), place)) if whole else []
        finally:
            client.close()
    size = sum(target.length for target in targets.values())
    return VerifyReport(tuple(role_statuses(published)), len(targets), size, tuple(faults))


def _wrong(repository: Repository, names: list[str], place: Path) -> Iterator[str]:
    for name in names:
        try:
            repository.download(name, place / "target")
        except FeedDown as fault:
            yield f"{name}: {fault.detail}"


def serve_check(folder: Path, url: str, limits: TufLimits, *, whole: bool) -> VerifyReport:
    """Compare what `url` serves with what `folder` publishes. Raises FeedDown, ExchangeFault."""
    published = repository_files.read(folder)
    report = verify(
        url, (folder / "metadata" / "1.root.json").read_bytes(), None, limits, whole=whole
    )
    served = {one.role: one.version for one in report.roles}
    behind = [
        f"{here.role}: version {served.get(here.role, 0)} is served, {here.version} was published"
        for here in role_statuses(published)
        if served.get(here.role, 0) != here.version
    ]
    return VerifyReport(report.roles, report.targets, report.size, (*behind, *report.faults))


COUNTRIES: Final = "countries"
"""The folder of the copies in a hub."""


class HubMember(msgspec.Struct, frozen=True):
    """A country of the hub: where it publishes, and its first root, trusted when it joined."""

    owner: str
    url: str
    root: str


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub's folder, its keys, and what it remembers of its members (`state`)."""

    folder: Path
    ring: KeyRing
    state: Path
    validity: Validity
    limits: TufLimits

    def members(self) -> list[HubMember]:
        """Return the countries that have joined. Raises ExchangeFault."""
        found = []
        for path in sorted((self.state / "members").glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=HubMember))
            except (OSError, *UNREADABLE) as error:
                raise ExchangeFault(f"{path} cannot be read: {error}") from error
        return found

    def add(self, owner: str, url: str, root: bytes, now_s: int) -> PublishedMetadata:
        """Let a country join: verify its repository, delegate to it, and carry it.

        Needs the keys of the hub's targets. Raises FeedDown, ExchangeFault; then nothing stays.
        """
        if (wrong := names.wrong(names.NameKind.OWNER, owner)) is not None:
            raise ExchangeFault(f"{owner!r} is no owner: it {wrong}")
        path = self.state / "members" / f"{owner}.json"
        if path.exists():
            raise ExchangeFault(f"{owner} has joined already; remove {path} to let it join again")
        member = HubMember(owner, url, root.decode())
        published = self._carried(member, now_s)
        repository_files.put(path, msgspec.json.encode(member))
        return published

    def sync(self, now_s: int) -> dict[str, Fault | None]:
        """Fetch what is new of every member; one that fails keeps its last good version.

        What went wrong, by owner. The timestamp is renewed where it is due.
        """
        outcome: dict[str, Fault | None] = {}
        for member in self.members():
            try:
                self._carried(member, now_s)
                outcome[member.owner] = None
            except (FeedDown, ExchangeFault) as fault:
                outcome[member.owner] = fault
        return outcome

    def _carried(self, member: HubMember, now_s: int) -> PublishedMetadata:
        """Carry a member under the lock of `state`: what was seen of it belongs to one process."""
        place = self.folder / COUNTRIES / member.owner
        seen, root = self.state / "seen" / member.owner, member.root.encode()
        with repository_files.alone(self.state):
            client = TufClient(member.url, seen, root, self.limits)
            try:
                repository = client.refresh()
                if not is_carried(repository, place):
                    repository.only_of(member.owner)
                    carry(repository, place)
            finally:
                client.close()
            return self._delegated(member.owner, repository_files.read(place), now_s)

    def _delegated(self, owner: str, theirs: PublishedMetadata, now_s: int) -> PublishedMetadata:
        """Sign the hub's own metadata with a country's newest in them."""
        by = Signatory(self.ring, self.validity, now_s)
        with repository_files.alone(self.folder):
            published = repository_files.read(self.folder)
            trusted = theirs.read_root()
            role = trusted.roles["targets"]
            wanted = DelegatedRole(
                owner,
                role.keyids,
                role.threshold,
                terminating=True,
                paths=signing.paths_of(f"{owner}/*"),
            )
            if signing.delegation(published, owner) != wanted:
                keys = [trusted.keys[keyid] for keyid in role.keyids]
                published = signing.delegated(published, by, wanted, keys)
            for name, data in {owner: theirs.targets, **theirs.roles}.items():
                published = published.with_role(name, data)
            for target in theirs.all_targets().values():
                # The same file under the hub's own tree: a link costs no disk.
                repository_files.link(
                    repository_files.place_of(self.folder / COUNTRIES / owner, target),
                    repository_files.place_of(self.folder, target),
                )
            # Nothing is signed without news: followers would fetch metadata at each look.
            if published == repository_files.read(self.folder):
                return published
            new = signing.stamped(published, by)
            repository_files.write(self.folder, new)
            repository_files.prune(self.folder, new, repository_files.PRUNE_S)
            return new


FILES_MAX: Final = 200_000
BYTES_MAX: Final = 64 << 30
"""A country publishes some thousand files of some GB; a bundle of more would fill the disk."""


def _names_in(published: PublishedMetadata, roots: Iterator[int] | range) -> set[str]:
    """Return the path of every file that a bundle has."""
    names = {f"{METADATA}/{version}.root.json" for version in roots}
    names |= {f"{METADATA}/{name}" for name, _ in repository_files.names_of(published)}
    for target in published.all_targets().values():
        names.add(repository_files.place_of(Path(), target).as_posix())
    return names


def write_bundle(folder: Path, path: Path) -> int:
    """Write all that `folder` publishes, and nothing else, as the tar `path`; how many files.

    Raises ExchangeFault.
    """
    published = repository_files.read(folder)
    roots = range(1, repository_files.newest_root(folder) + 1)
    names = sorted(_names_in(published, roots))
    part = path.with_name(f"{path.name}.part")
    try:
        with tarfile.open(part, "w") as tar:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = (folder / name).stat().st_size
                info.mode = 0o644
                with (folder / name).open("rb") as file:
                    tar.addfile(info, file)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        where = f"{error.filename}: " if error.filename else ""
        raise ExchangeFault(f"{path} cannot be written: {where}{error.strerror}") from error
    return len(names)


def read_bundle(
    path: Path, folder: Path, root: bytes, state: Path, limits: TufLimits
) -> PublishedMetadata:
    """Verify a bundle with the owner's root and put it into `folder`, to be followed there.

    `state` remembers what was seen before, so that an older bundle is refused. Raises FeedDown,
    ExchangeFault; then `folder` is as it was.
    """
    unpacked = folder.with_name(f".{folder.name}.unpacked")
    with repository_files.alone(folder):
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            found = _unpack(path, unpacked)
            client = TufClient(str(unpacked), state, root, limits)
            repository = client.refresh()
            published = verified(repository)
            _exactly(path, found, published, roots_of(repository))
            return carry(repository, folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _exactly(
    path: Path, found: set[str], published: PublishedMetadata, roots: dict[int, bytes]
) -> None:
    wanted = _names_in(published, range(1, max(roots) + 1))
    if missing := sorted(wanted - found):
        text = f"{path} lacks {len(missing)} of its files, {missing[0]} among them"
        raise refused(FeedFault.MISSING, text)
    if extra := sorted(found - wanted):
        text = f"{path} has {len(extra)} files that are not signed, {extra[0]} among them"
        raise refused(FeedFault.NOT_THEIRS, text)


def _unpack(path: Path, into: Path) -> set[str]:
    """Unpack every member below `into`; their names. Raises FeedDown, ExchangeFault."""
    names: set[str] = set()
    size = 0
    try:
        into.mkdir(mode=0o700)  # a link in its place would lead elsewhere
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                name = safe_name(member.name)
                size += member.size
                _bounded(path, member, name in names, len(names), size)
                names.add(name)
                content = tar.extractfile(member)
                assert content is not None
                place = into / name
                place.parent.mkdir(parents=True, exist_ok=True)
                with content, place.open("xb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except tarfile.TarError as error:
        raise refused(FeedFault.MALFORMED, f"{path} is no tar: {error}") from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{path} cannot be unpacked: {where}{error.strerror or error}"
        raise ExchangeFault(text) from error
    return names


def _bounded(path: Path, member: tarfile.TarInfo, twice: bool, count: int, size: int) -> None:
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse() or twice:
        what = "is there twice" if twice else "is no plain file"
        raise refused(FeedFault.NOT_THEIRS, f"{path}: {member.name} {what}")
    if not member.name.startswith((f"{METADATA}/", f"{TARGETS}/")):
        raise refused(FeedFault.NOT_THEIRS, f"{path} has {member.name}, which is no part of one")
    if count >= FILES_MAX or size > BYTES_MAX:
        text = f"{path} has more than {FILES_MAX:,} files or {BYTES_MAX:,} bytes"
        raise refused(FeedFault.TOO_LARGE, text)

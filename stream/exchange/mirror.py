"""Copies a repository byte for byte, verified as a partner would: for hubs and bundles.

A copy has no key and needs none: who follows it trusts its owner's root, so the carrier can
neither alter nor forge, and can withhold news no longer than the owner's timestamp is good.
"""

from pathlib import Path
from typing import Final

from tuf.api.metadata import Metadata, Snapshot, TargetFile, Timestamp

from stream.core.model.errors import ExchangeFault
from stream.exchange import repository_files
from stream.exchange.repository_files import METADATA, Published
from stream.feeds.tuf.tuf_client import Repository
from stream.feeds.tuf.tuf_errors import metadata_file

PRUNE_S: Final = 86_400
"""Files that nothing leads to any more stay so long: someone may still be fetching them."""


def roots_of(repository: Repository) -> dict[int, bytes]:
    """All roots that were seen, by version."""
    history = repository.kept / "root_history"
    return {
        int(path.name.partition(".")[0]): path.read_bytes() for path in history.glob("*.root.json")
    }


def verified(repository: Repository) -> Published:
    """The repository's metadata as they were fetched and verified. Raises FeedDown."""
    roles = repository.roles()
    kept = repository.kept
    published = Published(
        (kept / "root.json").read_bytes(),
        (kept / "timestamp.json").read_bytes(),
        (kept / "snapshot.json").read_bytes(),
        (kept / "targets.json").read_bytes(),
        {role: (kept / metadata_file(role)).read_bytes() for role in roles if role != "targets"},
    )
    version = Metadata[Timestamp].from_bytes(published.timestamp).signed.snapshot_meta.version
    assert Metadata[Snapshot].from_bytes(published.snapshot).signed.version == version
    return published


def carry(repository: Repository, folder: Path) -> Published:
    """Bring all of a repository into `folder`, timestamp last. Raises FeedDown, ExchangeFault."""
    published = verified(repository)
    for target in published.all_targets().values():
        bring(repository, target, folder)
    for version, data in sorted(roots_of(repository).items()):
        repository_files.write_root(folder, version, data)
    repository_files.write(folder, published)
    repository_files.prune(folder, published, PRUNE_S)
    return published


def is_carried(repository: Repository, folder: Path) -> bool:
    """Whether `folder` holds this very version already."""
    place = folder / METADATA / "timestamp.json"
    if not place.is_file() or repository_files.newest_root(folder) != max(roots_of(repository)):
        return False
    return place.read_bytes() == (repository.kept / "timestamp.json").read_bytes()


def bring(repository: Repository, target: TargetFile, folder: Path) -> None:
    """One target, unless it is there. Raises FeedDown, ExchangeFault."""
    path = repository_files.place_of(folder, target)
    if path.is_file() and path.stat().st_size == target.length:
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

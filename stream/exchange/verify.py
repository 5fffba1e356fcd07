"""Looks at a repository as a partner would, and at whether a server gives what was published."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stream.core.model.errors import FeedDown
from stream.exchange import mirror, repository_files
from stream.exchange.repository import Standing, standings
from stream.feeds.tuf.tuf_client import Repository, TufClient, TufLimits


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: how each role stands, how many targets of how many bytes were compared.

    `faults`: what is wrong, in words; none: nothing is.
    """

    standings: tuple[Standing, ...]
    targets: int
    size: int
    faults: tuple[str, ...]


def verify(url: str, root: bytes, state: Path | None, limits: TufLimits, *, whole: bool) -> Report:
    """Everything at `url` verified from `root` on; `whole`: each target is fetched and compared.

    `state` remembers versions, so that a rollback is seen; None: nothing is remembered. Raises
    FeedDown where the metadata are not to be trusted.
    """
    with tempfile.TemporaryDirectory(prefix="ringfence-verify-") as scratch:
        place = Path(scratch)
        client = TufClient(url, state or place / "state", root, limits)
        try:
            repository = client.refresh()
            published = mirror.verified(repository)
            targets = published.all_targets()
            faults = list(_wrong(repository, sorted(targets), place)) if whole else []
        finally:
            client.close()
    size = sum(target.length for target in targets.values())
    return Report(tuple(standings(published)), len(targets), size, tuple(faults))


def _wrong(repository: Repository, names: list[str], place: Path) -> Iterator[str]:
    for name in names:
        try:
            repository.download(name, place / "target")
        except FeedDown as fault:
            yield f"{name}: {fault.detail}"


def serve_check(folder: Path, url: str, limits: TufLimits, *, whole: bool) -> Report:
    """Whether `url` serves what is published in `folder`. Raises FeedDown, ExchangeFault."""
    published = repository_files.read(folder)
    report = verify(
        url, (folder / "metadata" / "1.root.json").read_bytes(), None, limits, whole=whole
    )
    served = {standing.role: standing.version for standing in report.standings}
    behind = [
        f"{here.role}: version {served.get(here.role, 0)} is served, {here.version} was published"
        for here in standings(published)
        if served.get(here.role, 0) != here.version
    ]
    return Report(report.standings, report.targets, report.size, (*behind, *report.faults))

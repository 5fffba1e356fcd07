"""A whole repository as one tar, for who has no line: written, carried, read back, verified.

The list of files is known from signed metadata: one too many or too few, another kind of member, a
name that leads elsewhere, and the bundle is refused before anything of it is used.
"""

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stream.core.model.errors import ExchangeFault, FeedFault
from stream.exchange import mirror, repository_files
from stream.exchange.repository_files import METADATA, TARGETS, Published
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.feeds.tuf.tuf_errors import refused, safe_name

FILES_MAX: Final = 200_000
BYTES_MAX: Final = 64 << 30


def names_in(published: Published, roots: Iterator[int] | range) -> set[str]:
    """Every file that a bundle has, as its path."""
    names = {f"{METADATA}/{version}.root.json" for version in roots}
    names |= {f"{METADATA}/{name}" for name, _ in repository_files.names_of(published)}
    for target in published.all_targets().values():
        names.add(repository_files.place_of(Path(), target).as_posix())
    return names


def write(folder: Path, path: Path) -> int:
    """All that is published in `folder`, and nothing else, as the tar `path`; how many files.

    Raises ExchangeFault.
    """
    published = repository_files.read(folder)
    roots = range(1, repository_files.newest_root(folder) + 1)
    names = sorted(names_in(published, roots))
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


def read(path: Path, folder: Path, root: bytes, state: Path, limits: TufLimits) -> Published:
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
            published = mirror.verified(repository)
            _exactly(path, found, published, mirror.roots_of(repository))
            return mirror.carry(repository, folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _exactly(path: Path, found: set[str], published: Published, roots: dict[int, bytes]) -> None:
    wanted = names_in(published, range(1, max(roots) + 1))
    if missing := sorted(wanted - found):
        text = f"{path} lacks {len(missing)} of its files, {missing[0]} among them"
        raise refused(FeedFault.MISSING, text)
    if extra := sorted(found - wanted):
        text = f"{path} has {len(extra)} files that nobody signed, {extra[0]} among them"
        raise refused(FeedFault.NOT_THEIRS, text)


def _unpack(path: Path, into: Path) -> set[str]:
    """Every member as a file below `into`; their names. Raises FeedDown, ExchangeFault."""
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

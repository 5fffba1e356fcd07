"""Keep the files of a feed's versions on this machine, each with its report and rejected rows.

    <state_dir>/feeds/<name>/fetching.lock      held by the process that fetches
    <state_dir>/feeds/<name>/deciding.lock      held by the process that decides on a version
    <state_dir>/feeds/<name>/incoming           what is being fetched
    <state_dir>/feeds/<name>/versions/<id>/     file, report.json, rejects.csv

The last accepted version's file stays until the next one is accepted, a held one's until it is
decided. Others stay as long as the feed file says, at most `OTHERS_MAX` of them.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from stream.core.model import csv_cells
from stream.core.model.errors import UNREADABLE, FeedDown, FeedFault
from stream.feeds.feed import VersionRecord
from stream.feeds.formats.rows import InputUnreadable, RejectedRow, Wrong
from stream.lists.snapshot.durable_files import locked, write_synced, written
from stream.ops import private_files
from stream.ops.private_files import sync_folder

OTHERS_MAX: Final = 50
"""Versions kept besides the needed: a server with a new page each time must not fill the disk."""
FILE, REPORT, REJECTS = "file", "report.json", "rejects.csv"


class VersionFiles:
    """The folder of one feed. Methods raise FeedDown where it cannot be used."""

    def __init__(self, state_dir: Path, feed: str) -> None:
        self._state_dir = state_dir
        self._folder = state_dir / "feeds" / feed
        self._versions = self._folder / "versions"

    @property
    def incoming(self) -> Path:
        """The path that a transport writes."""
        return self._folder / "incoming"

    @contextmanager
    def fetching(self) -> Iterator[bool]:
        """Lock fetching of this feed; yield False if another process fetches it now."""
        with self._locked("fetching", wait=False) as mine:
            yield mine

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Lock decisions on versions of this feed, after another process that decides. Blocks.

        It is another lock than that of fetching: a person who decides must not wait for a server
        that hangs.
        """
        with self._locked("deciding", wait=True):
            yield

    @contextmanager
    def _locked(self, what: str, *, wait: bool) -> Iterator[bool]:
        with ExitStack() as stack:
            try:
                self._check_owner()
                self._versions.mkdir(parents=True, exist_ok=True)
                lock = locked(self._folder / f"{what}.lock", wait=wait)
                mine = stack.enter_context(lock)
            except OSError as error:
                raise _unwritable(error) from error
            yield mine

    def _check_owner(self) -> None:
        """Raises FeedDown(STATE_FOREIGN) where files are, or would be, another user's."""
        me = private_files.user_of(os.geteuid())
        if whose := private_files.stranger_to(self._state_dir):
            run = private_files.run_as(whose, "ringfence feeds ...")
            text = f"{self._state_dir} belongs to {whose}; {me} must not make files there"
            raise FeedDown(FeedFault.STATE_FOREIGN, f"{text}: {run}")
        found = private_files.foreign(self._made(), os.geteuid())
        if found is not None:
            path, whose = found
            text = f"{path} belongs to {whose}, and {me} cannot use it"
            run = private_files.run_as(me, "ringfence feeds ...")
            raise FeedDown(
                FeedFault.STATE_FOREIGN,
                f"{text}: chown -R {me}: {self._folder}; commands for feeds run as {me}: {run}",
            )

    def foreign(self) -> str:
        """Return a text on a file of another owner than the state directory; "": there is none.

        Raises OSError.
        """
        if not self._state_dir.is_dir():
            return ""
        uid = self._state_dir.stat().st_uid
        found = private_files.foreign(self._made(), uid)
        if found is None:
            return ""
        path, whose = found
        mine = private_files.user_of(uid)
        text = f"{path} belongs to {whose}, and {self._state_dir} to {mine}"
        return f"{text}: chown -R {mine}: {self._folder}"

    def _made(self) -> Iterator[Path]:
        """Yield the feed's folder, its content, and the versions' folders."""
        yield self._folder
        for folder in (self._folder, self._versions):
            if folder.is_dir():
                yield from folder.iterdir()

    def clear_incoming(self) -> None:
        """Delete the files of a fetch that was killed."""
        for path in self._folder.glob(f"{self.incoming.name}*"):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def place(self, version: str) -> Path:
        """Return the folder of a version, which may not exist."""
        return self._versions / version

    def file(self, version: VersionRecord) -> Path | None:
        """Return the file of a version, if it is kept here whole. Blocks: it is hashed."""
        path = self.place(version.id) / FILE
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        return path if found == version.sha256 else None

    def rejects(self, version: str) -> Path:
        """Return the path of a version's rejected rows. There is no file if none was rejected."""
        return self.place(version) / REJECTS

    def take(self, fetched: Path, version: str) -> Path:
        """Move a fetched file into its version's folder; return its new path.

        It survives a power cut from then on.
        """
        place = self.place(version)
        try:
            place.mkdir(parents=True, exist_ok=True)
            # In this order: a name that reaches the disk before the data has an empty file.
            with fetched.open("rb") as file:
                os.fsync(file.fileno())
            path = fetched.replace(place / FILE)
            sync_folder(place)
        except OSError as error:
            raise _unwritable(error) from error
        return path

    def report(self, record: VersionRecord) -> None:
        """Write a version's report beside its file."""
        data = msgspec.json.format(msgspec.json.encode(record), indent=1)
        try:
            self.place(record.id).mkdir(parents=True, exist_ok=True)
            write_synced(self.place(record.id) / REPORT, data)
        except OSError as error:
            raise _unwritable(error) from error

    def sweep(self, needed: frozenset[str], keep_s: int, now_s: int) -> int:
        """Delete versions besides `needed` that are too old or too many; return their count."""
        others = []
        for place in self._versions.glob("*"):
            report = _read_report(place / REPORT)
            if place.name not in needed:
                decided = report.verdict if report is not None else ""
                others.append((place.stat().st_mtime, place, decided))
        others.sort(reverse=True)  # the newest first: `rank` counts them
        gone = [
            place
            for rank, (at_s, place, decided) in enumerate(others)
            # One that was live has done its work: what it said is in the list store's history.
            if decided in {"accepted", "same", ""} or rank >= OTHERS_MAX or now_s - at_s > keep_s
        ]
        for place in gone:
            shutil.rmtree(place, ignore_errors=True)
        return len(gone)


REJECTS_COLUMNS = ("line", "reason", "value", "what_to_do", "row", "cell")
_ROW_END = "\r\n"


class Rejects:
    """Counts of rejected rows by reason, and a file of those rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[Wrong] = Counter()
        self._write: Callable[[str], object] | None = None

    def add(self, rows: Sequence[RejectedRow]) -> None:
        """Count rows, and write them if the file is open."""
        for row in rows:
            self.counts[row.wrong] += 1
            if self._write is not None:
                wrong, said = row.wrong, (row.detail, row.wrong.value, row.original, row.cell)
                cells = (row.line, wrong.label, *said)
                self._write(csv_cells.lines([map(csv_cells.cell, cells)], _ROW_END))

    @contextmanager
    def open(self) -> Iterator["Rejects"]:
        """Write the rows added inside to the file. Without one there is no file afterwards."""
        try:
            with os.fdopen(
                written(self.path), "w", encoding="utf-8", errors="surrogateescape", newline=""
            ) as file:
                file.write(csv_cells.lines([REJECTS_COLUMNS], _ROW_END))
                self._write = file.write
                yield self
        except OSError as error:
            raise InputUnreadable(f"{self.path}: {error.strerror}") from error
        finally:
            self._write = None
        if not self.counts:
            self.path.unlink()


def _read_report(path: Path) -> VersionRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=VersionRecord)
    except (OSError, *UNREADABLE):
        return None


def _unwritable(error: OSError) -> FeedDown:
    where = f"{error.filename}: " if error.filename else ""
    return FeedDown(FeedFault.DOWN, f"[lists] state_dir takes no files: {where}{error.strerror}")

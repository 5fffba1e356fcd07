"""The position read, in a file that survives kill -9 and a power cut: a small SQLite database.

It holds places and the names of a folder's files, no record and no number. One process at a time
holds it; a second one is refused.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final, Self

from stream.core.model.errors import Fault, FormatNewer
from stream.edge.ingest.file_lines import FilePosition, LineBatch
from stream.ops.stored_format import POSITIONS, check_number
from stream.ops.untrusted_folders import open_plain

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS place (
    one INTEGER PRIMARY KEY CHECK (one = 1), device INTEGER, inode INTEGER, head_size INTEGER,
    head_sum TEXT, at INTEGER, line INTEGER, touched_ns INTEGER
);
CREATE TABLE IF NOT EXISTS done (name TEXT PRIMARY KEY, inode INTEGER NOT NULL)
"""


class PositionFileUnusable(Fault):
    """The file of the position cannot be used."""


class PositionFile:
    """The position in one path. Use `with`; raises PositionFileUnusable on entering. Blocks."""

    def __init__(self, file: Path, path: str) -> None:
        """`path` is the file or folder that is read; a position of another path is refused."""
        self._file = file
        self._path = path
        self._base: sqlite3.Connection

    def __enter__(self) -> Self:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # SQLite makes it as the umask says, and its journals as it finds the file.
            os.close(open_plain(self._file, os.O_RDWR | os.O_CREAT))
            # One thread after another uses it: reads run in threads, so that a slow disk does not
            # delay the health pages.
            self._base = sqlite3.connect(
                self._file, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise PositionFileUnusable(f"{self._file} cannot be made: {error}") from error
        try:
            self._open()
        except BaseException:
            self._base.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def _open(self) -> None:
        try:
            # EXCLUSIVE refuses a second process. FULL costs an fsync a batch: after a power cut
            # the position must not be ahead of or behind what was committed.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._base.execute("PRAGMA synchronous = FULL")
            # EXCLUSIVE takes the lock with the first write, so there is one now.
            self._base.execute("BEGIN IMMEDIATE")
            for table in _TABLES.split(";"):
                self._base.execute(table)
            about = dict(self._base.execute("SELECT key, value FROM about"))
            if not about:
                rows = (("version", str(POSITIONS)), ("path", self._path))
                self._base.executemany("INSERT INTO about VALUES (?, ?)", rows)
            self._base.execute("COMMIT")
        except sqlite3.OperationalError as error:
            text = f"{self._file} cannot be used ({error}): another process may hold it"
            raise PositionFileUnusable(text) from error
        except sqlite3.DatabaseError as error:
            raise PositionFileUnusable(self._damaged(error)) from error
        if about:
            try:
                check_number(str(self._file), about.get("version"), POSITIONS)
            except FormatNewer as error:
                raise PositionFileUnusable(str(error)) from error
        if about and about.get("path") != self._path:
            raise PositionFileUnusable(
                f"{self._file} has the position in {about.get('path')}: name another file with "
                "--state"
            )

    def _damaged(self, error: Exception) -> str:
        return (
            f"{self._file} is damaged ({error}): remove it to read from the beginning; what was "
            "sent before is then sent again"
        )

    def place(self) -> FilePosition | None:
        """Return the position in the file; None: it was never read."""
        row = self._base.execute(
            "SELECT device, inode, head_size, head_sum, at, line, touched_ns FROM place"
        ).fetchone()
        return None if row is None else FilePosition(*row)

    def done(self) -> dict[str, int]:
        """Return the folder's files that were read, with their inodes."""
        return dict(self._base.execute("SELECT name, inode FROM done"))

    def keep(self, batch: LineBatch) -> None:
        """Save the position after `batch`, which Kafka has. Raises PositionFileUnusable."""
        try:
            self._base.execute("BEGIN IMMEDIATE")
            if (place := batch.place) is not None:
                self._base.execute(
                    "INSERT OR REPLACE INTO place VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
                    (place.device, place.inode, place.head_size, place.head_sum, place.at,
                     place.line, place.touched_ns),
                )  # fmt: skip
            self._base.executemany("INSERT OR REPLACE INTO done VALUES (?, ?)", batch.done)
            names = ((name,) for name in batch.gone)
            self._base.executemany("DELETE FROM done WHERE name = ?", names)
            self._base.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise PositionFileUnusable(f"{self._file} cannot be written: {error}") from error

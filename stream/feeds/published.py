"""Read a list as its owner publishes it, and make its rows this feed's reports.

It is one file: a tar of the parts of a snapshot, perhaps with changes that came after it, or
changes alone. Its entries may be fingerprints without numbers; then the owner's own filter goes
live with them. Blocks, and takes memory in proportion to the file.
"""

import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.core.filters.digests import fingerprints_in
from stream.core.filters.snapshot import (
    COLUMNS,
    FILTER_PART,
    MANIFEST_PART,
    Snapshot,
    read_snapshot,
)
from stream.core.model.entry import PREFIX_MARK, Category, Columns, text_of
from stream.core.model.errors import SnapshotUnreadable
from stream.core.numbers.codes import texts_of
from stream.feeds.diff import REMOVED, rows_of
from stream.feeds.feed import Feed
from stream.feeds.formats import states
from stream.feeds.formats.rows import InputUnreadable, Lines, RejectedRow, Wrong
from stream.feeds.gate import GateReason
from stream.feeds.parse import FUTURE_SLACK_S, Adjusted
from stream.feeds.row_checks import Bounds, Masks, VersionRead, check_rows
from stream.feeds.version_files import Rejects
from stream.lists.snapshot.circle_keys import key_id
from stream.lists.snapshot.merge import empty_columns, in_order, merged

CHANGES_PART: Final = "changes.jsonl"
"""In a tar: what was changed after the whole list was made."""
_MEMBERS: Final = frozenset({MANIFEST_PART, FILTER_PART, CHANGES_PART, *(c.name for c in COLUMNS)})


def is_whole_list(path: Path) -> bool:
    """Return whether the file is a whole list, and no changes alone."""
    with path.open("rb") as file:
        return file.read(1) != b"{"


class PublishedReader:
    """Reads a published version as this feed's reports, within its bounds."""

    def __init__(
        self, feed: Feed, key: bytes, bounds: Bounds, now_s: int, *, released: bool
    ) -> None:
        self._feed, self._key, self._bounds, self._now_s = feed, key, bounds, now_s
        self._released = released
        self._made = VersionRead()
        self._rejected: list[RejectedRow] = []

    def read(self, path: Path, rejects: Path, lines: Callable[[], Iterable[Lines]]) -> VersionRead:
        """Return the version in `path`, whose `lines` are read where it has changes alone.

        Raises InputUnreadable: then nothing of it may be used.
        """
        try:
            if is_whole_list(path):
                self._made.columns = self._whole(path)
            else:
                self._made.columns = self._of_states(states.read(lines))
        except SnapshotUnreadable as error:
            raise InputUnreadable(str(error)) from error
        except (tarfile.TarError, EOFError) as error:
            raise InputUnreadable(f"a damaged archive: {error}") from error
        except OSError as error:
            raise InputUnreadable(error.strerror or str(error)) from error
        with Rejects(rejects).open() as kept:
            kept.add(self._rejected)
        made = self._made
        made.good = len(made.columns) + made.dropped.total()
        made.rejected, made.adjusted = Counter(kept.counts), +made.adjusted
        return made

    def _whole(self, path: Path) -> Columns:
        """Return a whole list, with the changes since it was made."""
        parts = _parts(path)
        changes = parts.pop(CHANGES_PART, None)
        # Read without the key first: with a wrong one its reader could only say that nothing fits.
        _check_circle(read_snapshot(parts), self._key)
        snapshot = read_snapshot(parts, key=self._key)
        if snapshot.columns is None:
            self._made.bare, self._made.filter_data = True, parts[FILTER_PART]
            return empty_columns()
        later = states.read(lambda: [_lines(changes)]) if changes is not None else None
        if later is not None:
            self._hashed(later.arrays)
        # A change says all that holds of its number: what the list said of it before is not
        # judged, as it would be for ever where the owner has taken off what may not come here.
        over = later.arrays["fingerprint"] if later is not None else None
        columns = self._owned(_arrays(snapshot.columns), snapshot.columns.sources, over)
        if (columns.number == 0).any():
            self._made.filter_data = parts[FILTER_PART]
        if later is None:
            return columns
        since = self._of_states(later)
        self._made.late = frozenset(np.unique(since.fingerprint).tolist())
        return merged(columns, rows_of(since, since.category != REMOVED))

    def _of_states(self, rows: states.StateRows) -> Columns:
        self._rejected += rows.rejected
        return self._owned(rows.arrays, rows.sources)

    def _owned(
        self,
        arrays: dict[str, NDArray[Any]],
        sources: tuple[str, ...],
        over: NDArray[np.uint64] | None = None,
    ) -> Columns:
        """Return the rows that may go live, as this feed's; count the others, but those of `over`.

        `over` are the fingerprints of which a later change says all.
        """
        texts = self._hashed(arrays)
        if over is not None:
            stays = ~np.isin(arrays["fingerprint"], over)
            texts = texts[stays[arrays["number"] != 0]]
            arrays = {name: array[stays] for name, array in arrays.items()}
        arrays["source"], table = self._sources(arrays, sources)
        numbered = np.flatnonzero(arrays["number"] != 0)
        kept = self._in_time(arrays)
        kept &= self._let_through(arrays, table, numbered, texts)
        return in_order({name: array[kept] for name, array in arrays.items()}, table)

    def _hashed(self, arrays: dict[str, NDArray[Any]]) -> NDArray[np.bytes_]:
        """Hash the rows with numbers; return those as texts."""
        numbered = np.flatnonzero(arrays["number"] != 0)
        texts = texts_of(arrays["number"][numbered])
        # Hashed here: a row of a change file has no fingerprint beside its number. A copy, since
        # the columns of a snapshot are views of its bytes.
        arrays["fingerprint"] = arrays["fingerprint"].copy()
        arrays["fingerprint"][numbered] = fingerprints_in(texts, self._key)
        return texts

    def _sources(
        self, arrays: dict[str, NDArray[Any]], sources: tuple[str, ...]
    ) -> tuple[NDArray[np.int64], tuple[str, ...]]:
        """Return each row's source: this feed, with or without the row's own (`Feed.sources`).

        A report that a number is legitimate keeps its own source. One source has one report of a
        number, so the feed's own report would be replaced.
        """
        feed = self._feed.name
        full = [self._feed.source_of(name) for name in sources]
        table = list(dict.fromkeys([feed, *full]))
        places = {name: place for place, name in enumerate(table)}
        apart = np.array([places[name] for name in full] or [0], np.int64)[arrays["source"]]
        gone = arrays["category"] == REMOVED
        if self._feed.reading.sources == "both":
            return np.where(gone, 0, apart), tuple(table)
        objects = arrays["category"] == int(Category.LEGITIMATE)
        return np.where(objects, apart, 0), tuple(table)

    def _in_time(self, arrays: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Mark the rows that are not over, and cut claims to what the feed may claim."""
        reading, now, made = self._feed.reading, self._now_s, self._made
        gone = arrays["category"] == REMOVED
        confidence, reported = arrays["confidence"].copy(), arrays["reported_at"].copy()
        over = (confidence > reading.confidence_max) & ~gone
        ahead = (reported > now + FUTURE_SLACK_S) & ~gone
        made.adjusted[Adjusted.CONFIDENCE] += int(over.sum())
        made.adjusted[Adjusted.FUTURE] += int(ahead.sum())
        confidence[over] = reading.confidence_max
        arrays["confidence"], arrays["reported_at"] = confidence, np.minimum(reported, now)
        expires = arrays["expires_at"]
        ended: NDArray[np.bool_] = (expires != 0) & (expires <= now) & ~gone
        self._reject(arrays, ended, Wrong.EXPIRED)
        if reading.future == "reject":
            self._reject(arrays, ahead, Wrong.FUTURE)
            ended |= ahead
        return ~ended

    def _reject(self, arrays: dict[str, NDArray[Any]], rows: NDArray[np.bool_], why: Wrong) -> None:
        for row in np.flatnonzero(rows).tolist():
            text = text_of(int(arrays["number"][row])) or f"{int(arrays['fingerprint'][row]):016x}"
            self._rejected.append(RejectedRow(row + 1, why, "", text))

    def _let_through(
        self,
        arrays: dict[str, NDArray[Any]],
        table: tuple[str, ...],
        numbered: NDArray[np.int64],
        texts: NDArray[np.bytes_],
    ) -> NDArray[np.bool_]:
        masks = check_rows(texts, arrays["source"][numbered], table, self._bounds, self._now_s)
        short = self._too_short(arrays["number"][numbered])
        if short.any():
            masks[GateReason.PREFIX_TOO_SHORT] = short
        masks = self._everywhere(arrays, table, numbered, masks)
        gone = arrays["category"] == REMOVED
        return self._made.mark_allowed(masks, gone, released=self._released)

    def _everywhere(
        self,
        arrays: dict[str, NDArray[Any]],
        table: tuple[str, ...],
        numbered: NDArray[np.int64],
        masks: Masks,
    ) -> Masks:
        """Return masks over all rows, from those over rows with numbers.

        The number of a fingerprint is unknown. Our own numbers are recognised by theirs.
        """
        spread = {}
        for reason, mask in masks.items():
            whole = np.zeros(len(arrays["number"]), np.bool_)
            whole[numbered] = mask
            spread[reason] = whole
        own = [text for text in self._bounds.own if not text.endswith("*")]
        bare = arrays["number"] == 0
        if own and bare.any():
            ours = fingerprints_in(np.array(own, "S16"), self._key)
            found = np.isin(arrays["fingerprint"], ours) & bare
            reason = GateReason.OWN_SERVICE_NUMBER
            spread[reason] = found | spread.get(reason, found)
        if bare.any() and self._bounds.speaks_for:
            may = self._bounds.speaks_for | {""}
            wrong = np.array([name.partition("/")[2] not in may for name in table])
            found = wrong[arrays["source"]] & bare
            reason = GateReason.OWNER_NOT_ALLOWED
            spread[reason] = found | spread.get(reason, found)
        return spread

    def _too_short(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        short = np.zeros(len(codes), np.bool_)
        for row in np.flatnonzero(codes >= np.uint64(PREFIX_MARK)).tolist():
            text = text_of(int(codes[row]))
            short[row] = text is not None and self._feed.reading.prefixes.too_short(text)
        return short


def _parts(path: Path) -> dict[str, bytes]:
    """Return the members of the tar that the transport made."""
    parts: dict[str, bytes] = {}
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None or member.name not in _MEMBERS:
                raise InputUnreadable(f"{member.name[:80]!r} is no part of a list")
            parts[member.name] = file.read()
    return parts


def _check_circle(snapshot: Snapshot, key: bytes) -> None:
    manifest = snapshot.manifest
    if manifest.key_id != key_id(key):
        ours = key_id(key) or "none"
        raise InputUnreadable(
            f"its numbers are hashed with key {manifest.key_id or 'none'} of circle "
            f"{manifest.circle}, here is key {ours}. Get the file of a newer key from a member, "
            f"then `ringfence circle create {manifest.circle} --key-file FILE`: the list is then "
            "followed. Name another circle in the feed's file"
        )


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")


def _arrays(columns: Columns) -> dict[str, NDArray[Any]]:
    arrays = {c.name: getattr(columns, c.name) for c in COLUMNS}
    arrays["source"] = arrays["source"].astype(np.int64)
    return arrays

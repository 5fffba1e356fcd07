"""Move files of a drop folder after their verdict, with a report beside each. Blocks.

Nothing is overwritten. The report is written first, then one rename moves the file. After a kill in
between the next run finds the report's place again, since the report names the file.

Users who put files in may put links and FIFOs in too. No link below the folder is followed, and
only regular files are opened (`ops/untrusted_folders.py`).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from pathlib import Path

import msgspec

from stream.feeds.transports.file import mark_of
from stream.ops.untrusted_folders import Folder, NotPlain, folder_at


class DropPlace(StrEnum):
    """Folders beside the files that wait to be taken."""

    DONE = "done"
    HELD = "held"
    REFUSED = "refused"


ENDINGS = (".sha256", ".done")
"""Endings of companions of a file: its checksum, and a mark that it is finished."""
_LOCK = ".ringfence.lock"
_TEMPORARY = ".ringfence.tmp"
_NAME_BYTES_MAX = 255
"""The longest file name of Linux' file systems."""
_STEM_BYTES_MAX, _SUFFIX_BYTES_MAX = 180, 20
"""Bytes kept of a name: a number and the reports' endings have to fit into 255."""
_REPORT_BYTES_MAX = 1 << 20
"""A report of ours has some KB. Another file of that name may have any size."""


@dataclass(frozen=True, slots=True)
class _Drop:
    root: Folder
    places: Mapping[DropPlace, Folder]


@contextmanager
def _opened(path: Path) -> Iterator[_Drop]:
    """Open a folder, make its places, and lock it against other processes. Raises OSError."""
    with ExitStack() as stack:
        root = stack.enter_context(folder_at(path))
        places = {place: stack.enter_context(closing(root.made(place))) for place in DropPlace}
        stack.enter_context(root.locked(_LOCK))
        yield _Drop(root, places)


def prepare(path: Path) -> None:
    """Make the places, and tidy up after a kill. Raises OSError."""
    with _opened(path) as drop:
        for place in drop.places.values():
            place.remove(_TEMPORARY)
        found = drop.root.found()
        names = {one.name for one in found}
        for one in found:
            if one.name.endswith(ENDINGS) and Path(one.name).stem not in names:
                _follow(drop, one.name, one.about.st_ctime_ns)


def put_away(
    path: Path, name: str, mark: str, place: DropPlace, report: Mapping[str, object], text: str
) -> Path:
    """Move the file with this `mark` to its place; return the path of its report.

    A file of that `name` with another mark is a newer version and stays. Raises OSError.
    """
    with _opened(path) as drop:
        to, source = drop.places[place], _find(drop, mark)
        chosen = _free(to, name if source is None else source[1], mark)
        whole = {"file": name, "mark": mark, "verdict": place.value, **report}
        encoded = msgspec.json.format(msgspec.json.encode(whole, enc_hook=str), indent=2)
        # The report first: it claims the name, so a run after a kill chooses the same one.
        to.write(_report(chosen), encoded + b"\n", _TEMPORARY)
        to.write(f"{chosen}.report.txt", text.encode("utf-8", "replace"), _TEMPORARY)
        if source is not None and source != (to, chosen):
            folder, found = source
            folder.move(found, to, chosen)
            for ending in ENDINGS:
                if (companion := companion_of(folder, found, ending)) is not None:
                    folder.move(companion, to, f"{chosen}{ending}")
            if folder is not drop.root:
                for ending in (".report.json", ".report.txt"):
                    folder.remove(f"{found}{ending}")
    return path / place / _report(chosen)


def companion_of(folder: Folder, name: str, ending: str) -> str | None:
    """Return the name of a file's companion with this `ending`; None: there is none."""
    beside = f"{name}{ending}"
    fits = len(os.fsencode(beside)) <= _NAME_BYTES_MAX
    return beside if fits and folder.about(beside) is not None else None


def _find(drop: _Drop, mark: str) -> tuple[Folder, str] | None:
    """Return the file, which waits to be taken or is held."""
    for folder in (drop.root, drop.places[DropPlace.HELD]):
        for one in folder.found():
            if one.is_plain and mark_of(one.about) == mark:
                return folder, one.name
    return None


def _free(place: Folder, name: str, mark: str) -> str:
    """Return `name`, with a number before its ending if that name is taken."""
    stem, suffix = os.fsencode(Path(name).stem), os.fsencode(Path(name).suffix)
    fitting = os.fsdecode(stem[:_STEM_BYTES_MAX] + suffix[:_SUFFIX_BYTES_MAX])
    for one in _numbered(fitting):
        about = place.about(one)
        if about is not None:
            if mark_of(about) == mark:
                return one
        elif _is_ours(place, _report(one), mark):
            return one
    raise AssertionError("counting has no end")


def _numbered(name: str) -> Iterator[str]:
    yield name
    path = Path(name)
    for number in count(2):
        yield f"{path.stem}.{number}{path.suffix}"


def _report(name: str) -> str:
    return f"{name}.report.json"


def _is_ours(place: Folder, report: str, mark: str) -> bool:
    """Return whether a report's name is free, or has this file's report from before a kill."""
    try:
        held = msgspec.json.decode(place.read(report, _REPORT_BYTES_MAX), type=dict[str, object])
    except FileNotFoundError:
        return True
    except (NotPlain, ValueError):
        return False
    return held.get("mark") == mark


def _follow(drop: _Drop, companion: str, changed_ns: int) -> None:
    """Move a companion, which a kill left behind, to its file. One of a newer file stays."""
    for place in drop.places.values():
        moved = place.about(Path(companion).stem)
        later = moved is not None and moved.st_ctime_ns > changed_ns
        if later and place.about(companion) is None:
            drop.root.move(companion, place, companion)
            return

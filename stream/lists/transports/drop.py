"""Where files of a drop folder go after their verdict, with a report beside each. Blocks.

Nothing is ever overwritten. The report is written first and the file moved after it by one rename:
whoever is killed in between finds the same report's place again, since it names the file.
"""

import os
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import count
from pathlib import Path

import msgspec

from stream.lists.disk import locked
from stream.lists.transports.file import stat_mark


class Place(StrEnum):
    """The folders beside the files that are still to be taken."""

    DONE = "done"
    HELD = "held"
    REFUSED = "refused"


ENDINGS = (".sha256", ".done")
"""Files that belong to the file whose name is before it: a checksum, and "it is finished"."""
_LOCK = ".ringfence.lock"
_TEMPORARY = ".ringfence.tmp"
_NAME_BYTES_MAX = 255
_STEM_BYTES_MAX, _SUFFIX_BYTES_MAX = 180, 20
"""A name may have 255 bytes, and a number and the reports' endings come to it."""


def prepare(folder: Path) -> None:
    """Make the places, and put away what a kill left. Raises OSError."""
    for place in Place:
        (folder / place).mkdir(exist_ok=True)
    with locked(folder / _LOCK):
        for place in Place:
            (folder / place / _TEMPORARY).unlink(missing_ok=True)
        for path in list(folder.iterdir()):
            if path.suffix in ENDINGS and not path.with_suffix("").exists():
                _follow(folder, path)


def put_away(
    folder: Path, name: str, mark: str, place: Place, report: Mapping[str, object], text: str
) -> Path:
    """Move the file that looked like `mark` to its place; where its report lies now.

    `name` is how it is called. A file of that name which looks otherwise is a newer version and
    stays. Raises OSError.
    """
    with locked(folder / _LOCK):
        source = _find(folder, mark)
        chosen = _free(folder / place, name if source is None else source.name, mark)
        whole = {"file": name, "mark": mark, "verdict": place.value, **report}
        encoded = msgspec.json.format(msgspec.json.encode(whole, enc_hook=str), indent=2)
        _write(_beside(chosen, ".report.json"), encoded + b"\n")
        _write(_beside(chosen, ".report.txt"), text.encode("utf-8", "replace"))
        if source is not None and source != chosen:
            source.rename(chosen)
            for ending in ENDINGS:
                if (companion := companion_of(source, ending)) is not None:
                    companion.rename(_beside(chosen, ending))
            if source.parent != folder:
                for ending in (".report.json", ".report.txt"):
                    _beside(source, ending).unlink(missing_ok=True)
    return _beside(chosen, ".report.json")


def companion_of(path: Path, ending: str) -> Path | None:
    """The file that lies beside `path` under its name and `ending`, if there is one."""
    beside = _beside(path, ending)
    fits = len(os.fsencode(beside.name)) <= _NAME_BYTES_MAX
    return beside if fits and beside.exists() else None


def _find(folder: Path, mark: str) -> Path | None:
    """The file, among those to be taken or those held."""
    for path in (*folder.iterdir(), *(folder / Place.HELD).iterdir()):
        if path.is_file() and stat_mark(path) == mark:
            return path
    return None


def _free(place: Path, name: str, mark: str) -> Path:
    """`name`, or `name` with a number before its ending, where nobody else's file or report is."""
    stem, suffix = os.fsencode(Path(name).stem), os.fsencode(Path(name).suffix)
    fitting = os.fsdecode(stem[:_STEM_BYTES_MAX] + suffix[:_SUFFIX_BYTES_MAX])
    for path in _numbered(place / fitting):
        if path.exists():
            if stat_mark(path) == mark:
                return path
        elif _is_ours(_beside(path, ".report.json"), mark):
            return path
    raise AssertionError("counting has no end")


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem}.{number}{path.suffix}")


def _is_ours(report: Path, mark: str) -> bool:
    """Whether there is no report, or one that was written for this very file before a kill."""
    try:
        held = msgspec.json.decode(report.read_bytes(), type=dict[str, object])
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return held.get("mark") == mark


def _follow(folder: Path, companion: Path) -> None:
    """Move a companion after its file, which a kill left behind; a newer file's stays."""
    for place in Place:
        moved = folder / place / companion.with_suffix("").name
        if moved.exists() and moved.stat().st_ctime_ns > companion.stat().st_ctime_ns:
            target = _beside(moved, companion.suffix)
            if not target.exists():
                companion.rename(target)
                return


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(_TEMPORARY)
    temporary.write_bytes(data)
    temporary.replace(path)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)

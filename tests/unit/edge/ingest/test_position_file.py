"""The read position, in a file that reports any damage."""

import stat
from pathlib import Path

import pytest

from stream.edge.ingest.file_lines import DoneFile, FilePosition, LineBatch
from stream.edge.ingest.position_file import PositionFile, PositionFileUnusable

PLACE = FilePosition(2049, 2**40, 3, "abc", 2**40, 17, 1_795_000_000_000_000_000)


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    """The place, and the names that were done and not those that are gone."""
    file = tmp_path / "new" / "x.state"
    with PositionFile(file, "x") as state:
        assert (state.place(), state.done()) == (None, {})
        state.keep(LineBatch((), PLACE, [DoneFile("a", 1), DoneFile("b", 2)]))
        state.keep(LineBatch((), done=[DoneFile("b", 3)], gone=["a"]))
    with PositionFile(file, "x") as state:
        assert (state.place(), state.done()) == (PLACE, {"b": 3})


def test_one_process_at_a_time_and_one_path(tmp_path: Path) -> None:
    """A reader that would repeat a file, or use its position for another file, is refused."""
    file = tmp_path / "x.state"
    with (
        PositionFile(file, "x"),
        pytest.raises(PositionFileUnusable, match="another process may hold it"),
    ):
        PositionFile(file, "x").__enter__()
    with pytest.raises(PositionFileUnusable, match="has the position in x: name another file"):
        PositionFile(file, "y").__enter__()


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """It is not taken for an empty one, which would send everything again."""
    file = tmp_path / "x.state"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(
        PositionFileUnusable, match=r"is damaged .*: remove it to read from the beginning"
    ):
        PositionFile(file, "x").__enter__()
    with pytest.raises(PositionFileUnusable, match="cannot be made"):
        PositionFile(file / "below", "x").__enter__()


def test_the_place_is_its_owner_s_alone(tmp_path: Path) -> None:
    """Only its owner may read the file: it holds what was read, and from where."""
    file = tmp_path / "state" / "x.sqlite"
    with PositionFile(file, "/var/cdr"):
        assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}

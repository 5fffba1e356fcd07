"""The changes since a snapshot, on disk."""

import tracemalloc

import pytest

from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower.change_log import ChangeLogItem, append, forget, replay, rewrite


def items(*generations):
    return [ChangeLogItem(g, "add", '{"number": "+447700900001"}', f"c{g}") for g in generations]


def journal_file(folder):
    return folder / "changes.jsonl"


def test_changes_are_replayed_in_order(tmp_path):
    """Appended changes are replayed, from after the snapshot's generation."""
    assert not append(tmp_path, items(1, 2))
    assert not append(tmp_path, items(3))
    assert replay(tmp_path, 1) == replay(tmp_path, 1)
    assert replay(tmp_path, 1).items == tuple(items(2, 3))
    assert replay(tmp_path, 1).damaged is None


def test_no_journal_is_no_change(tmp_path):
    """A list that nothing changed has no journal."""
    assert replay(tmp_path, 0).items == ()


def test_all_workers_append_and_each_change_is_kept_once(tmp_path):
    """Every worker sees every change: the first one writes it."""
    assert not append(tmp_path, items(1, 2))
    assert not append(tmp_path, items(1, 2, 3))
    assert not append(tmp_path, items(2, 3))
    assert replay(tmp_path, 0).items == tuple(items(1, 2, 3))


def test_a_last_line_cut_short_is_told_and_written_over(tmp_path):
    """A process killed while writing leaves half a line: it is reported, not believed, and the next
    change takes its place.
    """
    append(tmp_path, items(1, 2))
    path = journal_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    read = replay(tmp_path, 0)
    assert read.items == tuple(items(1))
    assert "line 2" in (read.damaged or "")
    assert not append(tmp_path, items(2))
    assert replay(tmp_path, 0).items == tuple(items(1, 2))
    assert replay(tmp_path, 0).damaged is None


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"\xff\n", "line 2"),
        (b"\n", "line 2"),
        (b'{"generation": "2"}\n', "line 2: Expected `int`"),
        (b'{"generation":1,"op":"add","payload":"","chain":""}\n', "generation 1 after 1"),
    ],
)
def test_nothing_after_a_bad_line_is_believed(tmp_path, line, told):
    """Where a line cannot be read something is missing; what follows could be a wrong list."""
    append(tmp_path, items(1))
    with journal_file(tmp_path).open("ab") as file:
        file.write(line + b'\n{"generation":9,"op":"add","payload":"","chain":""}\n')
    read = replay(tmp_path, 0)
    assert read.items == tuple(items(1))
    assert told in (read.damaged or "")


def test_a_line_without_its_end_is_not_believed(tmp_path):
    """A line that reads well but lacks its end may have lost digits of its last number."""
    append(tmp_path, items(1, 2))
    path = journal_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert replay(tmp_path, 0).items == tuple(items(1))
    assert "line 2: cut short" in (replay(tmp_path, 0).damaged or "")


def test_a_change_takes_no_more_memory_beside_many(tmp_path):
    """A change reads the end of the log alone, so its memory does not grow with the log.

    Read as a whole for each change, it let a worker grow by 1 KB for each change since the base.
    """
    rewrite(tmp_path, items(*range(1, 20_001)))
    tracemalloc.start()
    try:
        assert not append(tmp_path, items(20_001))
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert len(replay(tmp_path, 0).items) == 20_001


@pytest.mark.parametrize("payload", ["", "x" * 10_000, "x" * 40_000])
@pytest.mark.parametrize("cut", [0, 1, 9, 50_000])
def test_an_append_finds_the_end_among_lines_of_any_length(tmp_path, payload, cut):
    """Long lines, and half ones at the end: nothing is kept twice, and nothing whole is lost."""
    wanted = [ChangeLogItem(g, "add", payload, f"c{g}") for g in range(1, 6)]
    append(tmp_path, wanted[:4])
    path = journal_file(tmp_path)
    path.write_bytes(path.read_bytes()[: -cut or None])
    assert not append(tmp_path, wanted)
    assert replay(tmp_path, 0).items == tuple(wanted)
    assert replay(tmp_path, 0).damaged is None


def test_an_append_tells_that_changes_before_it_are_missing(tmp_path):
    """Changes that a list's state gives have no chain, and may lack generations; no others may."""
    whole = [ChangeLogItem(1, "add", "{}", ""), *items(4)]
    rewrite(tmp_path, whole)
    assert not append(tmp_path, items(4, 5))
    assert append(tmp_path, items(7, 8))
    assert append(tmp_path, items(10))
    assert replay(tmp_path, 0).items == (*whole, *items(5, 7, 8, 10))
    rewrite(tmp_path, items(10))
    assert not append(tmp_path, items(10, 11))


def test_a_log_that_is_begun_again_as_it_was_is_not_written(tmp_path):
    """Each start reads all lists again: the disk has nothing to do for those that stayed."""
    rewrite(tmp_path, items(1, 2))
    before = journal_file(tmp_path).stat().st_ino
    rewrite(tmp_path, items(1, 2))
    assert journal_file(tmp_path).stat().st_ino == before
    rewrite(tmp_path, items(1, 2, 3))
    assert replay(tmp_path, 0).items == tuple(items(1, 2, 3))


def test_what_a_snapshot_holds_is_forgotten(tmp_path):
    """After a new snapshot only what came later is kept."""
    append(tmp_path, items(1, 2, 3))
    forget(tmp_path, 2)
    assert replay(tmp_path, 0).items == tuple(items(3))
    forget(tmp_path, 3)
    assert not append(tmp_path, items(4))
    assert replay(tmp_path, 0).items == tuple(items(4))


def test_a_disk_that_refuses_is_our_own_fault(tmp_path):
    """The message names the file."""
    journal_file(tmp_path).mkdir()
    with pytest.raises(SnapshotUnreadable, match=r"change log: .*changes\.jsonl"):
        append(tmp_path, items(1))

"""The state directory: what a machine starts from."""

import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from stream.core.filters.snapshot import MANIFEST_PART, open_snapshot, read_snapshot
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower import change_log, check_marks, local_state
from stream.lists.follower.change_log import ChangeLogItem
from stream.lists.follower.snapshot_directory import (
    last_good,
    list_folder,
    remove_list,
    write_snapshot,
)
from stream.lists.follower.table_cache import table_for
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.snapshot.durable_files import locked
from tests.support.builders import columns_of

KEY = b"key"
KEYS = {"circle": KEY}


def parts_of(name="national", generation=1, count=40):
    columns = columns_of([f"+44770090{i:04d}" for i in range(count)], KEY)
    return build_snapshot(Version("TH", name, generation, "circle", KEY, "k"), columns, 9)


def put(state, **how):
    return write_snapshot(state, parts_of(**how), key=KEY)


def flip(path: Path, at=-1):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def names(folder: Path):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_what_was_put_on_the_shelf_is_found(tmp_path):
    """The newest generation of each list is opened at the next start."""
    put(tmp_path, generation=1)
    put(tmp_path, generation=2)
    put(tmp_path, name="police", generation=5)
    found = last_good(tmp_path, KEYS)
    assert {name: s.manifest.generation for name, s in found.snapshots.items()} == {
        "TH/national": 2,
        "TH/police": 5,
    }
    assert not found.refused


def test_an_empty_shelf_is_no_error(tmp_path):
    """A first start has nothing to start from, and says so by an empty answer."""
    found = last_good(tmp_path / "nothing")
    assert (found.snapshots, found.refused) == ({}, {})


@pytest.mark.parametrize("part", sorted(parts_of()))
def test_the_older_generation_stands_in_for_a_damaged_one(tmp_path, part):
    """One flipped bit in any part of the newest: the older is used, and the fault is named."""
    put(tmp_path, generation=1)
    newest = put(tmp_path, generation=2)
    flip(newest / part)
    found = last_good(tmp_path, KEYS)
    assert found.snapshots["TH/national"].manifest.generation == 1
    assert list(found.refused) == [newest]
    assert part in found.refused[newest]


def test_a_list_with_nothing_good_left_is_only_refused(tmp_path):
    """Two damaged generations: no snapshot, two reasons."""
    for generation in (1, 2):
        flip(put(tmp_path, generation=generation) / "number")
    found = last_good(tmp_path, KEYS)
    assert not found.snapshots
    assert len(found.refused) == 2


def test_a_snapshot_in_another_lists_place_is_refused(tmp_path):
    """A folder that was renamed by hand is not taken for another list or generation."""
    place = put(tmp_path, generation=1)
    place.rename(place.with_name("000000000009"))
    (refused,) = last_good(tmp_path).refused.values()
    assert "holds TH/national, generation 1" in refused


def test_a_key_that_changed_is_noticed_at_start(tmp_path):
    """With another key nothing would match: refused, not enforced in vain."""
    put(tmp_path)
    (refused,) = last_good(tmp_path, {"circle": b"new"}).refused.values()
    assert "16 of 16 probe numbers absent" in refused


def test_two_generations_are_kept(tmp_path):
    """The newest and one to fall back to; older ones and their changes go."""
    folder = list_folder(tmp_path, "TH/national")
    change_log.append(folder, [ChangeLogItem(g, "add", "{}", "c") for g in range(1, 6)])
    for generation in (1, 2, 3, 4):
        put(tmp_path, generation=generation)
    assert [n for n in names(folder) if n.isdigit()] == ["000000000003", "000000000004"]
    assert [item.generation for item in change_log.replay(folder, 0).items] == [4, 5]


def test_writing_what_lies_there_whole_changes_nothing(tmp_path):
    """The second worker of a machine finds what the first wrote."""
    place = put(tmp_path)
    inode = place.stat().st_ino
    assert put(tmp_path) == place
    assert place.stat().st_ino == inode


def test_a_damaged_snapshot_is_written_anew(tmp_path):
    """The same generation, put again, replaces one whose bytes have rotted."""
    flip(put(tmp_path) / "category")
    place = put(tmp_path)
    assert not last_good(tmp_path, KEYS).refused
    open_snapshot(place, keys=KEYS)


@pytest.mark.parametrize("name", ["number", "filter.bloom", MANIFEST_PART])
def test_bad_parts_never_reach_the_shelf(tmp_path, name):
    """A part that is missing or altered is refused; nothing is left, and the old one stays."""
    put(tmp_path, generation=1)
    good = parts_of(generation=2)
    altered = good[name][:-1] + bytes([good[name][-1] ^ 1])
    for bad in ({n: d for n, d in good.items() if n != name}, {**good, name: altered}):
        with pytest.raises(SnapshotUnreadable):
            write_snapshot(tmp_path, bad, key=KEY)
    assert names(list_folder(tmp_path, "TH/national")) == ["000000000001"]


def test_the_wrong_key_never_reaches_the_shelf(tmp_path):
    """Parts whose probes are absent under the circle's key are refused."""
    with pytest.raises(SnapshotUnreadable, match="probe numbers absent"):
        write_snapshot(tmp_path, parts_of(), key=b"other")


def test_a_full_disk_is_our_own_fault(tmp_path):
    """A disk error has our own name, with the place."""
    (tmp_path / "lists").write_text("a file where a folder should be")
    with pytest.raises(SnapshotUnreadable, match=r"snapshot directory: .*lists"):
        put(tmp_path)


def test_what_a_dead_writer_left_is_removed_at_start(tmp_path):
    """Kill -9 in the middle of writing leaves a half-written folder; the next start removes it."""
    folder = list_folder(tmp_path, "TH/national")
    script = f"""
        import os, signal
        from pathlib import Path
        from stream.lists.follower import snapshot_directory
        from tests.unit.lists.follower.test_snapshot_directory import KEY, parts_of
        def die(path, data):
            path.write_bytes(data[:5])
            os.kill(os.getpid(), signal.SIGKILL)
        snapshot_directory.write_synced = die
        snapshot_directory.write_snapshot(Path({str(tmp_path)!r}), parts_of(), key=KEY)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert names(folder) == [".writing-1"]
    assert not last_good(tmp_path).snapshots
    assert names(folder) == []


def test_a_writer_at_work_is_not_disturbed(tmp_path):
    """A worker that starts while another writes leaves the half-written folder alone."""
    folder = list_folder(tmp_path, "TH/national")
    put(tmp_path)
    (folder / ".writing-2").mkdir()
    with locked(folder / ".lock"):
        assert set(last_good(tmp_path).snapshots) == {"TH/national"}
        assert ".writing-2" in names(folder)


def test_a_reader_makes_no_file(tmp_path):
    """`sudo ringfence doctor` made a lock that the worker's own user could not open afterwards."""
    folder = list_folder(tmp_path, "TH/national")
    change_log.append(folder, [ChangeLogItem(0, "empty", "circle", "")])
    before = sorted(folder.iterdir())
    lists, refused = local_state.last_good(tmp_path, KEYS, 0)
    assert (set(lists), refused) == ({"TH/national"}, {})
    assert sorted(folder.iterdir()) == before


def test_a_start_needs_no_lock_to_read(tmp_path):
    """A lock of another user or a read-only disk: what a dead writer left stays, and is not read.

    A folder in the place of the lock file is refused as they are, to root too.
    """
    folder = put(tmp_path).parent
    (folder / ".writing-2").mkdir()
    (folder / ".lock").unlink()
    (folder / ".lock").mkdir()
    lists, refused = local_state.last_good(tmp_path, KEYS, 0)
    assert (set(lists), refused) == ({"TH/national"}, {})


def test_a_start_reads_while_another_worker_writes(tmp_path):
    """The list is found whole each time, with every change that came after the snapshot read.

    A generation is a change in the change log first, then a snapshot that holds it. A reader that
    took an older snapshot and the shortened change log would lack the changes between.
    """
    folder = put(tmp_path, generation=0).parent
    last = 60

    def writes() -> None:
        for at in range(1, last + 1):
            change_log.append(folder, [ChangeLogItem(at, "mark", "", f"{at}")])
            if at % 3 == 0:
                put(tmp_path, generation=at)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(writes)
        before = 0
        while not done.done():
            lists, refused = local_state.last_good(tmp_path, KEYS, 0)
            assert not refused
            live = lists["TH/national"].live
            newest = max((i.generation for i in change_log.replay(folder, -1).items), default=0)
            assert before <= live.generation <= newest
            before = live.generation
        done.result()
    assert local_state.last_good(tmp_path, KEYS, 0)[0]["TH/national"].live.generation == last


@pytest.mark.parametrize("amid", ["open_snapshot", "_sums", "_read"])
def test_a_snapshot_taken_away_while_it_is_read_is_replaced_by_the_newest(
    tmp_path, monkeypatch, amid
):
    """Two newer ones came from another worker: the list stays, and nothing is called damaged."""
    folder = put(tmp_path, generation=1).parent
    change_log.append(folder, [ChangeLogItem(4, "mark", "", "4")])
    real = getattr(check_marks, amid)

    def meanwhile(*args, **how):
        monkeypatch.setattr(check_marks, amid, real)
        put(tmp_path, generation=2)
        put(tmp_path, generation=3)
        return real(*args, **how)

    monkeypatch.setattr(check_marks, amid, meanwhile)
    lists, refused = local_state.last_good(tmp_path, KEYS, 0)
    assert not refused
    held = lists["TH/national"].live
    assert held.snapshot is not None
    assert (held.snapshot.manifest.generation, held.generation) == (3, 4)


def test_a_list_removed_while_it_is_read_is_no_more(tmp_path, monkeypatch):
    """Another worker takes a withdrawn list from the disk: the start goes on without it."""
    put(tmp_path, name="police")
    folder = put(tmp_path).parent

    def meanwhile(place, **how):
        if place.parent == folder:
            remove_list(tmp_path, "TH/national", 1)
        return open_snapshot(place, **how)

    monkeypatch.setattr(check_marks, "open_snapshot", meanwhile)
    lists, refused = local_state.last_good(tmp_path, KEYS, 0)
    assert (set(lists), refused) == ({"TH/police"}, {})


def test_a_removed_list_leaves_nothing(tmp_path):
    """A list that is no more does not come back; removing it twice is no error."""
    put(tmp_path)
    for _ in range(2):
        remove_list(tmp_path, "TH/national", 1)
    assert not last_good(tmp_path).snapshots


def test_a_list_that_was_made_again_keeps_its_new_base(tmp_path):
    """The base is written before the worker's thread comes to remove the list that was deleted."""
    folder = put(tmp_path, generation=2).parent
    put(tmp_path, generation=9)
    remove_list(tmp_path, "TH/national", 8)
    assert names(folder) == ["000000000009"]
    assert set(last_good(tmp_path, KEYS).snapshots) == {"TH/national"}


def snapshots(count, generation=1, size=40):
    return [read_snapshot(parts_of(f"l{i}", generation, size + i)) for i in range(count)]


def test_the_table_is_compiled_once_and_shared(tmp_path):
    """The first worker compiles the table, the next opens the same file, read-only."""
    held = snapshots(9)
    table = table_for(tmp_path, held)
    (path,) = (tmp_path / "tables").glob("*.table")
    inode = path.stat().st_ino
    again = table_for(tmp_path, held)
    assert path.stat().st_ino == inode
    assert np.array_equal(table, again)
    assert not again.flags.writeable
    for index, snapshot in enumerate(held):
        bits = ((table >> table.dtype.type(index)) & table.dtype.type(1)).astype(np.uint8)
        assert np.array_equal(np.packbits(bits, bitorder="little"), snapshot.filter.bits)


@pytest.mark.parametrize("suffix", ["*.table", "*.json"])
def test_a_damaged_table_is_compiled_again(tmp_path, suffix):
    """A flipped bit in a table would let a listed call through; being a cache, it is rebuilt."""
    held = snapshots(2)
    good = table_for(tmp_path, held).copy()
    (path,) = (tmp_path / "tables").glob(suffix)
    flip(path, 5)
    assert np.array_equal(table_for(tmp_path, held), good)


def test_old_tables_go_and_the_last_two_of_a_list_stay(tmp_path):
    """A rebuilt list leaves its last table for workers that are behind; older ones go. Tables of
    other lists stay.
    """
    tables = tmp_path / "tables"
    other = table_for(tmp_path, [read_snapshot(parts_of("other"))])
    (other_path,) = tables.glob("*.table")
    for generation in range(1, 5):
        held = table_for(tmp_path, snapshots(2, generation, 40 + generation))
    assert len(list(tables.glob("*.table"))) == len(list(tables.glob("*.json"))) == 3
    assert other_path.exists()
    newest = table_for(tmp_path, snapshots(2, 4, 44))
    assert np.array_equal(held, newest)
    assert len(other)


def test_filters_mapped_from_the_shelf_make_the_same_table(tmp_path):
    """The table of mapped filters is that of filters in memory, and they can still be probed."""
    parts = parts_of()
    mapped = open_snapshot(write_snapshot(tmp_path, parts, key=KEY))
    table = table_for(tmp_path, [mapped])
    in_memory = read_snapshot(parts)
    assert np.array_equal(table_for(tmp_path / "b", [in_memory]), table)
    assert np.array_equal(mapped.filter.bits, in_memory.filter.bits)


def test_the_order_of_lists_makes_another_table(tmp_path):
    """Bit i is list i: the same lists in another order are another table."""
    held = snapshots(2)
    first, second = table_for(tmp_path, held), table_for(tmp_path, held[::-1])
    assert not np.array_equal(first, second)


def test_workers_that_start_together_compile_once(tmp_path):
    """Two processes that want the same table at once end with one file, and both have it whole."""
    script = f"""
        from pathlib import Path
        from tests.unit.lists.follower.test_snapshot_directory import snapshots
        from stream.lists.follower.table_cache import table_for
        print(int(table_for(Path({str(tmp_path)!r}), snapshots(3)).sum()))
    """
    running = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    sums = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(sums) == 1
    assert len(list((tmp_path / "tables").glob("*.table"))) == 1
    assert not list((tmp_path / "tables").glob(".writing*"))

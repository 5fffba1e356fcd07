"""Lists as a machine that starts finds them in its state directory."""

from pathlib import Path

from stream.lists.follower import change_log, local_state
from stream.lists.follower.change_log import ChangeLogItem
from stream.lists.follower.snapshot_directory import list_folder, write_snapshot
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.store.store_codec import Op
from tests.support.builders import NOW_S, columns_of

NAME = "TH/national"
KEYS = {"plain": b""}


def with_log(state_dir: Path, *items: ChangeLogItem) -> None:
    """Write a snapshot of generation 2 with one number, and a change log after it."""
    columns = columns_of(["+447700900101"])
    version = Version("TH", "national", 2, "plain", b"", "")
    write_snapshot(state_dir, build_snapshot(version, columns, NOW_S), key=b"")
    change_log.append(list_folder(state_dir, NAME), items)


def test_a_list_that_was_withdrawn_is_not_enforced_again(tmp_path):
    """Also if it came back since: a kill between its steps and its removal from the disk."""
    withdrawn = ChangeLogItem(3, Op.DELETE, "", "c3")
    with_log(tmp_path, withdrawn)
    assert local_state.last_good(tmp_path, KEYS, NOW_S) == ({}, {})
    change_log.append(list_folder(tmp_path, NAME), [ChangeLogItem(4, Op.CREATE, "plain", "c4")])
    assert local_state.last_good(tmp_path, KEYS, NOW_S) == ({}, {})


def test_changes_after_a_snapshot_count(tmp_path):
    """The position is that of the last change, with its chain."""
    removed = '{"fingerprint":"00000000000000aa","number":null}'
    with_log(tmp_path, ChangeLogItem(3, Op.REMOVE, removed, "c3"))
    held = local_state.last_good(tmp_path, KEYS, NOW_S)[0][NAME]
    assert (held.mark.generation, held.mark.chain, len(held.live.overlay)) == (3, "c3", 1)

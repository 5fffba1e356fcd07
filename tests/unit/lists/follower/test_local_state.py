"""Lists as a machine that starts finds them in its state directory."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from stream.core.filters.overlay import Change
from stream.core.model.errors import StateDirRefuses
from stream.lists.follower import change_log, local_state
from stream.lists.follower.change_log import ChangeLogItem
from stream.lists.follower.local_state import SnapshotWriter, UnwrittenBase
from stream.lists.follower.snapshot_directory import list_folder, write_snapshot
from stream.lists.snapshot.build import Version, build_snapshot
from stream.lists.store.heads import ListHead, ListState, Numbered
from stream.lists.store.store_codec import Op, Step, chain_after, entries_json
from stream.ops.tasks import cancelled
from tests.support.builders import NOW_S, columns_of, entry
from tests.support.waiting import until

NAME = "TH/national"
KEYS = {"plain": b""}


def parts_of(generation: int, name: str = "national") -> dict[str, bytes]:
    """The snapshot of a list with one number."""
    version = Version("TH", name, generation, "plain", b"", "")
    return build_snapshot(version, columns_of(["+447700900101"]), NOW_S)


def with_log(state_dir: Path, *items: ChangeLogItem) -> None:
    """Write a snapshot of generation 2 with one number, and a change log after it."""
    write_snapshot(state_dir, parts_of(2), key=b"")
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


def test_a_change_log_that_the_disk_does_not_give_is_refused_alone(tmp_path):
    """A start goes on with the snapshot, as where the log's first line is damaged."""
    with_log(tmp_path, ChangeLogItem(3, Op.REMOVE, "{}", "c3"))
    log = list_folder(tmp_path, NAME) / "changes.jsonl"
    log.unlink()
    log.mkdir()
    lists, refused = local_state.last_good(tmp_path, KEYS, NOW_S)
    assert lists[NAME].mark.generation == 2
    assert "changes.jsonl" in refused[NAME]


def without_a_base(*numbers: str, circle: str = "plain") -> ListState:
    """The state of a list that numbers were added to, one by one, and that has no base."""
    entries = [entry(number) for number in numbers]
    changes = [
        Numbered(at, Op.ADD, entries_json([one]), Change(one.fingerprint, (one,)))
        for at, one in enumerate(entries, 2)
    ]
    head = ListHead(NAME, len(numbers) + 1, 0, "c", circle, len(numbers), NOW_S, "a", len(numbers))
    return ListState(head, tuple(changes))


def test_a_list_without_a_base_starts_from_its_changes(tmp_path):
    """It needs no snapshot on the disk; one of a base that the list store has no more goes."""
    with_log(tmp_path)
    for count in (0, 2):
        state = without_a_base(*["+447700900101", "+447700900102"][:count])
        local_state.record_whole(tmp_path, state)
        held = local_state.last_good(tmp_path, KEYS, NOW_S)[0][NAME]
        assert (held.mark.generation, held.mark.chain) == (count + 1, "c")
        assert held.live.overlay.entries.keys() == {c.change.fingerprint for c in state.changes}
        snapshot = held.live.snapshot
        assert snapshot is not None
        assert snapshot.is_empty
        assert (snapshot.manifest.list_name, held.live.generation) == (NAME, count + 1)
        assert not [path for path in list_folder(tmp_path, NAME).iterdir() if path.is_dir()]


NUMBERS = [f"+44770090010{digit}" for digit in range(1, 6)]


def steps_after(state: ListState, *numbers: str) -> list[Step]:
    """The steps that add numbers to a list of that state."""
    steps, chain = [], state.head.chain
    for generation, number in enumerate(numbers, state.head.generation + 1):
        payload = entries_json([entry(number)])
        chain = chain_after(chain, generation, Op.ADD, payload)
        steps.append(Step(f"{generation}-0", NAME, generation, Op.ADD, payload, chain))
    return steps


def held_at(state_dir: Path, chain: str) -> set[int]:
    """The numbers of the list that a start finds, at this chain."""
    lists, refused = local_state.last_good(state_dir, KEYS, NOW_S)
    assert (refused, lists[NAME].mark.chain) == ({}, chain)
    return set(lists[NAME].live.overlay.entries)


def test_a_worker_that_starts_leaves_the_steps_of_one_that_runs(tmp_path):
    """It read the list before they came, and writes it after. Nobody writes them a second time."""
    state = without_a_base(*NUMBERS[:2])
    steps = steps_after(state, *NUMBERS[2:])
    local_state.record_whole(tmp_path, state)
    local_state.record(tmp_path, NAME, steps[:2])
    local_state.record_whole(tmp_path, state)
    local_state.record(tmp_path, NAME, steps[2:])
    local_state.record(tmp_path, NAME, steps)
    assert held_at(tmp_path, steps[-1].chain) == {entry(number).fingerprint for number in NUMBERS}


def test_steps_of_another_list_store_do_not_stay(tmp_path):
    """It was restored from an older copy, and issued the same generations again."""
    state = without_a_base(*NUMBERS[:2])
    old, new = steps_after(state, *NUMBERS[2:4]), steps_after(state, NUMBERS[4])
    local_state.record_whole(tmp_path, state)
    local_state.record(tmp_path, NAME, old)
    local_state.record_whole(tmp_path, state, new)
    expected = {entry(number).fingerprint for number in (*NUMBERS[:2], NUMBERS[4])}
    assert held_at(tmp_path, new[-1].chain) == expected


async def test_two_workers_that_start_together_leave_no_gap(tmp_path, monkeypatch):
    """One read the list later than the other, and appends a step amid the other's writing."""
    state, later = without_a_base(*NUMBERS[:2]), without_a_base(*NUMBERS[:4])
    steps = steps_after(state, *NUMBERS[2:])
    head = replace(later.head, chain=steps[1].chain)
    local_state.record_whole(tmp_path, ListState(head, later.changes))
    rewrite = change_log.rewrite

    def amid(*what):
        rewrite(*what)
        local_state.record(tmp_path, NAME, steps[2:])

    monkeypatch.setattr(change_log, "rewrite", amid)
    writer = SnapshotWriter(tmp_path, lambda *_: None)
    writer.replaced(state)
    writer.steps(NAME, steps[:2])
    writing = asyncio.create_task(writer.run())
    folder = list_folder(tmp_path, NAME)
    await until(lambda: change_log.replay(folder, 5).items, "the last step")
    await cancelled(writing)
    assert held_at(tmp_path, steps[-1].chain) == {entry(number).fingerprint for number in NUMBERS}


def test_a_base_takes_the_place_of_the_empty_beginning(tmp_path):
    """Changes after the base count on it; where it is damaged the list is not taken for empty."""
    local_state.record_whole(tmp_path, without_a_base("+447700900101"))
    with_log(tmp_path, ChangeLogItem(3, Op.REMOVE, "{}", "c3"))
    held = local_state.last_good(tmp_path, KEYS, NOW_S)[0][NAME]
    assert held.mark.generation == 3
    assert held.live.snapshot is not None
    assert not held.live.snapshot.is_empty
    (list_folder(tmp_path, NAME) / f"{2:012d}" / "filter.bloom").write_bytes(b"")
    lists, refused = local_state.last_good(tmp_path, KEYS, NOW_S)
    assert (lists, len(refused)) == ({}, 1)


def test_a_list_without_a_base_needs_its_circles_key_and_its_beginning(tmp_path):
    """It is refused with the key that lacks; a log that does not begin it makes no list."""
    local_state.record_whole(tmp_path, without_a_base(circle="asean"))
    lists, refused = local_state.last_good(tmp_path, KEYS, NOW_S)
    assert not lists
    assert "asean" in refused[NAME]
    change_log.rewrite(list_folder(tmp_path, NAME), [ChangeLogItem(4, Op.ADD, "{}", "c4")])
    assert local_state.last_good(tmp_path, KEYS, NOW_S) == ({}, {})


def with_a_base(generation: int, name: str = NAME) -> ListState:
    """The state of a list that a base of `generation` was just published for."""
    return ListState(ListHead(name, generation, generation, "c", "plain", 1, NOW_S, "a", 0), ())


def refused_by_the_disk(*_: object) -> None:
    raise StateDirRefuses("no space left on device")


@pytest.mark.parametrize("full", [False, True], ids=["a busy writer", "a full disk"])
async def test_a_list_that_was_made_again_is_there_at_the_next_start(tmp_path, monkeypatch, full):
    """The follower writes its base before the writer comes to the deletion, or comes to it again.

    The disk has no room for another list's base: all that was to be written is tried again.
    """
    with_log(tmp_path)
    told = asyncio.Event()
    writer = SnapshotWriter(tmp_path, lambda *_: told.set())
    writing = asyncio.create_task(writer.run())
    writer.gone(NAME, 3)
    if full:
        other = with_a_base(5, "TH/large")
        writer.replaced(other, UnwrittenBase(other.head, parts_of(5, "large"), b"", 2))
        with monkeypatch.context() as patched:
            patched.setattr(UnwrittenBase, "write", refused_by_the_disk)
            await told.wait()
    write_snapshot(tmp_path, parts_of(9), key=b"")
    writer.replaced(with_a_base(9))
    await until(lambda: change_log.replay(list_folder(tmp_path, NAME), 3).items, "a change log")
    await cancelled(writing)
    lists, refused = local_state.last_good(tmp_path, KEYS, NOW_S)
    assert lists[NAME].mark.generation == 9
    assert not refused

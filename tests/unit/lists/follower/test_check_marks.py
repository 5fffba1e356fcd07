"""Marks of snapshots: checked wholly once, and every byte again at each start."""

from pathlib import Path

import pytest
from crc32c import crc32c

from stream.core.filters import snapshot as core_snapshot
from stream.core.filters.snapshot import MANIFEST_PART
from stream.core.model.errors import SnapshotUnreadable
from stream.lists.follower import check_marks
from stream.lists.follower.check_marks import crc_of, open_checked
from stream.lists.snapshot.build import Version, build_snapshot
from tests.support.builders import columns_of

KEY = b"key"
KEYS = {"circle": KEY}
MARK = "checked.json"


def parts(generation=1) -> dict[str, bytes]:
    columns = columns_of([f"+44770090{i:04d}" for i in range(3000)], KEY)
    return build_snapshot(Version("TH", "national", generation, "circle", KEY, "k"), columns, 9)


PARTS = parts()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in PARTS.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def wholly(monkeypatch) -> list[str]:
    """The snapshots whose parts were compared by SHA-256."""
    seen: list[str] = []
    check = core_snapshot._check_parts

    def noted(manifest, *rest):
        seen.append(manifest.list_name)
        check(manifest, *rest)

    monkeypatch.setattr(core_snapshot, "_check_parts", noted)
    return seen


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_snapshot_is_checked_wholly_once(folder, wholly):
    """The second start reads the same bytes again, by a checksum that is ten times as fast."""
    first, second = open_checked(folder, KEYS), open_checked(folder, KEYS)
    assert wholly == ["TH/national"]
    assert first.manifest == second.manifest
    assert first.columns is not None
    assert second.columns is not None
    assert (first.columns.fingerprint == second.columns.fingerprint).all()


@pytest.mark.parametrize("part", sorted(PARTS))
@pytest.mark.parametrize("at", [0, -1])
def test_a_bit_that_flips_later_is_seen(folder, part, at):
    """In any part: the mark is of the bytes that were checked, and damage is refused by name."""
    open_checked(folder, KEYS)
    flip(folder / part, at)
    with pytest.raises(SnapshotUnreadable, match=part):
        open_checked(folder, KEYS)


def test_damage_gets_no_mark(folder):
    """A snapshot that was refused is refused again."""
    flip(folder / "number", 5)
    for _ in range(2):
        with pytest.raises(SnapshotUnreadable, match="number"):
            open_checked(folder, KEYS)
    assert not (folder / MARK).exists()


@pytest.mark.parametrize(
    "torn", [b"", b"{", b"[]", b"\xff", b'{"checks":1,"manifest":"","crc32c":{}}']
)
def test_a_torn_mark_is_no_mark(folder, wholly, torn):
    """It is not synced to the disk: without power it may be anything."""
    (folder / MARK).write_bytes(torn)
    open_checked(folder, KEYS)
    open_checked(folder, KEYS)
    assert wholly == ["TH/national"]


def test_a_mark_of_another_snapshot_does_not_count(folder, wholly):
    """Nor one of a version that checked less."""
    open_checked(folder, KEYS)
    for name, data in parts(generation=2).items():
        (folder / name).write_bytes(data)
    open_checked(folder, KEYS)
    assert len(wholly) == 2


def test_a_mark_of_fewer_checks_is_old(folder, wholly, monkeypatch):
    """A version that checks more checks each snapshot once more."""
    open_checked(folder, KEYS)
    monkeypatch.setattr(check_marks, "_CHECKS", check_marks._CHECKS + 1)
    open_checked(folder, KEYS)
    assert len(wholly) == 2


def test_a_disk_that_takes_no_mark_costs_time_alone(folder, monkeypatch):
    """The lists are in force all the same."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert open_checked(folder, KEYS).manifest.list_name == "TH/national"
    assert not (folder / MARK).exists()


def test_a_key_that_changed_is_noticed_in_spite_of_the_mark(folder):
    """The probes are looked up with the key at each start."""
    open_checked(folder, KEYS)
    with pytest.raises(SnapshotUnreadable, match="16 of 16 probe numbers absent"):
        open_checked(folder, {"circle": b"new"})


def test_a_part_that_is_gone_is_named(folder):
    """As without a mark."""
    open_checked(folder, KEYS)
    (folder / "source").unlink()
    with pytest.raises(SnapshotUnreadable, match="source"):
        open_checked(folder, KEYS)


def test_the_checksum_goes_over_the_whole_file(tmp_path, monkeypatch):
    """Over any number of pieces, the last one shorter."""
    monkeypatch.setattr(check_marks, "_CHUNK", 7)
    data = (PARTS[MANIFEST_PART])[:200]
    (tmp_path / "part").write_bytes(data)
    assert crc_of(tmp_path / "part") == crc32c(data)

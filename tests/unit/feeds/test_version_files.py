"""Where versions of a feed are kept, for how long, and who may touch them."""

import os
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.feed import VersionRecord
from stream.feeds.formats.rows import RejectedRow, Wrong
from stream.feeds.transports.landing import landing
from stream.feeds.version_files import OTHERS_MAX, Rejects, VersionFiles
from stream.ops import private_files

NOW_S = 1_800_000_000
DAY_S = 86_400


def kept(versions: VersionFiles) -> set[str]:
    return {path.parent.name for path in versions.place("x").parent.glob("*/report.json")}


def put(versions: VersionFiles, name: str, verdict: str, age_s: int = 0) -> None:
    record = VersionRecord(
        id=name,
        sha256=name,
        size=1,
        at_s=NOW_S - age_s,
        decided_at_s=NOW_S - age_s,
        whole=True,
        verdict=verdict,
    )
    versions.report(record)
    path = versions.place(name) / "file"
    path.write_text(name)
    path.chmod(0o600)
    os.utime(versions.place(name), (NOW_S - age_s, NOW_S - age_s))


def test_what_is_needed_stays_and_the_rest_goes_in_time(tmp_path: Path) -> None:
    """The live and the held version stay; refused ones as long as the feed's file says."""
    versions = VersionFiles(tmp_path, "kh")
    put(versions, "live", "accepted", 90 * DAY_S)
    put(versions, "waits", "held", 90 * DAY_S)
    put(versions, "before", "accepted")
    put(versions, "young", "refused", 29 * DAY_S)
    put(versions, "old", "refused", 31 * DAY_S)
    assert versions.sweep(frozenset({"live", "waits"}), 30 * DAY_S, NOW_S) == 2
    assert kept(versions) == {"live", "waits", "young"}


def test_a_server_with_ever_new_pages_does_not_fill_the_disk(tmp_path: Path) -> None:
    """However many versions are refused, the newest few are kept."""
    versions = VersionFiles(tmp_path, "kh")
    for number in range(OTHERS_MAX + 10):
        put(versions, f"v{number}", "refused", number)
    versions.sweep(frozenset(), 30 * DAY_S, NOW_S)
    assert kept(versions) == {f"v{number}" for number in range(OTHERS_MAX)}


def test_one_at_a_time(tmp_path: Path) -> None:
    """While one process fetches a feed another is refused; a person may decide."""
    versions, others = VersionFiles(tmp_path, "kh"), VersionFiles(tmp_path, "kh")
    with versions.fetching() as mine, others.fetching() as other, others.deciding():
        assert (mine, other) == (True, False)
    with versions.fetching() as mine:
        assert mine


def test_what_a_killed_fetch_left_behind_is_cleared(tmp_path: Path) -> None:
    """Half a file of a fetch that was killed is not taken for a version."""
    versions = VersionFiles(tmp_path, "kh")
    with versions.fetching():
        versions.incoming.write_text("half")
        versions.incoming.with_name("incoming.part").write_text("half")
        versions.clear_incoming()
    assert not list(versions.incoming.parent.glob("incoming*"))


@pytest.mark.parametrize("what", ["the folder", "a lock", "a version"])
def test_state_of_another_user_is_a_fault_that_names_it(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a bug that ends the feed: path, owner, and what to type."""
    versions = VersionFiles(tmp_path, "kh")
    with versions.fetching():
        put(versions, "v1", "accepted")
    made = {
        "the folder": tmp_path / "feeds" / "kh",
        "a lock": tmp_path / "feeds" / "kh" / "fetching.lock",
        "a version": versions.place("v1"),
    }[what]
    uid, me = os.geteuid(), private_files.user_of(os.geteuid())
    looked = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        found = list(looked(path))
        found[4] = uid + (path == made)
        return os.stat_result(found)

    monkeypatch.setattr(Path, "lstat", lstat)
    stranger = private_files.user_of(uid + 1)
    for lock in (versions.fetching, versions.deciding):
        with pytest.raises(FeedDown) as caught, lock():
            pass
        assert caught.value.reason is FeedFault.STATE_FOREIGN
        assert f"{made} belongs to {stranger}, and {me} cannot use it" in caught.value.detail
        assert f"chown -R {me}: {tmp_path}/feeds/kh" in caught.value.detail
        assert f"sudo -u {me} ringfence feeds" in caught.value.detail
    assert f"{made} belongs to {stranger}" in versions.foreign()


def test_a_lock_that_cannot_be_opened_is_a_fault(tmp_path: Path) -> None:
    """Whatever else stands in its place, the feed says so and goes on trying."""
    versions = VersionFiles(tmp_path, "kh")
    with versions.fetching():
        pass
    lock = tmp_path / "feeds" / "kh" / "fetching.lock"
    lock.unlink()
    lock.mkdir()
    said = r"down: \[lists\] state_dir takes no files: .*lock"
    with pytest.raises(FeedDown, match=said), versions.fetching():
        pass


def test_a_version_is_on_the_disk_before_anything_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file and the name of it: Redis says after a power cut that it is live."""
    synced: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    versions = VersionFiles(tmp_path, "kh")
    with versions.fetching():
        versions.incoming.write_text("+4477009001")
        versions.take(versions.incoming, "v1")
    assert synced == ["incoming", "v1"]


def test_everything_kept_of_a_feed_is_private(tmp_path: Path) -> None:
    """Whole numbers stand in versions and their rejected rows: other users cannot read them."""
    versions = VersionFiles(tmp_path, "kh")
    with versions.fetching(), versions.deciding():
        fetched = versions.incoming
        with landing(fetched, 100, "test") as land:
            land.write(b"+447700900001\n")
        versions.take(fetched, "v1")
        put(versions, "v1", "held")
        with Rejects(versions.rejects("v1")).open() as kept:
            kept.add([RejectedRow(1, Wrong.NOT_A_NUMBER, "x", "x")])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"file", "report.json", "rejects.csv", "fetching.lock"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []

"""Where versions of a feed are kept, for how long, and who may touch them."""

import os
from pathlib import Path

from stream.lists.feed import VersionRecord
from stream.lists.feed_shelf import OTHERS_MAX, Versions

NOW_S = 1_800_000_000
DAY_S = 86_400


def kept(versions: Versions) -> set[str]:
    return {path.parent.name for path in versions.place("x").parent.glob("*/report.json")}


def put(versions: Versions, name: str, verdict: str, age_s: int = 0) -> None:
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
    (versions.place(name) / "file").write_text(name)
    os.utime(versions.place(name), (NOW_S - age_s, NOW_S - age_s))


def test_what_is_needed_stays_and_the_rest_goes_in_time(tmp_path: Path) -> None:
    """The live and the held version stay; refused ones as long as the feed's file says."""
    versions = Versions(tmp_path, "kh")
    put(versions, "live", "accepted", 90 * DAY_S)
    put(versions, "waits", "held", 90 * DAY_S)
    put(versions, "before", "accepted")
    put(versions, "young", "refused", 29 * DAY_S)
    put(versions, "old", "refused", 31 * DAY_S)
    assert versions.sweep(frozenset({"live", "waits"}), 30 * DAY_S, NOW_S) == 2
    assert kept(versions) == {"live", "waits", "young"}


def test_a_server_with_ever_new_pages_does_not_fill_the_disk(tmp_path: Path) -> None:
    """However many versions are refused, the newest few are kept."""
    versions = Versions(tmp_path, "kh")
    for number in range(OTHERS_MAX + 10):
        put(versions, f"v{number}", "refused", number)
    versions.sweep(frozenset(), 30 * DAY_S, NOW_S)
    assert kept(versions) == {f"v{number}" for number in range(OTHERS_MAX)}


def test_one_at_a_time(tmp_path: Path) -> None:
    """While one process fetches a feed another is told that it may not; a person may decide."""
    versions, others = Versions(tmp_path, "kh"), Versions(tmp_path, "kh")
    with versions.fetching() as mine, others.fetching() as other, others.deciding():
        assert (mine, other) == (True, False)
    with versions.fetching() as mine:
        assert mine


def test_what_a_killed_fetch_left_behind_is_cleared(tmp_path: Path) -> None:
    """Half a file of a fetch that was killed is not taken for a version."""
    versions = Versions(tmp_path, "kh")
    with versions.fetching():
        versions.incoming.write_text("half")
        versions.incoming.with_name("incoming.part").write_text("half")
        versions.clear_incoming()
    assert not list(versions.incoming.parent.glob("incoming*"))

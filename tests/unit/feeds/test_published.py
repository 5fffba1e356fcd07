"""A list as its owner publishes it: the whole, and what was changed since."""

import io
from collections.abc import Sequence
from pathlib import Path

from stream.core.filters.overlay import Change
from stream.core.model.entry import Entry
from stream.core.numbers.emergency import EmergencyNumbers
from stream.feeds.feed import Feed
from stream.feeds.formats.states import states
from stream.feeds.gate import GateReason
from stream.feeds.published import CHANGES_PART
from stream.feeds.read import read_version
from stream.feeds.row_checks import Bounds, VersionRead
from stream.feeds.transports.landing import bundle, landing
from stream.lists.snapshot.build import Version, build_snapshot, columns_from
from tests.support.builders import NOW_S, entry

OURS, THEIRS, OTHER = "+66212345670", "+85531000001", "+85531000002"
BOUNDS = Bounds(codes=None, own=(OURS,), speaks_for=frozenset(), emergency=EmergencyNumbers({}))
FEED = Feed(name="kh-scam", list_name="KH/scam", owner="KH", contact="", format="snapshot")


def read(folder: Path, whole: Sequence[Entry], changes: Sequence[Change]) -> VersionRead:
    """The version of a whole list and the changes since, read as a follower does."""
    made = Version("KH", "scam", 1, "plain", b"", "")
    parts = dict(build_snapshot(made, columns_from(whole), NOW_S))
    parts[CHANGES_PART] = "".join(states("KH/scam", 1, 2, changes, numbers=True)).encode()
    path = folder / "version"
    with landing(path, 1 << 20, "KH") as land, bundle(land) as tar:
        for name, data in parts.items():
            tar.add(name, len(data), io.BytesIO(data))
    return read_version(FEED, path, folder / "rejects", b"", BOUNDS, NOW_S)


def change(number: str, *reports: Entry) -> Change:
    """The reports on a number from now on."""
    return Change(entry(number).fingerprint, reports)


def test_what_its_owner_took_off_is_not_judged(tmp_path):
    """A number of ours, put on by mistake and taken off: the list was held until its next base.

    Found by the simulation of partners: a country had removed the number at once, and one that
    began to follow it got nothing.
    """
    whole = [entry(number) for number in (OURS, THEIRS)]
    held = read(tmp_path, whole, [change(OTHER, entry(OTHER))])
    assert held.found[GateReason.OWN_SERVICE_NUMBER] == 1
    clean = read(tmp_path, whole, [change(OURS), change(OTHER, entry(OTHER))])
    assert not +clean.found
    assert clean.good == 2
    assert set(clean.columns.fingerprint.tolist()) == {
        entry(number).fingerprint for number in (THEIRS, OTHER)
    }


def test_what_came_later_is_judged(tmp_path):
    """A number of ours that only the changes have counts, and goes live with none of them."""
    made = read(tmp_path, [entry(THEIRS)], [change(OURS, entry(OURS)), change(THEIRS)])
    assert made.found[GateReason.OWN_SERVICE_NUMBER] == 1
    assert not len(made.columns)

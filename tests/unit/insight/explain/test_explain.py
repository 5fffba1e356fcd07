"""Contacts for the removal of a number from a list."""

from pathlib import Path

import pytest

from stream.config.settings import Settings, load
from stream.core.filters.digests import fingerprints_of
from stream.insight.explain.explain import contacts_of, way_off
from tests.support.builders import fingerprint_of


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    feeds = tmp_path / "feeds"
    feeds.mkdir()
    (feeds / "cert.toml").write_text('[owner]\nname = "KH"\ncontact = "feeds@cert.example"\n')
    (feeds / "police.toml").write_text('[owner]\nname = "TH"\ncontact = "desk@police.example"\n')
    (feeds / "broken.toml").write_text("[owner\n")
    (feeds / "mute.toml").write_text("owner = 5\n")
    config = tmp_path / "ringfence.toml"
    config.write_text(f'feeds.dir = "{feeds}"\nowners.KH.contact = "unblock@cert.example"\n')
    return load([config], {})


def test_settings_go_before_feed_files(settings):
    """An owner's contact is that of the settings, else its feed's; unreadable feeds say nothing."""
    assert contacts_of(settings) == {
        "KH": "unblock@cert.example",
        "TH": "desk@police.example",
        "feed:cert": "feeds@cert.example",
        "feed:police": "desk@police.example",
    }


def test_the_owner_and_the_feeds_that_report_it(settings):
    """Asked are the list's owner and each feed with a report, once; others are not known."""
    reports = [{"source": s} for s in ("cert", "cert/phishing", "police/desk 3", "somchai")]
    asked = way_off({"owner": "KH", "reports": reports}, contacts_of(settings))
    assert asked == [
        *("KH: unblock@cert.example", "cert: feeds@cert.example", "police: desk@police.example")
    ]
    assert way_off({"owner": "XX", "reports": []}, contacts_of(settings)) == []


def test_a_number_is_asked_for_by_its_prefixes_too():
    """A number may be listed by itself, or by any beginning with a star, all digits included."""
    found = fingerprints_of("+8552390", b"")
    assert found[0] == fingerprint_of("+8552390")
    assert {fingerprint_of("+85523*"), fingerprint_of("+8552390*")} <= {*found}
    assert len(found) == len({*found}) == 8

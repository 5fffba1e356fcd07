"""A partner who follows: clocks, roots, a full disk."""

import os
import time
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from tests.support.repositories import Country, Lying, serving

LATEST = "KH/scam/latest.json"


@pytest.mark.parametrize("apart_s", [-600, 600])
def test_clocks_ten_minutes_apart_do_no_harm(tmp_path: Path, apart_s: int) -> None:
    """The list is read, whichever side is ahead."""
    kh = Country(tmp_path / "kh", now_s=int(time.time()) + apart_s)
    kh.publish()
    assert kh.client(tmp_path / "state").refresh().read(LATEST, 100)


def test_a_clock_that_is_a_day_behind_is_named(tmp_path: Path) -> None:
    """The signature's own time tells; else everything expired would look good."""
    kh = Country(tmp_path / "kh", now_s=int(time.time()) + 86_400)
    kh.publish()
    with pytest.raises(FeedDown, match=r"24.0 h behind its signer's.*NTP") as caught:
        kh.client(tmp_path / "state").refresh()
    assert caught.value.reason is FeedFault.CLOCK


def dated(at_s: float, handler: Lying) -> bool:
    text = formatdate(at_s, usegmt=True)
    handler.date_time_string = lambda *_: text  # type: ignore[method-assign]
    return False


def test_a_clock_that_is_a_day_ahead_is_named(tmp_path: Path) -> None:
    """All looks expired; the web server's clock tells that it is ours which is wrong."""
    then_s = int(time.time()) - 86_400
    kh = Country(tmp_path / "kh", now_s=then_s)
    kh.publish()
    with serving(kh.folder, partial(Lying, say=partial(dated, then_s))) as url:
        client = kh.client(tmp_path / "state", url)
        with pytest.raises(FeedDown, match=r"24.0 h ahead of its web server's") as caught:
            client.refresh()
        client.close()
    assert caught.value.reason is FeedFault.CLOCK


def test_another_countrys_root_opens_nothing(kh: Country, tmp_path: Path) -> None:
    """A repository is trusted by its own root alone."""
    th = Country(tmp_path / "th", "TH")
    kh.root = th.root
    with pytest.raises(FeedDown) as caught:
        kh.client(tmp_path / "state").refresh()
    assert caught.value.reason is FeedFault.UNKNOWN_KEY
    kh.root = b"{}"
    with pytest.raises(FeedDown) as caught:
        kh.client(tmp_path / "other").refresh()
    assert caught.value.reason is FeedFault.MALFORMED


def test_a_full_disk_keeps_what_was_good(kh: Country, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partner whose disk is full says so, and goes on when there is space again."""
    client = kh.client(kh.home / "state")
    client.refresh()
    kh.publish({"latest.json": b"new"})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for where in ("tempfile.NamedTemporaryFile", "shutil.copyfileobj"):
        monkeypatch.setattr(where, full)
        with pytest.raises(FeedDown, match=r"No space left on device.*last good list") as caught:
            client.refresh().download(LATEST, kh.home / "latest")
        assert caught.value.reason is FeedFault.DISK
        assert not (kh.home / "latest").exists()
        monkeypatch.undo()
    assert client.refresh().read(LATEST, 100) == b"new"


def test_the_beginning_of_a_file_that_nobody_asks_for_again_goes(
    kh: Country, tmp_path: Path
) -> None:
    """Its owner replaced the file after a download broke off. One of today waits for its rest."""
    partial = tmp_path / "state" / "partial"
    partial.mkdir(parents=True)
    for name, age_s in (("old", 90_000), ("new", 3600)):
        (partial / name).write_bytes(b"half of it")
        os.utime(partial / name, (time.time() - age_s,) * 2)
    assert kh.client(tmp_path / "state").refresh().read(LATEST, 100)
    assert [path.name for path in partial.iterdir()] == ["new"]

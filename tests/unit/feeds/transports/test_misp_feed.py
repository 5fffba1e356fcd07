"""MISP feeds: a folder on disk or on a web server, as one file."""

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.open import read_rows
from stream.feeds.transports.file import FileSettings, FileTransport
from stream.feeds.transports.misp_feed import MispFeedSettings, MispFeedTransport
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.scripted_web import ScriptedWeb, ok, scripted_web
from tests.support.web_server import refused

GOLDEN = Path(__file__).parents[3] / "golden/feeds/misp-feed/folder/input"
OLD, NEW = "1111aaaa-0000-4000-8000-000000000001", "2222bbbb-0000-4000-8000-000000000002"


def numbers(path: Path) -> set[str | None]:
    """The numbers that the format reads out of a folder or of one file; the file is deleted."""
    found = {number for rows in read_rows(path, "misp-feed") for number in rows.number}
    if path.is_file():
        path.unlink()
    return found


def event(number: str) -> bytes:
    attribute = {"type": "phone-number", "value": number, "to_ids": True, "timestamp": "1700000000"}
    return json.dumps({"Event": {"uuid": OLD, "info": "x", "Attribute": [attribute]}}).encode()


def manifest(**times: int) -> bytes:
    names = {"old": OLD, "new": NEW}
    return json.dumps({names[one]: {"timestamp": at_s} for one, at_s in times.items()}).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A feed's folder as PyMISP wrote it."""
    return Path(shutil.copytree(GOLDEN, tmp_path / "feed"))


async def test_a_folder_comes_as_one_file(folder: Path, into: Path) -> None:
    """The same bytes whenever it is the same folder, and the rows that its events have."""
    transport = FileTransport(FileSettings(path=str(folder)))
    first = await transport.fetch({}, into)
    assert isinstance(first, Fetched)
    assert numbers(into) == numbers(folder) != set()
    assert await transport.fetch(first.remember, into) == Unchanged(first.remember)
    for path in folder.iterdir():
        os.utime(path, (1_800_000_000, 1_800_000_000))
    assert isinstance(await transport.fetch(first.remember, into), Unchanged)
    assert not into.exists()


async def test_a_folder_without_a_manifest_is_none(folder: Path, into: Path) -> None:
    """That is what is missing, by name."""
    (folder / "manifest.json").unlink()
    with pytest.raises(FeedDown, match=r"missing: .*feed/manifest\.json does not exist"):
        await FileTransport(FileSettings(path=str(folder))).fetch({}, into)


async def test_a_folder_over_its_limit_is_refused(folder: Path, into: Path) -> None:
    """All files together count."""
    with pytest.raises(FeedDown, match="too_large"):
        await FileTransport(FileSettings(path=str(folder), bytes_max=1000)).fetch({}, into)
    assert not list(into.parent.iterdir())


@pytest.fixture
async def web() -> AsyncIterator[ScriptedWeb]:
    """A server with a feed of one event."""
    made = "Last-Modified: Sun, 13 Sep 2020 12:26:40 GMT"
    answers = {
        "/feed/manifest.json": ok(manifest(old=100), made),
        f"/feed/{OLD}.json": ok(event("+1")),
    }
    async with scripted_web(answers) as web:
        yield web


def over(web: ScriptedWeb, **fields) -> MispFeedTransport:
    return MispFeedTransport(MispFeedSettings(url=web.url("/feed"), **fields), {})


async def fetched(web: ScriptedWeb, into: Path, remembered=None, **fields) -> Fetched:
    result = await over(web, **fields).fetch(remembered or {}, into)
    assert isinstance(result, Fetched)
    assert [path.name for path in into.parent.iterdir()] == [into.name]
    return result


async def test_a_servers_folder_comes_as_one_file(folder: Path, into: Path) -> None:
    """A feed written by PyMISP, behind any web server."""
    answers = {f"/feed/{path.name}": ok(path.read_bytes()) for path in folder.iterdir()}
    async with scripted_web(answers) as web:
        first = await fetched(web, into)
    assert first.whole
    assert numbers(into) == numbers(folder) != set()


async def test_what_changed_since_is_an_increment(web: ScriptedWeb, into: Path) -> None:
    """Only the events that the manifest says are newer; now and then all of them."""
    first = await fetched(web, into)
    assert (first.whole, first.as_of_s, numbers(into)) == (True, 1_600_000_000, {"+1"})
    assert await over(web).fetch(first.remember, into) == Unchanged(first.remember)
    web.answers["/feed/manifest.json"] = ok(manifest(old=100, new=200))
    web.answers[f"/feed/{NEW}.json"] = ok(event("+2"))
    second = await fetched(web, into, first.remember)
    assert (second.whole, numbers(into)) == (False, {"+1", "+2"})
    web.answers["/feed/manifest.json"] = ok(manifest(new=300))
    web.answers[f"/feed/{NEW}.json"] = ok(event("+3"))
    third = await fetched(web, into, second.remember)
    assert (third.whole, numbers(into)) == (False, {"+3"})
    all_of_it = await fetched(web, into, third.remember, whole_every_s=0)
    assert all_of_it.whole
    into.unlink()
    web.answers["/feed/manifest.json"] = ok(b"{}")
    assert isinstance(await over(web).fetch(third.remember, into), Unchanged)


@pytest.mark.parametrize("last", [100, 9_000_000_000])
async def test_an_event_may_be_older_than_the_newest(
    web: ScriptedWeb, into: Path, last: int
) -> None:
    """One that was edited before the newest and published after it is new, as is an edited one.

    So it is also where the newest is dated in the future.
    """
    web.answers["/feed/manifest.json"] = ok(manifest(old=last))
    first = await fetched(web, into)
    assert numbers(into) == {"+1"}
    web.answers[f"/feed/{NEW}.json"] = ok(event("+2"))
    web.answers["/feed/manifest.json"] = ok(manifest(old=last, new=50))
    second = await fetched(web, into, first.remember)
    assert (second.whole, numbers(into)) == (False, {"+1", "+2"})
    web.answers[f"/feed/{NEW}.json"] = ok(event("+3"))
    web.answers["/feed/manifest.json"] = ok(manifest(old=last, new=60))
    third = await fetched(web, into, second.remember)
    assert numbers(into) == {"+1", "+3"}
    web.answers["/feed/manifest.json"] = ok(manifest(new=60))
    fourth = await over(web).fetch(third.remember, into)
    assert isinstance(fourth, Unchanged)
    web.answers["/feed/manifest.json"] = ok(manifest(old=40, new=60))
    await fetched(web, into, fourth.remember)
    assert numbers(into) == {"+1"}


async def test_what_an_older_version_remembered_leads_to_all_events(
    web: ScriptedWeb, into: Path
) -> None:
    """It kept the newest time alone: what it missed before comes now."""
    first = await fetched(web, into)
    into.unlink()
    web.answers["/feed/manifest.json"] = ok(manifest(old=100, new=50))
    web.answers[f"/feed/{NEW}.json"] = ok(event("+2"))
    before = {name: value for name, value in first.remember.items() if name != "seen"}
    await fetched(web, into, before)
    assert numbers(into) == {"+1", "+2"}


GONE = ok(b"", status="404 Not Found")


async def test_an_event_that_is_gone_stops_no_other(web: ScriptedWeb, into: Path) -> None:
    """It was deleted since the manifest was written. It is asked for again, also on its own."""
    web.answers["/feed/manifest.json"] = ok(manifest(old=100, new=200))
    web.answers[f"/feed/{NEW}.json"] = GONE
    first = await fetched(web, into)
    assert (first.whole, numbers(into)) == (True, {"+1"})
    second = await over(web).fetch(first.remember, into)
    assert isinstance(second, Unchanged)
    assert not into.exists()
    web.answers[f"/feed/{NEW}.json"] = ok(event("+2"))
    third = await fetched(web, into, second.remember)
    assert (third.whole, numbers(into)) == (False, {"+2"})
    web.answers["/feed/manifest.json"] = ok(manifest(old=100, new=300))
    web.answers[f"/feed/{NEW}.json"] = GONE
    fourth = await over(web).fetch(third.remember, into)
    assert isinstance(fourth, Unchanged)
    web.answers["/feed/manifest.json"] = ok(manifest(old=100))
    assert isinstance(await over(web).fetch(fourth.remember, into), Unchanged)


REFUSALS: dict[str, tuple[str, bytes, FeedFault]] = {
    "no manifest": ("manifest.json", ok(b"", status="404 No"), FeedFault.MISSING),
    "no JSON": ("manifest.json", ok(b"{"), FeedFault.PROTOCOL),
    "another shape": ("manifest.json", ok(b'{"Event": []}'), FeedFault.PROTOCOL),
    "no time": (
        "manifest.json",
        ok(b'{"%s": {"timestamp": "x"}}' % OLD.encode()),
        FeedFault.PROTOCOL,
    ),
    "a path": ("manifest.json", ok(b'{"../../secret": {}}'), FeedFault.PROTOCOL),
    "a page": ("manifest.json", ok(b"<html>Log in</html>"), FeedFault.NOT_A_FEED),
    "all events are gone": (f"{OLD}.json", ok(b"", status="404 No"), FeedFault.MISSING),
    "an event is cut": (f"{OLD}.json", ok(event("+1"))[:-5], FeedFault.TRUNCATED),
    "an event is too large": (f"{OLD}.json", ok(event("+1" * 9000)), FeedFault.TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_half_a_feed_is_none(name: str, web: ScriptedWeb, into: Path) -> None:
    """Whatever is wrong with one of its files, it has its reason, and nothing is left."""
    file, answer, reason = REFUSALS[name]
    web.answers[f"/feed/{file}"] = answer
    await refused(over(web, bytes_max=15_000).fetch({}, into), reason, into)

"""The drop folder: what is finished, in which order, and where each file ends."""

import gzip
import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports import folder as module
from stream.feeds.transports.drop_folder import DropPlace
from stream.feeds.transports.folder import DropFolderSettings, FolderTransport
from stream.feeds.transports.transport import Fetched, Unchanged
from stream.ops.untrusted_folders import Folder
from tests.support.drop_kills import killed_at_every_step

LIST = b"number\n+447700900001\n"


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    path = tmp_path / "drop"
    path.mkdir()
    return path


def put(drop: Path, name: str, made_s: int = 1_700_000_000, data: bytes = LIST) -> Path:
    path = drop / name
    path.write_bytes(data)
    os.utime(path, (made_s, made_s))
    return path


def over(drop: Path, **fields) -> FolderTransport:
    return FolderTransport(DropFolderSettings(path=str(drop), **fields))


async def taken(transport: FolderTransport, into: Path, remembered=None) -> Fetched:
    result = await transport.fetch(remembered or {}, into)
    assert isinstance(result, Fetched)
    into.unlink()
    return result


def files(folder: Path) -> list[str]:
    return sorted(
        path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"
    )


async def test_files_are_taken_in_the_order_of_their_times(drop: Path, into: Path) -> None:
    """The oldest first, then by name; each moves with its report before the next is taken."""
    put(drop, "b.csv", 1_700_000_000)
    put(drop, "a.csv", 1_700_000_001)
    put(drop, "c.csv", 1_600_000_000)
    transport = over(drop)
    names = []
    remembered: dict[str, str] = {}
    for _ in range(3):
        fetched = await taken(transport, into, remembered)
        names.append(Path(fetched.origin).name)
        remembered = dict(fetched.remember)
        await transport.finish(fetched, DropPlace.DONE, {"accepted": 1}, "1 accepted\n")
    assert names == ["c.csv", "b.csv", "a.csv"]
    assert await transport.fetch(remembered, into) == Unchanged(remembered)
    assert (drop / "done" / "a.csv").read_bytes() == LIST
    assert (drop / "done" / "a.csv.report.txt").read_text() == "1 accepted\n"
    report = json.loads((drop / "done" / "a.csv.report.json").read_text())
    assert (report["file"], report["verdict"], report["accepted"]) == ("a.csv", "done", 1)
    assert not list(drop.glob("*.csv"))


@pytest.mark.parametrize("name", [".hidden.csv", "a.csv.part", "a.csv.tmp", "a.filepart", "a.csv~"])
async def test_unfinished_names_are_left_alone(name: str, drop: Path, into: Path) -> None:
    """However old they are."""
    put(drop, name)
    assert isinstance(await over(drop).fetch({}, into), Unchanged)
    assert (drop / name).exists()


async def test_a_file_that_is_renamed_when_finished_is_taken_at_once(
    drop: Path, into: Path
) -> None:
    """Its maker says that it is finished: there is nothing to wait for."""
    transport = over(drop, settle_s=3600)
    part = drop / "a.csv.part"
    part.write_bytes(LIST)
    assert isinstance(await transport.fetch({}, into), Unchanged)
    part.rename(drop / "a.csv")
    await taken(transport, into)


async def test_a_file_is_taken_when_nobody_has_written_to_it_for_a_while(
    drop: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By our own watch too, where the clock of the files' machine is ahead of ours."""
    path = put(drop, "a.csv", 4_000_000_000)
    now = [100.0]
    monkeypatch.setattr(module, "monotonic_s", lambda: now[0])
    transport = over(drop, settle_s=5)
    assert isinstance(await transport.fetch({}, into), Unchanged)
    now[0] += 4
    path.write_bytes(LIST + b"+447700900002\n")
    os.utime(path, (4_000_000_001, 4_000_000_001))
    assert isinstance(await transport.fetch({}, into), Unchanged)
    now[0] += 4
    assert isinstance(await transport.fetch({}, into), Unchanged)
    now[0] += 4
    await taken(transport, into)


@pytest.mark.parametrize("ending", [".done", ".sha256"])
async def test_a_file_may_have_to_wait_for_its_companion(
    ending: str, drop: Path, into: Path
) -> None:
    """Where it is agreed that a second file says that the first is finished; both move."""
    put(drop, "a.csv")
    transport = over(drop, companion=ending)
    assert isinstance(await transport.fetch({}, into), Unchanged)
    text = f"{sha256(LIST).hexdigest()}  a.csv\n" if ending == ".sha256" else ""
    (drop / f"a.csv{ending}").write_text(text)
    fetched = await taken(transport, into)
    await transport.finish(fetched, DropPlace.DONE, {}, "")
    assert f"a.csv{ending}" in files(drop / "done")
    assert not (drop / f"a.csv{ending}").exists()


BAD = {
    "a wrong checksum": (LIST, "0" * 64, FeedFault.CHECKSUM),
    "a checksum that is none": (LIST, "hello", FeedFault.CHECKSUM),
    "a web page": (b"<html>Log in</html>", None, FeedFault.NOT_A_FEED),
    "half a gzip": (gzip.compress(LIST)[:-5], None, FeedFault.TRUNCATED),
    "no gzip": (gzip.compress(LIST)[:12] + bytes(30), None, FeedFault.NOT_COMPRESSED_RIGHT),
    "too large": (LIST * 99, None, FeedFault.TOO_LARGE),
    "a bomb": (gzip.compress(bytes(900_000)), None, FeedFault.BOMB),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_can_never_be_taken_does_not_block_the_next(
    name: str, drop: Path, into: Path
) -> None:
    """It goes to `refused/` with the reason beside it, and the reason is raised once."""
    data, checksum, reason = BAD[name]
    put(drop, "bad.csv", 1_600_000_000, data)
    if checksum is not None:
        (drop / "bad.csv.sha256").write_text(checksum)
    put(drop, "good.csv")
    transport = over(drop, bytes_max=1000)
    with pytest.raises(FeedDown) as caught:
        await transport.fetch({}, into)
    assert caught.value.reason is reason
    assert not into.exists()
    assert (drop / "refused" / "bad.csv").read_bytes() == data
    report = json.loads((drop / "refused" / "bad.csv.report.json").read_text())
    assert (report["reason"], report["detail"]) == (reason.value, caught.value.detail)
    fetched = await taken(transport, into)
    assert fetched.origin.endswith("good.csv")


async def test_nothing_is_overwritten(drop: Path, into: Path) -> None:
    """A partner who gives the same name each day finds each day's file and report."""
    transport = over(drop)
    for day in range(3):
        put(drop, "daily.csv", 1_700_000_000 + day, b"day %d\n" % day)
        fetched = await taken(transport, into)
        await transport.finish(fetched, DropPlace.DONE, {"day": day}, "")
    names = ["daily.csv", "daily.2.csv", "daily.3.csv"]
    for day, name in enumerate(names):
        assert (drop / "done" / name).read_bytes() == b"day %d\n" % day
        report = json.loads((drop / "done" / f"{name}.report.json").read_text())
        assert report["day"] == day


async def test_a_held_file_moves_on_when_it_is_decided(drop: Path, into: Path) -> None:
    """From `held/` to `done/`, with its last report only."""
    transport = over(drop)
    put(drop, "a.csv")
    fetched = await taken(transport, into)
    await transport.finish(fetched, DropPlace.HELD, {"reason": "shrunk"}, "held\n")
    assert isinstance(await transport.fetch({}, into), Unchanged)
    await transport.finish(fetched, DropPlace.DONE, {"by": "somchai"}, "released\n")
    assert files(drop / "held") == []
    assert files(drop / "done") == ["a.csv", "a.csv.report.json", "a.csv.report.txt"]


async def test_a_newer_file_of_the_same_name_stays(drop: Path, into: Path) -> None:
    """Put there while the first was worked on, it is the next version, and is not moved as if it
    were the first.
    """
    transport = over(drop)
    put(drop, "a.csv")
    fetched = await taken(transport, into)
    put(drop, "a.csv", 1_700_000_009, b"newer\n")
    await transport.finish(fetched, DropPlace.DONE, {}, "")
    assert files(drop / "done") == ["a.csv.report.json", "a.csv.report.txt"]
    second = await taken(transport, into, fetched.remember)
    await transport.finish(second, DropPlace.DONE, {}, "")
    assert (drop / "done" / "a.2.csv").read_bytes() == b"newer\n"


async def test_links_are_not_followed(drop: Path, into: Path, tmp_path: Path) -> None:
    """Or who may write to the folder could have any file of ours read."""
    secret = put(tmp_path, "secret.txt")
    (drop / "a.csv").symlink_to(secret)
    assert isinstance(await over(drop).fetch({}, into), Unchanged)


@pytest.mark.parametrize("name", ["done", "held", "refused", ".ringfence.lock"])
@pytest.mark.parametrize("kind", ["a link", "a fifo"])
async def test_a_place_that_leads_elsewhere_is_named(
    name: str, kind: str, drop: Path, into: Path, tmp_path: Path
) -> None:
    """Nothing lands in a folder that a link names, no lock is made elsewhere, nothing waits."""
    elsewhere = tmp_path / "elsewhere"
    if kind == "a link":
        if name.startswith("."):
            (drop / name).symlink_to(elsewhere)
        else:
            elsewhere.mkdir()
            (drop / name).symlink_to(elsewhere, target_is_directory=True)
    else:
        os.mkfifo(drop / name)
    put(drop, "a.csv")
    with pytest.raises(FeedDown, match=rf"down: .*drop/{name} is .*: Ringfence makes its own"):
        await over(drop, deadline_s=5).fetch({}, into)
    assert (drop / "a.csv").read_bytes() == LIST
    assert not elsewhere.exists() or not list(elsewhere.iterdir())


@pytest.mark.parametrize("kind", ["a fifo", "a link", "a folder"])
async def test_a_checksum_that_is_no_file_does_not_block(
    kind: str, drop: Path, into: Path, tmp_path: Path
) -> None:
    """Whatever lies there instead, the file is refused for it and the next one is taken."""
    put(drop, "bad.csv", 1_600_000_000)
    put(drop, "good.csv")
    beside = drop / "bad.csv.sha256"
    if kind == "a fifo":
        os.mkfifo(beside)
    elif kind == "a link":
        beside.symlink_to(
            put(tmp_path, "secret.txt", data=f"{sha256(LIST).hexdigest()}\n".encode())
        )
    else:
        beside.mkdir()
    transport = over(drop, deadline_s=5)
    with pytest.raises(FeedDown, match=r"checksum: .*bad.csv.sha256 is "):
        await transport.fetch({}, into)
    assert (drop / "refused" / "bad.csv").read_bytes() == LIST
    fetched = await taken(transport, into)
    assert fetched.origin.endswith("good.csv")


async def test_a_report_is_not_written_through_a_link(
    drop: Path, into: Path, tmp_path: Path
) -> None:
    """Write access to `done/` does not suffice to overwrite a file elsewhere, or to delay us."""
    transport = over(drop, deadline_s=5)
    put(drop, "a.csv")
    fetched = await taken(transport, into)
    victim = put(tmp_path, "victim")
    (drop / "done" / ".ringfence.tmp").symlink_to(victim)
    (drop / "done" / "a.csv.report.txt").symlink_to(victim)
    os.mkfifo(drop / "done" / "a.csv.report.json")
    await transport.finish(fetched, DropPlace.DONE, {"accepted": 1}, "1 accepted\n")
    assert victim.read_bytes() == LIST
    (moved,) = (path for path in (drop / "done").glob("a*.csv") if path.is_file())
    assert json.loads((drop / "done" / f"{moved.name}.report.json").read_text())["accepted"] == 1


async def test_a_file_that_becomes_a_fifo_is_left_alone(
    drop: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between being seen and being opened it may change; nobody waits for it."""
    path = put(drop, "a.csv")
    open_it = Folder.open

    def swapped(folder: Folder, name: str, *flags: int) -> int:
        if name == "a.csv":
            path.unlink()
            os.mkfifo(path)
        return open_it(folder, name, *flags)

    monkeypatch.setattr(Folder, "open", swapped)
    with pytest.raises(FeedDown, match=r"down: .*a\.csv is no regular file"):
        await over(drop, deadline_s=5).fetch({}, into)
    monkeypatch.undo()
    assert isinstance(await over(drop, deadline_s=5).fetch({}, into), Unchanged)


@pytest.mark.parametrize(
    "name", [b"\xff\xfe\n.csv", b"x" * 251 + b".csv", "\u0e15\u0e33.csv".encode()]
)
async def test_any_name_is_taken_and_moved(name: bytes, drop: Path, into: Path) -> None:
    """Bytes that are no text, as long as names can be, in any script: none blocks the folder."""
    put(drop, os.fsdecode(name))
    transport = over(drop)
    fetched = await taken(transport, into)
    json.dumps(fetched.remember).encode()
    assert fetched.origin.encode()
    await transport.finish(fetched, DropPlace.DONE, {}, "")
    assert isinstance(await transport.fetch({}, into), Unchanged)
    assert len(files(drop / "done")) == 3


async def test_only_names_of_the_pattern_are_taken(drop: Path, into: Path) -> None:
    """Other files that partners leave in a folder stay where they are."""
    put(drop, "readme.txt")
    assert isinstance(await over(drop, pattern="*.csv").fetch({}, into), Unchanged)
    assert (drop / "readme.txt").exists()


async def test_a_folder_that_is_not_there_is_named(drop: Path, into: Path) -> None:
    """It is not made: a mount that is missing would look like a partner without news."""
    drop.rmdir()
    with pytest.raises(FeedDown, match=r"missing: .*drop is no folder"):
        await over(drop).fetch({}, into)


async def test_what_may_not_be_moved_is_named(
    drop: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights that are missing are found before a file is taken, with the path."""

    def may_not(path: str, **_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "mkdir", may_not)
    put(drop, "a.csv")
    with pytest.raises(FeedDown, match=r"unauthorised: .*drop/done: Ringfence must be allowed"):
        await over(drop).fetch({}, into)


def test_a_kill_at_any_step_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """SIGKILL before each system call that changes a name, for each verdict; then all goes on."""
    steps = killed_at_every_step(tmp_path)
    assert steps > 20

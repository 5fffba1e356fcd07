"""The file transport, and what all that land a file share."""

import asyncio
import errno
import hashlib
import os
import socket
import tarfile
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports import file as module
from stream.feeds.transports import own_thread
from stream.feeds.transports.file import FileSettings, FileTransport
from stream.feeds.transports.transport import Fetched, Unchanged


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    path.write_text("number\n+447700900001\n")
    return path


def over(source: Path, **fields) -> FileTransport:
    return FileTransport(FileSettings(path=str(source), **fields))


async def test_a_file_comes_as_it_is(source: Path, into: Path) -> None:
    """The copy has the file's bytes, their size and hash, and says when it was made."""
    os.utime(source, (1_700_000_000, 1_700_000_000))
    fetched = await over(source).fetch({}, into)
    assert isinstance(fetched, Fetched)
    assert fetched.path == into
    assert into.read_bytes() == source.read_bytes()
    assert fetched.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (fetched.size, fetched.as_of_s, fetched.whole) == (21, 1_700_000_000, True)


async def test_nothing_new_is_said_without_a_copy(source: Path, into: Path) -> None:
    """Neither an untouched file nor one that was written again with the same bytes is a version."""
    transport = over(source)
    fetched = await transport.fetch({}, into)
    assert isinstance(fetched, Fetched)
    into.unlink()
    assert await transport.fetch(fetched.remember, into) == Unchanged(fetched.remember)
    os.utime(source, (1_800_000_000, 1_800_000_000))
    again = await transport.fetch(fetched.remember, into)
    assert isinstance(again, Unchanged)
    assert await transport.fetch(again.remember, into) == again
    assert not list(into.parent.iterdir())


async def test_what_another_path_had_counts_for_nothing(source: Path, into: Path) -> None:
    """A feed whose path was changed is read, also where the bytes are the same."""
    fetched = await over(source).fetch({}, into)
    other = source.with_name("other.csv")
    other.write_bytes(source.read_bytes())
    assert isinstance(fetched, Fetched)
    assert isinstance(await over(other).fetch(fetched.remember, into), Fetched)


@pytest.mark.parametrize("how", ["grows", "is replaced"])
async def test_a_file_that_changes_while_it_is_read_is_no_version(
    source: Path, into: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it grows or another file takes its place, it is tried later, and nothing is left."""

    def copying(*args):
        result = copied(*args)
        if how == "grows":
            with source.open("a") as file:
                file.write("+447700900002\n")
        else:
            fresh = source.with_name("fresh")
            fresh.write_bytes(source.read_bytes())
            fresh.replace(source)
        return result

    copied = module.copied
    monkeypatch.setattr(module, "copied", copying)
    with pytest.raises(FeedDown, match=r"unstable: .*list\.csv changed while") as caught:
        await over(source).fetch({}, into)
    assert caught.value.reason is FeedFault.UNSTABLE
    assert not list(into.parent.iterdir())


async def test_a_file_beyond_its_limit_is_named(source: Path, into: Path) -> None:
    """The limit is in the message, and nothing is left."""
    with pytest.raises(FeedDown, match=r"too_large: .*bytes_max = 20 bytes") as caught:
        await over(source, bytes_max=20).fetch({}, into)
    assert caught.value.reason is FeedFault.TOO_LARGE
    assert not list(into.parent.iterdir())


async def test_a_missing_file_is_named(source: Path, into: Path) -> None:
    """The path is in the message."""
    source.unlink()
    with pytest.raises(FeedDown, match=r"missing: .*list\.csv does not exist"):
        await over(source).fetch({}, into)


async def test_a_folder_that_can_not_be_written_is_named(source: Path, into: Path) -> None:
    """Our own disk's trouble is not blamed on the partner's file."""
    into.parent.rmdir()
    with pytest.raises(FeedDown, match=r"down: .*on this machine: .*version"):
        await over(source).fetch({}, into)


async def test_a_full_disk_is_our_own(
    source: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said that the trouble is here, and half a copy does not stay."""

    def full(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(FeedDown, match=r"down: .*on this machine: No space left on device"):
        await over(source).fetch({}, into)
    assert not list(into.parent.iterdir())


async def test_a_mount_that_hangs_holds_up_nobody_else(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a pipe that nobody writes sleeps in the kernel, as a dead mount does: it ends."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    transport = over(pipe, deadline_s=0.05)
    monkeypatch.setattr(own_thread, "STOP_S", 0.05)

    def hangs(path: Path, **_: object) -> int:
        return os.open(path, os.O_RDONLY)

    monkeypatch.setattr(module, "open_plain", hangs)
    for _ in range(2):
        with pytest.raises(FeedDown, match=r"timeout: .*deadline_s = 0\.05"):
            await transport.fetch({}, into)
    with pipe.open("wb"):
        pass
    await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["a fifo", "a socket", "a device"])
async def test_what_is_no_file_is_named(kind: str, tmp_path: Path, into: Path) -> None:
    """Nothing is waited for: no FIFO, no socket, no device is a feed."""
    path = tmp_path / "feed"
    if kind == "a fifo":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.fspath(path))
    else:
        path = Path("/dev/zero")
    with pytest.raises(FeedDown, match=r"down: .* is no regular file"):
        await over(path, deadline_s=5).fetch({}, into)
    assert not list(into.parent.iterdir())


async def test_a_link_is_followed_where_the_setting_is_one(source: Path, into: Path) -> None:
    """The operator's settings chose the path: `current.csv` may lead to today's file."""
    source.write_bytes(b"number\n+447700900001\n")
    link = source.with_name("current.csv")
    link.symlink_to(source)
    assert isinstance(await over(link).fetch({}, into), Fetched)


async def test_links_in_a_misp_feed_s_folder_are_no_events(tmp_path: Path, into: Path) -> None:
    """Write access to the folder does not suffice to have another file read, or to delay us."""
    folder = tmp_path / "misp"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    (tmp_path / "secret.json").write_text("secret")
    (folder / "a.json").symlink_to(tmp_path / "secret.json")
    os.mkfifo(folder / "b.json")
    fetched = await over(folder, deadline_s=5).fetch({}, into)
    assert isinstance(fetched, Fetched)
    with tarfile.open(into) as tar:
        assert tar.getnames() == ["manifest.json"]


async def test_a_cancelled_copy_leaves_nothing(
    source: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that copies gets the signal, and ends before the cancellation goes on."""
    source.write_bytes(b"x" * 100_000)
    monkeypatch.setattr(module, "_PIECE", 1)
    task = asyncio.ensure_future(over(source).fetch({}, into))
    while not list(into.parent.iterdir()):  # noqa: ASYNC110 - only the disk tells
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(into.parent.iterdir())

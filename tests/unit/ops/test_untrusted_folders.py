"""Files in folders that others may write to: no link is followed, and nobody waits."""

import os
import socket
import stat
from pathlib import Path

import pytest

from stream.lists.snapshot.durable_files import locked, write_synced
from stream.ops.untrusted_folders import Folder, NotPlain, folder_at, open_plain


@pytest.fixture(params=["link", "dangling link", "fifo", "folder", "socket"])
def trap(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something that is no regular file, where one is expected; `secret` lies beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    path = tmp_path / "trap"
    if request.param == "link":
        path.symlink_to(tmp_path / "secret")
    elif request.param == "dangling link":
        path.symlink_to(tmp_path / "elsewhere")
    elif request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(os.fspath(path))
    return path


@pytest.mark.parametrize(
    "flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC]
)
def test_only_a_regular_file_is_opened(trap: Path, flags: int) -> None:
    """Whatever else is there is an OSError that names it, at once; nothing elsewhere is touched."""
    with pytest.raises(OSError, match=str(trap)):
        open_plain(trap, flags)
    with folder_at(trap.parent) as folder, pytest.raises(OSError, match=str(trap)):
        folder.open(trap.name, flags)
    assert (trap.parent / "secret").read_bytes() == b"secret"
    assert not (trap.parent / "elsewhere").exists()


def test_locks_and_state_are_not_written_elsewhere(trap: Path) -> None:
    """Neither a lock nor a state file is made through a link, or waits for a FIFO."""
    with pytest.raises(OSError, match=str(trap)), locked(trap):
        pass
    with pytest.raises(OSError, match=str(trap)):
        write_synced(trap, b"state")
    with folder_at(trap.parent) as folder, pytest.raises(NotPlain), folder.locked(trap.name):
        pass


def test_what_is_made_is_private(tmp_path: Path) -> None:
    """State holds whole numbers: its files are their owner's, also those of an older version."""
    old = tmp_path / "old"
    old.write_bytes(b"before")
    old.chmod(0o644)
    write_synced(old, b"state")
    write_synced(tmp_path / "new", b"state")
    with locked(tmp_path / "lock"):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"old": 0o600, "new": 0o600, "lock": 0o600}


def test_a_link_is_followed_where_it_is_the_setting(tmp_path: Path) -> None:
    """A path that an operator gives may be one; then too it leads to a regular file."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with os.fdopen(open_plain(tmp_path / "link", links=True), "rb") as file:
        assert file.read() == b"content"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to-fifo").symlink_to(tmp_path / "fifo")
    with pytest.raises(NotPlain, match="no regular file"):
        open_plain(tmp_path / "to-fifo", links=True)


def test_a_folder_below_is_never_a_link(tmp_path: Path) -> None:
    """A file moved into `done/` lands below the folder, or nowhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "done").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with folder_at(tmp_path) as folder:
        with pytest.raises(NotPlain, match="done"):
            folder.made("done")
        made: Folder = folder.made("held")
        made.close()


def test_a_folder_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    """A folder that is replaced by a link meanwhile does not change where files go."""
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a").write_bytes(b"a")
    (tmp_path / "elsewhere").mkdir()
    with folder_at(tmp_path / "drop") as folder:
        done = folder.made("done")
        (tmp_path / "drop" / "done").rename(tmp_path / "was-done")
        (tmp_path / "drop" / "done").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        folder.move("a", done, "a")
        done.write("report", b"report", ".tmp")
        done.close()
    assert sorted(path.name for path in (tmp_path / "was-done").iterdir()) == ["a", "report"]
    assert not list((tmp_path / "elsewhere").iterdir())

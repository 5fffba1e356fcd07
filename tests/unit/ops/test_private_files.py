"""The owner of files, and the right to make some in a folder."""

import os
from pathlib import Path

import pytest
import typer

from stream.cli import common
from stream.cli.output import USAGE
from stream.ops import private_files
from tests.support.owners import someone_s


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> int:
    """Another user's number: we are that user from now on, as far as the process can tell."""
    uid = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    return uid


def test_an_own_folder_is_ours(tmp_path: Path) -> None:
    """In our own folder, and in one that is not there yet, files are ours."""
    assert private_files.stranger_to(tmp_path) == ""
    assert private_files.stranger_to(tmp_path / "new") == ""


def test_a_folder_that_we_may_write_to_is_ours_to_use(tmp_path: Path, other: int) -> None:
    """A volume of Kubernetes belongs to root, and its group is ours."""
    assert private_files.stranger_to(tmp_path) == ""
    assert private_files.foreign([tmp_path], other) is not None


def test_root_is_a_stranger_everywhere_else(tmp_path: Path) -> None:
    """Root may write anywhere, and what it makes there the owner cannot use."""
    folder = someone_s(tmp_path / "state")
    assert private_files.stranger_to(folder) == private_files.user_of(folder.stat().st_uid)


def test_a_file_of_another_is_named(tmp_path: Path) -> None:
    """The first one, with its owner; what is not there is nobody's."""
    (tmp_path / "ours").touch()
    paths = [tmp_path / "gone", tmp_path / "ours"]
    me = os.geteuid()
    assert private_files.foreign(paths, me) is None
    assert private_files.foreign(paths, me + 1) == (tmp_path / "ours", private_files.user_of(me))


def test_a_user_without_a_name_is_a_number_that_sudo_takes() -> None:
    """A unit's user may have gone with it."""
    assert private_files.user_of(4_000_000_000) == "#4000000000"
    assert private_files.run_as("#4000000000", "x") == "sudo -u '#4000000000' x"


def test_a_command_says_whose_it_is_and_how_to_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends before it makes anything, with the very command to type."""
    folder = someone_s(tmp_path / "state")
    whose = private_files.user_of(folder.stat().st_uid)
    monkeypatch.setattr("sys.argv", ["ringfence", "feeds", "pull", "kh scam"])
    with pytest.raises(typer.Exit) as ended:
        common.own(tmp_path, folder)
    assert ended.value.exit_code == USAGE
    said = capsys.readouterr().err
    assert f"{folder} belongs to {whose}" in said
    assert f"sudo -u {whose} ringfence feeds pull 'kh scam'" in said.replace("\n", " ")


def test_a_secret_and_its_name_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metadata that name a key come next: a power cut must not leave them without the key."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    private_files.write_private(tmp_path / "root-1.pem", b"secret")
    assert synced == [one.stat().st_ino for one in (tmp_path / "root-1.pem", tmp_path)]

"""A repository that is being made: killed on the way, and readable for whom it is there for."""

import os
import time
from pathlib import Path

import pytest

from stream.core.model.errors import ExchangeFault
from stream.exchange import mirror, repository, repository_files
from stream.exchange.mirror import Hub
from stream.exchange.repository_files import PublishedMetadata
from stream.exchange.signing_keys import KeyRing
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.ops.secret_files import write_private
from tests.support.repositories import VALIDITY, Country


def begun(home: Path) -> PublishedMetadata:
    """What an operator types, once more if need be."""
    sticks = [home / "a", home / "b"]
    ring = KeyRing([home / "keys", *sticks])
    return repository.init(home / "r", ring, sticks, 2, VALIDITY, int(time.time()))


def killed_after(steps: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Begin, and be killed at the next file after so many; a key's is half written then.

    Whether it was done before that.
    """
    put, left = repository_files.put, [steps]

    def dying(path: Path, content: bytes | Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        put(path, content)

    def half(path: Path, data: bytes) -> None:
        left[0] -= 1
        write_private(path, data if left[0] >= 0 else data[:20])
        if left[0] < 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(repository_files, "put", dying)
        patched.setattr("stream.exchange.signing_keys.write_private", half)
        try:
            begun(home)
        except KeyboardInterrupt:
            return False
    return True


def test_an_init_that_is_killed_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was killed, the same words end in a whole repository, with the keys it made."""
    steps = 0
    while not killed_after(steps, home := tmp_path / f"home-{steps}", monkeypatch):
        made = {path: path.read_bytes() for path in home.rglob("*.pem")}
        published = begun(home)
        whole = {path: data for path, data in made.items() if b"END" in data}
        assert all(path.read_bytes() == data for path, data in whole.items())
        client = TufClient(str(home / "r"), home / "state", published.root)
        assert client.refresh().version == "1"
        assert [path.name for path in home.glob(".r.*")] == [".r.lock"]
        with pytest.raises(ExchangeFault, match="holds a repository already"):
            begun(home)
        steps += 1
    assert steps > 10
    (home / ".r.making").write_text("[]")  # it was killed before its last word
    assert begun(home) == repository_files.read(home / "r")
    assert not (home / ".r.making").exists()


def test_an_init_uses_no_key_that_it_did_not_make(tmp_path: Path) -> None:
    """A key of something else on a stick stays out of it; other folders than before are named."""
    KeyRing([tmp_path / "a"]).new("root-1")
    with pytest.raises(ExchangeFault, match=r"root-1\.pem is there already.*nothing was made"):
        begun(tmp_path)
    assert not (tmp_path / "keys").exists()
    (tmp_path / ".r.making").write_text('["/elsewhere/root-1.pem"]')
    with pytest.raises(ExchangeFault, match="give the same --offline folders again"):
        begun(tmp_path)
    (tmp_path / ".r.making").write_text("no note")
    with pytest.raises(ExchangeFault, match=r"\.r\.making cannot be read"):
        begun(tmp_path)


def test_a_web_server_of_another_user_can_read_what_is_published(tmp_path: Path) -> None:
    """Whatever the umask: files 0644 and folders 0755, in hubs too; private keys stay 0600."""
    before = os.umask(0o077)
    try:
        kh = Country(tmp_path / "kh")
        kh.publish()
        ring = KeyRing([tmp_path / "hub-keys", tmp_path / "stick"])
        place = tmp_path / "hub" / "repository"
        repository.init(place, ring, [tmp_path / "stick"], 1, VALIDITY, kh.now_s, hub=True)
        hub = Hub(place, ring, tmp_path / "hub" / "state", VALIDITY, TufLimits())
        hub.add("KH", str(kh.folder), kh.root, kh.now_s)
        mirror.write_bundle(kh.folder, tmp_path / "kh.tar")
        carried = tmp_path / "carried" / "kh"
        mirror.read_bundle(tmp_path / "kh.tar", carried, kh.root, tmp_path / "s", TufLimits())
    finally:
        os.umask(before)
    for folder in (kh.folder, place, carried):
        paths = [folder, *folder.rglob("*")]
        modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in paths}
        assert modes == {(True, 0o755), (False, 0o644)}
    secret = list(tmp_path.rglob("*.pem"))
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert {path.parent.stat().st_mode & 0o777 for path in secret} == {0o700}


def test_a_folder_that_a_web_server_can_not_enter_is_named(tmp_path: Path) -> None:
    """Modes below the repository help nobody where a folder above it is closed."""
    home = tmp_path / "home"
    (home / "exchange").mkdir(parents=True)
    home.chmod(0o700)
    found = repository_files.closed_above(home / "exchange" / "repository")
    assert found is not None
    assert home.is_relative_to(found)
    assert repository_files.closed_above(Path("/exchange")) is None

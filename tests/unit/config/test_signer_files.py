"""Promises of the folder of signers' certificates: addresses, changes, files of no use."""

import logging
import os

import pytest

from stream.config import signer_files
from stream.config.signer_files import FILE_BYTES_MAX, SignerFolder
from stream.core.model.errors import ConfigInvalid
from stream.ops.clock import now_s
from tests.support.signed_calls import ADDRESS, Authority


@pytest.fixture
def root():
    """An authority of today."""
    return Authority(now_s())


def begun(tmp_path, root):
    """A folder with that authority and no certificate yet."""
    (tmp_path / "roots.pem").write_bytes(root.pem)
    (tmp_path / "certs").mkdir()
    made = SignerFolder(tmp_path / "roots.pem", tmp_path / "certs")
    made.start()
    return made


def test_a_file_is_found_by_its_address(tmp_path, root):
    """As `wget -x` writes it; what is there later is found by the next look."""
    held = begun(tmp_path, root)
    assert held.signers == {}
    path = root.signer().put_into(tmp_path / "certs")
    held.look()
    assert list(held.signers) == [ADDRESS]
    assert held.signers[ADDRESS].good_at(now_s())
    before = held.signers
    held.look()
    assert held.signers is before
    path.unlink()
    held.look()
    assert held.signers == {}


def test_a_changed_file_or_authority_counts(tmp_path, root):
    """Another certificate at the address; another authority in place of the first."""
    held = begun(tmp_path, root)
    path = root.signer().put_into(tmp_path / "certs")
    held.look()
    first = held.signers[ADDRESS]
    path.write_bytes(root.signer().pem)
    os.utime(path, ns=(1, 1))
    held.look()
    assert held.signers[ADDRESS] is not first
    (tmp_path / "roots.pem").write_bytes(Authority(now_s(), "another").pem)
    os.utime(tmp_path / "roots.pem", ns=(1, 1))
    held.look()
    assert held.signers[ADDRESS].wrong


def test_a_clock_that_jumps_distrusts_nobody_for_longer_than_the_jump(tmp_path, root, monkeypatch):
    """An authority is over for a clock days ahead; once that is put right, it counts again."""
    real = now_s
    held = begun(tmp_path, root)
    root.signer(days=9).put_into(tmp_path / "certs")
    held.look()
    assert not held.signers[ADDRESS].wrong
    monkeypatch.setattr(signer_files, "now_s", lambda: real() + 5 * 86_400)
    held.look()
    assert held.signers[ADDRESS].wrong
    monkeypatch.setattr(signer_files, "now_s", real)
    held.look()
    assert not held.signers[ADDRESS].wrong


@pytest.mark.expects_errors("no certificate of a signer", "authorities stay as they were")
def test_files_of_no_use_hide_no_other(tmp_path, root, caplog):
    """Garbage, half a file, a huge one; authorities that are half written stay as they were."""
    held = begun(tmp_path, root)
    root.signer().put_into(tmp_path / "certs")
    folder = tmp_path / "certs" / "certs.example.net"
    (folder / "garbage.pem").write_bytes(b"\x00" * 99)
    (folder / "half.pem").write_bytes(root.signer().pem[:200])
    (folder / "huge.pem").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    (tmp_path / "roots.pem").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        held.look()
    assert list(held.signers) == [ADDRESS]
    assert sum("no certificate of a signer" in one.getMessage() for one in caplog.records) == 3


def test_a_start_without_authorities_or_folder_is_refused(tmp_path, root):
    """With the setting and the file, before any call is answered."""
    (tmp_path / "roots.pem").write_bytes(b"none")
    with pytest.raises(ConfigInvalid, match="trusted"):
        SignerFolder(tmp_path / "roots.pem", tmp_path).start()
    (tmp_path / "roots.pem").write_bytes(root.pem)
    with pytest.raises(ConfigInvalid, match="make it"):
        SignerFolder(tmp_path / "roots.pem", tmp_path / "nowhere").start()

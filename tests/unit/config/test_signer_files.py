"""Promises of the folder of signers' certificates: addresses, changes, files of no use."""

import logging
import os
from base64 import b64encode
from collections.abc import Iterator
from errno import ENOENT
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stream.config import signer_files
from stream.config.signer_files import FILE_BYTES_MAX, SignerFolder
from stream.core.model.errors import ConfigInvalid
from stream.ops.clock import now_s
from tests.support import certificates
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


@pytest.mark.expects_errors("certificates stay as they were")
def test_a_folder_that_goes_while_it_is_listed_changes_nothing(tmp_path, root, monkeypatch):
    """A job replaced it. The error ended the looks in silence: a revoked certificate counted on."""
    held = begun(tmp_path, root)
    path = root.signer().put_into(tmp_path / "certs")
    held.look()

    def gone(_: Path, __: str) -> Iterator[Path]:
        yield path
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rglob", gone)
        held.look()
    assert list(held.signers) == [ADDRESS]
    path.unlink()
    held.look()
    assert held.signers == {}


@pytest.mark.needs_openssl
@pytest.mark.expects_errors("no certificate of a signer", "a signer's certificate is not trusted")
def test_certificates_that_cannot_be_understood_hide_no_other(tmp_path, root):
    """A key of another kind, twice the same extension, no version that there is."""
    held = begun(tmp_path, root)
    root.signer().put_into(tmp_path / "certs")
    for curve in ("SM2", "P-256"):
        certificates.on_curve(tmp_path, curve)
    known = x509.load_pem_x509_certificate((tmp_path / "P-256.pem").read_bytes())
    plain = known.public_bytes(Encoding.DER)
    version = plain.index(bytes.fromhex("a003020102")) + 4
    key_id, key_use = bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d23")
    assert plain.count(key_id) == plain.count(key_use) == 1
    for name, der in (
        ("version", plain[:version] + b"\x07" + plain[version + 1 :]),
        ("twice", plain.replace(key_use, key_id)),
    ):
        text = b64encode(der).decode()
        pem = f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"
        (tmp_path / "certs" / f"{name}.pem").write_text(pem)
    (tmp_path / "SM2.pem").rename(tmp_path / "certs" / "sm2.pem")
    held.look()
    usable = [address for address, one in held.signers.items() if not one.wrong]
    assert usable == [ADDRESS]
    assert {*held.signers} == {ADDRESS, "https://sm2.pem", "https://twice.pem"}


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

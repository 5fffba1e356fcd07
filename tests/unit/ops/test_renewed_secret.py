"""Secrets of files, read again when they have changed."""

import pickle
from errno import EACCES
from pathlib import Path

import pytest

from stream.ops.renewed_secret import RenewedSecret, SecretValues, held, text_of


def _number(text: str) -> int:
    return int(text)


def test_a_changed_file_counts_and_half_a_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A text of no use, and a file that is gone, leave the former; no line quotes a secret."""
    file = tmp_path / "secret"
    file.write_text("7\n")
    secret = RenewedSecret(file, 7, _number)
    assert secret.now() == 7
    file.write_text("1234")
    assert secret.now() == 1234
    caplog.clear()
    for bad in ("hunter2 and more", "", None):
        if bad is None:
            file.unlink()
        else:
            file.write_text(bad)
        assert [secret.now(), secret.now()] == [1234, 1234]
    said = [record.getMessage().partition(f"{file}: ")[2] for record in caplog.records]
    assert said == ["it cannot be used", "it is empty", "No such file or directory"]
    file.write_text("12")
    assert secret.now() == 12


def test_rights_that_are_corrected_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewal writes as root and hands the file over then: `chmod` changes no time of writing."""
    whole = Path.read_text

    def read_text(path: Path, encoding: str) -> str:
        if not path.stat().st_mode & 0o400:  # root, as tests run, may read all
            raise PermissionError(EACCES, "Permission denied")
        return whole(path, encoding)

    monkeypatch.setattr(Path, "read_text", read_text)
    file = tmp_path / "secret"
    file.write_text("7")
    secret = RenewedSecret(file, 7, _number)
    file.write_text("8")
    file.chmod(0)
    assert secret.now() == 7
    file.chmod(0o400)
    assert secret.now() == 8


def test_a_variable_does_not_change_and_a_file_goes_with_its_owner(tmp_path: Path) -> None:
    """Feeds are fetched in another process: there the file counts as well."""
    file = tmp_path / "secret"
    file.write_text("first")
    environ = {"A": "fixed", "B_FILE": str(file)}
    values = SecretValues({name: held(name, environ, "first", str) for name in ("A", "B")})
    values = pickle.loads(pickle.dumps(values))  # noqa: S301 - our own bytes
    file.write_text("and second")
    assert dict(values) == {"A": "first", "B": "and second"}
    assert "second" not in repr(held("B", environ, "first", str))
    assert text_of(None) is None

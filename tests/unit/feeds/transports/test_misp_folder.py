"""A MISP feed as a folder, a zip or a tar, whole or not at all."""

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from stream.feeds.formats.rows import InputUnreadable
from stream.feeds.open import read_rows
from stream.feeds.transports import misp_folder
from stream.feeds.transports.misp_folder import is_folder, read_folder
from tests.support.feed_samples import GOLDEN

SAMPLE = GOLDEN / "misp-feed" / "folder" / "input"
EVENTS = sorted(path for path in SAMPLE.glob("*-*.json"))


def members() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in SAMPLE.iterdir()}


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            held = tarfile.TarInfo(name)
            held.size = len(data)
            archive.addfile(held, io.BytesIO(data))
    return path


def numbers(path: Path) -> list[str | None]:
    rows = read_rows(path, "misp-feed")
    return [number for chunk in rows for number in chunk.number]


@pytest.mark.parametrize("above", ["", "feed/", "./"])
def test_folder_zip_and_tar_are_the_same(tmp_path, above):
    """However the feed's folder was handed over, its events are read, older ones first."""
    wanted = numbers(SAMPLE)
    assert len(wanted) == 4
    files = {f"{above}{name}": data for name, data in members().items()}
    for path in (zipped(tmp_path / "f.zip", files), tarred(tmp_path / "f.tgz", files)):
        assert is_folder(path)
        assert numbers(path) == wanted


def test_all_events_in_one_json_are_a_feed_too(tmp_path):
    """A single document with all events needs no manifest."""
    path = tmp_path / "all.json"
    path.write_bytes(b"[" + b",".join(event.read_bytes() for event in EVENTS) + b"]")
    assert numbers(path) == numbers(SAMPLE)


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda files: files.pop(EVENTS[0].name), "1 of 2 events"),
        (lambda files: files.pop("manifest.json"), "no manifest.json"),
        (lambda files: files.update({"manifest.json": b"[1]"}), "manifest.json cannot be read"),
        (lambda files: files.update({"manifest.json": b'{"../../x": {}}'}), "are missing"),
        (lambda files: files.update({"manifest.json": b'{"x": {"timestamp": "a"}}'}), "manifest"),
        (lambda files: files.update({EVENTS[0].name: b"<html>"}), "not a MISP event"),
    ],
)
def test_half_a_feed_is_refused(tmp_path, make, change, told):
    """A missing or broken event would take its numbers off the list: the whole is refused."""
    files = members()
    change(files)
    with pytest.raises(InputUnreadable, match=told):
        numbers(make(tmp_path / "feed", files))


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_damaged_archive_is_refused(tmp_path, make):
    """An archive that was cut or changed on its way ends in a refusal, wherever it was hit."""
    path = make(tmp_path / "feed", members())
    whole = path.read_bytes()
    for at in range(0, len(whole), 37):
        for damaged in (whole[:at], whole[:at] + b"\xa5" + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = numbers(path)
            except InputUnreadable:
                continue
            assert sorted(filter(None, found)) == sorted(filter(None, numbers(SAMPLE)))


def test_what_an_archive_unpacks_to_is_bounded(tmp_path, monkeypatch):
    """A small archive that unpacks to gigabytes is refused when the limit is reached."""
    monkeypatch.setattr(misp_folder, "TOTAL_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(misp_folder, "PIECE_BYTES", 1 << 16)
    files = members() | {EVENTS[0].name: b'{"info": "' + b" " * (8 << 20) + b'"}'}
    for make in (zipped, tarred):
        path = make(tmp_path / make.__name__, files)
        assert path.stat().st_size < 1 << 16
        with pytest.raises(InputUnreadable, match="unpacked"):
            numbers(path)


def test_an_encrypted_archive_is_refused(tmp_path):
    """A password-protected zip says so."""
    path = zipped(tmp_path / "f.zip", members())
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 4)
    path.write_bytes(data)
    with pytest.raises(InputUnreadable, match="encrypted"):
        list(read_folder(path))


def test_a_folder_that_is_gone_is_refused(tmp_path):
    """A path with nothing there is an answer, not a crash."""
    shutil.copytree(SAMPLE, tmp_path / "x")
    (tmp_path / "x" / EVENTS[0].name).unlink()
    with pytest.raises(InputUnreadable, match="missing"):
        numbers(tmp_path / "x")
    with pytest.raises(InputUnreadable):
        numbers(tmp_path / "y")


def test_a_file_name_of_megabytes_is_refused(tmp_path):
    """Tarfile reads a long name at once, as long as its header says: a header is not believed."""
    held = tarfile.TarInfo("x" * (8 << 20))
    path = tmp_path / "f.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(held, io.BytesIO())
    with pytest.raises(InputUnreadable):
        list(read_folder(path))


def test_a_zip_with_a_huge_directory_is_refused(tmp_path, monkeypatch):
    """A zip's directory becomes objects before anything is read of it: its size is bounded."""
    path = zipped(tmp_path / "f.zip", members())
    monkeypatch.setattr(misp_folder, "DIRECTORY_BYTES_MAX", 100)
    with pytest.raises(InputUnreadable, match="events"):
        list(read_folder(path))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_compression_of_tar(tmp_path, mode):
    """Plain, gzip, bzip2 and xz are read; the archive's own order of files does not matter."""
    path = tmp_path / "feed"
    with tarfile.open(path, mode) as archive:
        for file in sorted(SAMPLE.iterdir(), reverse=True):
            archive.add(file, file.name)
    assert numbers(path) == numbers(SAMPLE)

"""S3 and SFTP transports against servers that others wrote: moto's and asyncssh's."""

import asyncio
import bz2
import gzip
import lzma
import os
import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.remote_file import (
    S3FeedSettings,
    S3Transport,
    SftpFeedSettings,
    SftpTransport,
)
from stream.feeds.transports.transport import Fetched, Transport, Unchanged
from tests.support.remote_servers import (
    ACCESS_KEY,
    PASSWORD,
    REGION,
    SECRET_KEY,
    S3Server,
    SftpServer,
    running_s3,
    running_sftp,
)

LIST = b"number\n" + b"".join(b"+4477009%05d\n" % n for n in range(2000))
SECRETS = {"KEY": ACCESS_KEY, "SECRET": SECRET_KEY, "PASSWORD": PASSWORD, "WRONG": "other words"}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server, request: pytest.FixtureRequest) -> str:
    name = f"b{sha256(request.node.name.encode()).hexdigest()[:20]}"
    return s3.bucket(name)


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[SftpServer]:
    root = tmp_path / "files"
    root.mkdir()
    with running_sftp(root) as server:
        yield server


def of_s3(server: S3Server, url: str, **fields) -> Transport:
    wanted = {
        "endpoint": server.endpoint,
        "region": REGION,
        "path_style": True,
        "access_key_env": "KEY",
        "secret_key_env": "SECRET",
        **fields,
    }
    return S3Transport(S3FeedSettings(url=url, **wanted), SECRETS)


def of_sftp(server: SftpServer, path: str, **fields) -> Transport:
    wanted = {"host_keys": (server.fingerprint,), "password_env": "PASSWORD", "settle_s": 0.0}
    settings = SftpFeedSettings(url=server.url(path), **{**wanted, **fields})
    return SftpTransport(settings, SECRETS)


async def fetched(transport: Transport, into: Path) -> Fetched:
    result = await transport.fetch({}, into)
    assert isinstance(result, Fetched)
    return result


async def refused(transport: Transport, into: Path) -> FeedDown:
    with pytest.raises(FeedDown) as caught:
        await transport.fetch({}, into)
    assert not list(into.parent.iterdir())
    for secret in SECRETS.values():
        assert secret not in str(caught.value)
    return caught.value


async def test_an_object_is_fetched_once(s3: S3Server, bucket: str, into: Path) -> None:
    """The second time nothing is fetched; the same bytes put there again are no new version."""
    s3.put(bucket, "lists/scam.csv", LIST)
    transport = of_s3(s3, f"s3://{bucket}/lists/scam.csv")
    first = await fetched(transport, into)
    assert into.read_bytes() == LIST
    assert (first.sha256, first.size, first.whole) == (sha256(LIST).hexdigest(), len(LIST), True)
    assert first.origin == f"s3://{bucket}/lists/scam.csv"
    into.unlink()
    assert isinstance(await transport.fetch(first.remember, into), Unchanged)
    s3.put(bucket, "lists/scam.csv", LIST)
    assert isinstance(await transport.fetch(first.remember, into), Unchanged)
    s3.put(bucket, "lists/scam.csv", LIST + b"+447700900999\n")
    assert isinstance(await transport.fetch(first.remember, into), Fetched)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
async def test_the_newest_object_below_a_prefix_counts(
    s3: S3Server, bucket: str, into: Path, pack
) -> None:
    """Listings have pages; hidden, unfinished and other names are no versions; it is unpacked."""
    for number in range(3):
        s3.put(bucket, f"lists/2026-11-2{number}.csv.z", b"number\n+447700900001\n")
    s3.put(bucket, "lists/2026-11-29.csv.z", pack(LIST))
    for name in (".hidden.csv.z", "2026-11-30.csv.z.part", "readme.txt"):
        s3.put(bucket, f"lists/{name}", b"no list")
    version = await fetched(of_s3(s3, f"s3://{bucket}/lists/", pattern="*.csv.z"), into)
    assert into.read_bytes() == LIST
    assert version.remember["name"] == "2026-11-29.csv.z"


async def test_faults_of_s3_say_what_to_do(s3: S3Server, bucket: str, into: Path) -> None:
    """No bucket, no object, an empty prefix, a file too large, a bomb, a server that is away."""
    s3.put(bucket, "large.csv", LIST)
    s3.put(bucket, "bomb.gz", gzip.compress(b"0" * 50_000_000))
    cases: list[tuple[str, dict[str, Any], FeedFault, str]] = [
        ("s3://nobody-has-this/list.csv", {}, FeedFault.MISSING, "does not exist"),
        ("s3://nobody-has-this/", {}, FeedFault.MISSING, "bucket"),
        (f"s3://{bucket}/other.csv", {}, FeedFault.MISSING, "ends with"),
        (f"s3://{bucket}/empty/", {}, FeedFault.MISSING, "does not exist"),
        (f"s3://{bucket}/large.csv", {"bytes_max": 1000}, FeedFault.TOO_LARGE, "bytes_max"),
        (f"s3://{bucket}/bomb.gz", {"bytes_max": 20_000_000}, FeedFault.BOMB, "unpacks"),
        (
            f"s3://{bucket}/large.csv",
            {"endpoint": "http://127.0.0.1:9", "answer_s": 1.0},
            FeedFault.DOWN,
            "reached",
        ),
    ]
    for url, fields, fault, words in cases:
        down = await refused(of_s3(s3, url, **fields), into)
        assert (down.reason, words in down.detail) == (fault, True), down


async def test_silence_meets_its_limit(s3: S3Server, into: Path) -> None:
    """A server that takes the connection and says nothing costs `answer_s`, for both kinds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fields = {"endpoint": f"http://127.0.0.1:{port}", "answer_s": 0.1}
        down = await refused(of_s3(s3, "s3://b/list.csv", **fields), into)
        assert down.reason is FeedFault.TIMEOUT
        settings = SftpFeedSettings(
            url=f"sftp://u@127.0.0.1:{port}/list.csv",
            host_keys=("SHA256:x",),
            password_env="PASSWORD",
            answer_s=0.1,
        )
        down = await refused(SftpTransport(settings, SECRETS), into)
        assert down.reason is FeedFault.TIMEOUT


async def test_a_file_comes_over_sftp_once(sftp: SftpServer, into: Path, tmp_path: Path) -> None:
    """By password or key, with the host's key as fingerprint or as ssh-keyscan writes it."""
    path = sftp.root / "scam.csv"
    path.write_bytes(LIST)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    first = await fetched(of_sftp(sftp, "/scam.csv"), into)
    assert into.read_bytes() == LIST
    assert (first.as_of_s, first.sha256) == (1_600_000_000, sha256(LIST).hexdigest())
    into.unlink()
    fields = {
        "host_keys": (f"{sftp.known_host} partner",),
        "password_env": "",
        "key_file": sftp.key_file(tmp_path),
    }
    by_key = of_sftp(sftp, "/scam.csv", **fields)
    assert isinstance(await by_key.fetch(first.remember, into), Unchanged)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    touched = await by_key.fetch(first.remember, into)
    assert isinstance(touched, Unchanged)
    path.write_bytes(gzip.compress(LIST + b"+447700900999\n"))
    assert isinstance(await by_key.fetch(touched.remember, into), Fetched)
    assert into.read_bytes() == LIST + b"+447700900999\n"


async def test_the_newest_file_of_a_folder_counts(sftp: SftpServer, into: Path) -> None:
    """Also below folders; links, empty files and unfinished names are left out, and a file that
    was written a moment ago waits.
    """
    (sftp.root / "a" / "b").mkdir(parents=True)
    for day, name in enumerate(("a/1.csv", "a/b/2.csv")):
        (sftp.root / name).write_bytes(LIST + b"+44770090099%d\n" % day)
        os.utime(sftp.root / name, (1_600_000_000 + day, 1_600_000_000 + day))
    (sftp.root / "a" / "3.csv").symlink_to(sftp.root / "a" / "1.csv")
    (sftp.root / "a" / "4.csv").touch()
    (sftp.root / "a" / "5.csv.part").write_bytes(LIST)
    version = await fetched(of_sftp(sftp, "/a/", pattern="*.csv"), into)
    assert version.remember["name"] == "b/2.csv"
    (sftp.root / "a" / "6.csv").write_bytes(LIST)
    into.unlink()
    waits = of_sftp(sftp, "/a/", pattern="*.csv", settle_s=3600)
    assert isinstance(await waits.fetch({}, into), Unchanged)


async def test_faults_of_sftp_say_what_to_do(sftp: SftpServer, into: Path) -> None:
    """A wrong host key gets no login; a wrong password, no file, a folder, and one too large."""
    (sftp.root / "large.csv").write_bytes(LIST)
    (sftp.root / "folder").mkdir()
    wrong = of_sftp(sftp, "/large.csv", host_keys=("SHA256:b3RoZXI",))
    down = await refused(wrong, into)
    assert (down.reason, sftp.fingerprint in down.detail) == (FeedFault.CERTIFICATE, True)
    assert sftp.sessions == 0
    cases: list[tuple[str, dict[str, Any], FeedFault, str]] = [
        ("/large.csv", {"password_env": "WRONG"}, FeedFault.UNAUTHORISED, "login"),
        ("/large.csv", {"key_file": "/nonexistent"}, FeedFault.UNAUTHORISED, "key_file"),
        ("/other.csv", {}, FeedFault.MISSING, "ends with"),
        ("/folder", {}, FeedFault.MISSING, "ends with"),
        ("/folder/", {}, FeedFault.MISSING, "does not exist"),
        ("/large.csv", {"bytes_max": 1000}, FeedFault.TOO_LARGE, "bytes_max"),
    ]
    for path, fields, fault, words in cases:
        down = await refused(of_sftp(sftp, path, **fields), into)
        assert (down.reason, words in down.detail) == (fault, True), down


async def test_a_cancelled_fetch_leaves_nothing(sftp: SftpServer, into: Path) -> None:
    """Neither a file nor a thread."""
    (sftp.root / "list.csv").write_bytes(LIST)
    task = asyncio.create_task(of_sftp(sftp, "/list.csv").fetch({}, into))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(into.parent.iterdir())

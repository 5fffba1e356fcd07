"""Certificates that are renewed count for the next connection, and half a pair for none."""

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stream.ops.renewed_tls import RenewedContext
from tests.support.certificates import HOST, authority, signed

pytestmark = pytest.mark.needs_openssl


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, and a pair of files by each: `server` and `renewed`."""
    folder = tmp_path_factory.mktemp("made")
    authority(folder)
    authority(folder, "other")
    signed(folder, "server", HOST)
    signed(folder, "renewed", HOST, by="other")
    return folder


def put(made: Path, name: str, into: Path, *endings: str) -> None:
    """Write `name`'s files over those in use, as a renewal does."""
    for ending in endings or (".pem", "-key.pem"):
        new = into / "new"
        shutil.copy(made / f"{name}{ending}", new)
        new.replace(into / f"used{ending}")


@pytest.fixture
async def server(made: Path, tmp_path: Path) -> AsyncIterator[int]:
    """The port of a server whose files lie in `tmp_path`."""
    put(made, "server", tmp_path)
    context = RenewedContext.of_server(str(tmp_path / "used.pem"), str(tmp_path / "used-key.pem"))

    async def closes(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(closes, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


async def meets(port: int, context: ssl.SSLContext) -> None:
    """Connect and go. Raises SSLError where the server is not trusted."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.close()


def trusts(made: Path, name: str) -> ssl.SSLContext:
    """A client that trusts one authority."""
    return ssl.create_default_context(cafile=made / f"{name}.pem")


async def test_a_renewed_certificate_is_shown(server: int, made: Path, tmp_path: Path) -> None:
    """By the running server, from the next connection on."""
    await meets(server, trusts(made, "ca"))
    put(made, "renewed", tmp_path)
    await meets(server, trusts(made, "other"))
    with pytest.raises(ssl.SSLCertVerificationError):
        await meets(server, trusts(made, "ca"))


async def test_half_a_pair_changes_nothing(
    server: int, made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate whose key is still to come: the old pair goes on, and one line says so."""
    caplog.set_level(logging.WARNING)
    put(made, "renewed", tmp_path, ".pem")
    for _ in range(3):
        await meets(server, trusts(made, "ca"))
    assert len([one for one in caplog.messages if "certificates stay as they were" in one]) == 1
    put(made, "renewed", tmp_path, "-key.pem")
    await meets(server, trusts(made, "other"))


async def test_a_client_trusts_a_renewed_authority(server: int, made: Path, tmp_path: Path) -> None:
    """Its context is the one that it had."""
    (tmp_path / "ca.pem").write_bytes((made / "other.pem").read_bytes())
    context = RenewedContext.of_client(str(tmp_path / "ca.pem"), "", "")
    with pytest.raises(ssl.SSLCertVerificationError):
        await meets(server, context)
    (tmp_path / "ca.pem").write_bytes(
        (made / "other.pem").read_bytes() + (made / "ca.pem").read_bytes()
    )
    await meets(server, context)


def test_a_client_checks_as_python_does() -> None:
    """Names, certificates and flags as `create_default_context` has them."""
    ours, usual = RenewedContext.of_client("", "", ""), ssl.create_default_context()
    for name in ("verify_mode", "check_hostname", "verify_flags", "minimum_version", "options"):
        assert getattr(ours, name) == getattr(usual, name), name

"""TLS of the HTTP transport: what is trusted, what is refused, and that it is said why."""

import ssl
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.http_file import HttpSettings, HttpTransport
from stream.feeds.transports.http_get import TlsSettings
from stream.feeds.transports.transport import Fetched
from tests.support.certificates import HOST, authority, expired, signed
from tests.support.scripted_web import ScriptedWeb, ok, scripted_web

pytestmark = pytest.mark.needs_openssl
LIST = b"number\n+447700900001\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "other-ca"):
        authority(folder, name)
    signed(folder, "good", HOST)
    signed(folder, "elsewhere", "subjectAltName=DNS:example.org")
    signed(folder, "client")
    signed(folder, "stranger", by="other-ca")
    expired(folder, "expired", HOST)
    return folder


def server(files: Path, name: str, *, asks_for_clients: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(files / "ca.pem"))
    context.load_cert_chain(files / f"{name}.pem", files / f"{name}-key.pem")
    if asks_for_clients:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def fetched(web: ScriptedWeb, into: Path, **tls: str) -> Fetched:
    web.answers["/list"] = ok(LIST)
    settings = HttpSettings(url=web.url("/list"), tls=TlsSettings(**tls), answer_s=20.0)
    result = await HttpTransport(settings, {}).fetch({}, into)
    assert isinstance(result, Fetched)
    return result


async def test_a_server_that_our_authority_signed_is_trusted(files: Path, into: Path) -> None:
    """A partner's own authority is enough, named as ca_file."""
    async with scripted_web({}, server(files, "good")) as web:
        await fetched(web, into, ca_file=str(files / "ca.pem"))
    assert into.read_bytes() == LIST


@pytest.mark.parametrize(
    ("name", "authority", "why"),
    [
        ("expired", "ca", "certificate has expired"),
        ("elsewhere", "ca", "not valid for '127.0.0.1'"),
        ("good", "other-ca", "self-signed certificate|unable to get local issuer"),
        ("good", "", "self-signed certificate|unable to get local issuer"),
    ],
)
async def test_a_certificate_that_is_not_right_is_refused(
    name: str, authority: str, why: str, files: Path, into: Path
) -> None:
    """Expired, for another host, or signed by nobody that we trust: never taken, and named."""
    tls = {"ca_file": str(files / f"{authority}.pem")} if authority else {}
    async with scripted_web({}, server(files, name)) as web:
        with pytest.raises(FeedDown, match=rf"certificate is refused: .*({why})") as caught:
            await fetched(web, into, **tls)
    assert caught.value.reason is FeedFault.CERTIFICATE
    assert not web.asked
    assert not list(into.parent.iterdir())


async def test_we_show_our_certificate(files: Path, into: Path) -> None:
    """A server that lets in only those that its authority signed gets ours."""
    tls = {
        "ca_file": str(files / "ca.pem"),
        "cert_file": str(files / "client.pem"),
        "key_file": str(files / "client-key.pem"),
    }
    async with scripted_web({}, server(files, "good", asks_for_clients=True)) as web:
        await fetched(web, into, **tls)
    assert into.read_bytes() == LIST


@pytest.mark.parametrize("ours", ["", "stranger"])
async def test_a_server_that_wants_another_certificate_says_so(
    ours: str, files: Path, into: Path
) -> None:
    """None, or one that its authority did not sign.

    In TLS 1.3 its alert races with the end of the connection; where to look is said either way.
    """
    tls = {"ca_file": str(files / "ca.pem")}
    if ours:
        tls |= {"cert_file": str(files / f"{ours}.pem"), "key_file": str(files / f"{ours}-key.pem")}
    async with scripted_web({}, server(files, "good", asks_for_clients=True)) as web:
        with pytest.raises(FeedDown, match="look at the feed's tls") as caught:
            await fetched(web, into, **tls)
    assert caught.value.reason in (FeedFault.CERTIFICATE, FeedFault.DOWN)


@pytest.mark.parametrize("field", ["ca_file", "cert_file"])
async def test_files_that_can_not_be_used_are_named(field: str, files: Path, into: Path) -> None:
    """A path that leads nowhere is said, at the next fetch: certificates are renewed on disk."""
    async with scripted_web({}, server(files, "good")) as web:
        with pytest.raises(FeedDown, match=rf"certificate: .*{field} '/nowhere.pem'.*No such file"):
            await fetched(web, into, **{field: "/nowhere.pem"})


async def test_nobody_leads_us_from_https_to_http(files: Path, into: Path) -> None:
    """An attacker on the way there could change the list; not even redirects = any allows it."""
    async with scripted_web({}, server(files, "good")) as web:
        web.answers["/list"] = ok(b"", "Location: http://127.0.0.1/list", status="301 Moved")
        tls = TlsSettings(ca_file=str(files / "ca.pem"))
        settings = HttpSettings(url=web.url("/list"), tls=tls, redirects="any")
        with pytest.raises(FeedDown, match=r"from https to http://127\.0\.0\.1/list") as caught:
            await HttpTransport(settings, {}).fetch({}, into)
    assert caught.value.reason is FeedFault.REDIRECTED

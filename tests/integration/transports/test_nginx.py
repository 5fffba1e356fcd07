"""The HTTP transport against a real nginx; what no decent server does is in tests/unit."""

import gzip
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from stream.core.model.errors import FeedDown, FeedFault
from stream.feeds.transports.http_file import HttpSettings, HttpTransport
from stream.feeds.transports.http_get import LoginSettings, TlsSettings
from stream.feeds.transports.transport import Fetched, Unchanged
from tests.support.nginx import PASSWORD, USER, Nginx, running_nginx

pytestmark = [pytest.mark.needs_nginx, pytest.mark.needs_openssl]
LIST = b"number\n" + b"".join(b"+4477009%05d\n" % n for n in range(2000))


@pytest.fixture(scope="module")
def server() -> Iterator[Nginx]:
    with running_nginx() as server:
        yield server


@pytest.fixture
def nginx(server: Nginx) -> Nginx:
    """The server with one list, made in September 2020."""
    path = server.www / "list.csv"
    path.write_bytes(LIST)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    (server.www / "login.html").write_text("<!doctype html><title>Log in</title>")
    return server


def over(url: str, **fields) -> HttpTransport:
    secrets = {"PASSWORD": PASSWORD, "WRONG": "other"}
    return HttpTransport(HttpSettings(**{"url": url, "answer_s": 20.0, **fields}), secrets)


async def fetched(url: str, into: Path, **fields) -> Fetched:
    result = await over(url, **fields).fetch({}, into)
    assert isinstance(result, Fetched)
    return result


async def refused(url: str, into: Path, **fields) -> FeedDown:
    with pytest.raises(FeedDown) as caught:
        await over(url, **fields).fetch({}, into)
    assert not list(into.parent.iterdir())
    return caught.value


async def test_a_list_is_fetched_once(nginx: Nginx, into: Path) -> None:
    """The second time nginx says 304; after a change it is fetched again, and only then."""
    url = nginx.url("list.csv")
    first = await fetched(url, into)
    assert into.read_bytes() == LIST
    assert (first.sha256, first.size) == (sha256(LIST).hexdigest(), len(LIST))
    assert (first.as_of_s, first.whole, first.origin) == (1_600_000_000, True, url)
    into.unlink()
    assert isinstance(await over(url).fetch(first.remember, into), Unchanged)
    assert nginx.sent("GET /list.csv", 304) == 0
    os.utime(nginx.www / "list.csv", (1_700_000_000, 1_700_000_000))
    touched = await over(url).fetch(first.remember, into)
    assert isinstance(touched, Unchanged)
    assert not into.exists()
    (nginx.www / "list.csv").write_bytes(LIST + b"+447700900999\n")
    assert isinstance(await over(url).fetch(touched.remember, into), Fetched)


async def test_packed_on_the_way_or_on_disk(nginx: Nginx, into: Path) -> None:
    """A body that nginx compresses as it sends, and a compressed file there, are the same list."""
    on_the_way = await fetched(nginx.url("packed/list.csv"), into)
    assert 0 < nginx.sent("GET /packed/list.csv", 200) < len(LIST) / 4
    assert isinstance(
        await over(nginx.url("packed/list.csv")).fetch(on_the_way.remember, into), Unchanged
    )
    (nginx.www / "list.csv.gz").write_bytes(gzip.compress(LIST))
    on_disk = await fetched(nginx.url("list.csv.gz"), into)
    assert on_the_way.sha256 == on_disk.sha256 == sha256(LIST).hexdigest()
    assert into.read_bytes() == LIST


async def test_a_login_is_needed_and_right(nginx: Nginx, into: Path) -> None:
    """Without it, and with a wrong one, nginx's 401 says so; with it the list comes."""
    url = nginx.url("login/list.csv")
    assert (await refused(url, into)).reason is FeedFault.UNAUTHORISED
    wrong = LoginSettings(username=USER, password_env="WRONG")
    assert (await refused(url, into, login=wrong)).reason is FeedFault.UNAUTHORISED
    await fetched(url, into, login=LoginSettings(username=USER, password_env="PASSWORD"))
    assert into.read_bytes() == LIST


async def test_our_certificate_lets_us_in(nginx: Nginx, into: Path) -> None:
    """Nginx says 400 to those who show none, and the message says where to look."""
    url, ca = nginx.secure_url("list.csv"), str(nginx.folder / "ca.pem")
    fault = await refused(url, into, tls=TlsSettings(ca_file=ca))
    assert fault.reason is FeedFault.REFUSED_BY_SERVER
    assert "look at the feed's tls" in fault.detail
    files = {"cert_file": "client.pem", "key_file": "client-key.pem"}
    ours = {name: str(nginx.folder / file) for name, file in files.items()}
    await fetched(url, into, tls=TlsSettings(ca_file=ca, **ours))
    assert into.read_bytes() == LIST


async def test_a_busy_server_says_when(nginx: Nginx, into: Path) -> None:
    """Retry-After in seconds, and as a date, which in a lifetime is a day at most."""
    busy = await refused(nginx.url("busy/"), into)
    assert (busy.reason, busy.retry_after_s) == (FeedFault.DOWN, 120)
    banned = await refused(nginx.url("banned/"), into)
    assert (banned.reason, banned.retry_after_s) == (FeedFault.REFUSED_BY_SERVER, 86_400)


async def test_a_cached_answer_is_not_asked_for_too_soon(nginx: Nginx, into: Path) -> None:
    """Cache-Control's max-age is a wait, and has a limit of ours."""
    url = nginx.url("cached/list.csv")
    assert (await fetched(url, into)).wait_s_min == 90
    assert (await fetched(url, into, max_age_s_max=10.0)).wait_s_min == 10


async def test_redirects_stay_with_the_server(nginx: Nginx, into: Path) -> None:
    """To another path of it they are followed, to another host only where that is allowed."""
    assert (await refused(nginx.url("round/"), into)).reason is FeedFault.REDIRECTED
    await fetched(nginx.url("moved/list.csv"), into)


async def test_redirects_elsewhere_are_named(nginx: Nginx, into: Path) -> None:
    """The message says whereto; `redirects = "any"` follows."""
    fault = await refused(nginx.url("away/"), into)
    assert "redirects to http://localhost:" in fault.detail
    await fetched(nginx.url("away/"), into, redirects="any")
    assert into.read_bytes() == LIST


async def test_a_login_page_is_no_list(nginx: Nginx, into: Path) -> None:
    """A portal answers 200 with its page whatever one asks for."""
    assert (await refused(nginx.url("page/list2.csv"), into)).reason is FeedFault.NOT_A_FEED


async def test_a_slow_server_is_given_up(nginx: Nginx, into: Path) -> None:
    """200 bytes a second would take two minutes."""
    fault = await refused(nginx.url("slow/list.csv"), into, slow_window_s=0.5)
    assert fault.reason is FeedFault.TOO_SLOW


async def test_a_list_over_its_limit_is_refused_before_it_comes(nginx: Nginx, into: Path) -> None:
    """By what nginx announces."""
    fault = await refused(nginx.url("list.csv"), into, bytes_max=1000)
    assert fault.reason is FeedFault.TOO_LARGE
    assert f"({len(LIST):,} bytes announced) has more than bytes_max = 1,000" in fault.detail


async def test_a_checksum_beside_the_list_is_checked(nginx: Nginx, into: Path) -> None:
    """As sha256sum writes it; a known one saves the list, a wrong one refuses it."""
    sums = nginx.www / "SHA256SUMS"
    sums.write_text(f"{'0' * 64}  other.csv\n{sha256(LIST).hexdigest()} *list.csv\n")
    urls = {"sha256_url": nginx.url("SHA256SUMS")}
    first = await fetched(nginx.url("list.csv"), into, **urls)
    into.unlink()
    known = await over(nginx.url("list.csv"), **urls).fetch(first.remember, into)
    assert isinstance(known, Unchanged)
    assert nginx.sent("GET /SHA256SUMS", 200) == sums.stat().st_size
    sums.write_text("0" * 64)
    assert (await refused(nginx.url("list.csv"), into, **urls)).reason is FeedFault.CHECKSUM
    sums.write_text("nothing of that kind")
    fault = await refused(nginx.url("list.csv"), into, **urls)
    assert "has 0 SHA-256 sums and not exactly one for list.csv" in fault.detail

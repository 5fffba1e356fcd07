"""The nginx configuration that we recommend, by a real nginx: what partners get from it."""

import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path

import pytest

from stream.exchange import mirror
from stream.feeds.tuf.tuf_client import TufClient, TufLimits
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.nginx import answers, logged
from tests.support.repositories import Country, hub_at

pytestmark = pytest.mark.needs_nginx

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx-exchange.conf"
AROUND = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  gzip on; gzip_types *; gzip_min_length 1;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
{server}
}}
"""
FILTER = "KH/scam/1/filter.bloom"


class Site:
    """A hub that carries KH, behind nginx."""

    def __init__(self, home: Path, port: int) -> None:
        self.kh = Country(home / "kh")
        self.kh.publish({"latest.json": b"{}" * 500, "1/filter.bloom": b"bits" * 50_000})
        hub, _ = hub_at(home, self.kh.now_s)
        self.folder = hub.folder
        hub.add("KH", str(self.kh.folder), self.kh.root, self.kh.now_s)
        self.port = port
        self.url = f"http://127.0.0.1:{port}/countries/KH"

    def asks(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders())


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = new_folder("nginx-exchange")
    try:
        (port,) = free_ports(1)
        made = Site(folder, port)
        server = CONFIG.read_text().replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
        server = re.sub(r"^ *ssl_certificate.*$", "", server, flags=re.MULTILINE)
        server = server.replace("/srv/exchange", str(made.folder))
        assert server.count("access_log off") == 1
        server = server.replace("access_log off", f"access_log {folder}/access.log")
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, server=server))
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        with Server("nginx", port, folder, command, answers) as running:
            running.start()
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_repository_behind_nginx_is_as_it_was_signed(site: Site) -> None:
    """Every file, through a hub: though gzip is on around it, no byte is another."""
    with_url = mirror.serve_check(site.kh.folder, site.url, TufLimits(), whole=True)
    assert with_url.faults == ()
    assert with_url.targets == 2


def test_a_download_goes_on_where_it_broke_off(site: Site, tmp_path: Path) -> None:
    """The missing part is requested by Range, nginx gives it as 206, and the whole is verified."""
    client = TufClient(site.url, tmp_path, site.kh.root)
    found = client.refresh()
    target = found.find(FILTER)
    assert target is not None
    name = f"{target.hashes['sha256']}.filter.bloom"
    partial = (
        tmp_path / "partial" / sha256(f"{site.url}/targets/KH/scam/1/{name}".encode()).hexdigest()
    )
    partial.parent.mkdir()
    partial.write_bytes((b"bits" * 50_000)[:70_000])
    found.download(FILTER, tmp_path / "filter")
    client.close()
    assert (tmp_path / "filter").read_bytes() == b"bits" * 50_000
    logged(site.folder.parent / "access.log", rf"GET \S+{name} HTTP/1.1\" 206 130000 ")


@pytest.mark.parametrize("above", ["", "/countries/KH"])
def test_only_what_never_changes_is_kept_by_caches(site: Site, above: str) -> None:
    """The timestamp is requested again each time; versioned files are kept; a 404 is not."""
    newest = f"{above}/metadata/timestamp.json"
    status, headers = site.asks(newest, Accept_Encoding="gzip")
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    assert "Content-Encoding" not in headers
    assert site.asks(newest, If_None_Match=headers["ETag"])[0] == 304
    status, headers = site.asks(f"{above}/metadata/1.root.json", Accept_Encoding="gzip")
    assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert "Content-Encoding" not in headers
    status, headers = site.asks(f"{above}/metadata/2.root.json")
    assert (status, headers["Cache-Control"]) == (404, "no-store")


@pytest.mark.parametrize(
    "path", ["/", "/.hub.lock", "/keys/root-1.pem", "/metadata/", "/metadata/x.json.writing"]
)
def test_nothing_else_is_served(site: Site, path: str) -> None:
    """No list of files, no lock, nothing half written, and no key if one should ever lie there."""
    place = site.folder / path.lstrip("/")
    if path[-1] != "/":
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"x")
    assert site.asks(path)[0] == 404
    assert site.asks("/metadata/timestamp.json", "POST")[0] in {403, 405}

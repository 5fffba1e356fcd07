"""A real nginx on ports of its own, with what carriers' partners configure."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.certificates import HOST, authority, signed
from tests.support.waiting import until_now

USER, PASSWORD = "ringfence", "a pass phrase"
_SETTINGS = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
  access_log {folder}/access.log;
  types {{ text/csv csv; application/json json; application/gzip gz; text/html html; }}
  default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  root {folder}/www;
  server {{
    listen 127.0.0.1:{port};
    location / {{ }}
    location /packed/ {{ alias {folder}/www/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /slow/ {{ alias {folder}/www/; limit_rate 200; }}
    location /login/ {{
      alias {folder}/www/; auth_basic "partners"; auth_basic_user_file {folder}/users;
    }}
    location /cached/ {{ alias {folder}/www/; expires 90; }}
    location /busy/ {{ add_header Retry-After "120" always; return 503; }}
    location /banned/ {{
      add_header Retry-After "Fri, 01 Jan 2100 00:00:00 GMT" always; return 429;
    }}
    location /moved/ {{ rewrite ^/moved/(.*)$ /$1 permanent; }}
    location /away/ {{ return 302 http://localhost:{port}/list.csv; }}
    location /round/ {{ return 302 /round/; }}
    location /page/ {{ error_page 404 =200 /login.html; }}
  }}
  server {{
    listen 127.0.0.1:{tls} ssl;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server-key.pem;
    ssl_client_certificate {folder}/ca.pem; ssl_verify_client on;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running one; what lies in `www` it serves. `folder` has the certificates."""

    folder: Path
    port: int
    tls: int

    @property
    def www(self) -> Path:
        """The files."""
        return self.folder / "www"

    def url(self, path: str) -> str:
        """Over HTTP."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def secure_url(self, path: str) -> str:
        """Over HTTPS, for those whose certificate our authority signed."""
        return f"https://127.0.0.1:{self.tls}/{path}"

    def sent(self, request: str, status: int) -> int:
        """Bytes that it sent the last time that it answered `request` with `status`."""
        found = logged(self.folder / "access.log", rf'"{request} HTTP/1.1" {status} (\d+) ')
        return int(found[1])


@contextmanager
def running_nginx() -> Iterator[Nginx]:
    """It ends with us, and its folder with it."""
    folder = new_folder("nginx")
    try:
        authority(folder)
        signed(folder, "server", HOST)
        signed(folder, "client")
        port, tls = free_ports(2)
        (folder / "www").mkdir()
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True
        )
        (folder / "users").write_text(f"{USER}:{hashed.stdout}")
        (folder / "nginx.conf").write_text(_SETTINGS.format(folder=folder, port=port, tls=tls))
        command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        with Server("nginx", port, folder, command, answers) as server:
            server.start()
            yield Nginx(folder, port, tls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def logged(access_log: Path, pattern: str) -> re.Match[str]:
    """The last match of `pattern` in the log. It waits: nginx writes it after its answer."""
    found: list[re.Match[str]] = []

    def there() -> bool:
        found.extend(re.finditer(pattern, access_log.read_text()))
        return bool(found)

    until_now(there, f"{pattern} in the access log of nginx")
    return found[-1]


def answers(port: int) -> bool:
    """Report whether a server listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True

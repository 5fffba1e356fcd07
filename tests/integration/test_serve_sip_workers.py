"""Several processes of `ringfence serve-sip` on one port: by UDP, TCP and TLS."""

import os
import signal
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stream.lab.embedded.guarded_server import free_ports
from tests.support.builders import entry
from tests.support.certificates import HOST as NAMED
from tests.support.certificates import authority, signed
from tests.support.engine import Deployment
from tests.support.lists import BY, NAME, opened
from tests.support.sip import message
from tests.support.waiting import HANGS_S

pytestmark = pytest.mark.needs_openssl
HOST = "127.0.0.1"
NOBODY = "127.0.0.1:1"
LISTED = "+85523900101"


def by_udp(port: int, name: str) -> int:
    """The status that a listed caller's INVITE is answered with; sent again as a switch does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.bind((HOST, 0))
        for _ in range(round(HANGS_S / 0.5)):
            client.sendto(message(LISTED, changed={"Call-ID": name}), (HOST, port))
            try:
                return int(client.recv(65_535).split(b" ")[1])
            except TimeoutError:
                continue
    raise AssertionError(f"{name} has no answer")


def by_stream(port: int, context: ssl.SSLContext | None) -> int:
    """The same over a connection."""
    with socket.create_connection((HOST, port), timeout=HANGS_S) as plain:
        if context is None:
            plain.sendall(message(LISTED))
            return int(plain.recv(65_535).split(b" ")[1])
        with context.wrap_socket(plain, server_hostname=HOST) as secured:
            secured.sendall(message(LISTED))
            return int(secured.recv(65_535).split(b" ")[1])


def reached(value: Callable[[], float], least: int) -> bool:
    """Return whether a counter has come so far."""
    return value() >= least


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_workers_share_the_ports(tmp_path: Path, redis_url: str) -> None:
    """Each switch gets its answers from one of them; when one dies, another answers and it is
    started again. Their metrics are summed.
    """
    authority(tmp_path)
    signed(tmp_path, "server", NAMED)
    port, tls_port, health = free_ports(3)
    text = f"""
sip.port = {port}
sip.tls_port = {tls_port}
sip.cert_file = "{tmp_path}/server.pem"
sip.key_file = "{tmp_path}/server-key.pem"
sip.health_port = {health}
sip.trunks = {{ "{HOST}" = "intl-1" }}
ops.kernels = "off"
"""
    here = Deployment(tmp_path, NOBODY, redis_url, text)
    async with opened(redis_url) as store:
        await store.create(NAME, "plain", BY)
        await store.add(NAME, [entry(LISTED)], BY)
    with here.engine("--workers", "2", command=("serve-sip",), port=health) as serve:
        serve.until_ready()
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        assert {by_udp(port, f"u-{place}") for place in range(40)} == {603}
        assert {by_stream(port, None) for _ in range(20)} == {603}
        assert {by_stream(tls_port, context) for _ in range(20)} == {603}
        for transport, count in (("udp", 40), ("tcp", 20), ("tls", 20)):
            answered = partial(
                serve.metric, "ringfence_sip_answers_total", transport=transport, code="603"
            )
            serve.until(partial(reached, answered, count))
        assert serve.metric("ringfence_certificate_expires_timestamp_seconds", of="sip") > 0
        first, _ = children(serve.process.pid)
        os.kill(first, signal.SIGKILL)
        assert {by_udp(port, f"v-{place}") for place in range(20)} == {603}
        serve.until_ready()
        assert serve.stop() == 0

"""A Redis behind TLS that asks its clients for certificates, as managed ones do."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, RedisError

from stream.config.settings import load
from stream.lab.embedded import Unavailable, best_redis
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from stream.lab.embedded.redis_program import redis_program
from stream.lists.store.redis_client import Closing, client
from stream.lists.store.settings import ListStoreSettings
from tests.support.certificates import HOST, authority, signed
from tests.support.commands import Operator
from tests.support.waiting import REDIS_S

pytestmark = pytest.mark.needs_openssl

_SENTINEL = """\
port 0
tls-port {port}
bind 127.0.0.1
dir {folder}
tls-replication yes
tls-auth-clients yes
tls-ca-cert-file {tls}/ca.pem
tls-cert-file {tls}/server.pem
tls-key-file {tls}/server-key.pem
requirepass swordfish
sentinel monitor ringfence 127.0.0.1 {primary} 1
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """The address of a Redis, and the folder of `ca`, `server`, `client` and `other-ca`."""

    url: str
    folder: Path

    def operator(self, folder: Path, more: str = "", **files: str) -> Operator:
        """Somebody whose `[redis]` names these files, and says `more`."""
        named = "".join(f'{key} = "{self.folder / name}"\n' for key, name in files.items()) + more
        made = Operator.at(folder, self.url)
        text = made.config.read_text()
        made.config.write_text(text.replace("[redis]\n", f"[redis]\n{named}"))
        return made


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """One that is the module's own."""
    folder = tmp_path_factory.mktemp("redis-tls")
    authority(folder)
    authority(folder, "other-ca")
    signed(folder, "server", HOST)
    signed(folder, "client")
    (port,) = free_ports(1)
    try:
        redis_program()
    except Unavailable as error:  # the Valkey from pip is built without TLS
        pytest.skip(str(error))
    with best_redis() as server:
        with redis.Redis.from_url(server.url(), socket_timeout=REDIS_S) as admin:
            admin.config_set(
                "tls-cert-file", str(folder / "server.pem"),
                "tls-key-file", str(folder / "server-key.pem"),
                "tls-ca-cert-file", str(folder / "ca.pem"),
                "tls-auth-clients", "yes",
                "tls-port", port,
            )  # fmt: skip
        yield Secured(f"rediss://127.0.0.1:{port}/0", folder)


def test_a_client_with_its_certificate_is_let_in(secured: Secured, tmp_path: Path) -> None:
    """Lists are made, and read by another command."""
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"}
    operator = secured.operator(tmp_path, **files)
    operator.types("lists", "create", "TH/national")
    assert [one["list"] for one in operator.asks("lists", "list")] == ["TH/national"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"ca_file": "ca.pem"}, ""),
        ({"cert_file": "client.pem", "key_file": "client-key.pem"}, "certificate verify failed"),
        (
            {"ca_file": "other-ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"},
            "certificate verify failed",
        ),
    ],
    ids=["no certificate", "the system's authorities", "another authority"],
)
def test_who_is_not_trusted_is_refused(
    secured: Secured, tmp_path: Path, files: dict[str, str], why: str
) -> None:
    """By the server or by us, with the address and the settings to look at."""
    done = secured.operator(tmp_path, **files).invokes("lists", "list")
    assert done.code == 3
    assert why in done.err
    assert secured.url in done.err


async def test_a_renewed_certificate_counts(secured: Secured, tmp_path: Path) -> None:
    """For a client that the server has refused by its former one."""
    signed(secured.folder, "foreign", by="other-ca")
    settings = ListStoreSettings(
        secured.url,
        ca_file=str(secured.folder / "ca.pem"),
        cert_file=str(tmp_path / "used.pem"),
        key_file=str(tmp_path / "used-key.pem"),
    )
    made = client(settings)

    def put(name: str) -> None:
        for ending in (".pem", "-key.pem"):
            shutil.copy(secured.folder / f"{name}{ending}", tmp_path / f"used{ending}")

    async with Closing(made):
        put("foreign")
        with pytest.raises((RedisError, OSError)):
            await made.ping()
        put("client")
        assert await made.ping()


async def test_a_renewed_password_counts(redis_url: str, tmp_path: Path) -> None:
    """Of a file that `RINGFENCE_REDIS_PASSWORD_FILE` names, at the next connection."""
    (tmp_path / "password").write_text("first")
    environ = {
        "RINGFENCE_REDIS__URL": redis_url,
        "RINGFENCE_REDIS_USERNAME": "renewed",
        "RINGFENCE_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
    }
    with redis.Redis.from_url(redis_url) as admin:
        words = ("ACL", "SETUSER", "renewed", "reset", "on", "+@all", "~*")
        try:
            admin.execute_command(*words, ">first")
            made = client(load([], environ).list_store())
            async with Closing(made):
                assert await made.ping()
                admin.execute_command(*words, ">second one")
                await made.connection_pool.disconnect()
                with pytest.raises(AuthenticationError):
                    await made.ping()
                (tmp_path / "password").write_text("second one\n")
                assert await made.ping()
        finally:
            admin.execute_command("ACL", "DELUSER", "renewed")


def test_sentinels_behind_tls_with_a_password(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They name the primary to whom they trust."""
    (port,) = free_ports(1)
    folder = new_folder("sentinel")
    primary = secured.url.rpartition(":")[2].removesuffix("/0")
    settings = _SENTINEL.format(port=port, folder=folder, primary=primary, tls=secured.folder)
    (folder / "sentinel.conf").write_text(settings)
    command = [redis_program()[0], str(folder / "sentinel.conf"), "--sentinel"]
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"}
    more = f'sentinels = ["127.0.0.1:{port}"]\nsentinel_master = "ringfence"\nsentinel_tls = true\n'
    operator = secured.operator(tmp_path, more, **files)
    text = operator.config.read_text()
    operator.config.write_text(text.replace(secured.url, "rediss:///0"))
    with Server("Redis Sentinel", port, folder, command, _listens) as server:
        server.start()
        monkeypatch.setenv("RINGFENCE_REDIS_SENTINEL_PASSWORD", "swordfish")
        operator.types("lists", "create", "TH/sentinel")
        assert "1 sentinels agree on the primary" in operator.invokes("doctor").output


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_doctor_knows_when_they_expire(secured: Secured, tmp_path: Path) -> None:
    """The client's and the authority's."""
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client-key.pem"}
    operator = secured.operator(tmp_path, **files)
    said = operator.invokes("doctor").output
    lines = [line for line in said.splitlines() if "redis.c" in line]
    assert [line.split()[1] for line in lines] == ["redis.ca_file:", "redis.cert_file:"], said

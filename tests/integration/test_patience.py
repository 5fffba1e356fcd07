"""Commands end where Kafka or Redis is not there, not right, or does not let us in."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from stream.lab.embedded import RedisServer, best_redis
from stream.lab.embedded.guarded_server import free_ports
from tests.support.commands import command
from tests.support.engine import Deployment, Engine
from tests.support.kafka_secured import Secured

PASSWORD = "a pass phrase"
pytestmark = pytest.mark.expects_errors(
    "Unable connect to|Group Coordinator|Unable to update metadata|Failed fetch|Topic .* not found"
    "|Unable connect to node|ListOffsetRequest|Got error"
)
ASK_KAFKA = (
    ("topics", "create"),
    ("topics", "show"),
    ("decisions",),
    ("decisions", "--follow"),
    ("sink", "resend"),
    ("ingest", "RECORDS", "--dialect", "ringfence"),
    ("traceback", "+85523900123", "--from", "2d", "--for", "police", "--reason", "case 1"),
    ("appeals", "new", "4F7K2M9QX1RZC"),
    ("simulate", "ls", "--from", "1d"),
)


@pytest.fixture
def hole() -> Iterator[str]:
    """An address that takes connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def deployed(tmp_path: Path, kafka: str, redis_url: str) -> Path:
    """A settings file, and what the commands read."""
    (tmp_path / "records").write_text('{"call_id":"c","caller":"+447700900101"}\n')
    config = tmp_path / "x.toml"
    config.write_text(
        f"""
kafka.bootstrap_servers = "{kafka}"
redis.url = "{redis_url}"
lists.state_dir = "{tmp_path}/state"
ingest.state_dir = "{tmp_path}/ingest"
[sinks.webhooks.endpoints.crm]
url = "https://crm.example/x"
secret_env = "HOOK"
"""
    )
    return config


def typed(config: Path, words: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
    """Exit code and output of a command; RECORDS is the file of them."""
    given = [str(config.parent / "records") if word == "RECORDS" else word for word in words]
    more = ["--timeout", str(timeout_s), "--config", str(config)]
    done = command(*given, *more, env={"HOOK": "whsec_" + "QUFB" * 8})
    return done.code, done.output


@pytest.mark.parametrize("words", ASK_KAFKA, ids=" ".join)
@pytest.mark.parametrize("where", ["nobody", "hole"])
def test_it_ends_without_kafka(
    tmp_path: Path, redis_url: str, hole: str, words: tuple[str, ...], where: str
) -> None:
    """Nobody listens, or who listens says nothing: exit 3, with the address and the setting."""
    kafka = hole if where == "hole" else f"127.0.0.1:{free_ports(1)[0]}"
    config = deployed(tmp_path, kafka, redis_url)
    code, said = typed(config, words, 1.0)
    assert code == 3, said
    assert kafka in said
    assert "bootstrap_servers" in said
    assert "--timeout" in said


@pytest.mark.apache_kafka
@pytest.mark.needs_openssl
@pytest.mark.parametrize("words", [("decisions",), ("topics", "show")], ids=" ".join)
def test_it_ends_where_a_broker_names_an_address_that_is_none(
    tmp_path: Path, redis_url: str, secured: Secured, words: tuple[str, ...]
) -> None:
    """advertised.listeners is wrong, as so often: the first connection works, and no other."""
    config = deployed(tmp_path, secured.plain, redis_url)
    assert typed(config, ("topics", "create"), 60.0)[0] == 0
    code, said = typed(deployed(tmp_path, f"127.0.0.1:{secured.behind}", redis_url), words, 4.0)
    assert code == 3, said
    assert "advertised.listeners" in said


@pytest.mark.parametrize(
    "words",
    [("lists", "show"), ("allow", "show"), ("why", "+66812345678"), ("audit",)],
    ids=" ".join,
)
def test_it_ends_without_redis(tmp_path: Path, hole: str, words: tuple[str, ...]) -> None:
    """Exit 3, with the address and the setting, whether nobody or nothing answers."""
    for where in (hole, f"127.0.0.1:{free_ports(1)[0]}"):
        config = deployed(tmp_path, hole, f"redis://{where}/0")
        code, said = typed(config, words, 1.0)
        assert code == 3, said
        assert where in said
        assert "[redis] url" in said


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A Redis that wants a password."""
    with best_redis() as server:
        with Redis.from_url(server.url()) as redis:
            redis.config_set("requirepass", PASSWORD)
            redis.config_set("appendonly", "yes")
        yield server


@pytest.mark.parametrize("password", ["", "a guess"], ids=["missing", "wrong"])
def test_a_command_is_told_that_it_is_refused(
    tmp_path: Path, locked: RedisServer, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    """The variables are named, and the password is not."""
    monkeypatch.setenv("RINGFENCE_REDIS_PASSWORD", password)
    code, said = typed(deployed(tmp_path, "127.0.0.1:1", locked.url()), ("lists", "show"), 1.0)
    assert code == 3
    assert "ListStoreRefuses" in said
    assert "RINGFENCE_REDIS_PASSWORD" in said
    assert "a guess" not in said


SERVICES = (
    ("run",),
    ("serve",),
    ("serve-sip",),
    ("feeds", "run"),
    ("exchange", "run"),
    ("enforcement", "run"),
    ("sink", "redis"),
)


@pytest.mark.parametrize("command", SERVICES, ids=" ".join)
def test_a_service_that_is_refused_ends(
    tmp_path: Path, locked: RedisServer, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Waiting would not help: exit 3, which systemd does not restart, and what to set."""
    monkeypatch.setenv("RINGFENCE_REDIS_PASSWORD", "a guess")
    (tmp_path / "feeds").mkdir()
    here = Deployment(tmp_path, "127.0.0.1:1", locked.url(), _more(tmp_path))
    if command[0] in {"exchange", "enforcement"}:
        _publishing(here)
    with here.engine(command=command) as service:
        assert service.process.wait(300) == 3, service.log()
        assert "ListStoreRefuses" in service.log()
        assert "RINGFENCE_REDIS_PASSWORD" in service.log()
        assert "a guess" not in service.log()


@pytest.mark.parametrize("command", [("feeds", "run"), ("enforcement", "run")], ids=" ".join)
def test_a_service_waits_for_redis(tmp_path: Path, command: tuple[str, ...]) -> None:
    """After a power cut Redis comes later than we do: exit 3 would keep the service down."""
    (tmp_path / "feeds").mkdir()
    with best_redis() as redis:
        here = Deployment(tmp_path, "127.0.0.1:1", redis.url(), _more(tmp_path))
        _publishing(here)
        redis.stop()
        with Engine(here.config, *command) as service:
            service.start()
            service.until(lambda: service.said("the list store is waited for"))
            assert service.page("/ready")[0] == 503
            redis.start()
            service.until(lambda: service.said("the list store answers"))
            assert service.stop() == 0


def test_the_proxies_redis_is_named_by_its_own_variables(
    tmp_path: Path, redis_url: str, locked: RedisServer
) -> None:
    """It is another one, with a password of its own."""
    more = f'{_more(tmp_path)}\nsinks.redis.url = "{locked.url(1)}"'
    here = Deployment(tmp_path, "127.0.0.1:1", redis_url, more)
    with here.engine(command=("sink", "redis")) as sink:
        assert sink.process.wait(300) == 3, sink.log()
        assert "RINGFENCE_PROXIES_REDIS_USERNAME and ..._PASSWORD" in sink.log()


def _publishing(here: Deployment) -> None:
    """Make a repository with a list."""
    stick = str(here.folder / "stick")
    for words in (("init", "--offline", stick), ("add-list", "KH/scam", "--keys", stick)):
        here.types("exchange", *words)


def _more(tmp_path: Path) -> str:
    return f"""
ops.kernels = "off"
serve.port = 0
serve.health_port = 0
sip.port = 0
sip.health_port = 0
feeds.dir = "{tmp_path}/feeds"
feeds.http_port = 0
sinks.redis.http_port = 0
enforcement.http_port = 0
exchange.dir = "{tmp_path}/exchange"
exchange.keys_dir = "{tmp_path}/keys"
exchange.http_port = 0
exchange.state_dir = "{tmp_path}/exchange-state"
"""

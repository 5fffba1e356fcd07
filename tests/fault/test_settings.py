"""A configuration that cannot be used: all errors at once, exit 2, and nothing was started."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import process

WRONG = """\
[kafka]
bootstrap_servers = "127.0.0.1:{port}"
compresion = "zstd"
[redis]
url = "redis://127.0.0.1:{port}/0"
timeout_s = "soon"
[calls]
delivery = "exactly_once"
session_timeout_ms = 5000
batch_records_max = 0
[circles.asean]
key_env = "RINGFENCE_CIRCLE_ASEAN"
[lists]
state_dir = "{folder}/state"
"""
NAMED = (
    "kafka.compresion",
    "redis.timeout_s",
    "calls.delivery",
    "calls.batch_records_max",
    "RINGFENCE_CIRCLE_ASEAN",
)


@pytest.fixture
def bystander() -> Iterator[socket.socket]:
    """Listens where Kafka and Redis would be, and takes no connection by itself."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        yield listening


@pytest.mark.parametrize(
    "words", [("run",), ("run", "--workers", "3"), ("check-config",), ("topics", "create")]
)
def test_a_wrong_configuration_starts_nothing(tmp_path: Path, bystander, words):
    """An unknown key, a wrong type, impossible limits, a missing secret: each named, exit 2."""
    path = tmp_path / "carrier.toml"
    path.write_text(WRONG.format(port=bystander.getsockname()[1], folder=tmp_path))
    done = process(*words, "--config", str(path))
    assert done.returncode == 2, done
    for name in NAMED:
        lines = [line for line in done.stderr.splitlines() if name in line]
        assert lines, (name, done.stderr)
    for name in NAMED[:4]:
        assert f"{path}: {name}" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(TimeoutError):
        bystander.accept()

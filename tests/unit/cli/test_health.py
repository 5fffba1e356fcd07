"""`ringfence health` asks each process at its own port."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.commands import Said, command

ANSWERS = {
    "/live": (200, b'{"live": true}'),
    "/ready": (503, b'{"ready": false, "missing": ["no lists yet", "no partitions"]}'),
}


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a process that is live and not ready."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def asks(tmp_path: Path):
    """The command, with a settings file that gives a process each a port; 0 leaves it out."""

    def ask(ports: dict[str, int], *words: str) -> Said:
        keys = ("ops.http_port", "feeds.http_port", "serve.health_port", "sip.health_port",
                "ingest.http_port", "sinks.redis.http_port", "sinks.webhooks.http_port",
                "exchange.http_port", "enforcement.http_port")  # fmt: skip
        config = tmp_path / "mine.toml"
        config.write_text("".join(f"{key} = {ports.get(key, 0)}\n" for key in keys))
        return command("health", *words, "--config", str(config))

    return ask


def test_the_process_that_runs_here_is_asked(asks, port: int) -> None:
    """Without a name, whichever it is; ports of others that do not run are no failure."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as closed:
        free = closed.server_port
    ports = {"sinks.redis.http_port": port, "feeds.http_port": free}
    done = asks(ports)
    assert (done.code, done.out) == (0, "redis-sink: live\n")
    done = asks(ports, "--ready")
    assert (done.code, done.out) == (1, "redis-sink: not ready: no lists yet; no partitions\n")
    done = asks(ports, "feeds")
    assert (done.code, done.err) == (1, f"nothing listens at http://127.0.0.1:{free}\n")
    assert asks(ports, "redis-sink", "--json").json[0]["well"] is True


def test_nothing_that_runs_and_no_such_process(asks) -> None:
    """Each has its exit code and a sentence."""
    done = asks({})
    assert (done.code, done.err) == (1, "nothing listens at any port of these settings\n")
    done = asks({"ops.http_port": 1}, "servr")
    assert done.code == 2
    assert "there is engine" in done.err


@pytest.mark.parametrize("body", [b"[]", b"1", b"<html>", b'{"missing": 5}', b"\xff"])
def test_another_program_at_the_port_is_not_well(
    asks, port: int, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    """Whatever it answers: a probe that ends in a traceback names nothing."""
    monkeypatch.setitem(ANSWERS, "/live", (200, body))
    done = asks({"ops.http_port": port}, "engine")
    assert done.code == 1
    assert done.out.startswith("engine: gives no answer: ")

"""`ringfence serve` as its user runs it: a process, with its servers there and with them away."""

import json
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from stream.config.settings import load
from stream.edge.http.tokens import Client, ClientRole, line_of
from stream.kafka.topics import ensure_topics
from stream.lab.embedded.guarded_server import free_ports
from stream.lists.store import redis_keys
from tests.support.builders import entry
from tests.support.engine import LISTED, Deployment, Engine, records
from tests.support.lists import BY, NAME, opened

TOKEN = "rf_whole"
NOBODY = "127.0.0.1:1"
ASK = f"/v1/decision?caller={LISTED}&callee=+6621234567&trunk=intl-1"


def asked(port: int, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of a request with the token; status 0: nobody answers."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None


def found(port: int, path: str) -> bool:
    """Report whether the key exists."""
    return asked(port, path)[0] == 200


@pytest.mark.expects_errors("Group Coordinator")
async def test_it_serves_with_and_without_its_servers(
    tmp_path: Path, kafka, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that got a 202 is in Kafka; a lookup blocks what is listed; decisions, the topic's
    and its own, are found by their ids, also the last before a stop. With Redis and Kafka away
    lookups go on from the last good lists, and say so, and records are refused. No number is
    logged; SIGTERM ends it in order. Two processes at one port are seen as one.
    """
    port, health = free_ports(2)
    tokens = tmp_path / "tokens"
    tokens.write_text(line_of(Client("whole", ClientRole.OPERATOR), TOKEN))
    monkeypatch.setenv("RINGFENCE_HTTP_TOKENS_FILE", str(tokens))
    here = Deployment(
        tmp_path,
        kafka,
        redis_url,
        f'serve.port = {port}\nserve.health_port = {health}\nops.kernels = "off"',
    )
    settings = load([here.config], {})
    await ensure_topics(settings.kafka_client(), settings.calls.names(1), lambda _: None)
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        await register.add(NAME, [entry(LISTED)], BY)

    def runs(*words: str) -> Any:
        return here.engine(*words, command=("serve",), port=health)

    serve: Engine
    with runs() as serve:
        serve.until_ready()
        serve.until(lambda: serve.metric("ringfence_http_register_up") == 1)
        status, said = asked(port, ASK)
        assert (status, said["verdict"], said["fail_open"]) == (200, "block", False)
        by_lookup = said["decision_id"]
        body = b"[%b]" % b",".join(records(20))
        serve.until(lambda: asked(port, "/v1/calls/ringfence", body)[0] == 202)
        here.calls, calls = here.decisions, here.calls
        await here.send([json.dumps({**said, "decision_id": "FROMTOPIC"}).encode()])
        here.calls = calls
        for decision_id in (by_lookup, "FROMTOPIC"):
            serve.until(partial(found, port, f"/v1/decisions/{decision_id}"))
        whole = asked(port, "/v1/blocklist")[1]
        assert [item["number"] for item in whole["items"]] == [LISTED]
        last = asked(port, ASK)[1]
        assert serve.stop() == 0
        assert LISTED not in serve.log()
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.hexists(redis_keys.decided(last["decided_at"][:10]), last["decision_id"])
    away = here.config.read_text().replace(kafka.bootstrap, NOBODY)
    here.config.write_text(away.replace(redis_url, f"redis://{NOBODY}/0"))
    with runs("--workers", "2") as serve:
        serve.until_ready()
        assert serve.metric("ringfence_workers_running") == 2
        said_by: set[str] = set()
        while len(said_by) < 2:  # each connection is a process' own, by the kernel's dice
            status, said = asked(port, ASK)
            assert (status, said["verdict"], said["fail_open"]) == (200, "block", False)
            assert not said["lists_followed"]
            said_by.add(said["origin"].split("/")[1])
        serve.until(lambda: serve.metric("ringfence_http_lookups_total") >= 2)
        assert asked(port, "/v1/calls/ringfence", records(1)[0])[0] == 503
        assert asked(port, f"/v1/decisions/{by_lookup}")[0] == 503
        assert serve.stop() == 0


@pytest.mark.expects_errors("Group Coordinator")
async def test_it_reads_decisions_by_the_kernels(
    tmp_path: Path, kafka, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of decisions waits for the kernels: begun before, it reads by aiokafka for good."""
    port, health = free_ports(2)
    tokens = tmp_path / "tokens"
    tokens.write_text(line_of(Client("whole", ClientRole.OPERATOR), TOKEN))
    monkeypatch.setenv("RINGFENCE_HTTP_TOKENS_FILE", str(tokens))
    more = f"serve.port = {port}\nserve.health_port = {health}"
    here = Deployment(tmp_path, kafka, redis_url, more).made(NAME)
    with here.engine(command=("serve",), port=health) as serve:
        serve.until_ready()
        said = asked(port, ASK)[1]
        assert said["verdict"] == "block"
        here.calls = here.decisions
        await here.send([json.dumps({**said, "decision_id": "FROMTOPIC"}).encode()])
        serve.until(partial(found, port, "/v1/decisions/FROMTOPIC"))
        assert serve.stop() == 0
        assert not serve.said("fetched by aiokafka")

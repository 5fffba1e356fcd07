"""`ringfence serve-sip` as its user runs it: asked by sipp, and by who means harm."""

import os
import re
import socket
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis.asyncio import Redis

from stream.core.numbers.number import masked
from stream.edge.http.decision_store import DecisionStore
from stream.lab.embedded.guarded_server import free_ports
from tests.support.builders import entry
from tests.support.engine import Deployment, Engine
from tests.support.lists import BY, NAME, opened
from tests.support.sip import message, responder
from tests.support.waiting import HANGS_S
from tests.unit.edge.sip.test_torture import MESSAGES

pytestmark = pytest.mark.needs_sipp
CALLS = int(os.environ.get("RINGFENCE_SIP_CALLS", "1500"))
RATE = int(os.environ.get("RINGFENCE_SIP_RATE", "500"))
HOST = "127.0.0.1"
ASKS = Path(__file__).parents[1] / "support/sipp_ask.xml"
NOBODY = "127.0.0.1:1"
LISTED = [f"+855239001{n:02d}" for n in range(25)]
CALLED, HELP = "0212345678", "191"
REASON = re.compile(
    r'SIP;cause=603;text="v=analytics1;url=https://redress\.example/d/([A-Z0-9]+)";location=TN'
)
Answered = tuple[str, str, str, str]


def pairs(count: int) -> list[tuple[str, str]]:
    """Calls: every twentieth of a listed caller, every tenth of those for help."""
    return [
        (
            LISTED[index // 20 % len(LISTED)] if index % 20 == 0 else f"+6689{index:07d}",
            HELP if index % 200 == 0 else CALLED,
        )
        for index in range(count)
    ]


def ask(folder: Path, port: int, calls: list[tuple[str, str]], *more: str) -> list[Answered]:
    """Return the answers to sipp: caller, called, status, Reason."""
    here = folder / uuid4().hex[:8]
    here.mkdir()
    lines = "\n".join(f"{caller};{called}" for caller, called in calls)
    (here / "calls.csv").write_text(f"SEQUENTIAL\n{lines}\n")
    done = subprocess.run(
        [
            *("sipp", "-sf", str(ASKS), "-i", HOST),
            *("-inf", "calls.csv", "-m", str(len(calls)), "-r", str(RATE), "-l", "2000"),
            *("-trace_logs", "-log_file", "log", "-timeout", "1200s", "-timer_resol", "1"),
            *("-trace_err", "-error_file", "errors", "-nostdin", *more, f"{HOST}:{port}"),
        ],
        cwd=here,
        capture_output=True,
        check=False,
        timeout=1210,
    )
    errors = (here / "errors").read_text(errors="replace") if done.returncode else ""
    assert done.returncode == 0, errors[-3000:]
    found = [line.split("|", 3) for line in (here / "log").read_text().splitlines()]
    return [(caller, called, status, reason.strip()) for caller, called, status, reason in found]


def check(answers: list[Answered], calls: list[tuple[str, str]]) -> list[str]:
    """Each call has the answer that it is owed; the ids of the blocks."""
    assert Counter(one[:2] for one in answers) == Counter(calls)
    ids = []
    for caller, called, status, reason in answers:
        is_blocked = caller in LISTED and called != HELP
        assert status == ("603" if is_blocked else "404"), (caller, called)
        if is_blocked:
            found = REASON.fullmatch(reason)
            assert found is not None, reason
            ids.append(found[1])
    assert len(set(ids)) == len(ids)
    return ids


def deployment(folder: Path, redis_url: str) -> tuple[Deployment, int, int]:
    """Settings; SIP's port and that of the health pages."""
    port, health = free_ports(2)
    text = f"""
sip.port = {port}
sip.health_port = {health}
sip.trunks = {{ "{HOST}" = "intl-1" }}
sip.requests_per_s = 100000.0
sip.message_s_max = 1.0
sip.connections_each_max = 20
serve.decisions_days = 2
ops.kernels = "off"
"""
    return Deployment(folder, NOBODY, redis_url, text), port, health


def outlives(serve: Engine, port: int) -> None:
    """All torture messages, as datagrams and in a stream, and noise: it goes on answering."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(HANGS_S)
        client.bind((HOST, 0))
        for data in [*MESSAGES.values(), b"", b"\0" * 60_000, os.urandom(1400)]:
            client.sendto(data, (HOST, port))
        for data in [*MESSAGES.values(), os.urandom(60_000)]:
            with socket.create_connection((HOST, port), timeout=HANGS_S) as stream:
                stream.sendall(data)
        client.sendto(message(method="OPTIONS", changed={"Call-ID": "last"}), (HOST, port))
        while b"Call-ID: last" not in (answer := client.recv(65_535)):
            pass
        assert answer.startswith(b"SIP/2.0 200 OK")
    assert serve.process.poll() is None


def cuts_off(serve: Engine, port: int) -> None:
    """A connection that brings half a message is closed; one too many is; others are not."""
    serve.until(lambda: serve.metric("ringfence_sip_connections") == 0)
    with socket.create_connection((HOST, port), timeout=HANGS_S) as slow:
        slow.sendall(message()[:-9])
        with suppress(ConnectionResetError):
            assert slow.recv(100) == b""
    serve.until(lambda: serve.metric("ringfence_sip_cut_off_total", reason="slow") >= 1)
    many = [socket.create_connection((HOST, port), timeout=HANGS_S) for _ in range(25)]
    serve.until(lambda: serve.metric("ringfence_sip_cut_off_total", reason="too_many") >= 5)
    many[0].sendall(b"\r\n\r\n" + message(method="OPTIONS"))
    assert many[0].recv(2)[:2] == b"\r\n"
    assert many[0].recv(4000).startswith(b"SIP/2.0 200")
    for one in many:
        one.close()
    serve.until(lambda: serve.metric("ringfence_sip_connections") == 0)


async def test_a_trunk_is_answered_608_with_a_signed_card(tmp_path: Path, redis_url: str) -> None:
    """As sipp reads it: listed callers alone, with the decision's address and who rejected them."""
    here, port, health = deployment(tmp_path, redis_url)
    key = ec.generate_private_key(ec.SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "reject-key.pem").write_bytes(text)
    settings = here.config.read_text().replace(f'"{HOST}" = "intl-1"', f'"{HOST}" = "edge"')
    card = f"""
[trunks.edge]
country = "TH"
sip_code = 608
[sip.card]
key_file = "{tmp_path}/reject-key.pem"
certificate_url = "https://certs.example.net/reject.pem"
name = "Example Carrier"
email = "unblock@carrier.example"
"""
    here.config.write_text(settings + card)
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        await register.add(NAME, [entry(number) for number in LISTED], BY)
    with here.engine(command=("serve-sip",), port=health) as serve:
        serve.until_ready()
        calls = pairs(200)
        answers = ask(tmp_path, port, calls)
        assert Counter(one[:2] for one in answers) == Counter(calls)
        for caller, called, status, said in answers:
            is_blocked = caller in LISTED and called != HELP
            assert status == ("608" if is_blocked else "404"), (caller, called)
            if is_blocked:
                reason, _, info = said.partition("|")
                assert reason.strip().startswith("SIP;cause=608;")
                token = info.strip().removeprefix("<data:application/jose,").partition(">")[0]
                options: Any = {"verify_iat": False}
                held = jwt.decode(token, key.public_key(), algorithms=["ES256"], options=options)
                assert held["jcard"][1][1][3] == "Example Carrier"
        assert serve.stop() == 0


async def test_it_answers_switches(tmp_path: Path, redis_url: str) -> None:
    """Listed callers are blocked with an id under which the decision is found; others and calls for
    help go on, by UDP and TCP. Malformed messages, slow and many connections do no harm; with
    Redis away it answers from the last good lists. No number is logged.
    """
    here, port, health = deployment(tmp_path, redis_url)
    async with opened(redis_url) as register:
        await register.create(NAME, "plain", BY)
        await register.add(NAME, [entry(number) for number in LISTED], BY)
    with here.engine(command=("serve-sip",), port=health) as serve:
        serve.until_ready()
        calls = pairs(CALLS)
        ids = check(ask(tmp_path, port, calls), calls)
        calls = pairs(200)
        ids += check(ask(tmp_path, port, calls, "-t", "t1"), calls)
        serve.until(lambda: serve.metric("ringfence_sip_answers_total", code="603") >= len(ids))
        serve.until(lambda: serve.metric("ringfence_sip_decisions_kept_total") >= len(ids))
        outlives(serve, port)
        cuts_off(serve, port)
        ids += check(ask(tmp_path, port, calls), calls)
        assert serve.stop() == 0
        assert not any(number in serve.log() for number in LISTED)
        assert masked(LISTED[0]) not in serve.log()
    kept = DecisionStore(Redis.from_url(redis_url), responder().metrics, 2, 1000)
    for decision_id in ids:
        found = await kept.find(decision_id)
        assert found is not None
        assert found.number in LISTED
    await kept.close()
    here.config.write_text(here.config.read_text().replace(redis_url, f"redis://{NOBODY}/0"))
    with here.engine(command=("serve-sip",), port=health) as serve:
        serve.until_ready()
        calls = pairs(200)
        check(ask(tmp_path, port, calls), calls)
        assert serve.metric("ringfence_sip_register_up") == 0
        assert serve.stop() == 0

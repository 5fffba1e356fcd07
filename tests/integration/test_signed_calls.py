"""Signed calls in real processes: certificates from a folder, results in answers and metrics."""

import json
import socket
import time
from pathlib import Path
from typing import Any

from stream.lab.embedded.guarded_server import free_ports
from tests.support.engine import Deployment
from tests.support.signed_calls import ADDRESS, CALLER, Authority
from tests.support.sip import message
from tests.support.waiting import HANGS_S

HOST = "127.0.0.1"
NOBODY = "127.0.0.1:1"


def answered(port: int, identity: str | None) -> str:
    """The status of an INVITE with that Identity."""
    data = message(CALLER, changed={"Identity": identity, "Call-ID": str(time.monotonic_ns())})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(HANGS_S)
        client.bind((HOST, 0))
        client.sendto(data, (HOST, port))
        return client.recv(65_535).split(b" ", 2)[1].decode()


def test_serve_sip_verifies_what_it_has_certificates_for(tmp_path: Path, redis_url: str) -> None:
    """A certificate that comes later counts without a restart; the log names a missing one."""
    root = Authority(time.time())
    signer = root.signer()
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    (tmp_path / "certificates").mkdir()
    port, health = free_ports(2)
    text = f"""
sip.port = {port}
sip.health_port = {health}
sip.trunks = {{ "{HOST}" = "intl-1" }}
ops.kernels = "off"
stir.trusted = "{tmp_path}/authorities.pem"
stir.certificates = "{tmp_path}/certificates"
stir.reload_s = 1.0
policy.rules.attestation_failed = "block"
policy.rules.trunks.intl-1 = {{ attestation_missing = "block" }}
"""
    here = Deployment(tmp_path, NOBODY, redis_url, text)
    with here.engine(command=("serve-sip",), port=health) as serve:
        serve.until_ready()
        assert answered(port, None) == "603"
        assert answered(port, signer.identity(time.time())) == "603"
        assert serve.metric("ringfence_signed_calls_total", result="not_held") == 1
        serve.until(lambda: ADDRESS in serve.log())
        signer.put_into(tmp_path / "certificates")
        serve.until(lambda: answered(port, signer.identity(time.time())) == "404")
        assert answered(port, signer.identity(time.time() - 300)) == "603"
        assert answered(port, root.signer().identity(time.time())) == "603"
        assert serve.metric("ringfence_signed_calls_total", result="stale") == 1
        assert serve.metric("ringfence_signed_calls_total", result="wrong_signature") == 1
        assert serve.stop() == 0


async def test_a_worker_verifies_passports_of_records(
    tmp_path: Path, kafka: Any, redis_url: str
) -> None:
    """Genuine ones go on; forged and missing ones are blocked where the trunk's rules say so."""
    root = Authority(time.time())
    signer = root.signer()
    (tmp_path / "authorities.pem").write_bytes(root.pem)
    signer.put_into(tmp_path / "certificates")
    text = f"""
ops.kernels = "off"
stir.trusted = "{tmp_path}/authorities.pem"
stir.certificates = "{tmp_path}/certificates"
policy.rules.trunks.intl-1 = {{ attestation_failed = "block", attestation_missing = "flag" }}
"""
    here = Deployment(tmp_path, kafka, redis_url, text).made()
    at_s = time.time()
    forged = root.signer().passport(at_s)
    passports = {"genuine": signer.passport(at_s), "forged": forged, "missing": None}
    records = [
        {
            "call_id": name,
            "caller": CALLER,
            "callee": "+66812345678",
            "trunk": "intl-1",
            "started_at": at_s,
            "passport": passport,
        }
        for name, passport in passports.items()
    ]
    with here.engine() as engine:
        engine.until_ready()
        await here.send([json.dumps(record).encode() for record in records])
        rules = {one["call_id"]: one["rule"] for one in await here.decided(2)}
        assert rules == {"forged": "rule:attestation_failed", "missing": "rule:attestation_missing"}
        engine.until(lambda: engine.metric("ringfence_signed_calls_total", result="valid") == 1)
        assert engine.stop() == 0

"""`ringfence support-bundle` holds what helps, and neither a secret nor a whole number."""

import json
import os
import re
import tarfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stream.config.settings import Settings, load
from stream.doctor import bundle
from stream.doctor.bundle import Piece, write
from stream.doctor.scrub import Scrubber, environment, secrets_of
from stream.ops.monitor.targets import other
from tests.support.commands import Operator

PASSWORD, TOKEN, HOOK = (
    "correct-horse-battery",
    "rft_Zm9vYmFyYmF6",
    "whsec_TWlzc2lzc2lwcGk5OTk5OTk5",
)
CIRCLE, OTHER_CIRCLE = "0123456789abcdef" * 4, "fedcba9876543210" * 4
PEM = "MC4CAQAwBQYDK2VwBCIEIBplantedplantedplantedplantedplanted0"
RING, FEED = "a1b2" * 16, "partner-pass-phrase"
HOOK_URL = "https://flows.example/hooks/T0A1B2C3D4E5F6A7B8/run?v=1&sig=Zq8kLmN0pQrStUv"
NUMBERS = ("+85523900123", "+66812345678", "66812345679", "0812345670")
LOG = f"""2026-11-25 INFO call from {NUMBERS[0]} to {NUMBERS[1]}, also {NUMBERS[2]} and {NUMBERS[3]}
connecting to https://user:{PASSWORD}@feeds.example/x and redis://:s3cr3t-elsewhere@10.0.0.1/0
Authorization: Bearer {TOKEN}
password=not-known-anywhere api_key: "another-unknown"
key {CIRCLE} b64 {b64encode(bytes.fromhex(CIRCLE)).decode()} other {OTHER_CIRCLE.upper()}
signed with {HOOK}; {PEM}
{RING} {FEED} posted to {HOOK_URL}, read https://shop.example/list.csv?code=9f8e7d6c5b
-----BEGIN PRIVATE KEY-----
QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=
-----END PRIVATE KEY-----
offset 1795638590 is no number of 4 digits: 1234
"""
PLANTED = (
    *(PASSWORD, TOKEN, HOOK, CIRCLE, OTHER_CIRCLE, OTHER_CIRCLE.upper(), PEM, *NUMBERS),
    *(RING, FEED, "T0A1B2C3D4E5F6A7B8", "Zq8kLmN0pQrStUv", "9f8e7d6c5b"),
    *("s3cr3t-elsewhere", "not-known-anywhere", "another-unknown"),
    *(b64encode(bytes.fromhex(CIRCLE)).decode(), "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="),
)
WHOLE = re.compile(r"\+\d{9,15}")


@pytest.fixture
def here(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment with secrets in its environment, in files of keys, in its log and its audit."""
    for name in ("circles", "keys"):
        (tmp_path / name).mkdir(mode=0o700)
    for path, text in (
        ("circles/asean.key", OTHER_CIRCLE),
        ("keys/timestamp-1.pem", f"-----BEGIN PRIVATE KEY-----\n{PEM}\n-----END\n"),
        ("tokens", f"alice viewer {TOKEN}\n"),
        ("engine.log", LOG),
    ):
        (tmp_path / path).write_text(text)
        (tmp_path / path).chmod(0o600)
    monkeypatch.setenv("RINGFENCE_PROXIES_REDIS_PASSWORD", PASSWORD)
    monkeypatch.setenv("RINGFENCE_CIRCLE_MEKONG", CIRCLE)
    monkeypatch.setenv("SOC_SECRET", HOOK)
    monkeypatch.setenv("MINISTRY_RING", RING)
    monkeypatch.setenv("SHOP_LOGIN", FEED)
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds" / "shop.toml").write_bytes(b'\xef\xbb\xbffrom.header_env = "SHOP_LOGIN"\n')
    config = tmp_path / "x.toml"
    config.write_text(
        f"""
kafka.bootstrap_servers = "127.0.0.1:1"
redis.url = "{redis_url}"
lists.state_dir = "{tmp_path}/state"
feeds.dir = "{tmp_path}/feeds"
circles.mekong.key_env = "RINGFENCE_CIRCLE_MEKONG"
circles.ring.key_env = "MINISTRY_RING"
sinks.webhooks.endpoints.soc = {{ url = "{HOOK_URL}", secret_env = "SOC_SECRET" }}
[exchange]
http_port = 0
circles_dir = "{tmp_path}/circles"
keys_dir = "{tmp_path}/keys"
[ops]
http_port = 1
"""
    )
    return config


def texts_of(path: Path) -> dict[str, str]:
    """Each file of the bundle."""
    with tarfile.open(path) as bundle:
        found = {}
        for member in bundle.getmembers():
            file = bundle.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
    return found


def test_no_planted_secret_or_number_is_in_it(here: Path, tmp_path: Path) -> None:
    """Each planted secret stands in what goes in, and in nothing that comes out."""
    operator = Operator(here)
    for words in (
        ("lists", "create", "KH/scam"),
        ("lists", "add", "KH/scam", NUMBERS[0], "--reason", f"asked by {NUMBERS[1]} {PASSWORD}"),
    ):
        operator.types(*words)
    log, out = tmp_path / "engine.log", tmp_path / "out.tar.gz"
    missing = [one for one in PLANTED if one not in log.read_text()]
    assert missing == [OTHER_CIRCLE], "the search would find what is planted"
    command = ("support-bundle", "--out", str(out), "--log", str(log))
    operator.types(*command)
    texts = texts_of(out)
    for name, text in texts.items():
        assert [one for one in PLANTED if one in text] == [], name
        assert WHOLE.findall(text) == [], name
    assert out.stat().st_mode & 0o077 == 0
    assert "KH/scam" in texts["lists.json"]
    assert "add KH/scam" in texts["audit.txt"]
    assert "+8552***0123" in texts["logs/engine.log"]
    assert "1234" in texts["logs/engine.log"]
    assert json.loads(texts["configuration.json"])["secrets"]["RINGFENCE_CIRCLE_MEKONG"] == "set"
    assert "does not answer" in texts["kafka.json"]
    assert {line["check"] for line in json.loads(texts["doctor.json"])} >= {"kafka", "redis"}
    manifest = json.loads(texts["MANIFEST.json"])
    assert {piece["name"] for piece in manifest} == texts.keys() - {"MANIFEST.json"}
    assert all(piece["why"] for piece in manifest)
    assert operator.invokes(*command).code == 1, "it is never written over"


async def test_a_piece_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a process counts, and the end of the journal: neither comes in one read."""
    page = b"".join(b'ringfence_calls_total{topic="t%d"} 1\n' % one for one in range(20_000))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=page)

    served = web.Application()
    served.router.add_get("/metrics", metrics)
    async with TestServer(served) as server:
        places = SimpleNamespace(watched=lambda: [other(f"http://127.0.0.1:{server.port}")])
        (piece,) = [one async for one in bundle._metrics(cast("Settings", places))]
    assert piece.text.encode() == page
    journal = tmp_path / "journalctl"
    journal.write_text("#!/bin/sh\nexec seq -f 'the line %.0f of a long log' 1 50000\n")
    journal.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(bundle, "PIECE_BYTES_MAX", 500_000)
    text = await bundle._journal()
    assert 499_900 < len(text) <= 500_000
    assert text.startswith("the line ")
    assert text.endswith("the line 50000 of a long log\n")


async def test_a_broken_certificate_of_kafka_is_in_it(tmp_path: Path) -> None:
    """The file that is made when something is broken is made then, too."""
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    settings = load([], {"RINGFENCE_KAFKA__SECURITY_PROTOCOL": "SSL"})
    broken = replace(settings, kafka=replace(settings.kafka, ca_file=str(bad)))
    assert "kafka: ca_file" in (await bundle._kafka(broken))["why"]


async def test_a_bundle_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log without end makes no file without end; what is left out is said."""
    monkeypatch.setattr(bundle, "PIECE_BYTES_MAX", 1000)
    monkeypatch.setattr(bundle, "BUNDLE_BYTES_MAX", 10_000)

    async def endless():
        for number in range(13):
            yield Piece(f"logs/{number}", "a log", "x" * 1001, runs=False)

    manifest = await write(tmp_path / "b.tar.gz", endless(), Scrubber(()), 0)
    assert sum("left_out" in piece for piece in manifest) == 3
    assert {piece["bytes"] for piece in manifest} == {1000}


async def test_a_log_that_is_named_after_a_number(tmp_path: Path) -> None:
    """Names go through the same door as texts."""

    async def one():
        yield Piece("logs/call-+66812345678.log", "a log", "x")

    (piece,) = await write(tmp_path / "b.tar.gz", one(), Scrubber(()), 0)
    assert piece["name"] == "logs/call-+6681***5678.log"
    assert set(texts_of(tmp_path / "b.tar.gz")) == {"logs/call-+6681***5678.log", "MANIFEST.json"}


def test_files_that_variables_name_are_secret_too(tmp_path: Path) -> None:
    """Tokens and passwords come from files as well; which variables are set is no secret."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice viewer {TOKEN}\n")
    environ = {
        "RINGFENCE_HTTP_TOKENS_FILE": str(tokens),
        "HOME": "/home/x",
        "RINGFENCE_CONFIG": "c",
        "RINGFENCE_CALLS__GROUP_ID": "group-one",
        "OTHERS__API_KEY": "their-secret",
    }
    found = secrets_of(environ, [tmp_path / "none"])
    assert Scrubber(found).text(f"a {TOKEN} group-one their-secret") == (
        "a [secret] group-one [secret]"
    )
    assert "/h/x" not in found
    assert environment(environ) == dict.fromkeys(
        sorted({*environ} - {"HOME", "OTHERS__API_KEY"}), "set"
    )

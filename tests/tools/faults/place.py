"""Everything that the lab runs: servers, our processes, and calls that never end."""

import asyncio
import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from aiokafka import AIOKafkaProducer

from stream.exchange import repository
from stream.exchange.signing import Signatory, Validity
from stream.exchange.signing_keys import KeyRing
from stream.lab.embedded import apache_kafka, best_redis
from stream.lab.embedded.guarded_server import free_ports
from stream.ops.clock import now_s
from tests.support.certificates import authority
from tests.support.repositories import Country

ROOT = Path(__file__).parents[3]
LISTED = "+66812345678"
BUSY = "+66898765432"
"""On no list, and behind a tenth of all calls: a call centre's number, say."""
SIGHTED = "+66812220000"
JOBS = {
    "ringfence": ["engine"],
    "ringfence-feeds": ["feeds"],
    "ringfence-exchange": ["exchange"],
    "ringfence-enforcement": ["enforcement"],
    "ringfence-sinks": ["sink-redis", "sink-webhooks"],
    "ringfence-serve": ["serve"],
    "ringfence-ingest": ["ingest"],
    "ringfence-sip": ["sip"],
}
COMMANDS = {
    "engine": ("run", "--workers", "2"),
    "feeds": ("feeds", "run"),
    "exchange": ("exchange", "run"),
    "enforcement": ("enforcement", "run"),
    "sink-redis": ("sink", "redis"),
    "sink-webhooks": ("sink", "webhooks"),
    "serve": ("serve",),
    "ingest": ("ingest", "{cdr}", "--dialect", "ringfence", "--topic", "calls", "--follow"),
    "sip": ("serve-sip",),
}
FEED = """
list = "KH/scam"
format = "text"
category = "call_centre"
[owner]
name = "KH"
contact = "noc@trc.example"
[from]
kind = "file"
path = "{path}"
[schedule]
every = "1s"
"""
SETTINGS = """
kafka.bootstrap_servers = "{bootstrap}"
redis.url = "{register}"
lists.state_dir = "{folder}/state"
lists.reconcile_s = 0.5
ops.http_port = {engine}
ops.kernels_dir = "{kernels}"
ops.shutdown_s = 5
feeds.dir = "{folder}/feeds"
feeds.http_port = {feeds}
feeds.reload_s = 0.2
feeds.retry_s_first = 0.2
feeds.retry_s_most = 1
agreements.dir = "{folder}/agreements"
agreements.reload_s = 0.2
appeals.answer_hours = 0.01
exchange.dir = "{folder}/th/repository"
exchange.keys_dir = "{folder}/th/keys"
exchange.state_dir = "{folder}/th/state"
exchange.http_port = {exchange}
exchange.look_s = 1
exchange.resign_s = 1
enforcement.publish_s = 1
enforcement.read_s = 1
enforcement.http_port = {enforcement}
enforcement.partners.KH.url = "{folder}/kh/repository"
enforcement.partners.KH.root = "{folder}/kh/root.json"
serve.port = {http}
serve.health_port = {serve}
serve.cert_file = "{folder}/short.pem"
serve.key_file = "{folder}/short-key.pem"
ingest.http_port = {ingest}
ingest.state_dir = "{folder}/ingest"
sip.host = "127.0.0.1"
sip.port = {asked}
sip.health_port = {sip}
sip.requests_per_s = 50
sip.strangers_per_s = 50
sip.trunks."127.0.0.1" = "intl-1"
sinks.redis.url = "{proxies}"
sinks.redis.http_port = {sink-redis}
sinks.redis.sweep_s = 1
sinks.redis.keys_max = 100
sinks.webhooks.http_port = {sink-webhooks}
sinks.webhooks.endpoints.noc.url = "http://127.0.0.1:{hook}/"
sinks.webhooks.endpoints.noc.secret_env = "HOOK"
sinks.webhooks.endpoints.noc.private_addresses = true
trunks.intl-1 = {{ country = "KH", ingress = "international" }}
[calls]
home_country = "TH"
group_id = "lab"
partitions = 4
instance_id = "lab"
topics = {{ calls = "ringfence", "calls.other" = "ringfence" }}
"""


NEIGHBOUR = """
kafka.bootstrap_servers = "{bootstrap}"
redis.url = "{partner}"
lists.state_dir = "{folder}/kh/lists"
agreements.dir = "{folder}/kh/agreements"
exchange.dir = "{folder}/kh/repository"
exchange.keys_dir = "{folder}/kh/keys"
exchange.state_dir = "{folder}/kh/state"
[calls]
home_country = "KH"
decisions_topic = "decisions.kh"
"""

SHARED = """
title = "TH/national for KH (invented)"
kind = "memorandum"
valid_from = 2026-01-01
valid_until = 2036-01-01
circle = "plain"
[parties.TH]
roles = ["owner"]
contact = "noc@th.example"
[parties.KH]
roles = ["enforcer"]
contact = "noc@kh.example"
[terms]
action = "block"
[lists."TH/national"]
reference = "Article 1"
"""


class Place:
    """One deployment of everything; `with` ends it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.broker = self._stack.enter_context(apache_kafka.server())
        self.broker.start()
        self.bootstrap = f"127.0.0.1:{self.broker.port}"
        self.register = self._stack.enter_context(best_redis())
        self.proxies = self._stack.enter_context(best_redis())
        names = [*COMMANDS, "http", "hook", "asked"]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.config = folder / "ringfence.toml"
        self.cdr = folder / "cdr.jsonl"
        self.tokens = folder / "tokens"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.listed_share, self.rate = 0.02, 40.0
        self.is_silent = False
        self._made()

    def _made(self) -> None:
        folder = self.folder
        for name in ("feeds", "agreements", "logs"):
            (folder / name).mkdir()
        authority(folder, "short")  # good for two days
        words = {
            "bootstrap": self.bootstrap,
            "register": self.register.url(),
            "proxies": self.proxies.url(),
            "partner": self.register.url(3),
            "folder": folder,
            "kernels": ROOT / "state" / "kernels",
            **self.ports,
        }
        self.config.write_text(SETTINGS.format(**words))
        self.write_calls(self.cdr, 20)
        self.tokens.touch(mode=0o600)
        self.feed = folder / "kh.txt"
        self.feed.write_text("".join(f"+85531{n:07d}\n" for n in range(300)))
        (folder / "feeds" / "kh.toml").write_text(FEED.format(path=self.feed))
        home = folder / "th"
        self.sticks = [home / name for name in ("stick-a", "stick-b")]
        self.ring = KeyRing([home / "keys", *self.sticks])
        # Signatures that end within the month, and a timestamp within the hour.
        validity = Validity(root_s=20 * 86_400, targets_s=20 * 86_400, timestamp_s=3600)
        by = Signatory(self.ring, validity, now_s())
        repository.init(home / "repository", by, self.sticks, 2)
        for name in ("TH/national", "TH/enforcement"):
            repository.add_list(home / "repository", by, name)
        partner = Country(folder / "kh", "KH")
        (folder / "kh" / "root.json").write_bytes(partner.root)
        repository.add_list(partner.folder, partner.by, "KH/enforcement")
        (folder / "kh" / "agreements").mkdir()
        (folder / "kh" / "agreements" / "th.toml").write_text(SHARED)
        (folder / "kh.toml").write_text(NEIGHBOUR.format(**words))

    def __enter__(self) -> Self:
        for home in ("TH", "KH"):
            self.type("topics", "create", home=home)
        self.type("lists", "create", "TH/national")
        self.type("lists", "create", "TH/national", home="KH")
        self.type("lists", "add", "TH/national", LISTED)
        self.keys = self.folder / "th" / "keys"
        self.keys.rename(self.folder / "th" / "away")  # so that nothing renews the timestamp yet
        for name in COMMANDS:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.wait()
        self._stack.close()

    def type(self, *words: str, home: str = "TH", code: int = 0) -> str:
        """A command as an operator types it, here or in KH; what it printed."""
        config = self.config if home == "TH" else self.folder / "kh.toml"
        settings = [] if words[0] == "token" else ["--config", str(config)]  # it needs none
        done = subprocess.run(
            [sys.executable, "-m", "stream", *words, *settings],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=self.environ,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    @property
    def environ(self) -> dict[str, str]:
        """With the secrets that the settings ask for."""
        secret = base64.b64encode(b"s" * 32).decode()
        more = {"HOOK": f"whsec_{secret}", "COLUMNS": "160", "NO_COLOR": "1"}
        more["RINGFENCE_HTTP_TOKENS_FILE"] = str(self.tokens)
        return {**os.environ, "PYTHONPATH": str(ROOT), **more}

    def start(self, name: str) -> None:
        """Start one of our processes."""
        words = [word.format(cdr=self.cdr) for word in COMMANDS[name]]
        with (self.folder / "logs" / name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "stream", *words, "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self.environ,
            )

    def stop(self, name: str) -> None:
        """Tell it to stop, and wait."""
        self.processes[name].terminate()
        try:
            self.processes[name].wait(20)
        except subprocess.TimeoutExpired:
            self.processes[name].kill()
            self.processes[name].wait()

    def again(self, name: str) -> None:
        """Stop and start it."""
        self.stop(name)
        self.start(name)

    def workers(self) -> list[int]:
        """The engine's worker processes."""
        supervisor = self.processes["engine"].pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
        return [int(pid) for pid in children.split()]

    def set(self, old: str, new: str) -> None:
        """Change the settings."""
        text = self.config.read_text()
        assert old in text, old
        self.config.write_text(text.replace(old, new))

    def write_calls(self, file: Path, count: int) -> None:
        """A switch writes calls at the end of its file."""
        numbers = random.Random(count)
        with file.open("ab") as cdr:
            cdr.writelines(called(f"+6687{n:07d}", numbers) + b"\n" for n in range(count))

    async def send(self, topic: str, values: list[bytes]) -> None:
        """Put records on a topic."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=20) as producer:
            await asyncio.gather(*[await producer.send(topic, value) for value in values])

    async def calls(self) -> None:
        """Calls without end; nobody calls while Kafka is away."""
        numbers = random.Random(3)
        while True:
            with suppress(Exception):
                async with AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap, request_timeout_ms=5000
                ) as producer:
                    while True:
                        await asyncio.sleep(1 / self.rate)  # the pace of calls
                        if self.is_silent:
                            continue
                        sent = await producer.send("calls", self.call(numbers))
                        # One that Kafka refuses as it goes is nobody's fault.
                        sent.add_done_callback(lambda one: one.cancelled() or one.exception())
            await asyncio.sleep(0.5)

    def call(self, numbers: random.Random) -> bytes:
        """One call; see LISTED and BUSY for who calls often."""
        draw = numbers.random()
        caller = f"+6687{numbers.randrange(10**7):07d}"
        if draw < self.listed_share:
            caller = LISTED
        elif draw < self.listed_share + 0.1:
            caller = BUSY
        return called(caller, numbers)


def called(caller: str, numbers: random.Random) -> bytes:
    """A record of a call in our own dialect."""
    return json.dumps(
        {
            "call_id": f"{numbers.randrange(2**60):015x}",
            "caller": caller,
            "callee": "+6621234567",
            "trunk": "intl-1",
        }
    ).encode()


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder

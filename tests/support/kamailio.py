"""Kamailio with the configuration that we give away, all that it talks to, and calls from sipp."""

import asyncio
import csv
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from stream.config.settings import load
from stream.edge.http.tokens import Client, ClientRole, line_of, new_token
from stream.kafka.topics import ensure_topics
from stream.lab.embedded.guarded_server import (
    Server,
    Unavailable,
    answers_ping,
    free_ports,
    new_folder,
)
from stream.lab.embedded.redis_program import redis_program, valkey_program
from stream.lists.store.list_store import ListStore
from tests.support.engine import ROOT, Deployment, Engine
from tests.support.lists import opened

DEPLOYED = ROOT / "deploy" / "kamailio"
HERE = Path(__file__).parent
HOST = "127.0.0.1"
REDIS_MS = 50
PATIENT_MS = 60_000
"""A busy machine's Redis answers late: no call goes on unasked, unless a test is about that."""
REDIS_OFF_S = 1
CALLS_S_MAX = 1200
OPEN_MAX = 50
"""Calls that sipp holds open. With thousands a starved machine sends again more than it answers,
until the 32 s are over that SIP gives a request (RFC 3261, timer F)."""
INVITE = """\
INVITE sip:{user}{host}:{port} SIP/2.0\r
Via: SIP/2.0/UDP {host}:{own};branch=z9hG4bK{name}\r
From: {caller}\r
To: <sip:{user}{host}>\r
Call-ID: {name}\r
CSeq: 1 INVITE\r
Contact: <sip:caller@{host}:{own}>\r
Max-Forwards: 5\r
{header}\r
Content-Length: 0\r
\r
"""
OPTIONS = """\
OPTIONS sip:ping@{host}:{port} SIP/2.0\r
Via: SIP/2.0/UDP {host}:{own};branch=z9hG4bK{name}\r
From: <sip:ping@{host}>;tag=a\r
To: <sip:ping@{host}>\r
Call-ID: {name}\r
CSeq: 1 OPTIONS\r
Max-Forwards: 5\r
Content-Length: 0\r
\r
"""


@dataclass(frozen=True, slots=True)
class Call:
    """The result of a call: `status` 200 or 603, and its Reason header."""

    caller: str
    called: str
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Calls:
    """The results of some calls; `waits_ms` are from INVITE to 200 or 603, in order of size."""

    made: list[Call]
    waits_ms: list[float]

    @property
    def blocked(self) -> dict[str, str]:
        """The callers that got 603, and the Reason that came with it."""
        return {call.caller: call.reason for call in self.made if call.status == 603}


def answers_options(port: int) -> bool:
    """Report whether a SIP server answers there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((HOST, 0))
        client.settimeout(0.5)
        own = client.getsockname()[1]
        text = OPTIONS.format(host=HOST, port=port, own=own, name=uuid4().hex)
        try:
            client.sendto(text.encode(), (HOST, port))
            return client.recv(4096).startswith(b"SIP/2.0 200")
        except OSError:
            return False


def answered(
    port: int, caller: str, called: str, *, header: str = "Subject: x", host: str = HOST
) -> int:
    """The first final or ringing status of one INVITE, whose From is `caller` as it stands."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((host, 0))
        client.settimeout(CALLS_S_MAX)
        text = INVITE.format(
            host=host,
            port=port,
            own=client.getsockname()[1],
            name=uuid4().hex,
            caller=caller,
            user=f"{called}@" if called else "",
            header=header,
        )
        client.sendto(text.encode(), (HOST, port))
        while (status := int(client.recv(65_535).split(b" ")[1])) == 100:
            pass
        return status


@dataclass
class Border:
    """A carrier's border: sipp, Kamailio, its Redis, and Ringfence's processes."""

    folder: Path
    deployment: Deployment
    register: str
    redis: Server
    token: str
    kamailio_port: int
    switch_port: int
    door: int
    kamailio: Server = field(init=False)
    engine: Engine = field(init=False)
    serve: Engine = field(init=False)
    sink: Engine = field(init=False)

    def call(
        self,
        pairs: Sequence[tuple[str, str]],
        rate: int = 100,
        *,
        header: str = "Subject: a call",
        port: int = 0,
    ) -> Calls:
        """Make calls (caller, called), `rate` a second; every one is answered, or this fails."""
        folder = self.folder / uuid4().hex[:8]
        folder.mkdir()
        lines = "\n".join(f"{caller};{called};{header}" for caller, called in pairs)
        (folder / "calls.csv").write_text(f"SEQUENTIAL\n{lines}\n")
        (own,) = free_ports(1)
        words = f"-p {own} -inf calls.csv -m {len(pairs)} -r {rate} -l {OPEN_MAX}"
        more = "-trace_rtt -rtt_freq 1 -timer_resol 1 -nostdin"
        files = "-trace_logs -log_file log -trace_err -error_file errors"
        done = subprocess.run(
            [
                *("sipp", "-sf", str(HERE / "sipp_call.xml"), "-i", HOST),
                *("-timeout", f"{CALLS_S_MAX}s", *words.split(), *more.split()),
                *files.split(),
                f"{HOST}:{port or self.kamailio_port}",
            ],
            cwd=folder,
            capture_output=True,
            check=False,
            timeout=CALLS_S_MAX + 10,
        )
        if done.returncode:
            errors = folder / "errors"
            said = errors.read_text(errors="replace") if errors.exists() else ""
            first = max(said.find("Aborting"), 0)  # the others follow from it
            why = said[first : first + 3000]
            raise AssertionError(f"sipp: {done.returncode}\n{why}\n{self.last_words()}")
        made = [
            Call(caller, called, int(status), reason.strip())
            for caller, called, status, reason in (
                line.split("|", 3) for line in (folder / "log").read_text().splitlines()
            )
        ]
        (rtt,) = folder.glob("*rtt.csv")
        with rtt.open(newline="") as file:
            waits = sorted(float(row[1]) for row in list(csv.reader(file, delimiter=";"))[1:])
        return Calls(made, waits)

    def invite(
        self,
        caller: str,
        called: str,
        *,
        header: str = "Subject: x",
        port: int = 0,
        host: str = HOST,
    ) -> int:
        """Return what is `answered` to one INVITE."""
        to = port or self.kamailio_port
        return answered(to, caller, called, header=header, host=host)

    def counted(self, name: str, proxy: Server | None = None) -> int:
        """Return one of the statistics of ours of a Kamailio, as its operator sees it."""
        command = ["kamcmd", "-s", f"unix:{(proxy or self.kamailio).folder}/control"]
        done = subprocess.run(
            [*command, "stats.get_statistics", f"ringfence_{name}"],
            check=True,
            capture_output=True,
            text=True,
        )
        return int(done.stdout.rpartition("=")[2])

    def lists(self) -> AbstractAsyncContextManager[ListStore]:
        """Its register."""
        return opened(self.register)

    def last_words(self) -> str:
        """The end of Kamailio's log."""
        return self.kamailio.last_words()


def settings_text(redis_port: int) -> tuple[str, tuple[int, int, int]]:
    """Settings of doors and sink, and the ports: HTTP, and both pages of health."""
    door, health, sink = free_ports(3)
    return (
        f"""
serve.port = {door}
serve.health_port = {health}
serve.kafka_s_max = 1.0
sinks.redis.url = "redis://{HOST}:{redis_port}/0"
sinks.redis.http_port = {sink}
sinks.redis.timeout_s = 0.5
sinks.redis.sweep_s = 0.5
""",
        (door, health, sink),
    )


def proxies_redis() -> Server:
    """A Redis of the proxies' own."""
    try:
        path, title = redis_program()
    except Unavailable:
        path, title = valkey_program()
    (port,) = free_ports(1)
    words = ("--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no")
    return Server(title, port, new_folder("proxies"), [path, *words], answers_ping)


def kamailio(
    border: Border, door: int, port: int, *switches: str, redis_ms: int = PATIENT_MS
) -> Server:
    """Kamailio with our example as it is, told by -A what differs on this machine."""
    folder = new_folder("kamailio")
    for name in ("kamailio.cfg", "ringfence.cfg"):
        shutil.copy(DEPLOYED / name, folder)
    defines = {
        "LISTEN": f"udp:{HOST}:{port}",
        "SWITCH": f'"sip:{HOST}:{border.switch_port}"',
        "CONTROL": f'"unix:{folder}/control"',
        "RINGFENCE_REDIS": f'"name=ringfence;addr={HOST};port={border.redis.port}"',
        "RINGFENCE_REDIS_MS": str(redis_ms),
        "RINGFENCE_REDIS_OFF_S": str(REDIS_OFF_S),
        "RINGFENCE_RECORDS": f'"http://{HOST}:{door}/v1/calls/kamailio"',
        "RINGFENCE_HTTP_S": "1",
    }
    words = [word for name, value in defines.items() for word in ("-A", f"{name}={value}")]
    words += [word for switch in switches for word in ("-A", switch)]
    # Its processes outlive a first one that is killed: the rest of the group is ended then.
    # The watcher is no child of it, or it would wait for it at its end.
    watched = '( (while kill -0 $$; do sleep 1; done; kill 0) 2>/dev/null & ); exec "$@"'
    first = ["sh", "-c", watched, "sh", "env", f"RINGFENCE_TOKEN={border.token}", "kamailio"]
    plain = ["-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-Y", str(folder), "-w", str(folder)]
    return Server("Kamailio", port, folder, [*first, *plain, *words], answers_options)


@contextmanager
def the_switch(folder: Path, port: int) -> Iterator[None]:
    """The switch behind the proxy, played by sipp: it answers all calls."""
    process = subprocess.Popen(
        ["sipp", "-sf", str(HERE / "sipp_answer.xml"), "-i", HOST, "-p", str(port), "-nostdin"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def border_on(folder: Path, bootstrap: str, register: str) -> Iterator[Border]:
    """All of it, ready for calls; the lists are the caller's."""
    with ExitStack() as stack:
        redis = stack.enter_context(proxies_redis())
        redis.start()
        text, (door, health, sink) = settings_text(redis.port)
        deployment = Deployment(folder, bootstrap, register, text, {"": "kamailio"})
        token = new_token()
        own, switch = free_ports(2)
        border = Border(folder, deployment, register, redis, token, own, switch, door)
        processes = _ringfence(stack, border, (health, sink), line_of(_CLIENT, token))
        stack.enter_context(the_switch(folder, border.switch_port))
        border.kamailio = stack.enter_context(kamailio(border, door, border.kamailio_port))
        border.kamailio.start()
        # In order, so that its processes end with it.
        stack.callback(border.kamailio.stop)
        for process in processes:
            process.until_ready()
        yield border


_CLIENT = Client("kamailio", ClientRole.SWITCH)


def _ringfence(
    stack: ExitStack, border: Border, ports: tuple[int, int], line: str
) -> tuple[Engine, Engine, Engine]:
    """Start the engine, the door and the sink, all at once."""
    deployment, (health, sink) = border.deployment, ports
    settings = load([deployment.config], {})
    topics = ensure_topics(settings.kafka_client(), settings.calls.names(1), lambda _: None)
    asyncio.run(topics)
    os.environ["RINGFENCE_HTTP_TOKENS"] = line
    try:
        border.engine = stack.enter_context(deployment.engine())
        door = deployment.engine(command=("serve",), port=health)
        border.serve = stack.enter_context(door)
        keys = deployment.engine(command=("sink", "redis"), port=sink)
        border.sink = stack.enter_context(keys)
    finally:
        del os.environ["RINGFENCE_HTTP_TOKENS"]
    return border.engine, border.serve, border.sink


@contextmanager
def hanging(*pids: int) -> Iterator[None]:
    """Stop processes as a machine without CPU does: connections stay, no answer comes."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

"""From INVITE to key: how long the first call of a listed number has before the next is stopped.

Kamailio with the configuration that we give away, its Redis, Kafka, `ringfence serve`, `run` and
`sink redis`, each a process of its own, as in the Kamailio test. An INVITE of a listed number that
has no key yet is sent by UDP; counted is the time until `bl:<number>` is there, seen by asking for
it all the time (0.2 ms). Then a second INVITE of the number has to be answered 603.

Compared, in interleaved rounds: the same attempt handed in by HTTP (without Kamailio, whose queue
is emptied every 10 ms) and put on the topic (without both doors); the record of the call's end, put
there too, which is decided in the same way; and the plain loop (peers/plain_keys.py), which decides
and writes the key in one process: what Ringfence costs above it are the second topic, all lists and
rules, and that decisions can be read by others.

All share the machine's cores. Targets: the key is there within 20 ms, of 99 in 100 within 100 ms;
an attempt is decided as fast as an end record.
"""

import asyncio
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
import redis
from aiokafka import AIOKafkaProducer

from stream.config.settings import load
from stream.kafka.topics import ensure_topics
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio
from tests.support.builders import entry
from tests.support.kamailio import HOST, Border, border_on
from tests.support.lists import BY, NAME

CALLED = "0212345678"
WAIT_S = 30.0
ASK_S = 0.0002
PER_ROUND = {"full": 60, "quick": 3}
PAUSE_S = 0.02
INVITE, POST, ATTEMPT, END, PLAIN = (
    "INVITE to key", "attempt by HTTP to key", "attempt on the topic to key",
    "end record on the topic to key", "plain loop, attempt on the topic to key",
)  # fmt: skip


async def run(lab: Lab) -> list[Report]:
    """Measure all ways, a number for each attempt."""
    return [await asyncio.to_thread(_measured, lab)]


def _measured(lab: Lab) -> Report:
    each = PER_ROUND[lab.scale.name]
    rounds = max(lab.scale.rounds, 2)
    ways = (INVITE, POST, ATTEMPT, END, PLAIN)
    numbers = [f"+4477009{n:05d}" for n in range(each * rounds * len(ways) + 10 * len(ways))]
    url = lab.redis.url(1)
    asyncio.run(_listed(url, numbers))
    folder = lab.run / "invite"
    folder.mkdir()
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    with (
        # Else all of them would run on the broker's core, as whatever a bench starts.
        on_core(lab.cores.broker, lab.cores.engine),
        border_on(folder, lab.broker.bootstrap, url) as border,
        _site(lab, border, numbers) as site,
    ):
        fresh = iter(numbers)
        for way in ways:  # what is done for the first time takes longer
            for _ in range(5):
                site.took_ms(way, next(fresh))
        for number in range(rounds):
            for way in ways:
                took = [site.took_ms(way, next(fresh)) for _ in range(each)]
                found[way].append(took)
                p50, p99 = np.percentile(took, [50, 99])
                lab.say(f"round {number + 1}, {way}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return _report(found, site.stopped)


def _report(found: dict[str, list[list[float]]], stopped: int) -> Report:
    report = Report("invite", notes=[f"{stopped} second INVITEs were answered 603, all of them"])
    for way, rounds in found.items():
        figures = {
            f"p{share} ms": [float(np.percentile(took, share)) for took in rounds]
            for share in (50, 99)
        }
        report.rows.append(Row(way, figures))
    medians = {way: [float(np.median(took)) for took in rounds] for way, rounds in found.items()}
    worst = max(float(np.percentile(took, 99)) for took in found[INVITE])
    report.targets = [
        Target("INVITE to key, p50", float(np.median(medians[INVITE])), "ms", 20, 10, less=True),
        Target("INVITE to key, p99", worst, "ms", 100, 50, less=True),
        Target("attempt / end record", ratio(medians[ATTEMPT], medians[END]), "x", 1.5, 1.1, True),
        Target("attempt / plain loop", ratio(medians[ATTEMPT], medians[PLAIN]), "x", 20, 5, True),
    ]
    return report


async def _listed(url: str, numbers: list[str]) -> None:
    async with await ListStore.connect(ListStoreSettings(url)) as register:
        await register.create(NAME, "plain", BY)
        now_s = int(time.time())
        for start in range(0, len(numbers), 500):
            share = numbers[start : start + 500]
            await register.add(NAME, [entry(text, reported_at_s=now_s) for text in share], BY)


class Site:
    """The ways by which an attempt comes in, and the Redis in which keys appear."""

    def __init__(self, border: Border, topics: tuple[str, str], producer: "Producer") -> None:
        self._border = border
        self._topics = topics
        self._producer = producer
        self._phone = Phone(border.kamailio_port)
        self._redis = redis.Redis(port=border.redis.port)
        self._names = count()
        self.stopped = 0

    def took_ms(self, way: str, number: str) -> float:
        """Return the time until the key of `number` exists, whose call arrives by `way`."""
        key = f"{'plain' if way == PLAIN else 'bl'}:{number}"
        assert not self._redis.exists(key), "the number has a key already"
        name = f"bench-{next(self._names)}"
        send = self._sender(way, name, number)
        start = time.perf_counter()
        send()
        end = start + WAIT_S
        while not self._redis.exists(key):
            assert time.perf_counter() < end, f"{way}: no key after {WAIT_S} s"
            time.sleep(ASK_S)
        took_ms = (time.perf_counter() - start) * 1000
        if way == INVITE:
            self._phone.hang_up()
            self._phone.invite(f"{name}-2", number)
            assert self._phone.answer() == 603, "the second call was not stopped"
            self.stopped += 1
        time.sleep(PAUSE_S)
        return took_ms

    def _sender(self, way: str, name: str, number: str) -> Callable[[], None]:
        record = {"callid": name, "src_user": number, "dst_user": CALLED, "time": int(time.time())}
        if way == END:
            record |= {"method": "INVITE", "sip_code": "200"}
        value = json.dumps(record).encode()
        if way == INVITE:
            return lambda: self._phone.invite(name, number)
        if way == POST:
            return lambda: self._post(value)
        topic = self._topics[way == PLAIN]
        return lambda: self._producer.send(topic, value, name)

    def _post(self, value: bytes) -> None:
        border = self._border
        headers = {"Authorization": f"Bearer {border.token}", "Content-Type": "application/json"}
        url = f"http://{HOST}:{border.door}/v1/calls/kamailio"
        with urllib.request.urlopen(urllib.request.Request(url, value, headers)) as answer:
            assert answer.status == 202

    def close(self) -> None:
        """Let go of Redis and the socket."""
        self._phone.close()
        self._redis.close()


@contextmanager
def _site(lab: Lab, border: Border, numbers: list[str]) -> Iterator[Site]:
    """A site, with the plain loop running beside Ringfence."""
    calls = border.deployment.calls
    plain = f"{calls}.plain"
    settings = load([border.deployment.config], {})
    names = settings.calls.names(1, (plain,))
    asyncio.run(ensure_topics(settings.kafka_client(), names, lambda _: None))
    listed = lab.run / "invite" / "listed"
    listed.write_text("\n".join(numbers))
    producer = Producer(lab.broker.bootstrap)
    command = python(
        "tests.bench.peers.plain_keys",
        *("--bootstrap", lab.broker.bootstrap, "--topic", plain, "--list", str(listed)),
        *("--redis", f"redis://{HOST}:{border.redis.port}/0"),
    )
    producer.send(plain, b'{"src_user":"+"}', "begin")
    log = Path(lab.run, "plain-keys.log")
    with Process("the plain loop", command, [lab.cores.broker, lab.cores.engine], log):
        site = Site(border, (calls, plain), producer)
        try:
            yield site
        finally:
            site.close()
            producer.close()


class Producer:
    """An aiokafka producer for code that awaits nothing; it waits until the broker has a record."""

    def __init__(self, bootstrap: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._started(bootstrap))

    @staticmethod
    async def _started(bootstrap: str) -> AIOKafkaProducer:
        client = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
        await client.start()
        return client

    def send(self, topic: str, value: bytes, key: str) -> None:
        """Send one record."""
        self._loop.run_until_complete(self._client.send_and_wait(topic, value, key.encode()))

    def close(self) -> None:
        """Close it."""
        self._loop.run_until_complete(self._client.stop())
        self._loop.close()


class Phone:
    """A caller by UDP: invites, hears the answer, hangs up. One call at a time."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((HOST, 0))
        self._socket.settimeout(WAIT_S)
        self._socket.connect((HOST, port))
        self._own = self._socket.getsockname()[1]
        self._name = self._number = ""

    def invite(self, name: str, number: str) -> None:
        """Begin a call."""
        self._name, self._number = name, number
        contact = f"Contact: <sip:bench@{HOST}:{self._own}>\r\n"
        self._send("INVITE", f"sip:{CALLED}@{HOST}", "", 1, contact)

    def answer(self) -> int:
        """The final answer's code; what answers it is sent."""
        code, head = self._final("INVITE")
        tag = _header(head, "To").partition(";tag=")[2]
        if code == 200:
            self._send("ACK", self._contact(head), tag, 1, self._routes(head), branch="-ack")
        else:
            self._send("ACK", f"sip:{CALLED}@{HOST}", tag, 1)
        return code

    def hang_up(self) -> None:
        """Hear the answer of a call that was let through, and end it."""
        code, head = self._final("INVITE")
        assert code == 200, f"the first call was answered {code}"
        tag, routes = _header(head, "To").partition(";tag=")[2], self._routes(head)
        self._send("ACK", self._contact(head), tag, 1, routes, branch="-ack")
        self._send("BYE", self._contact(head), tag, 2, routes, branch="-bye")
        self._final("BYE")

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def _send(
        self, method: str, uri: str, tag: str, number: int, more: str = "", *, branch: str = ""
    ) -> None:
        to = f"<sip:{CALLED}@{HOST}>" + (f";tag={tag}" if tag else "")
        text = (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {HOST}:{self._own};branch=z9hG4bK{self._name}{branch}\r\n"
            f"From: <sip:{self._number}@{HOST}>;tag=1\r\nTo: {to}\r\nCall-ID: {self._name}\r\n"
            f"CSeq: {number} {method}\r\nMax-Forwards: 70\r\n{more}Content-Length: 0\r\n\r\n"
        )
        self._socket.send(text.encode())

    def _final(self, method: str) -> tuple[int, str]:
        """Code and head of the final answer to a request of this call."""
        while True:
            head = self._socket.recv(65_536).decode().partition("\r\n\r\n")[0]
            code = int(head.split(" ", 2)[1])
            same = _header(head, "Call-ID") == self._name
            if same and code >= 200 and _header(head, "CSeq").endswith(method):
                return code, head

    @staticmethod
    def _contact(head: str) -> str:
        return _header(head, "Contact").strip("<>")

    @staticmethod
    def _routes(head: str) -> str:
        routes = [line.partition(":")[2].strip() for line in head.split("\r\n")
                  if line.lower().startswith("record-route:")]  # fmt: skip
        return "".join(f"Route: {route}\r\n" for route in reversed(routes))


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n"):
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return ""

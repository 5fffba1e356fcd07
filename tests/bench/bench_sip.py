"""`ringfence serve-sip`: how fast a switch is answered, from INVITE to 404 or 603, over UDP.

Compared in the same run, rounds interleaved: the HTTP lookup over the same 64 lists of 1M numbers,
which makes the same decisions, and Kamailio with one worker that says 404 to everybody and looks
nothing up: what SIP itself costs in C. 2 % of the callers are listed. 64 askers with a socket each;
at a given rate questions are due at fixed times, as in `bench_lookup`.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from stream.lab.embedded.guarded_server import free_ports
from tests.bench import bench_lookup, snapshots
from tests.bench.bench_lookup import CONNECTIONS, in_turn, measured
from tests.bench.engine import NO_REDIS, READY_S, warm
from tests.bench.lab import Lab
from tests.bench.process import Process, python
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import traffic
from tests.support.kamailio import answers_options

SIP = "Ringfence, SIP"
HTTP = "Ringfence, HTTP lookup"
KAMAILIO = "Kamailio, 404 to all, no lists"
RATES = (500, 2_000)
HOST = "127.0.0.1"
SENT = """\
INVITE sip:+{callee}@sbc.example SIP/2.0\r
Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{index};rport\r
Max-Forwards: 70\r
From: <sip:anonymous@anonymous.invalid>;tag={index}\r
To: <sip:+{callee}@sbc.example>\r
P-Asserted-Identity: <sip:+{caller}@sbc.example;user=phone>\r
Call-ID: {index}@sbc.example\r
CSeq: 1 INVITE\r
Contact: <sip:sbc@127.0.0.1:5060>\r
Content-Type: application/sdp\r
Content-Length: {length}\r
\r
{body}"""
BODY = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
BODY += "m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
PROXY = """\
debug=0
log_stderror=yes
children=1
loadmodule "sl.so"
request_route {{
    if (method == "OPTIONS") {{ sl_send_reply("200", "OK"); exit; }}
    if (method == "INVITE") {{ sl_send_reply("404", "Not Found"); }}
}}
listen=udp:{host}:{port}
"""


class SipAsker(asyncio.DatagramProtocol):
    """One socket, which asks one question after the other; as `bench_lookup.Asker`."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._told: Callable[[], None] = lambda: None
        self.free = True
        self.lost = False
        self.wrong = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = transport

    def ask(self, question: bytes, told: Callable[[], None]) -> None:
        """Send it; `told` is called when it is answered."""
        self.free, self._told = False, told
        self._transport.sendto(question)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """The answer."""
        del addr
        self.wrong += not data.startswith((b"SIP/2.0 404", b"SIP/2.0 603"))
        self.free = True
        self._told()

    def close(self) -> None:
        """No more."""
        self._transport.close()


async def run(lab: Lab) -> list[Report]:
    """The report."""
    state = snapshots.state_dir(lab)
    starts: dict[str, Callable[[], tuple[Process, int]]] = {
        SIP: lambda: ours(lab, state),
        HTTP: lambda: bench_lookup.ours(lab, state),
    }
    if shutil.which("kamailio"):
        starts[KAMAILIO] = lambda: kamailio(lab)
    seconds = lab.scale.latency_s / 2
    rates = dict.fromkeys(RATES, seconds)

    async def by_sip(process: Process, port: int) -> dict[str, float]:
        # Kamailio's workers are processes of their own: their CPU is not the process's.
        with_cpu = process.title != KAMAILIO
        return await measured(
            process, await opened_sip(port), invites_of(lab), seconds, rates, with_cpu=with_cpu
        )

    async def by_http(process: Process, port: int) -> dict[str, float]:
        askers, asked = await bench_lookup.opened(port), bench_lookup.questions_of(lab)
        return await measured(process, askers, asked, seconds, rates)

    asked = {SIP: by_sip, HTTP: by_http, KAMAILIO: by_sip}
    figures = await in_turn(lab, lab.scale.latency_rounds, starts, asked)
    report = Report("sip", [Row(peer, values) for peer, values in figures.items()])
    mine, theirs = figures[SIP], figures[HTTP]
    report.targets = [
        Target("answers/s / HTTP", ratio(mine["answers/s"], theirs["answers/s"]), "x", 0.5, 1)
    ]
    for rate in RATES:
        p99 = f"p99 at {rate:,}/s, ms"
        if p99 in mine and p99 in theirs:
            value = ratio(mine[p99], theirs[p99])
            report.targets.append(Target(f"{p99} / HTTP", value, "x", 2, 1, less=True))
        else:
            report.notes.append(f"NOT JUDGED: a server did not reach {rate:,}/s")
    return [report]


async def opened_sip(port: int) -> Sequence[Any]:
    """Sockets for SIP."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_datagram_endpoint(SipAsker, remote_addr=(HOST, port))
        for _ in range(CONNECTIONS)
    ]
    return [asker for _, asker in made]


def invites_of(lab: Lab) -> Iterator[bytes]:
    """Requests, for ever."""
    calls = traffic(20_000, lab.scale.numbers, seed=5)
    pairs = zip(calls.callers.tolist(), calls.callees.tolist(), strict=True)
    return cycle(
        [
            SENT.format(
                caller=caller, callee=callee, index=index, length=len(BODY), body=BODY
            ).encode()
            for index, (caller, callee) in enumerate(pairs)
        ]
    )


def ours(lab: Lab, state: Path) -> tuple[Process, int]:
    """`ringfence serve-sip` on the engine's core."""
    port, health = free_ports(2)
    config = lab.run / f"{lab.new_name('sip')}.toml"
    config.write_text(
        f'[redis]\nurl = "{NO_REDIS}"\n[lists]\nstate_dir = "{state}"\n'
        f"[sip]\nport = {port}\nhealth_port = {health}\nrequests_per_s = 1000000.0\n"
        f'trunks = {{ "{HOST}" = "sbc" }}\n[trunks.sbc]\ncountry = "TH"\ningress = "unknown"\n'
        '[calls]\ncheck_callee = true\n[ops]\nlog_level = "WARNING"\n'
    )
    if state not in lab.warm:
        warm(lab, state, config)
    command = python("stream", "serve-sip", "--config", str(config))
    process = Process(SIP, command, [lab.cores.engine], config.with_suffix(".log"))
    process.wait_until_ready(health, READY_S)
    return process, port


def kamailio(lab: Lab) -> tuple[Process, int]:
    """The proxy on the engine's core, one worker."""
    (port,), folder = free_ports(1), lab.run / lab.new_name("kamailio")
    folder.mkdir()
    (folder / "kamailio.cfg").write_text(PROXY.format(host=HOST, port=port))
    words = ["-f", str(folder / "kamailio.cfg"), "-DD", "-E", "-Y", str(folder), "-w", str(folder)]
    process = Process(KAMAILIO, ["kamailio", *words], [lab.cores.engine], folder / "log")
    while not answers_options(port):
        process.check()
    return process, port

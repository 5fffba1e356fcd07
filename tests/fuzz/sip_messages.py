"""The SIP doors against any bytes: each message is answered or counted, shortly; never a crash.

    python -m tests.fuzz.sip_messages --seconds 600 --seed 1

Each round takes torture messages of RFC 4475 and generated ones, changes most of them at one to
four places, and sends them to real sockets: as datagrams, and as streams cut into pieces. It ends
at the first message that is neither answered nor counted, at an answer that is none or too long
for a stranger, and at any exception of the doors' event loop.
"""

import asyncio
import random
import socket
from dataclasses import dataclass, field
from typing import Any

from stream.edge.sip.responder import LONGER_MAX, Responder, SipTransport
from stream.edge.sip.response import Address
from stream.edge.sip.tcp import TcpServer
from stream.edge.sip.udp import UdpServer, bound
from tests.fuzz.harness import fuzz
from tests.support.builders import NOW_S
from tests.support.signed_calls import Authority
from tests.support.sip import (
    BLOCKED,
    INNOCENT,
    fields_of,
    message,
    sip_settings,
    verifying_responder,
)
from tests.unit.edge.sip.test_torture import MESSAGES

HOST = "127.0.0.1"
CLIENT = "127.98.76.54"
"""Answers go to ports that a Via names: nobody else listens at this address."""
ROUND, STREAMS, ROUNDS = 32, 4, 20
ROOT = Authority(NOW_S)
SIGNER = ROOT.signer()
ANSWER_S = 60.0
MANY: dict[str, Any] = {"strangers_per_s": 1e6, "message_s_max": 600.0, "idle_s_max": 600.0}

TOKENS = [
    b"", b"\r\n", b"\r\n ", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\t", b'"', b"<", b">", b";", b",",
    b":", b"@", b"%", b"%0", b"%00", b"%C2%A0", b"%EF%BC%91", b"\xc2\xa0", b"\xa0", b"\xef\xbc\x91",
    b"\xe0\xb9\x91", b"\xff", b"<sip:", b"tel:+", b";phone-context=+44", b";tag=", b'"<sip:a@b>" ',
    b"\r\nt:a", b"\r\nv:SIP/2.0/UDP a;rport", b"\r\nVia: x", b"\r\nl:5", b"\r\nContent-Length: 9",
    b"\r\nP-Asserted-Identity: <tel:+447700900105>", b"\r\nFrom: a;b <sip:+447700900105@h>",
    b"\r\nRequire: a,b", b"Remote-Party-ID: ", b"-", b"(0)", b"9" * 40, b"\\", b"a" * 300,
    b"[::1]", b"*", b"~", b";" * 60, b",<tel:+44770090010>" * 9, b" INVITE ", b"SIP/2.0",
    b"\r\n" + b"x:y\r\n" * 90, b"\r\nIdentity: ", b"\r\ny:", b"a.b.c,", b".", b";ppt=shaken",
    b"\r\nIdentity: " + SIGNER.identity(NOW_S).encode(), b";verstat=TN-Validation-Passed",
    b"\r\nP-Attestation-Indicator: A", b"eyJhbGciOiJFUzI1NiJ9." * 30,
]  # fmt: skip
CALLERS = [
    BLOCKED, INNOCENT, f"a;b <sip:{BLOCKED}@h>", f"tel:{BLOCKED[3:]};phone-context=+44",
    f"<sip:+44\u00a0{BLOCKED[3:]}@h>", "<sip:alice@h>", "<sip:anonymous@anonymous.invalid>",
]  # fmt: skip


def mutants(rng: random.Random, count: int) -> list[bytes]:
    """Messages, most of them changed at one to four places."""
    bases = [*MESSAGES.values()]
    found = []
    for _ in range(count):
        base = rng.choice(bases)
        if rng.random() < 0.5:
            base = message(
                rng.choice(CALLERS),
                rng.choice(["sip:+66812345678@h", "tel:191", "urn:service:sos", "sip:h", "x:y"]),
                method=rng.choice(["INVITE", "INVITE", "INVITE", "OPTIONS", "BYE", "ACK"]),
                via=rng.choices(["SIP/2.0/UDP h;rport", "SIP/2.0/TCP [::1]:70;branch=b"], k=2),
            )
        data = bytearray(base)
        for _ in range(rng.choice((0, 1, 1, 2, 3, 4))):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(6):
                case 0 | 1 | 2:
                    data[at : at + rng.choice((0, 0, 1, 3, 12))] = rng.choice(TOKENS)
                case 3:
                    del data[at : at + rng.choice((1, 2, 9, 60))]
                case 4:
                    data[at:at] = data[at : at + rng.randrange(60)] * rng.choice((1, 2, 30))
                case _:
                    data[at:] = rng.choice(bases)[rng.randrange(200) :]
        found.append(bytes(data[:60_000]))
    return found


def done(here: Responder, transport: SipTransport) -> int:
    """Messages that were answered or counted as unanswered."""
    total = 0.0
    for family in (here.metrics.answers, here.metrics.unanswered):
        for metric in family.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total") and sample.labels["transport"] == transport:
                    total += sample.value
    return round(total)


@dataclass
class Attack:
    """Both doors, and who attacks them; what was sent and read so far, and what went wrong.

    `twin` answers the same without sockets, and shows what each answer is.
    """

    rng: random.Random
    here: Responder = field(default_factory=lambda: verifying_responder(ROOT, SIGNER, **MANY))
    twin: Responder = field(default_factory=lambda: verifying_responder(ROOT, SIGNER, **MANY))
    messages: int = 0
    streams: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)

    async def run(self, rounds: int) -> None:
        """Attack for so many rounds, or until something is wrong."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self.wrong.append(repr(context)))
        listening = bound(HOST, 0, socket.SOCK_STREAM)
        port = listening.getsockname()[1]
        udp = UdpServer(bound(HOST, port, socket.SOCK_DGRAM), self.here)
        tcp = TcpServer(self.here, sip_settings(**MANY))
        udp.start()
        await tcp.start(listening)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((CLIENT, 0))
                client.setblocking(False)
                for _ in range(rounds):
                    if self.wrong:
                        break
                    await self._datagrams(client, port)
                    await asyncio.gather(*(self._stream(port) for _ in range(STREAMS)))
        finally:
            udp.stop()
            await tcp.stop()

    async def _datagrams(self, client: socket.socket, port: int) -> None:
        loop = asyncio.get_running_loop()
        sent, before = mutants(self.rng, ROUND), done(self.here, SipTransport.UDP)
        last = f"end-{self.messages}"
        end = message(method="OPTIONS", changed={"Call-ID": last})
        for data in sent:
            await loop.sock_sendto(client, data, (HOST, port))
        # Until it is answered by a name that no message before it has, all of them were.
        await loop.sock_sendto(client, end, (HOST, port))
        while True:
            answer = await asyncio.wait_for(loop.sock_recv(client, 65_535), ANSWER_S)
            self.answers += 1
            if f"Call-ID: {last}\r\n".encode() in answer:
                break
        count = done(self.here, SipTransport.UDP) - before
        if count != len(sent) + 1:
            self.wrong.append(f"{len(sent) + 1} datagrams came, {count} were dealt with: {sent}")
        self.messages += len(sent)
        for data in sent:
            self._check(data)

    def _check(self, data: bytes) -> None:
        """Report whether the answer to an unknown sender's message is a single short one."""
        source = self.rng.choice(["192.0.2.9", "2001:db8::9"])
        (made,) = self.twin.answers([(data, Address(source, 40_000))], SipTransport.UDP, 1e9)
        if made is None:
            return
        fields = fields_of(made)
        names = ("from", "to", "call-id", "cseq")
        if len(made.data) > len(data) + LONGER_MAX:
            self.wrong.append(f"{len(made.data)} bytes to {data!r}")
        if any(len(fields.get(name, ())) > 1 for name in names) or b"\r\n\r\n" in made.data[:-4]:
            self.wrong.append(f"{made.data!r} to {data!r}")

    async def _stream(self, port: int) -> None:
        """One connection: messages in pieces, then its end; whatever comes back is read."""
        data = b"".join(mutants(self.rng, self.rng.choice((1, 2, 5))))
        reader, writer = await asyncio.open_connection(HOST, port)
        self.streams += 1
        try:
            while data:
                size = self.rng.choice((1, 7, 100, 1000, 60_000))
                writer.write(data[:size])
                await writer.drain()
                data = data[size:]
            writer.write_eof()
            while await asyncio.wait_for(reader.read(65_536), ANSWER_S):
                self.answers += 1
        except ConnectionError:
            pass  # it cut us off, which it may
        finally:
            writer.close()


def run(_: str, seed: int, rounds: int = ROUNDS) -> int:
    """Attack both doors for so many rounds; how many messages they dealt with, all of them."""
    made = Attack(random.Random(seed))
    asyncio.run(made.run(rounds))
    assert not made.wrong, "\n".join(made.wrong)
    return made.messages + made.streams


def main() -> None:
    """Attack until the time is over."""
    fuzz("datagrams and streams dealt with", ("doors",), run, "--kind", ROUNDS * (ROUND + STREAMS))


if __name__ == "__main__":
    main()

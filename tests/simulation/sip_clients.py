"""Clients of `serve-sip` in a simulation: switches that ask by UDP and TCP, well and badly.

A transaction by UDP is one INVITE, sent again until a final answer comes (RFC 3261, 17.1.1): all
its answers have one To tag, and each is the reference's. ACK and CANCEL get none.
"""

import asyncio
import re
import socket
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.clients import ANSWER_S, BLANK, Asked, Clients, Line
from tests.simulation.sockets import Place

NETWORK = "192.0.2."
"""Of the switches behind a trunk that we know."""
STRANGER = "198.51.100.7"
_T1_S, _GIVES_UP_S = 0.5, 32.0
"""Timers A and B: sent again after so long, then twice as long; and given up."""
_HEARD_S = 8.0
"""So long an INVITE is sent again at most where nothing is broken, and every other one is lost."""
_HOSTS = 5
_PONG = b"\r\n"
_STATUS = re.compile(rb"SIP/2\.0 (\d{3}) ")
_CALL_ID = re.compile(rb"\r\nCall-ID: (\S+)\r\n")
_TAG = re.compile(rb"\r\nTo: [^\r]*;tag=(\w+)\r\n")
_BLOCKED, _ALLOWED = frozenset({603, 607, 608}), 404


@dataclass
class Transaction:
    """An INVITE by UDP with its answers: their statuses and To tags."""

    asked: Asked
    began_s: float
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    ended: bool = False


class Caller:
    """A switch with a socket for datagrams, and its transactions by the names of their calls."""

    def __init__(self, owner: "SipClients") -> None:
        self.owner, self.loop = owner, owner.world.loop
        self.socket: Any = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("", 0))
        self.to: Place = (owner.door.name, owner.door.port)
        self.ours: Place = self.socket.getsockname()
        self.known = self.ours[0].startswith(NETWORK)
        self.begun: dict[str, Transaction] = {}
        self._news = asyncio.Event()
        self.loop.add_reader(self.socket, self._readable)

    def close(self) -> None:
        """Give the port back."""
        self.loop.remove_reader(self.socket)
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send a datagram to the door."""
        self.socket.sendto(data, self.to)

    def _readable(self) -> None:
        try:
            while True:
                data, *_ = self.socket.recvmsg(65_535, 64)
                self.owner.came(self, data)
                self._news.set()
        except BlockingIOError:
            return

    def begin(self, number: str) -> Transaction:
        """Ask about a call."""
        asked = self.owner.invite(number, self.ours, "UDP")
        asked.sent_s = self.loop.time()
        made = self.begun[asked.names[0]] = Transaction(asked, asked.sent_s)
        self.send(asked.data)
        return made

    async def until_answered(self, one: Transaction) -> None:
        """Send it again until an answer is there, or it is given up; then acknowledge that."""
        pause_s = _T1_S
        while not one.answers and self.loop.time() - one.began_s < _GIVES_UP_S:
            try:
                async with asyncio.timeout(pause_s):
                    while not one.answers:
                        self._news.clear()
                        await self._news.wait()
            except TimeoutError:
                pause_s *= 2
                self.send(one.asked.data)
        one.ended = True
        self.send(self.owner.after(one.asked, "ACK"))


class SipClients(Clients):
    """All who ask by SIP."""

    kinds = (
        *("calls", "calls", "calls", "calls_at_once", "cancels", "repeats", "is_unknown"),
        *("asks_oddly", "keeps_alive", "pipelines", "asks_in_pieces", "leaves_amid"),
        *("reads_late", "is_forgotten", "says_half", "sends_garbage"),
    )

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.hosts = [f"{NETWORK}{number}" for number in range(1, _HOSTS + 1)]
        self._callers: list[Caller] = []

    # Kinds of clients by UDP.

    async def _calls(self) -> None:
        caller = self._caller()
        for _ in range(self.rng.randint(1, 4)):
            await caller.until_answered(caller.begin(self.rng.choice(self.numbers)))
            await asyncio.sleep(self.rng.expovariate(2))
        await self._hangs_up(caller)

    async def _calls_at_once(self) -> None:
        caller = self._caller()
        begun = [caller.begin(self.rng.choice(self.numbers)) for _ in range(self.rng.randint(2, 8))]
        await asyncio.gather(*map(caller.until_answered, begun))
        await self._hangs_up(caller)

    async def _cancels(self) -> None:
        """Cancel a call at once: that gets no answer, and the call still has its own."""
        caller = self._caller()
        one = caller.begin(self.rng.choice(self.numbers))
        await asyncio.sleep(self.rng.expovariate(100))
        caller.send(self.after(one.asked, "CANCEL"))
        await caller.until_answered(one)
        await self._hangs_up(caller)

    async def _repeats(self) -> None:
        """Ask again though there is an answer, as one whose answers are lost."""
        caller = self._caller()
        one = caller.begin(self.rng.choice(self.numbers))
        for _ in range(self.rng.randint(1, 5)):
            await asyncio.sleep(self.rng.expovariate(5))
            caller.send(one.asked.data)
        await caller.until_answered(one)
        await self._hangs_up(caller)

    async def _is_unknown(self) -> None:
        """Ask from nowhere, more than strangers may together: the rest gets no answer."""

        async def asks() -> None:
            caller = self._caller()
            for _ in range(self.rng.randint(1, 12)):
                caller.begin(self.rng.choice(self.numbers))
            await self._hangs_up(caller)

        await self.world.process(STRANGER).run(asks())

    async def _asks_oddly(self) -> None:
        """Send what is no question: OPTIONS, another method, and calls that cannot be asked."""
        caller = self._caller()
        asked = self.invite(self.numbers[0], caller.ours, "UDP")
        oddities = {
            "OPTIONS": (asked.data.replace(b"INVITE", b"OPTIONS"), {200, 503}),
            "SUBSCRIBE": (asked.data.replace(b"INVITE", b"SUBSCRIBE"), {405}),
            # A malformed call is looked up before it is refused.
            "no To": (re.sub(rb"To: .*?\r\n", b"", asked.data, count=1), {400, *_BLOCKED}),
            "no length": (asked.data.replace(b"Length: 0", b"Length: 9"), {400, *_BLOCKED}),
            "another version": (asked.data.replace(b" SIP/2", b" SIP/3", 1), {505, *_BLOCKED}),
        }
        data, statuses = self.rng.choice(list(oddities.values()))
        asked.data, asked.statuses, asked.numbers = data, frozenset(statuses), ()
        asked.sent_s = self.world.loop.time()
        one = caller.begun[asked.names[0]] = Transaction(asked, asked.sent_s)
        caller.send(data)
        await caller.until_answered(one)
        await self._hangs_up(caller)

    def _caller(self) -> Caller:
        caller = Caller(self)
        self._callers.append(caller)
        return caller

    async def _hangs_up(self, caller: Caller) -> None:
        await asyncio.sleep(1.0)  # late answers come
        self._callers.remove(caller)
        caller.close()

    # Kinds of clients by TCP.

    async def _keeps_alive(self) -> None:
        if (line := await self._connected()) is None:
            return
        for _ in range(self.rng.randint(1, 6)):
            line.send(self._asked(line))
            line.transport.write(BLANK * self.rng.randrange(2))
            if not await line.answers():
                break
            await asyncio.sleep(self.rng.choice((0.0, self.rng.expovariate(2), 6.0)))
        self._leave(line)

    async def _pipelines(self) -> None:
        if (line := await self._connected()) is None:
            return
        line.send(*(self._asked(line) for _ in range(self.rng.randint(2, 30))))
        await line.answers()
        self._leave(line)

    async def _asks_in_pieces(self) -> None:
        if (line := await self._connected()) is None:
            return
        await self._piecemeal(line, self._asked(line))
        await line.answers()
        self._leave(line)

    async def _leaves_amid(self) -> None:
        if (line := await self._connected()) is None:
            return
        self._half(line, [self._asked(line) for _ in range(self.rng.randint(1, 3))])
        await asyncio.sleep(self.rng.expovariate(50))
        self.rng.choice((line.transport.abort, line.transport.close))()
        self._leave(line)

    async def _reads_late(self) -> None:
        if (line := await self._connected()) is None:
            return
        many = self.rng.choice((100, 2500))  # of the latter it is cut off
        await self._late(line, [self._asked(line)] * many)
        self._leave(line)

    async def _is_forgotten(self) -> None:
        if (line := await self._connected()) is None:
            return
        await self._lost(line, self._asked(line))
        self._leave(line)

    async def _says_half(self) -> None:
        """Send half a message and no more: it is cut off."""
        if (line := await self._connected()) is None:
            return
        self._half(line, [self._asked(line)])
        await asyncio.sleep(self.door.settings.sip.message_s_max + ANSWER_S)
        self._leave(line)

    def _asked(self, line: Line) -> Asked:
        ours = line.transport.get_extra_info("sockname")
        return self.invite(self.rng.choice(self.numbers), ours, "TCP")

    # Requests.

    def invite(self, number: str, ours: Place, transport: str) -> Asked:
        """Return the INVITE of a new call."""
        name, host = self._name(), ours[0]
        lines = (
            "INVITE sip:+66812345678@ringfence SIP/2.0",
            f"Via: SIP/2.0/{transport} {host}:{ours[1]};branch=z9hG4bK-{name};rport",
            "Max-Forwards: 70",
            f"From: <sip:{number}@{host}>;tag=f",
            "To: <sip:+66812345678@ringfence>",
            f"Call-ID: {name}",
            "CSeq: 1 INVITE",
            "Content-Length: 0",
        )
        data = "\r\n".join([*lines, "", ""]).encode()
        return Asked(data, _BLOCKED | {_ALLOWED}, (number,), (name,))

    def after(self, asked: Asked, method: str) -> bytes:
        """Return the ACK or CANCEL of an INVITE; no answer to it is ever right."""
        assert asked.names, "calls have names"
        return asked.data.replace(b"INVITE", method.encode())

    # What must hold.

    def whole(self, held: bytes) -> int:
        """Return the size of the answer at the beginning of `held`; 0: it is not whole yet."""
        if held.startswith(_PONG):
            return len(_PONG)
        place = held.find(BLANK)
        return place + len(BLANK) if place >= 0 else 0

    def answered(self, line: Line, answer: bytes) -> None:
        """Take an answer of a connection: they come in the order of the requests."""
        if line.damaged or answer == _PONG:
            return
        self.answers += 1
        if not line.waiting:
            self.bug(f"{self.door.name} answers what nobody asked: {answer!r}")
            return
        self._judge(line.waiting.popleft(), answer)

    def came(self, caller: Caller, answer: bytes) -> None:
        """Take a datagram."""
        self.answers += 1
        name = _CALL_ID.search(answer)
        one = caller.begun.get(name[1].decode()) if name else None
        if one is None or b"\r\nCSeq: 1 ACK" in answer or b"\r\nCSeq: 1 CANCEL" in answer:
            self.bug(f"{self.door.name} answers what gets no answer: {answer!r}")
            return
        status = self._judge(one.asked, answer)
        tag = _TAG.search(answer)
        one.answers.append((status, tag[1] if tag else b""))
        if len({tag for _, tag in one.answers}) > 1:
            self.bug(f"{self.door.name}: one transaction has several tags: {one.answers}")

    def _judge(self, asked: Asked, answer: bytes) -> int:
        status, name = _STATUS.match(answer), _CALL_ID.search(answer)
        code = int(status[1]) if status else 0
        if code not in asked.statuses or name is None or name[1].decode() != asked.names[0]:
            self.bug(f"{self.door.name} answers {asked.data!r}: {answer!r}")
        elif asked.numbers:
            verdict = "block" if code in _BLOCKED else "allow"
            if wrong := self.wrong(asked, [(verdict, None)]):
                self.bug(f"{self.door.name}: {wrong}")
        return code

    def check(self, quiet_s: float) -> None:
        """Look who waits for longer than faults until `quiet_s` explain, by datagrams too."""
        super().check(quiet_s)
        now_s = self.world.loop.time()
        for caller in self._callers:
            for one in caller.begun.values() if caller.known else ():
                if one.answers or one.ended:
                    continue
                # After a fault the next time that it is sent: it pauses as long as it was silent.
                silent_s = max(0.0, quiet_s - one.began_s)
                if now_s - max(one.began_s, quiet_s) > _HEARD_S + silent_s:
                    self.bug(f"{caller.ours} has no answer: {one.asked.data!r}")

    def left(self) -> str:
        """Return who is there yet; "": nobody."""
        return f"{self._callers[0].ours} waits" if self._callers else super().left()

    async def ask_all(self) -> None:
        """Ask about every number by UDP."""
        caller = self._caller()
        begun = [caller.begin(number) for number in self.numbers]
        await asyncio.gather(*map(caller.until_answered, begun))
        if not all(one.answers for one in begun):
            self.bug(f"{self.door.name} does not answer at the end")
        await self._hangs_up(caller)

"""Clients of `serve` in a simulation: switches that ask for decisions, well and badly.

Each conversation is a process of its own. Every whole request gets one answer, or its connection is
seen closed; and the answer is the reference's.
"""

import asyncio
import json
from typing import Any

from tests.simulation.clients import ANSWER_S, BLANK, Asked, Clients, Line

TOKEN = "rf_simulated"
_HOSTS = 8


class HttpClients(Clients):
    """All who ask by HTTP."""

    kinds = (
        *("keeps_alive", "keeps_alive", "pipelines", "asks_in_pieces", "asks_for_many"),
        *("leaves_amid", "reads_late", "is_forgotten", "says_nothing", "sends_garbage"),
        "has_no_right",
    )

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.hosts = [f"client-{number}" for number in range(_HOSTS)]
        self._full_s = -ANSWER_S

    async def _connected(self) -> Line | None:
        line = await super()._connected()
        if len(self.open()) >= self.door.settings.serve.connections_max:
            self._full_s = self.world.loop.time()
        return line

    # Kinds of clients.

    async def _keeps_alive(self) -> None:
        if (line := await self._connected()) is None:
            return
        for _ in range(self.rng.randint(1, 6)):
            line.send(self._lookup())
            if not await line.answers():
                break
            await asyncio.sleep(self.rng.choice((0.0, self.rng.expovariate(2), 4.0)))
        self._leave(line)

    async def _pipelines(self) -> None:
        if (line := await self._connected()) is None:
            return
        line.send(*(self._lookup() for _ in range(self.rng.randint(2, 30))))
        await line.answers()
        self._leave(line)

    async def _asks_in_pieces(self) -> None:
        if (line := await self._connected()) is None:
            return
        await self._piecemeal(line, self._lookup())
        await line.answers()
        self._leave(line)

    async def _asks_for_many(self) -> None:
        if (line := await self._connected()) is None:
            return
        line.send(self._many(self.rng.randint(1, 30)), self._lookup())
        await line.answers()
        self._leave(line)

    async def _leaves_amid(self) -> None:
        """Go with half a request; in order or not."""
        if (line := await self._connected()) is None:
            return
        kinds = (self._lookup, lambda: self._many(9))
        self._half(line, [self.rng.choice(kinds)() for _ in range(self.rng.randint(1, 3))])
        await asyncio.sleep(self.rng.expovariate(50))
        ends = (line.transport.abort, line.transport.close, line.transport.write_eof)
        self.rng.choice(ends)()
        await asyncio.sleep(1.0)
        self._leave(line)

    async def _reads_late(self) -> None:
        if (line := await self._connected()) is None:
            return
        await self._late(line, [self._many(150) for _ in range(4)])
        self._leave(line)

    async def _is_forgotten(self) -> None:
        if (line := await self._connected()) is None:
            return
        await self._lost(line, self._lookup())
        self._leave(line)

    async def _says_nothing(self) -> None:
        if (line := await self._connected()) is None:
            return
        line.damaged = True
        await asyncio.sleep(self.door.settings.serve.header_s_max + ANSWER_S)
        self._leave(line)

    async def _has_no_right(self) -> None:
        """Ask with a wrong token, and about nobody: both are refused, and the line goes on."""
        if (line := await self._connected()) is None:
            return
        line.send(
            self._request("caller=" + self.numbers[0], {401, 429}, token="rf_unknown"),
            self._request("call_id=c", {400}),
            self._lookup(),
        )
        await line.answers()
        self._leave(line)

    # Requests.

    def _lookup(self, number: str = "") -> Asked:
        number, name = number or self.rng.choice(self.numbers), self._name()
        asked = self._request(f"caller={number}&call_id={name}", {200})
        asked.numbers, asked.names = (number,), (name,)
        return asked

    def _request(self, query: str, statuses: set[int], token: str = TOKEN) -> Asked:
        return _asked("GET", f"/v1/decision?{query}", token, "", statuses)

    def _many(self, count: int) -> Asked:
        numbers = tuple(self.rng.choice(self.numbers) for _ in range(count))
        names = tuple(self._name() for _ in numbers)
        rows = [{"caller": n, "call_id": c} for n, c in zip(numbers, names, strict=True)]
        asked = _asked("POST", "/v1/decision", TOKEN, json.dumps(rows), {200})
        asked.numbers, asked.names = numbers, names
        return asked

    # What must hold.

    def whole(self, held: bytes) -> int:
        """Return the size of the answer at the beginning of `held`; 0: it is not whole yet."""
        head, blank, body = held.partition(BLANK)
        if not blank:
            return 0
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = int(fields[b"content-length"])
        return len(head) + len(blank) + size if len(body) >= size else 0

    def answered(self, line: Line, answer: bytes) -> None:
        """Take an answer of a connection, and hold it against the reference."""
        self.answers += 1
        status, body = int(answer.split(b" ", 2)[1]), answer.partition(BLANK)[2]
        name = self.door.name
        if line.damaged:
            return
        # A door that is full says so at once, to what was asked or not.
        if status == 503 and b"too-many-connections" in body:
            # The door said so when the client connected. The answer may come late: the client read
            # late, or its link was blocked (seed 10035).
            if line.connected_s - self._full_s > ANSWER_S:
                self.bug(f"{name} says it is full, and is not: {body!r}")
            line.waiting.clear()
            return
        if not line.waiting:
            if status != 408:  # nothing was asked for too long: it says so and closes
                self.bug(f"{name} answers what nobody asked: {status} {body!r}")
            return
        request = line.waiting.popleft()
        if status == 408 and request.sent_s < self.quiet_s:
            # It waited behind a blocked link, and the door had seen nothing (seed 90002528).
            line.waiting.clear()
        elif status not in request.statuses:
            self.bug(f"{name} answers {request.data!r}: {status} {body!r}")
        elif status == 200 and (wrong := self._wrong(request, json.loads(body))):
            self.bug(f"{name}: {wrong}")

    def _wrong(self, request: Asked, said: Any) -> str:
        answers = said if isinstance(said, list) else [said]
        names = [one["call_id"] for one in answers]
        if names != list(request.names):
            return f"{request.names} were asked, {names} are answered"
        return self.wrong(request, [(one["verdict"], one["fail_open"]) for one in answers])

    async def ask_all(self) -> None:
        """Ask about every number, by one connection."""
        line = await self._connected()
        if line is not None:
            line.send(*(self._lookup(number) for number in self.numbers))
            if await line.answers():
                self._leave(line)
                return
        self.bug(f"{self.door.name} does not answer at the end")


def _asked(method: str, path: str, token: str, body: str, statuses: set[int]) -> Asked:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: ringfence",
        f"Authorization: Bearer {token}",
        *([f"Content-Length: {len(body)}"] if body else []),
    ]
    return Asked("\r\n".join([*lines, "", body]).encode(), frozenset(statuses))

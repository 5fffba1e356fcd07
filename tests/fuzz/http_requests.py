"""Requests of HTTP against any bytes: each is answered or its connection closed; never a crash.

    python -m tests.fuzz.http_requests --kind lookup --seconds 600 --seed 1

A round sends requests to a real server, most of them changed at one to three places, whole or in
pieces, several behind each other, on connections of their own. What comes back are answers with
known statuses. After each round a right request is answered as ever. An exception of the loop, a
logged error or a status 500 ends the run.
"""

import asyncio
import logging
import random
import re
from functools import cache
from typing import Final

from stream.calls.lookup import Lookup
from stream.edge.http.tokens import ClientRole
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.support.http_service import TOKENS as BEARERS
from tests.support.http_service import parts_for, serve_settings, served
from tests.support.lookups import LISTED, LISTS, lookup_in

KINDS: Final = ("head", "lookup", "batch")
ROUND, AT_ONCE = 400, 200
ANSWER_S: Final = 60.0
STATUSES: Final = frozenset(
    {100, 200, 204, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 422, 429, 431, 503}
)  # 100 before the answer where a request expects it: RFC 9110, section 10.1.1
BEARER: Final = f"Authorization: Bearer {BEARERS[ClientRole.OPERATOR]}"
QUESTION: Final = f'{{"caller":"{LISTED[1]}","callee":"+447700900123","trunk":"gb"}}'
TOKENS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"\r\n ", b"\xff"),
    *(b"%", b"%00", b"%ff", b"%2e%2e/", b"?", b"&", b"=", b"#", b"//", b"\\", b"+", b"%2B"),
    *(b";", b'"', b"{", b"[", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"GET "),
    *(b"PRI * HTTP/2.0", b"POST ", b"PUT ", b"CONNECT a:1 ", b"OPTIONS * ", b"X" * 300),
    *(b"a=1&" * 400, b"[" * 2_000, b"9" * 400, b"\r\nHost: y", b"\r\nHost:"),
    *(b"\r\nContent-Length: 5", b"\r\nContent-Length: -1", b"\r\nTransfer-Encoding: chunked"),
    *(b"\r\nContent-Length: 99999999999999999999", b"\r\nTransfer-Encoding: gzip, chunked"),
    *(b"\r\ntransfer-encoding: xchunked", b"\r\nConnection: close", b"\r\nRange: bytes=0-"),
    *(b"\r\nConnection: Upgrade\r\nUpgrade: h2c", b"\r\nExpect: 100-continue"),
    *(b"\r\nContent-Encoding: gzip", b"\r\nAccept-Encoding: zstd, gzip;q=0"),
    *(b"\r\nIf-None-Match: *", b"\r\nX-Forwarded-For: 1.2.3.4", b"\r\nCookie: a=b; a=b"),
    *(b"\r\na: " * 90, b"0\r\n\r\n", b"5\r\nabcde\r\n", b"ffffffffffffffff\r\n"),
    b"5;x=y\r\nabcde\r\n0\r\nT: v\r\n\r\n",
)
_ANSWER: Final = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")
RIGHT: Final = (
    f"GET /v1/decision?caller={LISTED[1]}&callee=+447700900123&trunk=gb HTTP/1.1\r\n"
    f"Host: x\r\n{BEARER}\r\nConnection: close\r\n\r\n"
).encode()


@cache
def bases(kind: str) -> tuple[bytes, ...]:
    """Right requests of a kind."""
    ask = f"/v1/decision?caller={LISTED[1]}&callee=%2B447700900123&trunk=border&verstat=No-TN"
    if kind == "lookup":
        return tuple(
            f"GET {path} HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n{more}\r\n".encode()
            for path in (ask, f"{ask}&attestation=A&passport=a.b.c", ask.replace("%2B", "+"))
            for more in ("", "Accept: application/json\r\n", "Connection: keep-alive\r\n")
        )
    if kind == "batch":
        body = f"[{','.join([QUESTION] * 5)}]"
        chunks = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
        top = f"POST /v1/decision HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n"
        top += "Content-Type: application/json\r\n"
        return (
            f"{top}Content-Length: {len(body)}\r\n\r\n{body}".encode(),
            f"{top}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode(),
        )
    return tuple(
        f"{method} {path} HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n\r\n".encode()
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")
        for path in ("/live", "/ready", "/openapi.json", "/nowhere", "/v1/decision", "/")
    )


def inputs(kind: str, seed: int, count: int) -> list[bytes]:
    """The bytes that connections send: one to four requests, most of them changed."""
    rng = random.Random(f"{kind} {seed}")
    held, others = bases(kind), (*bases("head"), *bases("lookup"), *bases("batch"))
    made = []
    for _ in range(count):
        parts = [
            changed(rng.choice(held), others, rng, TOKENS)
            if rng.random() < 0.9
            else rng.choice(held)
            for _ in range(rng.choice((1, 1, 1, 2, 4)))
        ]
        made.append(b"".join(parts))
    return made


async def talked(port: int, data: bytes, rng: random.Random) -> bytes:
    """Send `data` on a connection, in pieces or whole; all that comes back until its end.

    Behind it comes a right request that asks for the end, which the server may take for something
    else by then. The client does not end its side: the server would drop what it has not answered.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data += RIGHT
    try:
        size = rng.choice((len(data), len(data), 200, 7)) or 1
        for at in range(0, len(data), size):
            writer.write(data[at : at + size])
            if size < len(data):
                await asyncio.sleep(0)
        async with asyncio.timeout(ANSWER_S):
            return await reader.read()
    except OSError:  # it was closed before everything was sent
        return b""
    finally:
        writer.close()


def check(answer: bytes) -> int:
    """Check what came back; how many answers."""
    statuses = [int(found[1]) for found in _ANSWER.finditer(answer)]
    assert not answer or _ANSWER.match(answer), f"no answer of HTTP: {answer[:200]!r}"
    odd = set(statuses) - STATUSES
    assert not odd, f"statuses {odd}: {answer[:2000]!r}"
    return len(statuses)


class Noting(logging.Handler):
    """Notes errors that are logged."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        """Note one, with its traceback."""
        self._wrong.append(self.format(record))


async def _round(kind: str, seed: int, count: int) -> int:
    rng, wrong = random.Random(seed), list[str]()
    lookup: Lookup = lookup_in(LISTS)
    settings = serve_settings(
        header_s_max=1.0, body_s_max=1.0, idle_s_max=1.0, refusals_per_minute=100_000
    )
    asyncio.get_running_loop().set_exception_handler(lambda _, told: wrong.append(repr(told)))
    handler = Noting(wrong)
    logging.getLogger().addHandler(handler)
    answers = 0
    try:
        async with served(parts_for(settings, lookup=lookup)) as http:
            sent = inputs(kind, seed, count)
            for start in range(0, count, AT_ONCE):
                some = sent[start : start + AT_ONCE]
                told = await asyncio.gather(*(talked(http.port, one, rng) for one in some))
                for data, answer in zip(some, told, strict=True):
                    try:
                        answers += check(answer)
                    except AssertionError as error:
                        error.add_note(f"{kind} seed {seed}: {data!r}"[:20_000])
                        raise
                assert not wrong, f"{kind} seed {seed}: {wrong} at one of {some!r}"[:20_000]
            right = await talked(http.port, b"", random.Random(0))
            assert b'"verdict":"block"' in right, f"after seed {seed}: {right!r}"
    finally:
        logging.getLogger().removeHandler(handler)
    return answers


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` connections; how many answers came."""
    return asyncio.run(_round(kind, seed, count))


def main() -> None:
    """Check until the time is over."""
    fuzz("answers", KINDS, lambda kind, seed: run(kind, seed, ROUND), "--kind", ROUND)


if __name__ == "__main__":
    main()

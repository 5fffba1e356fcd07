"""`GET /v1/decision` has a short way beside the application's: both give the same answers."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from stream.calls.lookup import Question
from stream.edge.http.http_server import Direct, serving
from stream.edge.http.lookup_routes import PATH, DirectLookup, LookupMiddleware
from stream.edge.http.middleware import Middleware
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.ops.metrics.http_catalogue import ServeMetrics
from tests.support.http_service import TOKENS, parts_for, serve_settings
from tests.support.waiting import HANGS_S

OURS = re.compile(rb"(?<![A-Za-z0-9._-])[0-9a-f]{16}(?![A-Za-z0-9._-])")
"""An id that the server gave a request: each has another."""
DATE = re.compile(rb"date: [^\r]+")

_name = st.sampled_from([*Question.__struct_fields__, "caller", "callee", "x", "", "Caller"])
_value = st.sampled_from(
    [
        "+447700900101",
        "%2B447700900101",
        "0812345678",
        "",
        "a%00b",
        "%FF",
        "%",
        "c=1",
        "+",
        "1" * 257,
    ]
)
_query = st.lists(st.builds("{}={}".format, _name, _value), max_size=4).map("&".join)
_asked = st.one_of(st.just("caller=%2B447700900101&callee=%2B66812345678"), _query)
_path = st.sampled_from([PATH] * 5 + ["/v1/d%65cision", "/v1/decision/", "/v1/decisions", "/"])
_token = st.sampled_from(
    [
        *(f"Authorization: Bearer {TOKENS[role]}" for role in (*ClientRole, ClientRole.SWITCH)),
        "authorization: bearer " + TOKENS[ClientRole.VIEWER],
        "Authorization: Bearer rf_unknown",
        "Authorization:",
        f"Authorization: Bearer {TOKENS[ClientRole.SWITCH]}\r\nAuthorization: Bearer x",
        "Accept: */*",
    ]
)
_more = st.lists(
    st.sampled_from(
        [
            "X-Request-Id: mine-1",
            "X-Request-Id: mine-2",
            "X-Request-Id: not mine",
            "Content-Length: 0",
            "Connection: keep-alive",
            "Connection: close",
            "Expect: 100-continue",
            "Upgrade: h2c\r\nConnection: Upgrade",
            "Accept: text/html",
            "Host: y",
        ]
    ),
    max_size=3,
)
_body = st.sampled_from(
    ["", "", "", "Content-Length: 3\r\n|abc", "Transfer-Encoding: chunked\r\n|0\r\n\r\n"]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, mostly a right one."""
    method = draw(st.sampled_from(["GET"] * 6 + ["HEAD", "POST", "OPTIONS"]))
    version = draw(st.sampled_from(["1.1"] * 5 + ["1.0"]))
    body_head, _, body = draw(_body).partition("|")
    lines = [f"{method} {draw(_path)}?{draw(_asked)} HTTP/{version}", "Host: x", draw(_token)]
    return ("\r\n".join([*lines, *draw(_more), body_head]) + "\r\n" + body).encode()


class Echo:
    """A lookup that answers, a turn of the loop later, with what it was asked."""

    def begin(self, question: Question, call_id: str) -> "asyncio.Future[bytes]":
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        loop.call_soon(answer.set_result, msgspec.json.encode([question, call_id]))
        return answer

    async def one(self, question: Question, call_id: str) -> bytes:
        return await self.begin(question, call_id)


class Broken(Echo):
    """A lookup with a bug."""

    def begin(self, question: Question, call_id: str) -> "asyncio.Future[bytes]":
        raise ZeroDivisionError


async def _nothing_else(scope: Any, receive: Any, send: Any) -> None:
    del scope, receive, send
    raise ProblemError(ProblemKind.NOT_FOUND, "there is nothing at this address")


async def answers(sent: bytes, lookup: Any, direct: Any) -> tuple[bytes, dict[str, float]]:
    """All that comes back, without what is new each time, and what was counted."""
    registry = CollectorRegistry()
    parts = parts_for(serve_settings(), lookup=lookup, metrics=ServeMetrics(registry))
    gate = Middleware(LookupMiddleware(_nothing_else, parts), parts.settings, parts.metrics)
    short: Direct | None = direct and direct(parts)
    async with serving(gate, parts.settings, parts.metrics, shutdown_s=1.0, direct=short) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(HANGS_S):
            told = await reader.read()
        writer.close()
    counted = {
        f"{sample.name}{sample.labels}": sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.value and not sample.name.endswith(("_created", "_sum", "_bucket"))
    }
    return DATE.sub(b"date", OURS.sub(b"ID", told)), counted


END = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@given(asked=st.lists(requests(), min_size=1, max_size=4))
def test_both_ways_answer_with_the_same_bytes(asked: Sequence[bytes]) -> None:
    """Bytes and counts are equal, for one request and for several that come at once."""

    async def both() -> None:
        sent = b"".join([*asked, END])
        by_app = await answers(sent, Echo(), None)
        assert await answers(sent, Echo(), DirectLookup) == by_app

    asyncio.run(both())


async def test_right_questions_go_the_short_way() -> None:
    """The comparison above would also hold if none did."""
    right = (
        f"GET {PATH}?caller=1 HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {TOKENS[ClientRole.SWITCH]}\r\n\r\n"
    ).encode()
    taken = list[bool]()

    def noted(parts: Any) -> Direct:
        direct = DirectLookup(parts)

        def begin(cycle: Any) -> bool:
            taken.append(direct(cycle))
            return taken[-1]

        return begin

    told, _ = await answers(right * 3 + END, Echo(), noted)
    assert taken == [True, True, True, False]
    assert told.count(b"HTTP/1.1 200 ") == 3


@pytest.mark.expects_errors("Exception in ")
async def test_a_bug_in_a_lookup_is_answered_500() -> None:
    """The short way hides none: the application meets it again, logs it and says so."""
    asked = (
        f"GET {PATH}?caller=1 HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {TOKENS[ClientRole.SWITCH]}\r\n\r\n"
    ).encode()
    told, _ = await answers(asked, Broken(), DirectLookup)
    assert told.startswith(b"HTTP/1.1 500 ")

"""HTTP servers that fail, lie or attack: each way ends with its own reason, and leaves nothing.

What a decent server does is tested with nginx in tests/integration.
"""

import asyncio
import gzip
import hashlib
import sys
import tracemalloc
import zlib
from pathlib import Path

import pytest

from stream.core.model.errors import FeedFault
from stream.feeds.transports.transport import Fetched
from tests.support.scripted_web import CHUNKED, Answer, ScriptedWeb, chunk, ok
from tests.support.waiting import HANGS_S
from tests.support.web_server import SECRET, Fetch, refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LIST = b"number\n+447700900001\n"
PAGE = b"\n<!-- hello -->\n<!DOCTYPE HTML><html><body>Please log in</body></html>"
DESCRIPTORS = Path("/proc/self/fd")


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


def then_silence(head: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await asyncio.sleep(30)

    return answer


def again_and_again(head: bytes, piece: bytes, pause_s: float = 0.0) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return answer


def in_pieces(*pieces: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


def head(length: int, *headers: str) -> bytes:
    return ok(b"", *headers).replace(b"Content-Length: 0", b"Content-Length: %d" % length)


NO_LENGTH = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
GZIP = "Content-Encoding: gzip"

FAILURES: dict[str, tuple[Answer, FeedFault, str]] = {
    "hangs": (silence, FeedFault.TIMEOUT, "silent for too long"),
    "hangs in the head": (then_silence(b"HTTP/1.1 200"), FeedFault.TIMEOUT, "silent"),
    "hangs in the body": (then_silence(head(99) + LIST), FeedFault.TIMEOUT, "silent"),
    "closes at once": (b"", FeedFault.DOWN, "without an answer"),
    "half a body": (head(99) + LIST, FeedFault.TRUNCATED, "broke off after 21 of 99 bytes"),
    "half of the chunks": (CHUNKED + b"\r\n" + chunk(LIST), FeedFault.TRUNCATED, "broke off"),
    "more than announced": (
        in_pieces(head(100_000), b"+" * 150_000),
        FeedFault.WRONG_LENGTH,
        "goes on after its end, at 100,000 bytes",
    ),
    "no length": (NO_LENGTH + LIST, FeedFault.TRUNCATED, "half of it would look whole"),
    "half a gzip": (ok(gzip.compress(LIST)[:-9], GZIP), FeedFault.TRUNCATED, "in the middle"),
    "half a gzip file": (ok(gzip.compress(LIST)[:-9]), FeedFault.TRUNCATED, "in the middle"),
    "no gzip": (ok(LIST, GZIP), FeedFault.NOT_COMPRESSED_RIGHT, "says that it is gzip"),
    "a damaged zstd": (
        ok(zstd.compress(LIST * 9)[:-4] + b"????", "Content-Encoding: zstd"),
        FeedFault.NOT_COMPRESSED_RIGHT,
        "says that it is zstd",
    ),
    "another encoding": (
        ok(LIST, "Content-Encoding: br"),
        FeedFault.PROTOCOL,
        "which we did not ask for",
    ),
    "announces too much": (head(500 << 20), FeedFault.TOO_LARGE, "524,288,000 bytes announced"),
    "sends without an end": (
        again_and_again(CHUNKED + b"\r\n", chunk(b"x" * 65_536)),
        FeedFault.TOO_LARGE,
        "more than bytes_max = 1,000,000 bytes",
    ),
    "a bomb": (
        ok(zstd.compress(bytes(16 << 20)), "Content-Encoding: zstd"),
        FeedFault.BOMB,
        "unpacks to more than bytes_max = 1,000,000",
    ),
    "a page with 200": (ok(PAGE), FeedFault.NOT_A_FEED, "does it want a login"),
    "a packed page": (ok(gzip.compress(PAGE), GZIP), FeedFault.NOT_A_FEED, "web page"),
    "nothing but noise": (b"SSH-2.0-OpenSSH_9.2\r\n", FeedFault.PROTOCOL, "as HTTP wants it"),
    "a head without an end": (
        again_and_again(b"HTTP/1.1 200 OK\r\n", b"X-More: %s\r\n" % (b"x" * 9000)),
        FeedFault.PROTOCOL,
        "as HTTP wants it",
    ),
    "trailers without an end": (
        again_and_again(CHUNKED + b"\r\n" + chunk(LIST) + b"0\r\n", b"X-More: yes\r\n" * 500),
        FeedFault.PROTOCOL,
        "as HTTP wants it",
    ),
    "a digest of other bytes": (
        ok(LIST, f"Repr-Digest: sha-256=:{'A' * 43}=:"),
        FeedFault.CHECKSUM,
        "Repr-Digest",
    ),
    "unchanged, unasked": (ok(b"", status="304 No"), FeedFault.PROTOCOL, "no version was named"),
    "no content": (ok(b"", status="204 No"), FeedFault.PROTOCOL, "answers 204"),
    "a part": (ok(LIST, status="206 Partial"), FeedFault.PROTOCOL, "answers 206"),
    "not found": (ok(PAGE, status="404 No"), FeedFault.MISSING, "answers 404"),
    "gone": (ok(PAGE, status="410 Gone"), FeedFault.MISSING, "answers 410"),
    "wants a login": (ok(PAGE, status="401 No"), FeedFault.UNAUTHORISED, "answers 401"),
    "forbids": (ok(PAGE, status="403 No"), FeedFault.UNAUTHORISED, "answers 403"),
    "is a teapot": (ok(PAGE, status="418 Tea"), FeedFault.REFUSED_BY_SERVER, "answers 418 Tea"),
    "fails": (ok(PAGE, status="500 Oh"), FeedFault.DOWN, "answers 500 Oh"),
    "redirects without an address": (ok(b"", status="302 No"), FeedFault.REDIRECTED, "no address"),
    "redirects to a file": (
        ok(b"", "Location: file:///etc/passwd", status="302 No"),
        FeedFault.REDIRECTED,
        "no address",
    ),
    "redirects to another host": (
        ok(b"", "Location: http://localhost/list", status="302 No"),
        FeedFault.REDIRECTED,
        "to http://localhost/list: put this address in",
    ),
    "redirects for ever": (
        ok(b"", f"Location: /list?key={SECRET}", status="301 No"),
        FeedFault.REDIRECTED,
        "more than 5 times",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_what_a_server_does_wrong_has_its_reason(
    name: str, fetch: Fetch, into: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Reason, place and what to do are said, no secret is, and neither file nor task is left."""
    answer, reason, text = FAILURES[name]
    patience = {"answer_s": 0.2} if reason is FeedFault.TIMEOUT else {}
    fault = await refused(fetch(answer, bytes_max=1_000_000, **patience), reason, into)
    assert text in fault.detail
    assert "/list" in fault.detail
    assert SECRET not in caplog.text


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="this system does not list them")
async def test_failures_leave_no_descriptor_open(fetch: Fetch, into: Path) -> None:
    """A feed that fails every minute for a month does not run out of files and sockets."""
    before = len(list(DESCRIPTORS.iterdir()))
    for answer, reason, _ in FAILURES.values():
        if reason is not FeedFault.TIMEOUT:
            await refused(fetch(answer, bytes_max=1_000_000), reason, into)
    async with asyncio.timeout(HANGS_S):
        while len(list(DESCRIPTORS.iterdir())) > before:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_a_server_that_is_not_there_is_down(
    web: ScriptedWeb, fetch: Fetch, into: Path
) -> None:
    """Nobody listens: that is said with the place."""
    with_nobody = web.url("/list").replace(str(web.port), "1")
    fault = await refused(fetch(b"", url=with_nobody), FeedFault.DOWN, into)
    assert "http://127.0.0.1:1/list cannot be reached" in fault.detail


async def test_a_name_that_nobody_has_is_down(fetch: Fetch, into: Path) -> None:
    """The name does not resolve: that is an outage like another."""
    await refused(fetch(b"", url="http://nobody.invalid/list"), FeedFault.DOWN, into)


async def test_a_dripping_body_is_too_slow(fetch: Fetch, into: Path) -> None:
    """A byte now and then does not hold us to the deadline."""
    drip = again_and_again(head(1 << 20), b"+", 0.01)
    fault = await refused(fetch(drip, slow_window_s=0.1), FeedFault.TOO_SLOW, into)
    assert "less than bytes_per_s_min = 1,000" in fault.detail


async def test_the_deadline_is_for_all_of_it(fetch: Fetch, into: Path) -> None:
    """Also a server that is neither silent nor slow comes to an end."""
    drip = again_and_again(head(1 << 20), b"+", 0.01)
    fault = await refused(fetch(drip, bytes_per_s_min=0, deadline_s=0.3), FeedFault.TIMEOUT, into)
    assert "within deadline_s = 0.3" in fault.detail


async def test_a_cancelled_fetch_leaves_nothing(web: ScriptedWeb, fetch: Fetch, into: Path) -> None:
    """Neither a file nor a connection."""
    task = asyncio.ensure_future(fetch(then_silence(head(99) + LIST), answer_s=30.0))
    while not list(into.parent.iterdir()):  # noqa: ASYNC110 - only the disk tells
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(into.parent.iterdir())


ZEROS = bytes(16 << 20)
GZIP_BOMB = gzip.compress(ZEROS) * 64
ZSTD_BOMB = zstd.compress(ZEROS) * 640


@pytest.mark.parametrize(
    "answer",
    [
        ok(GZIP_BOMB, GZIP),
        ok(GZIP_BOMB, "Content-Type: application/gzip"),
        ok(ZSTD_BOMB, "Content-Encoding: zstd"),
        ok(ZSTD_BOMB, "Content-Type: application/zstd"),
        ok(gzip.compress(ZSTD_BOMB), GZIP),
    ],
    ids=["gzip", "gzip file", "zstd", "zstd file", "zstd in gzip"],
)
async def test_a_bomb_meets_its_limit_not_our_memory(
    answer: bytes, fetch: Fetch, into: Path
) -> None:
    """A megabyte that would be 1 to 10 GB is stopped at bytes_max, with 4 MB of memory."""
    assert len(answer) < 2 << 20
    tracemalloc.start()
    try:
        fault = await refused(fetch(answer, bytes_max=32 << 20), FeedFault.BOMB, into)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "unpacks to more than bytes_max = 33,554,432 bytes from the first" in fault.detail
    assert peak < 4 << 20


async def test_what_is_packed_too_large_but_no_bomb_is_too_large(fetch: Fetch, into: Path) -> None:
    """An honest list over its limit is not called an attack."""
    honest = gzip.compress(b"".join(b"+4477009%05d\n" % n for n in range(9000)))
    await refused(fetch(ok(honest, GZIP), bytes_max=50_000), FeedFault.TOO_LARGE, into)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    "answer",
    [
        ok(LIST),
        CHUNKED + b"\r\n" + chunk(LIST[:3]) + chunk(LIST[3:]) + b"0\r\n\r\n",
        ok(gzip.compress(LIST), GZIP),
        ok(gzip.compress(LIST[:9]) + gzip.compress(LIST[9:]) + bytes(99), GZIP),
        ok(zlib.compress(LIST), "Content-Encoding: deflate"),
        ok(raw_deflate(LIST), "Content-Encoding: deflate"),
        ok(zstd.compress(LIST[:9]) + zstd.compress(LIST[9:]), "Content-Encoding: zstd"),
        ok(gzip.compress(LIST), "Content-Type: application/gzip"),
        ok(gzip.compress(gzip.compress(LIST)), GZIP),
        NO_LENGTH + gzip.compress(LIST),
        ok(LIST, "Digest: sha-256=AQ==", "Content-Encoding: identity"),
    ],
    ids=[
        "plain", "chunked", "gzip", "gzip in members", "deflate", "raw deflate", "zstd in frames",
        "gzip file", "gzip file in gzip", "gzip file without a length", "a digest that is none",
    ],
)  # fmt: skip
async def test_however_it_is_sent_the_list_arrives(answer: Answer, fetch: Fetch) -> None:
    """All that servers do to a file on its way is undone."""
    fetched = await fetch(answer)
    assert isinstance(fetched, Fetched)
    assert fetched.path.read_bytes() == LIST
    assert fetched.size == len(LIST)
    assert SECRET not in fetched.origin + str(fetched.remember)


@pytest.mark.parametrize(("text", "wait_s"), [("7", 7.0), ("soon", None), ("9" * 12, 86_400.0)])
async def test_a_server_says_when_to_come_again(
    text: str, wait_s: float | None, fetch: Fetch, into: Path
) -> None:
    """Retry-After comes through, no longer than a day, and nonsense is no wait."""
    for status, reason in (("503 No", FeedFault.DOWN), ("429 No", FeedFault.REFUSED_BY_SERVER)):
        answer = ok(b"", f"Retry-After: {text}", status=status)
        fault = await refused(fetch(answer), reason, into)
        assert fault.retry_after_s == wait_s


async def test_our_login_goes_to_our_server_only(web: ScriptedWeb, fetch: Fetch) -> None:
    """A redirect elsewhere, if that is allowed, does not get our key."""
    web.answers["/other"] = ok(LIST)
    elsewhere = ok(b"", f"Location: {web.url('/other', 'localhost')}", status="307 No")
    fetched = await fetch(elsewhere, redirects="any")
    assert isinstance(fetched, Fetched)
    first, second = web.asked
    assert f"Authorization: Bearer {SECRET}" in first
    assert SECRET not in second
    assert "User-Agent: ringfence/" in second


async def test_a_checksum_elsewhere_is_asked_for_without_our_login(
    web: ScriptedWeb, fetch: Fetch
) -> None:
    """A key is for the server that it was given for."""
    web.answers["/sums"] = ok(hashlib.sha256(LIST).hexdigest().encode())
    await fetch(ok(LIST), sha256_url=web.url("/sums", "localhost"))
    sums, feed = web.asked
    assert SECRET not in sums
    assert f"Authorization: Bearer {SECRET}" in feed


@pytest.mark.parametrize("proxy", ["none", "environment"])
async def test_the_environments_proxy_is_asked_where_it_is_wanted(
    proxy: str, web: ScriptedWeb, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only then: a variable of somebody's shell must not lead a feed elsewhere."""
    monkeypatch.setenv("http_proxy", web.url("/"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    await fetch(ok(LIST), proxy=proxy)
    asked = web.asked[-1].split()[1]
    assert asked.startswith("http://127.0.0.1") == (proxy == "environment")

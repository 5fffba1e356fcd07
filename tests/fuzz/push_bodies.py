"""Bodies of requests that change lists, against any bytes: a change, or a refusal with its reason.

    python -m tests.fuzz.push_bodies --kind changes --seconds 600 --seed 1

`changes` are bodies of `POST /v1/lists/.../changes`, worked on against a store that only notes what
it is given; `files` are bodies of the page's steps and of `PUT /v1/feeds/.../versions`, in pieces.
The first that is no change and no refusal ends the run.
"""

import asyncio
import contextlib
import random
import re
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from fastapi import Request

from stream.core.model.entry import Entry
from stream.core.model.errors import UNREADABLE
from stream.core.numbers.prefix_entries import STRICT
from stream.edge.http.api.change_routes import asked_in
from stream.edge.http.api.file_intake import FileIntake
from stream.edge.http.api.idempotency import key_in
from stream.edge.http.api.list_changes import NUMBERS_MAX, ListChanger
from stream.edge.http.problems import ProblemError
from stream.feeds.feed import Feed
from stream.feeds.row_checks import Surroundings
from stream.lists.store.heads import By, EditOutcome
from stream.web.pages.files_page import FileForm
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed

KINDS: Final = ("changes", "files")
ROUND: Final = 200
LISTED: Final = re.compile(r"\+[1-9]\d{3,14}\*?\Z")
FEED: Final = Feed(name="desk", list_name="TH/desk", owner="TH", contact="", format="text")
CHANGES: Final = tuple(
    map(
        msgspec.json.encode,
        (
            {
                "reason": "three widows called today",
                "add": [{"number": "+447700900101", "category": "call_centre", "expires_in": "1d"}],
                "remove": ["+447700900102"],
            },
            {
                "reason": "r",
                "region": "TH",
                "add": [
                    {
                        "number": "0812345678",
                        "confidence": 50,
                        "expires_at": "2046-01-31T00:00:00Z",
                    },
                    {"number": "+4477009001*"},
                    {"number": "0812345670 to 0812345679"},
                ],
            },
            {"reason": "r", "remove": ["+447700900103", "+4477009002*"], "add": []},
        ),
    )
)
FILES: Final = (
    b'{"csrf":"x","feed":"desk","name":"a.csv","reason":"r"}\nnumber\n+447700900101\n',
    b'{"csrf":"x","feed":"desk","read_as":{"format":"csv","options":{"columns":{"number":2}}}}\nPK\x03',
)
TOKENS: Final = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"null", b"true", b"1e999", b"NaN"),
    *(b'"number":', b'"number":""', b'"number":7', b'"region":"ZZ"', b'"region":"' + b"T" * 90),
    *(b'"confidence":-1', b'"confidence":101', b'"category":"x"', b'"expires_in":"9999999d"'),
    *(b'"expires_in":"-1d"', b'"expires_at":"2026-13-01T00:00:00Z"', b'"expires_at":"0001-01-01"'),
    *(b'"expires_at":"9999-12-31T23:59:59+14:00"', b'"reason":"\\u0000"'),
    b'"reason":"' + b"x" * 2000,
    *(b"\xff", b"\xed\xa0\x80", b"\\ud800", b"[" * 2000, b'{"a":' * 300, b"9" * 5000, b"*", b"+1*"),
    *(b"+447700900100-+447700900999", b"tel:+447700900101;ext=1", b"sip:a@b", b"\xd9\xa1\xd9\xa2"),
    b'{"number":"+447700900101"},' * (NUMBERS_MAX + 1),
)  # fmt: skip


class NotingStore:
    """Takes changes, and fails where an entry could not be one of a list."""

    async def heads(self) -> Any:
        return SimpleNamespace(lists={"TH/desk": SimpleNamespace(circle="plain", generation=1)})

    async def allow_all(self) -> tuple[int, tuple[()]]:
        return 0, ()

    async def add(self, name: str, entries: Sequence[Entry], by: By) -> Any:
        del name, by
        for one in entries:
            assert LISTED.match(one.number or ""), one
            assert 0 <= one.confidence <= 100
            assert 0 <= one.expires_at_s < 2**32
        return self._done(entries)

    async def remove(self, name: str, removals: Sequence[Any], by: By) -> Any:
        del name, by
        assert all(LISTED.match(one.number or "") for one in removals)
        return self._done(removals)

    retract = remove

    def _done(self, changes: Sequence[Any]) -> Any:
        return SimpleNamespace(generation=2, outcomes=[EditOutcome.ADDED] * len(changes))


@contextlib.asynccontextmanager
async def _connected() -> AsyncIterator[NotingStore]:
    yield NotingStore()


async def _connect() -> Any:
    return _connected()


CHANGER: Final = ListChanger(
    connect=_connect,
    around=lambda: Surroundings(
        keys={"plain": b""}, emergency={"TH": frozenset({"191"})}, home="TH"
    ),
    own=("+6681",),
    prefixes=STRICT,
)


def request_of(pieces: Iterable[bytes]) -> Request:
    """A request with a body in pieces."""
    left = iter([*pieces, None])

    async def receive() -> dict[str, Any]:
        piece = next(left)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    headers = [(b"content-type", b"application/json; charset=utf-8")]
    return Request({"type": "http", "headers": headers}, receive)


async def check_change(data: bytes) -> int:
    """Work on one body; 1 if it was a change. Raises ProblemError for a refusal."""
    asked = asked_in(request_of(()), data)
    assert asked.reason.strip()
    done = 0
    for feeds in ((FEED,), ()):
        answer = await CHANGER.change("TH/desk", feeds, asked, By("http:x", asked.reason))
        msgspec.json.encode(answer)
        done = 1
    return done


async def check_file(data: bytes, intake: FileIntake, rng: random.Random) -> int:
    """Receive one body in pieces of any size, with fields and without; 1 if it was a form."""
    size = rng.choice((1, 7, 100, 100_000))
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    async with intake.received(request_of(pieces)) as received:
        assert received.path.read_bytes() == data
    async with intake.received(request_of(pieces), with_fields=True) as received:
        assert received.fields + b"\n" + received.path.read_bytes() == data
        try:
            form = msgspec.json.decode(received.fields, type=FileForm)
        except (*UNREADABLE, ValueError):
            return 0
        with contextlib.suppress(ProblemError):
            key_in(form.reason)
        return 1


async def _all(kind: str, seed: int, count: int, folder: Path) -> int:
    rng, taken = random.Random(f"{kind} {seed}"), 0
    pool = CHANGES if kind == "changes" else FILES
    intake = FileIntake(folder, 2)
    for _ in range(count):
        base = rng.choice(pool)
        data = changed(base, pool, rng, TOKENS) if rng.random() < 0.9 else base
        try:
            with contextlib.suppress(ProblemError):
                if kind == "changes":
                    taken += await check_change(data)
                else:
                    taken += await check_file(data, intake, rng)
        except BaseException as error:
            error.add_note(f"{kind}: {data!r}")
            raise
    assert not [*folder.glob("handed-in/*")], "each file is deleted"
    return taken


def run(kind: str, seed: int, count: int, folder: Path) -> int:
    """Check `count` bodies; how many were taken."""
    return asyncio.run(_all(kind, seed, count, folder))


def main() -> None:
    """Check until the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        fuzz("bodies taken", KINDS, lambda kind, seed: run(kind, seed, ROUND, at), "--kind", ROUND)


if __name__ == "__main__":
    main()

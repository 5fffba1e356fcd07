"""The route of the blocklist, and its forms: JSON, text, tables that Kamailio loads."""

import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, Final, Protocol

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from stream.edge.http.api.answers import BlocklistAnswer, answered
from stream.edge.http.blocklist import AT_ONCE, BlockedNumber, Blocklist
from stream.edge.http.dependencies import PartsHere, needs
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole

_encode = msgspec.json.Encoder().encode


class Form(StrEnum):
    """A form. The tables for Kamailio are files of its db_text module, and always whole."""

    JSON = "json"
    TEXT = "text"
    HTABLE = "kamailio-htable"
    MTREE = "kamailio-mtree"


MEDIA_TYPE: Final = {
    Form.JSON: "application/json",
    Form.TEXT: "text/plain",
    Form.HTABLE: "text/plain",
    Form.MTREE: "text/plain",
}
WHOLE_ONLY: Final = frozenset({Form.HTABLE, Form.MTREE})
_HTABLE: Final = b"key_name(string) key_type(int) value_type(int) key_value(string) expires(int)\n"
_MTREE: Final = b"tprefix(string) tvalue(string)\n"


def head(form: Form, cursor: str, *, full: bool) -> bytes:
    """Return the bytes before the items."""
    match form:
        case Form.JSON:
            start = {"full": full, "cursor": cursor}
            return _encode(start)[:-1] + b',"items":['
        case Form.TEXT:
            return f"# cursor {cursor}\n# {'all' if full else 'changes'}\n".encode()
        case Form.HTABLE:
            return _HTABLE
        case Form.MTREE:
            return _MTREE


def portion(form: Form, items: Iterable[BlockedNumber], *, first: bool) -> bytes:
    """Return the bytes of some items; `first`: none came before."""
    match form:
        case Form.JSON:
            texts = [_encode(_object(item)) for item in items]
            return (b"" if first or not texts else b",") + b",".join(texts)
        case Form.TEXT:
            lines = (f"{'!' if item.why is None else ''}{item.text}\n" for item in items)
        case Form.HTABLE:
            lines = (
                f"{item.text}:0:0:{_value(item)}:{item.expires_at_s}\n"
                for item in items
                if not item.text.endswith("*")
            )
        case Form.MTREE:
            lines = (
                f"{item.text[1:-1]}:{_value(item)}\n" for item in items if item.text.endswith("*")
            )
    return "".join(lines).encode()


def tail(form: Form, removed: Iterable[str]) -> bytes:
    """Return the bytes after the items."""
    match form:
        case Form.JSON:
            return b'],"removed":' + _encode(list(removed)) + b"}"
        case Form.TEXT:
            return "".join(f"-{text}\n" for text in removed).encode()
        case _:
            return b""


def _object(item: BlockedNumber) -> dict[str, object]:
    why = item.why
    return {
        "number": item.text,
        "action": "allow" if why is None else "block",
        "list": None if why is None else why.list,
        "reason": None if why is None else why.reason,
        "expires_at_s": item.expires_at_s or None,
    }


def _value(item: BlockedNumber) -> str:
    """Return the value in Kamailio's table: `block <list>`, or `allow`."""
    return "allow" if item.why is None else f"block {item.why.list}"


if sys.version_info >= (3, 14):
    from compression.zstd import ZstdCompressor
else:
    from backports.zstd import ZstdCompressor

router = APIRouter(prefix="/v1", tags=["blocklist"])

PIECE: Final = 64 * 1024
"""Bytes of a piece: each is a message through the middleware and a system call."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


_CODINGS: Final[dict[str, Callable[[], _Compressor]]] = {
    "zstd": ZstdCompressor,
    "gzip": lambda: zlib.compressobj(6, wbits=31),
}


def coding_of(accepted: str) -> str:
    """Return our best coding that a client accepts (RFC 9110, 12.5.3); "" for none."""
    wanted = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.strip().partition(";")
        wanted[name.strip()] = weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return next((name for name in _CODINGS if wanted.get(name, wanted.get("*", False))), "")


@router.get(
    "/blocklist",
    summary="What is blocked now, or what changed",
    dependencies=[needs(ClientRole.SWITCH)],
    responses={
        200: {
            "description": "The list. `full` true: it takes the place of all that you have.",
            "content": {
                **answered(
                    BlocklistAnswer,
                    example={
                        "full": False,
                        "cursor": "5f0c1a2b-7",
                        "items": [
                            {
                                "number": "+447700900101",
                                "action": "block",
                                "list": "TH/national",
                                "reason": "call_centre",
                                "expires_at_s": 1795713971,
                            }
                        ],
                        "removed": ["+447700900102"],
                    },
                ),
                "text/plain": {},
            },
        },
        304: {"description": "You have it: If-None-Match names what it is."},
    },
)
async def blocklist(
    request: Request,
    parts: PartsHere,
    since: Annotated[
        str | None,
        Query(description="The cursor of your last answer.", pattern=r"^[0-9a-f]{8}-[0-9]{1,18}$"),
    ] = None,
    form: Annotated[Form, Query(alias="format", description="How it is written.")] = Form.JSON,
) -> Response:
    """For proxies that hold the table themselves: ask every few seconds with your last `cursor`.

    `items` are to be blocked (`action` block), or let through inside a prefix that is blocked
    (allow); prefixes end with `*`, the longest speaks. An item ends by itself at `expires_at_s`.
    `removed` are on the list no more. One whose confidence fell with time alone is among them
    within ten minutes. Before lists are loaded it is 503, never an empty list. It names every
    number of every list: only a switch and an operator get it.

    `text`: a number a line, exceptions after `!`, removed ones after `-`. `kamailio-htable` and
    `kamailio-mtree` are tables for Kamailio's db_text, always whole.
    """
    readiness = parts.readiness()
    if not readiness.ready:
        raise ProblemError(ProblemKind.NOT_READY, readiness.missing[0], retry_after_s=1)
    held = parts.blocklist
    held.look()
    cursor = held.cursor
    tag = f'"{held.tag}-{form}{"" if since is None else "-" + since}"'
    headers = {
        "ETag": tag,
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Encoding, Authorization",
        "X-Ringfence-Cursor": cursor,
    }
    if request.headers.get("if-none-match") in (tag, f"W/{tag}"):
        return Response(status_code=304, headers=headers)
    coding = coding_of(request.headers.get("accept-encoding", ""))
    if coding:
        headers["Content-Encoding"] = coding
    changed = None if since is None or form in WHOLE_ONLY else held.since(since)
    if changed is not None:
        body = [
            head(form, cursor, full=False),
            portion(form, changed.items, first=True),
            tail(form, changed.removed),
        ]
        packing = _CODINGS.get(coding, _Plain)()
        packed = packing.compress(b"".join(body)) + packing.flush()
        return Response(packed, media_type=MEDIA_TYPE[form], headers=headers)
    if held.streams.locked():
        text = f"{AT_ONCE} whole lists are being sent; come again"
        raise ProblemError(ProblemKind.BUSY, text, retry_after_s=2)
    return StreamingResponse(
        _pieces(_written(held, form, cursor), coding), media_type=MEDIA_TYPE[form], headers=headers
    )


async def _written(held: Blocklist, form: Form, cursor: str) -> AsyncIterator[bytes]:
    async with held.streams:
        yield head(form, cursor, full=True)
        first = True
        async for items in held.whole():
            yield portion(form, items, first=first)
            first = first and not items
        yield tail(form, ())


async def _pieces(written: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """Yield it compressed, in pieces of a useful size."""
    packing: Any = _CODINGS.get(coding, _Plain)()
    held = bytearray()
    async for part in written:
        held += packing.compress(part)
        if len(held) >= PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held) + packing.flush()

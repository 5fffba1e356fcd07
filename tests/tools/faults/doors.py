"""Scenes at the doors by which calls and questions come in: files and SIP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.sip import message
from tests.tools.faults.place import Place


@asynccontextmanager
async def rotated_away(place: Place) -> AsyncIterator[None]:
    """A switch's file is gone before it was read to its end; a new one is in its place."""
    place.stop("ingest")
    place.write_calls(place.cdr, 25)
    following = place.cdr.with_suffix(".next")
    place.write_calls(following, 5)
    following.replace(place.cdr)
    place.start("ingest")
    yield


def _asking(place: Place, source: str, per_s: int) -> "asyncio.Task[None]":
    """Questions by SIP from an address of this machine, until cancelled."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    question = message(via=(f"SIP/2.0/UDP {source}:{sender.getsockname()[1]};branch=z9hG4bKa1",))

    async def ask() -> None:
        with sender:
            while True:
                for _ in range(per_s // 10):
                    sender.sendto(question, ("127.0.0.1", place.ports["asked"]))
                await asyncio.sleep(0.1)

    return asyncio.create_task(ask())


@asynccontextmanager
async def a_trunk_asks_too_much(place: Place) -> AsyncIterator[None]:
    task = _asking(place, "127.0.0.1", 80)
    yield
    task.cancel()


@asynccontextmanager
async def strangers_flood(place: Place) -> AsyncIterator[None]:
    task = _asking(place, "127.0.0.2", 400)
    yield
    task.cancel()


@asynccontextmanager
async def nobody_answers_sip(place: Place) -> AsyncIterator[None]:
    """No process is left that proxies can ask."""
    place.stop("sip")
    yield
    place.start("sip")


@asynccontextmanager
async def token_ends(place: Place) -> AsyncIterator[None]:
    """A client's token is good for ten days; the runbook's new one takes its place."""
    place.tokens.write_text(token_line(place, "10d"))
    yield
    place.tokens.write_text(token_line(place, "365d"))


def token_line(place: Place, span: str) -> str:
    """The file's line of a new token."""
    made = place.type("token", "create", "switch-1", "--role=switch", f"--expires-in={span}")
    return made.splitlines()[-1] + "\n"

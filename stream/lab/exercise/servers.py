"""Broker and Redis of the exercise: one of each, and for each country its database and topics."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from stream.lab.demo.kafka import Topics
from stream.lab.demo.product import DemoFailed, Places
from stream.lab.demo.servers import Servers, get_servers, leave_no_trace, look_at
from stream.lab.embedded.server import Say


def servers_for(
    isos: tuple[str, ...], choice: tuple[str, str], mark: str, closing: ExitStack, say: Say
) -> dict[str, Servers]:
    """The same servers for each country, in its own database and topics; `choice`: broker, Redis.

    Of a Redis of the reader's own, the named database and those after it. Raises DemoFailed.
    """
    broker, redis = choice
    shared = get_servers(broker, redis, mark, closing, say)
    found = {}
    for place, iso in enumerate(isos):
        url = _database(shared.places.redis_url, place)
        if shared.redis_is_guest and place:
            asyncio.run(look_at(url))
        found[iso] = replace(shared, places=_places_of(shared, iso, url, mark))
    return found


def clear_up(servers: dict[str, Servers]) -> None:
    """Remove keys and topics from servers that are not ours. Raises DemoFailed."""
    for each in servers.values():
        asyncio.run(leave_no_trace(each))


def _places_of(shared: Servers, iso: str, url: str, mark: str) -> Places:
    before = f"ringfence-exercise-{mark}." if shared.broker_is_guest else ""
    name = iso.lower()
    return replace(
        shared.places,
        redis_url=url,
        topics=Topics.named(f"{before}{name}."),
        group=f"ringfence-exercise-{mark}-{name}",
    )


def _database(url: str, further: int) -> str:
    """The address of the database so much further than the one that `url` names."""
    parts = urlsplit(url)
    first = parts.path.strip("/") or "0"
    if not first.isdigit():
        raise DemoFailed(f"{parts.path!r} is no database: write redis://HOST:PORT/NUMBER")
    return urlunsplit(parts._replace(path=f"/{int(first) + further}"))

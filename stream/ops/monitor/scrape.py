"""Ask processes of ours for `/metrics` and `/ready`; an answer or an absence, never an exception.

Bounded: all are asked at once, each has `ANSWER_S_MAX`, and of a body at most `BYTES_MAX` is taken.
Redirects are not followed and proxies of the environment not used: these are our own processes.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import msgspec

from stream.ops.clock import monotonic_s
from stream.ops.monitor.metric_names import DEPLOYMENT
from stream.ops.monitor.rates import MetricsReading, MetricsUnreadable, read
from stream.ops.monitor.targets import MonitorTarget

ANSWER_S_MAX = 3.0
BYTES_MAX = 16 * 1024 * 1024
READY_BYTES_MAX = 64 * 1024
_TEXT = {"Accept": "text/plain;version=0.0.4"}


class ReadyPage(msgspec.Struct, frozen=True):
    """The answer of `/ready`."""

    ready: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScrapeAnswer:
    """Answer of one process. `why` says why there is no reading; it is empty if it answered."""

    place: MonitorTarget
    reading: MetricsReading | None
    ready: bool = False
    missing: tuple[str, ...] = ()
    why: str = ""


async def ask_all(places: Sequence[MonitorTarget], at_s: float) -> list[ScrapeAnswer]:
    """Return each place's answer, in their order, within `ANSWER_S_MAX`; `at_s`: epoch seconds."""
    limit = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=limit, connector=connector) as session:
        return await asyncio.gather(*(_ask(session, place, at_s) for place in places))


async def _ask(session: aiohttp.ClientSession, place: MonitorTarget, at_s: float) -> ScrapeAnswer:
    try:
        status, body = await _page(session, f"{place.url}/metrics", BYTES_MAX)
        tick_s = monotonic_s()
        if status != 200:
            return ScrapeAnswer(place, None, why=f"answers {status} to /metrics: is this ours?")
        _, said = await _page(session, f"{place.url}/ready", READY_BYTES_MAX)
    except aiohttp.ClientConnectorError as error:
        return ScrapeAnswer(place, None, why=_refused(error))
    except TimeoutError:
        return ScrapeAnswer(place, None, why=f"does not answer within {ANSWER_S_MAX:.0f} s")
    except (aiohttp.ClientError, OSError, MetricsUnreadable) as error:
        return ScrapeAnswer(place, None, why=str(error) or type(error).__name__)
    try:
        # Tens of thousands of series take a while to parse: not in the caller's event loop.
        reading = await asyncio.to_thread(
            read, body.decode("utf-8", "replace"), at_s=at_s, tick_s=tick_s
        )
        page = msgspec.json.decode(said, type=ReadyPage)
    except (MetricsUnreadable, msgspec.DecodeError) as error:
        return ScrapeAnswer(place, None, why=f"{error}: is this ours?")
    theirs = next((labels.get("deployment", "") for labels, _ in reading.series(DEPLOYMENT)), "")
    if place.deployment and theirs not in {"", place.deployment}:
        return ScrapeAnswer(place, None, why="a process of another deployment answers there")
    return ScrapeAnswer(place, reading, page.ready, page.missing)


def _refused(error: aiohttp.ClientConnectorError) -> str:
    """Return why there is no connection, as the system says it: asyncio's own words hide that."""
    number = error.os_error.errno
    return os.strerror(number).lower() if number and number > 0 else str(error.os_error)


async def _page(session: aiohttp.ClientSession, url: str, bytes_max: int) -> tuple[int, bytes]:
    """Status and body. Raises Unreadable if it is too large, and what aiohttp raises."""
    async with session.get(url, headers=_TEXT, allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(65_536):
            body += chunk
            if len(body) > bytes_max:
                raise MetricsUnreadable(f"more than {bytes_max} bytes")
        return answer.status, bytes(body)

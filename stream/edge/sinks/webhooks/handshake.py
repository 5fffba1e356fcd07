"""Whether an endpoint wants our events: it is asked before the first, and once a day.

CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" 1.0.2, section 4 (abuse protection): OPTIONS
with who we are; the answer names us, or all (`*`), and how many requests a minute it takes. A name
that leads elsewhere by now, or an address that somebody mistyped, is sent nothing.
"""

import asyncio
from typing import Final

import aiohttp
from yarl import URL

from stream.ops.clock import monotonic_s

GRANTED_S: Final = 86_400.0
"""So long a permission is taken for granted."""
_MINUTE_S: Final = 60.0


class Permit:
    """One endpoint's permission; `origin` "": none is needed."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._until_s = float("-inf")
        self._every_s = 0.0
        self._next_s = 0.0
        self._asking = asyncio.Lock()

    async def held(self, session: aiohttp.ClientSession, url: URL) -> bool:
        """Whether events may be sent; waits for its turn where the endpoint takes only so many.

        Raises as aiohttp does.
        """
        if not self._origin:
            return True
        async with self._asking:
            if monotonic_s() >= self._until_s:
                await self._ask(session, url)
            if monotonic_s() >= self._until_s:
                return False
        now_s = monotonic_s()
        turn_s, self._next_s = self._next_s, max(self._next_s, now_s) + self._every_s
        await asyncio.sleep(max(turn_s - now_s, 0.0))
        return True

    async def _ask(self, session: aiohttp.ClientSession, url: URL) -> None:
        headers = {"WebHook-Request-Origin": self._origin}
        async with session.options(url, headers=headers, allow_redirects=False) as answer:
            allowed = answer.headers.get("WebHook-Allowed-Origin", "")
            names = {name.strip().lower() for name in allowed.split(",")}
            if 200 <= answer.status < 300 and names & {"*", self._origin.lower()}:
                self._until_s = monotonic_s() + GRANTED_S
                rate = answer.headers.get("WebHook-Allowed-Rate", "*").strip()
                a_minute = int(rate) if rate.isascii() and rate.isdigit() else 0
                self._every_s = _MINUTE_S / a_minute if a_minute else 0.0
            answer.close()

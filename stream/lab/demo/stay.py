"""`--stay`: after the run the page is there, and calls trickle on, until somebody ends it."""

import asyncio
import os
from pathlib import Path
from typing import Final

from stream.edge.http.tokens import Client, ClientRole, line_of, new_token
from stream.lab.demo.demo_kafka import CallSender
from stream.lab.demo.material import Material
from stream.lab.demo.product import Engine, Program, quoted, says_ready
from stream.lab.demo.traffic import make_traffic
from stream.lab.embedded.guarded_server import free_ports

CALLS_PER_S: Final = 100
ROUND_S: Final = 20
_TICK_S: Final = 0.1
_SEED: Final = 1000
"""Above those of the run's own traffic."""


class StayingPage:
    """`ringfence serve` with a token for this run alone."""

    def __init__(self, folder: Path) -> None:
        self._port, self._health_port = free_ports(2)
        self._feeds = folder / "feeds"
        self._token = new_token()
        # Before its guard starts, which hands its environment on.
        os.environ["RINGFENCE_HTTP_TOKENS"] = line_of(
            Client("demo", ClientRole.OPERATOR), self._token
        )
        self._program = Program(
            "the page",
            ["serve"],
            folder / "ringfence.toml",
            lambda _: says_ready(self._health_port),
        )

    def settings(self) -> str:
        """Its part of the settings file."""
        return (
            f"[serve]\nport = {self._port}\nhealth_port = {self._health_port}\n"
            f"[feeds]\ndir = {quoted(str(self._feeds))}\n"
        )

    async def start(self) -> str:
        """Start it; what to tell whoever looks on. Raises DemoFailed."""
        self._feeds.mkdir(exist_ok=True)
        await self._program.start()
        return (
            f"\nThe page: http://127.0.0.1:{self._port}/  Sign in with the token {self._token}\n"
            f"It stays, with {CALLS_PER_S} calls a second, until Ctrl-C."
        )

    async def stay(
        self, engine: Engine, sender: CallSender, material: Material, now_s: int
    ) -> None:
        """Send calls, round after round, until cancelled. DemoFailed if a process ends."""
        for number in range(1_000_000):
            count, begun_s = CALLS_PER_S * ROUND_S, now_s + number * ROUND_S
            made = await asyncio.to_thread(
                make_traffic, material.world, count, _SEED + number, begun_s, f"stay{number}"
            )
            ticks, sent = round(ROUND_S / _TICK_S), 0
            for tick in range(1, ticks + 1):
                due = len(made.records) * tick // ticks
                for record in made.records[sent:due]:
                    await sender.send(record, lambda *_: None)
                sent = due
                await asyncio.sleep(_TICK_S)
                engine.check()
                self._program.check()

    def close(self) -> None:
        """End it."""
        self._program.close()

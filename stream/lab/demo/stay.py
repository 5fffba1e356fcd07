"""`--stay`: after the run the page is there, with something to show on each, until Ctrl-C."""

import asyncio
import os
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from stream.core.model.agreement import owner_of
from stream.edge.http.tokens import Client, ClientRole, line_of, new_token
from stream.lab.demo.demo_kafka import CallSender
from stream.lab.demo.material import Material
from stream.lab.demo.product import Engine, Program, quoted, run_command, says_ready
from stream.lab.demo.traffic import make_traffic
from stream.lab.demo.world import COUNTRIES, World
from stream.lab.embedded.guarded_server import free_ports

CALLS_PER_S: Final = 100
ROUND_S: Final = 20
_TICK_S: Final = 0.1
_SEED: Final = 1000
"""Above those of the run's own traffic."""


_FEED: Final = """list = "{list}"
format = "text"
category = "call_centre"
[owner]
name = "{owner}"
contact = "unblock@{host}-cert.example"
[from]
kind = "file"
path = {path}
[schedule]
every = "20s"
"""
_AGREEMENT: Final = """title = "Memorandum of five countries on scam calls (made up for the demo)"
kind = "memorandum"
valid_from = 2025-01-01
response_target = "1d"
[terms]
action = "block"
[report]
every = "month"
[parties]
{parties}
[lists]
{lists}
"""
ON_TRIAL: Final = "VN/reports"
HELD_FEED, FAILING_FEED, TRIAL_FEED = "kh-reports", "ph-desk", "vn-reports"
_FED: Final = {HELD_FEED: "KH/reports", FAILING_FEED: "PH/desk", TRIAL_FEED: ON_TRIAL}
_TRIED: Final = 2_000
"""Callers of Viet Nam that the list on trial names: about one call in a hundred."""
_REPORTED: Final = 400
_BY: Final = ("--actor", "somchai")


def _is_ready(port: int, _: Program) -> bool:
    return says_ready(port)


class StayingPage:
    """`ringfence serve` and `ringfence feeds run`, with a token for this run alone.

    It has all that a page needs to show something real: feeds (one down, one with a held version),
    a list on trial, an agreement, and an appeal.
    """

    def __init__(self, folder: Path) -> None:
        self._port, self._health_port, self._feeds_port = free_ports(3)
        self._folder = folder
        self._config = folder / "ringfence.toml"
        self._token = new_token()
        # Before its guard starts, which hands its environment on.
        os.environ["RINGFENCE_HTTP_TOKENS"] = line_of(
            Client("demo", ClientRole.OPERATOR), self._token
        )
        self._programs = [
            Program(title, words, self._config, partial(_is_ready, port))
            for title, words, port in (
                ("the page", ["serve"], self._health_port),
                ("the feeds", ["feeds", "run"], self._feeds_port),
            )
        ]

    def prepare(self) -> str:
        """Write the agreement, before the engine starts; return this part of the settings file."""
        feeds, agreements = self._folder / "feeds", self._folder / "agreements"
        feeds.mkdir()
        agreements.mkdir()
        for name, list_name in _FED.items():
            path = quoted(str(self._folder / f"{name}.txt"))
            owner = owner_of(list_name)
            text = _FEED.format(list=list_name, owner=owner, host=owner.lower(), path=path)
            (feeds / f"{name}.toml").write_text(text, encoding="utf-8")
        parties = [
            f'{one.iso} = {{ roles = ["owner", "enforcer"], '
            f'contact = "unblock@{one.iso.lower()}-cert.example" }}'
            for one in COUNTRIES
        ]
        lists = [
            f"{quoted(name)} = {{}}" for name in (*(c.list for c in COUNTRIES), *_FED.values())
        ]
        (agreements / "five-countries.toml").write_text(
            _AGREEMENT.format(parties="\n".join(parties), lists="\n".join(lists)), "utf-8"
        )
        return (
            f"[serve]\nport = {self._port}\nhealth_port = {self._health_port}\n"
            f"[feeds]\ndir = {quoted(str(feeds))}\nhttp_port = {self._feeds_port}\n"
            f"[agreements]\ndir = {quoted(str(agreements))}\n"
            f"[policy.lists.{quoted(ON_TRIAL)}]\nsimulate = true\n"
        )

    async def start(self, world: World) -> str:
        """Start the page, then bring in feeds and an appeal, so its charts show when they came.

        Return what a reader has to know. Raises DemoFailed.
        """
        page, feeds = self._programs
        await page.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed(world))
            group.create_task(self._appeal(world))
        await feeds.start()
        return (
            f"\nThe page: http://127.0.0.1:{self._port}/  Sign in with the token {self._token}\n"
            f"It stays, with {CALLS_PER_S} calls a second, until Ctrl-C."
        )

    async def _feed(self, world: World) -> None:
        """Fetch each feed; the second version of one loses most of its numbers, so it is held."""
        reported = [f"+85531{number:07d}" for number in range(_REPORTED)]
        self._file(TRIAL_FEED, world.people["VN"][:_TRIED])
        self._file(HELD_FEED, reported)
        await self._pull(TRIAL_FEED)
        await self._pull(HELD_FEED)
        self._file(HELD_FEED, reported[: _REPORTED // 4])
        await self._pull(HELD_FEED, fine=(1,))
        await self._pull(FAILING_FEED, fine=(1,))

    async def _pull(self, feed: str, fine: Collection[int] = (0,)) -> None:
        await run_command(self._config, "feeds", "pull", feed, fine=fine)

    def _file(self, feed: str, numbers: Sequence[str]) -> None:
        text = "".join(f"{number}\n" for number in numbers)
        (self._folder / f"{feed}.txt").write_text(text, encoding="ascii")

    async def _appeal(self, world: World) -> None:
        blocked = next(one for one in world.lists["MM/scam"] if not world.is_allowed(one))
        words = ("appeals", "create", blocked, "--appellant", "desk@clinic.example", *_BY)
        await run_command(self._config, *words, "--reason", "a clinic calls its patients back")

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
                for program in self._programs:
                    program.check()

    def close(self) -> None:
        """End them."""
        for program in self._programs:
            program.close()

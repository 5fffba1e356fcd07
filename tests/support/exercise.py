"""Countries that were never started, in which everything goes wrong in one way."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from stream.lab.demo.product import DemoFailed, Said
from stream.lab.exercise.papers import people_of, taking_part
from stream.lab.exercise.phone import CallAnswer
from stream.lab.exercise.session import played
from stream.lab.exercise.story import Story
from stream.lab.exercise.training import Training, agreements_among
from tests.support.repositories import Country as Repository

NOW_MS = 1_764_000_000_000


def ringing(_number: str) -> CallAnswer:
    """Nothing ever acts."""
    return CallAnswer("allow", "", (), NOW_MS)


def blocking(_number: str) -> CallAnswer:
    """Everybody is blocked, by something that no agreement names."""
    return CallAnswer("block", "list:XX/every", (), NOW_MS)


def silent(_number: str) -> None:
    """Nothing is ever decided."""


class Ringfence:
    """A country that answers every call alike, and whose commands all end with `code`."""

    def __init__(
        self, country: Any, folder: Path, answer: Callable[[str], CallAnswer | None], code: int
    ):
        self.name, self.list, self.country = country.iso, country.list, country
        self.people = people_of(country, 1)
        self.folder, self.roots = folder, folder / "roots"
        made = Repository(folder / "exchange", owner=country.iso)
        made.publish()
        self.repository = made.folder
        self.web = type("Web", (), {"folder": made.folder, "url": "http://127.0.0.1:1"})()
        self._answer, self._code = answer, code
        self._pids = itertools.count(1)

    async def call(self, numbers: Sequence[str]) -> dict[str, CallAnswer | None]:
        return {number: self._answer(number) for number in numbers}

    async def until(self, number: str, _wanted: object) -> list[CallAnswer]:
        await asyncio.sleep(0)
        answer = self._answer(number)
        return [answer] if answer is not None else []

    def stopped(self, *_: str) -> int:
        return 0

    async def changed_ms(self) -> int:
        return NOW_MS

    async def command(self, *_: str) -> Said:
        return Said(self._code, "")

    async def metric_reaches(self, *_: object) -> float | None:
        return None

    def pids(self) -> dict[str, int]:
        """Its engine is another one each time that somebody looks."""
        return {"engine": next(self._pids)}

    def overlay(self, _text: str) -> tuple[str, ...]:
        return ()

    def keys(self) -> tuple[str, ...]:
        return ()

    def signs(self, _agreement: object) -> None: ...


class Hub:
    name = "hub"
    web = type("Web", (), {"url": "http://127.0.0.1:2"})()

    def carried(self, owner: str) -> str:
        return f"http://127.0.0.1:2/countries/{owner}"

    async def goes_down(self) -> None: ...

    async def comes_back(self) -> None: ...


def training(folder: Path, answer: Callable[[str], CallAnswer | None], code: int) -> Training:
    countries: dict[str, Any] = {
        country.iso: Ringfence(country, folder / country.iso, answer, code)
        for country in taking_part(5)
    }
    hub: Any = Hub()
    made = Training(countries, hub, folder)
    for agreement in agreements_among(made.isos):
        made.sign(agreement)
    return made


def play(folder: Path, answer: Callable[[str], CallAnswer | None], code: int) -> Story:
    """All scenes in a world that is broken in this way."""
    story = Story(Console(quiet=True), plain=True)
    asyncio.run(played(training(folder, answer, code), story, ()))
    return story


__all__ = ["DemoFailed", "blocking", "play", "ringing", "silent"]

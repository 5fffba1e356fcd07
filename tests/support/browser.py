"""Pages in a real, headless Chromium: what is opened is looked at, and nothing may complain.

A `Person` is one signed-in browser window. Whatever the browser itself objects to (a script's
error, the security policy, an answer of 400 and more) is collected; `settled` fails the test for
it. `look` has axe-core judge the page; a picture of what it does not pass is under build/pages.
"""

import re
import shutil
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Response, async_playwright, expect

from stream.edge.http.tokens import ClientRole
from tests.support.http_service import TOKENS
from tests.support.waiting import HANGS_S

SHOTS: Final = Path(__file__).parents[2] / "build" / "pages"
WIDE: Final = {"width": 1440, "height": 900}
PHONE: Final = {"width": 390, "height": 844}
XSS: Final = "\"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}'</textarea>"
"""A text that others may set; shown as it is, it does nothing."""
TWICE: Final = """(place) => {
  const button = document.querySelector(place);
  for (const after_ms of [0, 400]) setTimeout(() => button.click(), after_ms);
}"""
"""Two clicks, as of who is impatient; Playwright's own second one would wait for the answer."""
_AXE: Final = Axe()
_CONTRAST: Final = {"runOnly": ["color-contrast"]}
_COLOURLESS: Final = {"rules": {"color-contrast": {"enabled": False}}}
_SERIOUS: Final = {"serious", "critical"}


@dataclass  # without slots: Playwright writes onto whose method it is given
class Person:
    """One window, signed in as a role (None: not at all), at the site `base`."""

    page: Page
    base: str
    role: ClientRole | None = None
    complaints: list[str] = field(default_factory=list)
    expected: "re.Pattern[str] | None" = None

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self._complain(f"{said.type}: {said.text}", said.type))
        self.page.on("pageerror", lambda error: self._complain(f"script: {error}"))
        self.page.on("dialog", lambda dialog: self._complain(f"a dialog: {dialog.message}"))
        self.page.on("response", self._answered)

    def _complain(self, text: str, kind: str = "error") -> None:
        if kind == "error":
            self.complaints.append(text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._complain(f"{response.status} for {response.url}")

    async def open(self, address: str) -> Page:
        """Go to an address of the site."""
        await self.page.goto(self.base + address)
        return self.page

    async def settled(self, *, but: str = "") -> None:
        """Nothing was complained of, but for what matches `but`."""
        wrong = [one for one in self.complaints if not but or not re.search(but, one)]
        self.complaints.clear()
        assert not wrong, wrong

    async def look(self, name: str, *, but: str = "", whole: bool = True) -> None:
        """Have the page judged in light, dark and at a phone's width.

        `whole` is not for long texts: no contrast is judged of them, and a picture shows their top.
        """
        page = self.page
        for scheme, size in (("light", WIDE), ("dark", WIDE), ("phone", PHONE)):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await page.set_viewport_size(size)  # type: ignore[arg-type]
            try:
                await self._passes(name, scheme, whole=whole)
            except AssertionError:
                # Only then: a picture takes a quarter of a second of CPU.
                SHOTS.mkdir(parents=True, exist_ok=True)
                await page.screenshot(path=SHOTS / f"{name}-{scheme}.png", full_page=whole)
                raise
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        await self.settled(but=but)

    async def _passes(self, name: str, scheme: str, *, whole: bool) -> None:
        wide = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, f"{name} is {wide} pixels too wide in {scheme}"
        # What dark changes is the contrast; a phone has the same elements.
        if scheme == "light":
            await self._judge(f"{name} in {scheme}", {} if whole else _COLOURLESS)
        elif scheme == "dark" and whole:
            await self._judge(f"{name} in {scheme}", _CONTRAST)

    async def judged(self, what: str) -> None:
        """Have axe-core judge the page as it stands, but for its colours."""
        await self._judge(what, _COLOURLESS)

    async def _judge(self, what: str, rules: dict[str, Any]) -> None:
        options: dict[str, Any] = {"resultTypes": ["violations"], **rules}
        found = await _AXE.run(self.page, options=options)
        serious = [
            f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']][:3]}"
            for one in found.response["violations"]
            if one["impact"] in _SERIOUS
        ]
        assert not serious, f"{what}: {serious}"

    async def harmless(self, text: str = XSS) -> None:
        """The text is on the page as a text, and made no element and no script of itself."""
        html = await self.page.content()
        assert text in await self.page.inner_text("body"), "the text is not shown"
        assert "<img src=x" not in html
        assert "<script>alert" not in html
        await self.settled()

    async def tab_to(self, place: str, most: int = 200) -> None:
        """Press Tab until the first element of `place` has the focus, as who has no mouse does."""
        wanted = self.page.locator(place).first
        for _ in range(most):
            if await wanted.evaluate("one => one === document.activeElement"):
                return
            await self.page.keyboard.press("Tab")
        raise AssertionError(f"{place} is not reached by {most} presses of Tab")

    async def tab_stops(self, count: int) -> list[str]:
        """The texts of what the first `count` presses of Tab lead to, from the page's beginning."""
        await self.page.evaluate("document.activeElement && document.activeElement.blur()")
        stops = []
        for _ in range(count):
            await self.page.keyboard.press("Tab")
            stops.append(await self.page.evaluate("document.activeElement.innerText.trim()"))
        return stops


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium, without a window."""
    expect.set_options(timeout=1000 * HANGS_S)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            # Chromium without the parts that draw windows: a fifth less of CPU for the same pages.
            executable_path=shutil.which("chromium-headless-shell"),
            # CI is root in a container. Without a GPU its emulation costs more than it draws.
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        await browser.close()


async def person(
    browser: Browser, base: str, role: ClientRole | None = None, **context: Any
) -> Person:
    """A window of its own, signed in through the form."""
    made = await browser.new_context(viewport=WIDE, **context)  # type: ignore[arg-type]
    made.set_default_timeout(1000 * HANGS_S)
    who = Person(await made.new_page(), base, role)
    if role is not None:
        await who.open("/sign-in?next=/lists")  # a page that asks nothing by itself
        await who.page.fill("#token", TOKENS[role])
        await who.page.press("#token", "Enter")
        await who.page.wait_for_url(lambda url: "/sign-in" not in url)
        await who.settled()
    return who


async def close(people: Iterable[Person]) -> None:
    """Close the windows."""
    for one in people:
        await one.page.context.close()

"""The pages with 10,000 lists and 20,000 decisions: figures for build/pages/measured.json.

No time passes or fails: it is written down, for a person to compare. What fails is a page that is
not whole, a serious finding of axe, or something that the keyboard alone does not reach.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from stream.config.settings import Settings
from stream.core.model.decision import Decision
from stream.edge.http.tokens import ClientRole
from stream.lists.store.heads import By
from stream.ops.clock import now_ms
from stream.web.page_caches import ROWS_MAX
from tests.browser.conftest import Site, site_over
from tests.support.browser import SHOTS, WIDE, Person, person
from tests.support.decisions import decision
from tests.support.http_service import TOKENS

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.campaign,
    pytest.mark.asyncio(loop_scope="session"),
]

LISTS: Final = 10_000
PAGES: Final = {
    "overview": "/",
    "lists": "/lists",
    "lists, last page": f"/lists?page={LISTS // 50}",
    "list": "/lists/KH/l00042",
    "decisions": "/decisions",
    "decisions, one of 20,000": "/decisions?list=l00042",
    "decisions, last page": f"/decisions?page={ROWS_MAX // 50}",
    "number": "/number",
    "feeds": "/feeds",
    "trials": "/trials",
    "appeals": "/appeals",
    "audit": "/audit",
    "health": "/health",
    "runbook": "/runbook",
}
_TIMES: Final = """() => {
  const nav = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  const files = performance.getEntriesByType("resource")
    .filter((one) => !one.name.includes("/events"));
  return {
    answer_ms: Math.round(nav.responseEnd - nav.startTime),
    first_paint_ms: Math.round(paint.startTime),
    interactive_ms: Math.round(nav.domContentLoadedEventEnd),
    page_bytes: nav.transferSize,
    file_bytes: files.reduce((sum, one) => sum + one.transferSize, 0),
    elements: document.querySelectorAll("*").length,
  };
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def large(own_settings: Settings) -> AsyncIterator[Site]:
    """A site of its own, with many lists and all the decisions that a page holds."""
    async with site_over(own_settings, Path(own_settings.feeds.dir).parent) as site:
        store = await site.pages.list_store()
        for number in range(LISTS):
            await store.create(f"KH/l{number:05d}", "plain", By("tests", "many"))
        at_ms = now_ms()
        site.pages.recent._rows.extendleft(
            msgspec.json.decode(
                decision(f"+8553{n:07d}", f"KH/l{n % LISTS:05d}==parcel", at_ms=at_ms + n),
                type=Decision,
            )
            for n in range(ROWS_MAX)
        )
        yield site


async def _times(page: Page) -> Any:
    """Return the page's times and bytes, once it was painted."""
    painted = "() => performance.getEntriesByName('first-contentful-paint').length > 0"
    await page.wait_for_function(painted)
    return await page.evaluate(_TIMES)


async def test_pages_are_measured(browser: Browser, large: Site) -> None:
    """Each page twice, with an empty cache and a warm one; whole, and without a finding of axe."""
    figures: dict[str, Any] = {}
    who = await person(browser, large.address, ClientRole.OPERATOR)
    signed_in = await who.page.context.storage_state()
    for name, address in PAGES.items():
        window = await browser.new_context(storage_state=signed_in, viewport=WIDE)  # type: ignore[arg-type]
        seen = Person(await window.new_page(), large.address, ClientRole.OPERATOR)
        page = await seen.open(address)
        cold = await _times(page)
        await page.reload()
        figures[name] = {"cold": cold, "warm": await _times(page)}
        assert await page.locator("h1").count() == 1
        await seen.judged(name)
        await window.close()
    await who.page.context.close()
    SHOTS.mkdir(parents=True, exist_ok=True)
    (SHOTS / "measured.json").write_text(json.dumps(figures, indent=1) + "\n")


async def test_the_keyboard_alone_is_enough(browser: Browser, large: Site) -> None:
    """Sign in, find one of 10,000 lists, rebuild it and sign out, without a mouse."""
    who = await person(browser, large.address)
    page = await who.open("/lists")
    # The field gets the focus by itself, a moment after the page is there.
    await page.wait_for_selector("#token:focus")
    await page.keyboard.type(TOKENS[ClientRole.OPERATOR])
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/lists")
    await who.tab_to("#q")
    await page.keyboard.type("l00042")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=l00042*")
    await who.tab_to("tbody a")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/lists/KH/l00042")
    await who.tab_to("#rebuild-reason")
    await page.keyboard.type("a test by keyboard")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=status]:has-text('Done')")
    await who.tab_to("form[action='/sign-out'] button")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/sign-in")
    await who.settled()
    await page.context.close()

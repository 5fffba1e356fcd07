"""The health page and the runbook in a real browser."""

import pytest
from playwright.async_api import expect

from stream.web.findings import HEADINGS
from stream.web.pages.overview_pages import anchor
from tests.browser.pictures import HOSTILE
from tests.support.browser import Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_what_is_wrong_says_what_to_do(viewer: Person) -> None:
    """The worst first, each with what it means, a command, and the way to the runbook."""
    page = await viewer.open("/health")
    await viewer.look("health")
    assert "exchange" not in await page.inner_text("main table")
    await page.click("summary:has-text('Not running here')")
    await viewer.harmless(HOSTILE)
    marks = await page.locator(".finding > p:first-child .badge").all_inner_texts()
    assert marks == sorted(marks, key=lambda mark: mark != "wrong")
    assert {"wrong", "check"} == set(marks)
    await page.click("text=Runbook: FeedHeld")
    await page.wait_for_url("**/runbook#feedheld")
    assert await page.locator("#feedheld").is_visible()
    await viewer.settled()


async def test_the_runbook_is_a_page(viewer: Person) -> None:
    """With its headings to jump to."""
    page = await viewer.open("/runbook")
    await viewer.look("runbook", whole=False)
    await expect(page.locator(f"[id='{anchor(HEADINGS[0])}']")).to_have_count(1)

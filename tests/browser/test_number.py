"""One number in a real browser: the whole chain, and what is done about it."""

import pytest
from playwright.async_api import expect

from stream.core.model.entry import Category
from stream.lists.store.heads import By
from tests.browser.conftest import Site, listed_entry
from tests.support.browser import TWICE, XSS, Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]

NUMBER = "+447700900140"


async def test_a_number_is_explained_and_put_right(
    site: Site, operator: Person, viewer: Person
) -> None:
    """Its entry, source and history; allowed, allowed no more, taken off; each with a reason."""
    register = await site.pages.list_store()
    entry = listed_entry(NUMBER, Category.PARCEL, source=XSS)
    await register.add("TH/national", [entry], By("somchai", XSS))
    page = await viewer.open("/number")
    await page.fill("#number", "no number")
    await page.click("button:text-is('Why?')")
    assert "no phone number" in await page.inner_text("[role=alert]")
    await page.fill("#number", NUMBER)
    await page.click("button:text-is('Why?')")
    assert "block" in await page.inner_text("#verdict")
    assert "somchai" in await page.inner_text("table")
    assert NUMBER not in page.url
    told = await page.locator("svg.level desc").first.text_content() or ""
    assert told.index(f"Reported by: {XSS}") < told.index("On list: TH/national")
    assert told.index("Allowed by: ") < told.index("Decision: block") < told.index("Switch: ")
    await expect(page.locator("main .change")).to_have_count(0)
    await viewer.harmless()
    await viewer.look("number")

    page = await operator.open("/number")

    async def asked() -> None:
        await page.fill("#number", NUMBER)
        await page.click("button:text-is('Why?')")

    await asked()
    await page.fill("#allow-reason", "a hospital")
    await page.fill("#days", "7")
    await page.click("button:text-is('Allow')")
    assert "not blocked any more" in await page.inner_text("[role=status]")
    await asked()
    assert "allow" in await page.inner_text("#verdict")
    assert "a hospital" in await page.inner_text(".notice")
    await page.fill("#unlist-reason", "said by mistake")
    await page.click("button:text-is('Remove from list')")
    assert "off the list" in await page.inner_text("[role=status]")
    await asked()
    assert "removed" in await page.inner_text(".chain")
    await page.fill("#disallow-reason", "it moved")
    await page.click("button:text-is('Remove the allow entry')")
    await asked()
    await page.fill("#list-reason", "it called again")
    await page.select_option("#list-list", "TH/national")
    await page.select_option("#category", "call_centre")
    await page.click("button:text-is('Add to list')")
    assert "on the list" in await page.inner_text("[role=status]")
    await operator.settled()


async def test_a_second_click_changes_nothing(site: Site, operator: Person) -> None:
    """It neither sends the change again nor takes its answer away."""
    number = "+447700900141"
    store = await site.pages.list_store()
    await store.add("TH/national", [listed_entry(number)], By("somchai", "a test"))
    page = await operator.open("/number")
    await page.fill("#number", number)
    await page.click("button:text-is('Why?')")
    await page.fill("#unlist-reason", "twice")
    await page.evaluate(TWICE, "[action='/number/unlist'] button")
    await expect(page.locator("[role=status]")).to_contain_text("off the list")
    await operator.settled()

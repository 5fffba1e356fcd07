"""The pages of lists in a real browser."""

import pytest

from tests.browser_lab import Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_lists_are_found_and_sorted(viewer: Person) -> None:
    """By a part of their name, and by what a column says, either way."""
    page = await viewer.open("/lists")
    await viewer.look("lists")
    await page.click("thead a:text('Numbers')")
    names = await page.locator("tbody th").all_inner_texts()
    assert names[0] == "LA/centres"
    await page.click("thead a:text('Numbers')")
    assert (await page.locator("tbody th").all_inner_texts())[0] == "TH/national"
    await page.fill("#q", "kh/")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=kh*")
    assert await page.locator("tbody tr").count() == 2
    await viewer.settled()

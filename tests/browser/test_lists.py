"""The pages of lists in a real browser."""

import pytest
from playwright.async_api import expect

from stream.edge.http.tokens import ClientRole
from tests.support.browser import XSS, Person, person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_lists_are_found_and_sorted(viewer: Person) -> None:
    """By a part of their name, and by what a column says, either way."""
    page = await viewer.open("/lists")
    await viewer.look("lists")
    for down in (False, True):
        await page.click("thead a:text('Numbers')")
        counts = await page.locator("td[data-label=Numbers]").all_inner_texts()
        assert counts == sorted(counts, key=int, reverse=down)
    await page.fill("#q", "kh/")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=kh*")
    names = await page.locator("tbody th").all_inner_texts()
    assert {name.partition("/")[0] for name in names} == {"KH"}
    await viewer.settled()


async def test_what_waits_is_looked_at_and_let_in(operator: Person, viewer: Person) -> None:
    """The page says what waits and what it would change; released with a reason, it is in force,
    and the history has who did it and why. Who may not change has no button.
    """
    page = await operator.open("/lists")
    assert "held version" in await page.inner_text(".notice")
    await page.click(".notice a:text('KH/scam')")
    assert "numbers that would come" in await page.inner_text(".waits")
    await operator.look("list-waits")
    await page.click("text=Differences")
    await expect(page.locator("tbody tr")).to_have_count(35)
    await operator.look("list-diff")
    await page.go_back()
    await page.click("button:text('Release')")  # without a reason the browser does not send it
    await expect(page.locator("button:text('Release')")).to_have_count(1)
    await page.fill("#release-kh-scam-reason", XSS)
    await page.click("button:text('Release')")
    await page.wait_for_selector(".notice:has-text('Done')")
    await expect(page.locator(".waits")).to_have_count(0)
    await operator.harmless()
    assert "page:operator" in await page.inner_text("table")
    page = await viewer.open("/lists/KH/scam")
    await expect(page.locator("form.change")).to_have_count(0)
    await viewer.look("list")


async def test_a_list_is_rebuilt_and_goes_back_to_what_was(operator: Person) -> None:
    """Both by a form that asks why; a generation that never was is refused, and it is said."""
    page = await operator.open("/lists/KH/trial")
    await page.fill("#rebuild-reason", "a test")
    await page.click("button:text('Rebuild')")
    await page.wait_for_selector(".notice:has-text('Done')")
    await page.fill("#generation", "999")
    await page.fill("#rollback-reason", "a test")
    await page.click("button:text('Roll back')")
    await page.wait_for_selector("text=it was not done")
    await operator.settled(but="409")


async def test_a_partner_sees_its_own(browser, site) -> None:
    """Lists of its own country; others are as if they were not there."""
    who = await person(browser, site.address, ClientRole.PARTNER)
    page = await who.open("/lists")
    names = await page.locator("tbody tr td:first-child").all_inner_texts()
    assert [name for name in names if not name.startswith("partner/")] == []
    places = await page.locator(".bar nav a").all_inner_texts()
    assert places == ["Lists", "Hand in", "Agreements", "Appeals"]
    await who.open("/lists/KH/scam")
    await who.settled(but="404")
    await who.open("/health")
    await who.settled(but="403")
    await page.context.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"csrf": "guessed"},
        {"headers": {"Origin": "https://evil.example"}},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"reason": "  "},
        {"generation": "--config=/etc/passwd"},
        {"role": ClientRole.VIEWER},
    ],
)
async def test_a_change_that_is_not_meant_is_refused(operator, viewer, site, wrong) -> None:
    """From another site, without the form's secret, without a reason, by who may not: no change."""
    who = viewer if wrong.get("role") else operator
    cookies = await who.page.context.cookies()
    headers = {"Cookie": "; ".join(f"{one['name']}={one['value']}" for one in cookies)}
    await who.open("/lists/TH/national")
    csrf = await who.page.get_attribute("[name=csrf] >> nth=0", "value")
    form = {"csrf": csrf, "reason": "a test", "generation": "2", **wrong}
    form = {name: text for name, text in form.items() if name in {"csrf", "reason", "generation"}}
    address = "/lists/TH/national/rollback"
    headers |= wrong.get("headers", {})
    async with site.http.client.post(address, data=form, headers=headers) as answer:
        assert answer.status in {400, 403}
    await who.open("/lists/TH/national")
    assert "41" in await who.page.inner_text(".tile:has-text('Generation')")
    await who.settled()

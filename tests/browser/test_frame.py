"""The frame of the pages in a browser: signing in and out, keyboard, colours, what is refused."""

from datetime import datetime, timedelta

import pytest

from stream.edge.http.tokens import ClientRole
from tests.support.browser import PHONE, Person, person
from tests.support.http_service import TOKENS

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_signing_in_and_out(browser, site) -> None:
    """A wrong token is refused; a right one opens the requested page; after signing out it is not
    there any more.
    """
    who = await person(browser, site.address)
    page = await who.open("/lists?q=KH")
    assert page.url.endswith("/sign-in?next=%2Flists%3Fq%3DKH")
    await who.look("sign-in")
    await page.fill("#token", "rf_wrong")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("[role=alert]")
    await who.settled(but="401")
    await page.fill("#token", TOKENS[ClientRole.VIEWER])
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/lists?q=KH")
    assert await page.locator("tbody tr").count() >= 2
    (cookie,) = [one for one in await page.context.cookies() if one["name"] == "ringfence"]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    await page.click("text=Sign out")
    await page.wait_for_url("**/sign-in")
    await who.open("/lists")
    assert "/sign-in" in page.url
    await who.settled()
    await page.context.close()


async def test_the_keyboard_leads_through_the_frame(viewer: Person) -> None:
    """First the way past the navigation, then the navigation in its order."""
    page = await viewer.open("/health")
    stops = await viewer.tab_stops(4)
    assert stops == ["Skip to content", "Ringfence", "Overview", "Lists"]
    await page.evaluate("document.activeElement.blur()")
    await viewer.open("/health")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await viewer.settled()


async def test_the_colours_can_be_chosen(viewer: Person) -> None:
    """Dark stays dark on the next page, and Auto goes back to what the system has."""
    page = await viewer.open("/lists")
    await page.click("button:text('Dark')")
    await page.wait_for_selector("html[data-theme=dark]")
    assert page.url.endswith("/lists")
    await viewer.open("/health")
    assert await page.get_attribute("html", "data-theme") == "dark"
    await page.click("button:text('Auto')")
    await page.wait_for_selector("html:not([data-theme])")
    await viewer.settled()


async def test_a_link_from_elsewhere_finds_who_is_signed_in(viewer: Person, site) -> None:
    """A strict cookie does not come with a link from another site; the page asks once more."""
    page = viewer.page
    other = site.address.replace("127.0.0.1", "localhost")
    await page.goto(f"{other}/docs")
    await page.evaluate(f"location.href = '{site.address}/lists'")
    await page.wait_for_url(f"{site.address}/lists")
    await page.wait_for_selector("h1:text('Lists')")
    await viewer.settled()


async def test_times_are_in_the_readers_zone(browser, site) -> None:
    """A reader in Bangkok reads his own time, and finds UTC in the title; without a script, UTC."""
    for script, zone in ((True, "Asia/Bangkok"), (False, "UTC")):
        who = await person(
            browser,
            site.address,
            ClientRole.VIEWER,
            timezone_id="Asia/Bangkok",
            java_script_enabled=script,
        )
        page = await who.open("/audit")
        shown = page.locator("tbody time").first
        text, machine = await shown.inner_text(), await shown.get_attribute("datetime")
        utc = datetime.fromisoformat(machine or "")
        if script:
            assert text == f"{utc + timedelta(hours=7):%Y-%m-%d %H:%M}"
            assert await shown.get_attribute("title") == f"{utc:%Y-%m-%d %H:%M} UTC"
        else:
            assert text == f"{utc:%Y-%m-%d %H:%M} UTC"
        assert zone in await page.inner_text("#zone")
        await page.context.close()


async def test_the_navigation_is_one_line_on_a_phone(browser, site) -> None:
    """All entries stand on one line, the open one in sight; who is signed in is below."""
    who = await person(browser, site.address, ClientRole.VIEWER)
    page = await who.open("/lists")
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await who.open("/runbook")
    boxes = [await one.bounding_box() for one in await page.locator(".bar nav a").all()]
    assert len({round(box["y"]) for box in boxes if box}) == 1
    last = boxes[-1]
    assert last is not None
    assert 0 <= last["x"] <= PHONE["width"] - last["width"]
    await page.context.close()

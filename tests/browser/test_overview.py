"""The overview in a real browser: live figures, charts, and what is left without a script."""

import re

import pytest
from playwright.async_api import expect

from stream.edge.http.tokens import ClientRole
from tests.support.browser import Person, person
from tests.support.lists import until

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def test_figures_come_by_themselves(viewer: Person, site) -> None:
    """Tiles and table change without a reload, charts are drawn, and the page says it is live."""
    page = await viewer.open("/")
    await page.wait_for_selector("#standing:text('live')")
    await page.wait_for_selector("[data-chart=calls] canvas")
    await viewer.look("overview")
    before = await page.inner_text("[data-part=at]")
    await page.wait_for_function(
        "before => document.querySelector('[data-part=at]').innerText !== before", arg=before
    )
    tile = await page.get_attribute("[data-part=tile-feeds] a", "href")
    await expect(page.locator("[data-part=tile-appeals] a")).to_have_attribute(
        "href", re.compile("^/appeals")
    )
    assert "–" not in await page.inner_text(".tiles")
    await expect(page.locator("[data-part=told] tbody tr")).to_have_count(10)
    await page.emulate_media(media="print")
    await expect(page.locator("#charts")).to_be_hidden()  # paper had their frames, empty
    await page.emulate_media(media="screen")
    await viewer.open("/feeds")  # ends the stream
    held = await page.inner_text("main .tiles a[href='/feeds?which=waits']")
    assert tile == ("/feeds" if held == "0" else "/feeds?which=waits")  # others release it
    await viewer.settled()


async def test_the_overview_is_whole_without_scripts(browser, site) -> None:
    """The same figures stand in the page as it comes, and it refreshes by itself."""
    who = await person(browser, site.address, ClientRole.OPERATOR, java_script_enabled=False)
    page = await who.open("/")
    assert "/s" in await page.inner_text("[data-part=tile-calls]")
    await expect(page.locator("noscript")).to_have_count(1)
    await expect(page.locator("#standing")).to_be_hidden()  # it said "loading" for ever
    await page.context.close()


async def test_no_more_watch_than_may(operator: Person, site) -> None:
    """One too many gets 503; when one leaves, the next may; a signed-out user may not."""
    live = site.pages.live
    client, cookies = site.http.client, await operator.page.context.cookies()
    headers = {"Cookie": "; ".join(f"{one['name']}={one['value']}" for one in cookies)}
    async with client.get("/events") as refused:
        assert refused.status == 401
    watching = [await client.get("/events", headers=headers) for _ in range(live.watchers_max)]
    assert [one.status for one in watching] == [200] * live.watchers_max
    async with client.get("/events", headers=headers) as refused:
        assert (refused.status, refused.headers["Retry-After"]) == (503, "15")
    assert (await watching[0].content.readline()).startswith(b"retry:")
    for one in watching:
        one.close()
    await until(lambda: live.watchers == 0)
    last = live.watch.trail[-1].at_s
    headers["Last-Event-ID"] = f"{last:.3f}"
    async with client.get("/events", headers=headers) as again:
        lines = [await again.content.readline() for _ in range(5)]
    assert lines[4].startswith(b'data: {"html":') or lines[3].startswith(b"event: figures")
    assert b"".join(lines).count(b"],[") < 10  # only the points that it does not have yet

"""The pages of feeds in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Site
from tests.support.browser import XSS, Person
from tests.support.commands import Operator
from tests.support.feeds import HEAD, kh

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture(scope="module")
def feeds(site: Site, site_folder: Path) -> Iterator[None]:
    """Beside kh-scam: one that nobody fetched yet, one that is down, and a broken file."""
    folder, there = site_folder / "feeds", site_folder / "kh-new.txt"
    there.write_text("".join(f"{number}\n" for number in kh(*range(100, 140))))
    for name, path in (("kh-new", there), ("kh-gone", site_folder / "gone.txt")):
        text = HEAD.format(format="text", extra="", path=path, tail="")
        text = text.replace("KH/scam", f"KH/{name}").replace('"noc@trc.example"', json.dumps(XSS))
        (folder / f"{name}.toml").write_text(text)
    Operator(site_folder / "ringfence.toml").types("feeds", "pull", "kh-gone", code=1)
    (folder / "kh-broken.toml").write_text(f"list = {json.dumps(XSS)}\n[gate]\nshrink = 3\n")
    site.pages.feeds._looked_s = None  # the next page reads the folder
    yield
    for name in ("kh-new", "kh-gone", "kh-broken"):
        (folder / f"{name}.toml").unlink()
    site.pages.feeds._looked_s = None  # the next page reads the folder


@pytest.mark.usefixtures("feeds")
async def test_feeds_say_how_they_stand(viewer: Person) -> None:
    """Which is down and why, which was never fetched, which file is broken and at which key."""
    page = await viewer.open("/feeds")
    await viewer.look("feeds")
    wrong = await page.inner_text(".notice.bad")
    assert "kh-broken.toml: gate.shrink: is no setting" in wrong
    await viewer.harmless("did you mean gate.shrink_few?")
    rows = page.locator("tbody tr")
    assert "no version yet" in await rows.filter(has_text="kh-new").inner_text()
    await page.select_option("#which", "down")
    await page.click("button:text('Show')")
    await expect(rows).to_have_count(1)
    await page.click("tbody a:text('kh-gone')")
    assert "Missing:" in await page.inner_text(".waits")
    await viewer.harmless()
    await viewer.look("feed-down")
    await expect(page.locator("form.change")).to_have_count(0)
    await viewer.open("/feeds/kh-broken")
    assert "gate.shrink" in await page.inner_text(".notice.bad")
    await viewer.look("feed-broken")
    await viewer.open("/feeds/kh-scam")
    assert "Last accepted" in await page.inner_text("main")
    await viewer.open("/feeds/--config")
    await viewer.settled(but="404")


@pytest.mark.usefixtures("feeds")
async def test_a_feed_is_fetched_now(site: Site, operator: Person, partner: Person) -> None:
    """With a reason, which the audit keeps; what came of it is said, and its list is there."""
    page = await operator.open("/feeds/kh-new")
    await page.fill("#pull-reason", XSS)
    await page.click("button:text('Fetch now')")
    await page.wait_for_selector(".notice:has-text('Fetched')")
    assert "+40 -0 numbers" in await page.inner_text(".notice")
    await operator.look("feed")
    (asked,) = [
        one async for one in (await site.pages.list_store()).past.audit() if one.op == "pull"
    ]
    assert (asked.actor, asked.reason, asked.detail) == ("page:operator", XSS, "feed kh-new")
    await page.click("dd a:text('KH/kh-new')")
    assert "40" in await page.inner_text(".tile:has-text('Numbers')")
    await operator.open("/audit?what=pull")
    assert "(feeds)" in await page.inner_text("tbody")
    await operator.harmless()
    await partner.open("/feeds")
    await partner.settled(but="403")

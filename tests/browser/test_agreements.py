"""The pages of agreements in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from stream.config.agreement_files import AgreementFolder
from tests.browser.conftest import Site
from tests.support.browser import XSS, Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]

_AGREED = """
title = {title}
kind = "memorandum"
valid_from = 2025-09-01
circle = "plain"
response_target = "4h"
texts = [{hostile}]
[parties.TH]
roles = ["owner", "enforcer"]
contact = "unblock@th-cert.example"
[parties.KH]
roles = ["owner", "enforcer"]
contact = {hostile}
{more}
[terms]
action = "block"
confidence_min = 50
[lists."KH/scam"]
categories = ["call_centre"]
reference = {hostile}
[lists."TH/national"]
[report]
every = "month"
"""
_PARTNER = '[parties.PARTNER]\nroles = ["observer"]\ncontact = "office@partner.example"'


@pytest.fixture(scope="module")
def agreed(site: Site, site_folder: Path) -> Iterator[None]:
    """Two agreements that contradict each other, of one the partner is a party; a broken file."""
    folder, before = site_folder / "agreements", site.pages.agreements
    hostile = json.dumps(XSS)
    mine = _AGREED.format(title=hostile, hostile=hostile, more=_PARTNER)
    other = _AGREED.format(title='"Of others"', hostile='"x"', more="")
    (folder / "th-kh.toml").write_text(mine)
    (folder / "th-kh-2.toml").write_text(other.replace("= 50", "= 70"))
    (folder / "broken.toml").write_text(mine.replace('"4h"', hostile))
    site.pages.agreements = AgreementFolder(folder)
    site.pages.agreements.look()
    (folder / "broken.toml").unlink()  # no command takes agreements while one is broken
    yield
    for path in folder.iterdir():
        path.unlink()
    site.pages.agreements = before


@pytest.mark.usefixtures("agreed")
async def test_agreements_say_what_is_promised_and_delivered(viewer: Person) -> None:
    """All of them, what is wrong with one's file and at which key, where two contradict each other;
    of one: parties, terms, what its lists have here and may do, and the figures of this month.
    """
    page = await viewer.open("/agreements")
    await viewer.harmless()
    await viewer.look("agreements")
    assert "broken.toml: response_target" in await page.inner_text(".notice.bad")
    assert "confidence" in await page.inner_text(".notice.warn")
    await page.fill("#q", "th-kh")
    await page.click("button:text('Show')")
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.click("tbody tr:has-text('onerror') a")
    await viewer.harmless()
    text = await page.inner_text("main")
    assert "in force" in text.lower()
    assert "numbers, generation" in text
    assert "Acts in TH now" in text
    await page.click("button:text('Count')")
    assert "Numbers on the list" in await page.inner_text(".panel:has(h3:text('KH/scam in TH'))")
    await viewer.look("agreement")
    await viewer.open("/agreements/th-kh?period=soon")
    assert "is no period" in await page.inner_text(".notice[role=status]")
    await viewer.open("/agreements/broken")
    await viewer.settled(but="404")


@pytest.mark.usefixtures("agreed")
async def test_the_whole_report_is_a_page_without_script(viewer: Person) -> None:
    """It has its style, though its policy lets no other style and no script through."""
    page = await viewer.open("/agreements/th-kh")
    async with page.expect_response("**/report?*") as answered:
        await page.click("button:text('The whole report')")
    policy = (await (await answered.value).all_headers())["content-security-policy"]
    assert "unsafe" not in policy
    assert "script-src" not in policy
    await viewer.harmless()
    width = await page.evaluate("getComputedStyle(document.body).maxWidth")
    assert width == "992px"
    await viewer.look("agreement-report")
    await viewer.open("/agreements/th-kh/report?period=2026-11%E2%80%83")  # a wide space, pasted
    await viewer.open("/agreements/th-kh/report?period=--config")
    await viewer.settled(but="400")


@pytest.mark.usefixtures("agreed")
async def test_a_partner_sees_its_own(partner: Person) -> None:
    """Not others' agreements, nor what contradicts its own, nor broken files, nor reports."""
    page = await partner.open("/agreements")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("main .notice")).to_have_count(0)
    assert "Of others" not in await page.content()
    await page.click("tbody a")
    assert "office@partner.example" in await page.inner_text("main")
    assert "th-kh-2" not in await page.content()
    await partner.harmless()
    await partner.open("/agreements/th-kh-2")
    await partner.open("/agreements/th-kh/report?period=2026-11")
    await partner.settled(but="404|403")

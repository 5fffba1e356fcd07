"""The queue of appeals and the audit in a real browser."""

import pytest
from playwright.async_api import expect

from stream.appeals import actions
from stream.core.model.appeal import Appeal, NamedList, Received
from stream.lists.store.heads import By
from tests.browser.conftest import Site
from tests.support.browser import WIDE, XSS, Person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]


async def _appealed(site: Site, number: str, *, appellant: str = "") -> Appeal:
    redress = site.pages.appeals
    async with await redress.connect() as register:
        appeal, _ = await actions.open_appeal(
            register,
            redress.store,
            redress.context(),
            number,
            [NamedList(list="KH/scam", fingerprint="", category="call_centre")],
            By("http", XSS),
            appellant=appellant,
        )
    return appeal


async def test_a_block_is_put_right(site: Site, operator: Person, viewer: Person) -> None:
    """Found in the queue, read, redressed with a reason; a viewer sees it masked, without forms."""
    number = "+447700900123"
    appeal = await _appealed(site, number, appellant=f"clinic@example.org {XSS}")
    page = await viewer.open("/appeals")
    await viewer.look("appeals")
    assert number not in await page.content()
    await page.click(f"text={appeal.id}")
    assert number not in await page.content()
    assert "clinic@example.org" not in await page.content()
    await expect(page.locator("main form")).to_have_count(0)
    await viewer.harmless()

    page = await operator.open(f"/appeals/{appeal.id}")
    assert number in await page.content()
    assert "noc@trc.example" in await page.inner_text("main")  # of the feed's file
    await operator.harmless(f"clinic@example.org {XSS}")
    await operator.look("appeal")
    await page.fill("#redress-reason", "a clinic since 2024")
    await page.click("button:text-is('Redress')")
    assert "not blocked any more" in await page.inner_text("[role=status]")
    _, allowed = await (await site.pages.list_store()).allow_all()
    assert number in {one.text for one in allowed}
    await expect(page.locator("main .change")).to_have_count(0)
    await operator.settled()


async def test_an_appeal_is_asked_elsewhere_then_rejected(site: Site, operator: Person) -> None:
    """Forwarded to the list's owner, and answered; its steps stand on the page."""
    appeal = await _appealed(site, "+447700900124")
    page = await operator.open(f"/appeals/{appeal.id}")
    await page.fill("#forward-reason", "mailed to its desk")
    await page.click("text=Note that the owner was asked")
    await expect(page.locator("#forward-reason")).to_have_count(0)
    await page.fill("#reject-reason", "it called 300 people last night")
    await page.click("button.danger")
    await expect(page.locator(".steps li")).to_have_count(3)
    await operator.open("/appeals?state=rejected")
    await expect(page.locator(f"text={appeal.id}")).to_have_count(1)
    await operator.settled()


async def test_a_partner_sees_what_is_its_own(site: Site, partner: Person) -> None:
    """Its own questions and what is about its lists; others' appeals are not there for it."""
    foreign = await _appealed(site, "+447700900125")
    redress = site.pages.appeals
    said = Received(
        partner="partner", appeal_id="A-1", list="TH/national", fingerprint="336e914774f97770"
    )
    own, _ = await actions.receive(redress.store, redress.context(), said, By("http", ""))
    page = await partner.open("/appeals")
    await expect(page.locator(".tile")).to_have_count(0)  # they count everybody's
    await expect(page.locator(f"text={own.id}")).to_have_count(1)
    await expect(page.locator(f"text={foreign.id}")).to_have_count(0)
    await partner.settled()
    await partner.open(f"/appeals/{foreign.id}")
    assert "nothing of this id" in await page.inner_text("main")
    await partner.settled(but="404")


async def test_the_audit_says_who_and_why(site: Site, viewer: Person) -> None:
    """Each change with its actor and reason, found by list, person and kind."""
    await (await site.pages.list_store()).create("KH/probe", "plain", By("somchai", XSS))
    page = await viewer.open("/audit")
    await viewer.harmless()
    await viewer.look("audit")
    await page.fill("#list", "TH/national")
    await page.fill("#what", "create")
    await page.click("button:text-is('Show')")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(1)
    assert "somchai" in await rows.first.inner_text()
    await viewer.open("/audit?list=none")
    assert "No entry" in await page.inner_text("main")
    for before in ("nonsense", "0-0"):
        await viewer.open(f"/audit?before={before}")
        assert await rows.count() > 1
    await viewer.settled()


@pytest.mark.parametrize("width", [1440, 1280, 1024, 390])
async def test_notes_and_reasons_have_room(site: Site, viewer: Person, width: int) -> None:
    """Long names beside them leave them room for words: they had room for two letters a line."""
    by = By("feed:a-partner-with-a-long-name", "asked for by the partner's fraud desk")
    name = f"KH/list-with-a-long-name-{width}"
    await (await site.pages.list_store()).create(name, "plain", by)
    page = await viewer.open("/audit")
    await page.set_viewport_size({"width": width, "height": 800})
    cells = page.locator("tbody tr:first-child td:nth-child(n + 6)")
    widths = await cells.evaluate_all("all => all.map(one => one.clientWidth)")
    assert min(widths) > 110
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await page.evaluate(wide) <= 0
    await page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    await viewer.settled()

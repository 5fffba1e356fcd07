"""The page of recent decisions, read from Kafka, in a real browser."""

import asyncio
import csv
import io

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, expect

from stream.core.model.decision import read_decision
from stream.core.numbers.number import masked
from stream.edge.http.tokens import ClientRole
from stream.ops.clock import now_ms
from stream.web.sessions import TOUCH_S
from tests.browser.conftest import Site
from tests.support.browser import WIDE, XSS, Person, person
from tests.support.decisions import decision

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]

BLOCKED, FLAGGED, LATER = "+85531000101", "+85531000102", "+85531000103"


async def _record(site: Site, *values: bytes) -> None:
    settings = site.pages.settings
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers) as producer:
        for value in values:
            await producer.send_and_wait(settings.calls.decisions_topic, value)
    last = next(filter(None, map(read_decision, reversed(values))))
    while last not in await site.pages.recent.look():  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.05)


async def test_decisions_are_found_followed_and_taken_away(
    site: Site, operator: Person, viewer: Person
) -> None:
    """Masked for who may not see numbers; filtered; new ones come by themselves; as files too."""
    at_ms = now_ms()
    await _record(
        site,
        decision(BLOCKED, at_ms=at_ms),
        decision(FLAGGED, "KH/trial=th-kh=parcel", verdict="flag", rule=XSS, at_ms=at_ms + 1),
        b"no decision",
    )
    page = await viewer.open("/decisions")
    await viewer.harmless()
    await viewer.look("decisions")
    await expect(page.locator("#rows tbody tr")).to_have_count(2)
    assert BLOCKED not in await page.content()
    assert masked(BLOCKED) in await page.content()
    await expect(page.locator("#number")).to_have_count(0)

    page = await operator.open("/decisions")
    await page.fill("#number", "+855 31 000-101")  # as somebody wrote it down
    await page.click("button:text-is('Show')")
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    await page.select_option("#verdict", "flag")
    await page.fill("#number", "")
    await page.click("button:text-is('Show')")
    assert FLAGGED in await page.inner_text("#rows tbody")
    assert BLOCKED not in await page.inner_text("#rows tbody")

    await page.select_option("#verdict", "block")
    await page.click("button:text-is('Show')")
    await page.fill("#view-name", "Blocks <b>")
    await page.click("button:text-is('Save this view')")
    assert "View saved: Blocks <b>" in await page.inner_text("[role=status]")
    await operator.open("/decisions")
    await page.click("text=Blocks <b>")
    await expect(page.locator("#verdict")).to_have_value("block")
    await page.click("button:text-is('Remove the view Blocks <b>')")
    await expect(page.locator(".views nav")).to_have_count(0)
    await operator.open("/decisions?verdict=block")
    await page.click("text=Follow")
    await _record(site, decision(LATER, at_ms=at_ms + 2))
    await page.wait_for_selector(f"#rows tbody >> text={LATER}")
    assert LATER in await page.locator("#rows tbody tr").first.inner_text()
    await page.click("text=Stop following")
    await operator.settled()

    file = await page.request.get(f"{site.address}/decisions.csv?verdict=block")
    rows = list(csv.DictReader(io.StringIO(await file.text())))
    assert [row["number"] for row in rows] == [f"'{LATER}", f"'{BLOCKED}"]
    file = await viewer.page.request.get(f"{site.address}/decisions.jsonl?list=trial")
    (line,) = (await file.text()).splitlines()
    assert msgspec.json.decode(line)["number"] == masked(FLAGGED)


@pytest.mark.parametrize("width", [1440, 1280, 1024, 390])
async def test_times_and_numbers_are_shown_whole(site: Site, operator: Person, width: int) -> None:
    """Also in UTC, the longest form, on a laptop: half of the time was cut off.

    A number that lacks its last digits is another number.
    """
    await _record(site, decision(f"{BLOCKED}99", at_ms=now_ms()))
    page = await operator.open("/decisions")
    await page.set_viewport_size({"width": width, "height": 800})
    times = page.locator("#rows tbody tr td:first-child")
    cells = page.locator("#rows tbody tr td:is(:first-child, :nth-child(3))")
    cut = await cells.evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth)")
    assert not cut
    assert await times.count()
    await page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    await operator.settled()


async def test_a_page_that_follows_keeps_no_session_alive(
    site: Site, browser: Browser, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may be there any more: a session without use ends, also beside an open page. It says
    so, and not that the server does not answer.
    """
    page = await viewer.open("/decisions?follow=1")
    (cookie,) = [one for one in await page.context.cookies() if one["name"] == "ringfence"]
    sessions = site.pages.sessions
    at_s = now_ms() // 1000 + 2 * TOUCH_S
    monkeypatch.setattr(sessions, "now_s", lambda: at_s)
    async with page.expect_response("**/decisions?follow=1"):
        pass
    found = await sessions.find(cookie["value"], use=False)
    assert found is not None
    assert found[0].seen_at_s < at_s
    monkeypatch.undo()
    monkeypatch.setattr(sessions, "now_s", lambda: at_s + sessions.whole_s)
    await expect(page.locator("#following")).to_contain_text("You are signed out")
    monkeypatch.undo()
    who = await person(browser, site.address, ClientRole.VIEWER)
    await viewer.page.context.add_cookies(await who.page.context.cookies())  # type: ignore[arg-type]
    await who.page.context.close()
    await viewer.open("/decisions")
    await viewer.settled()

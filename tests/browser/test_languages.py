"""Pages in languages that are not written in Latin letters: chosen, kept, in order, in width."""

import pytest

from stream.edge.http.tokens import ClientRole
from tests.support.browser import PHONE, Person, person

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]

PAGES = (
    *("/", "/lists", "/lists/KH/scam", "/feeds", "/feeds/kh-scam", "/files", "/agreements"),
    *("/number", "/decisions", "/trials", "/appeals", "/audit", "/health"),
)

WIDE = """(() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return [];
  const over = (one) => one.getBoundingClientRect().right > page.clientWidth + 1;
  return [...document.querySelectorAll("main *, footer *")].filter(over).map(
    (one) => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 40)}`).slice(0, 8);
})()"""
"""Elements that reach beyond the page's width, if the page is too wide."""


async def test_a_language_is_chosen_and_kept(browser, site) -> None:
    """The browser's is taken first; a choice in the footer stands above it until it is undone."""
    who = await person(browser, site.address, ClientRole.OPERATOR, locale="vi-VN")
    page = await who.open("/lists?q=KH")
    assert await page.get_attribute("html", "lang") == "vi"
    await page.click("button:text-is('ไทย')")
    await page.wait_for_selector("html[lang=th]")
    assert page.url.endswith("/lists?q=KH")
    assert await page.inner_text("h1") == "รายการ"
    await who.open("/health")
    assert await page.inner_text("h1") == "สถานะระบบ"
    pressed = page.locator(".languages [aria-pressed=true]")
    assert await pressed.inner_text() == "ไทย"
    await page.click(".languages button:has-text('ตามเบราว์เซอร์')")
    await page.wait_for_selector("html[lang=vi]")
    await who.settled()
    await page.context.close()


async def test_a_choice_comes_from_our_pages_only(browser, site) -> None:
    """Another site's form does not change what a reader reads."""
    who = await person(browser, site.address, ClientRole.VIEWER)
    answer = await who.page.request.post(
        f"{site.address}/language",
        form={"language": "th", "back": "//evil.example"},
        headers={"Origin": "https://evil.example", "Accept": "text/html"},
        max_redirects=0,
    )
    assert answer.status == 403
    ours = await who.page.request.post(
        f"{site.address}/language",
        form={"language": "th", "back": "//evil.example"},
        headers={"Origin": site.address},
        max_redirects=0,
    )
    assert (ours.status, ours.headers["location"]) == (303, "/")
    await who.page.context.close()


async def test_a_page_in_thai_is_as_good_as_in_english(browser, site) -> None:
    """Axe finds nothing, the keyboard leads the same way, and live figures come in Thai."""
    who = await person(browser, site.address, ClientRole.OPERATOR, locale="th-TH")
    page = await who.open("/health")
    assert await who.tab_stops(4) == ["ข้ามไปที่เนื้อหา", "Ringfence", "ภาพรวม", "รายการ"]
    await who.open("/")
    await page.wait_for_selector("#standing:text-is('ข้อมูลสด')")
    assert "บล็อกต่อวินาที" in await page.inner_text("main")
    await who.look("thai-overview")
    for address in ("/lists/KH/scam", "/feeds/kh-scam", "/number"):
        await who.open(address)
        await who.look(f"thai{address.replace('/', '-')}")
    await page.fill("#number", "+447700900000")
    await page.click("button:text-is('ทำไม?')")
    await page.wait_for_selector("#verdict")
    await who.look("thai-why")
    await page.context.close()


@pytest.mark.parametrize("locale", ["km-KH", "my-MM"])
async def test_nothing_is_too_wide_for_a_phone(browser, site, locale: str) -> None:
    """Khmer and Burmese have long words without blanks; each page stays within 390 pixels."""
    who = await person(browser, site.address, ClientRole.OPERATOR, locale=locale)
    await who.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    for address in PAGES:
        await _fits(who, address, locale)
    await who.settled()
    await who.page.context.close()


async def _fits(who: Person, address: str, locale: str) -> None:
    page = await who.open(address)
    assert await page.get_attribute("html", "lang") == locale[:2]
    assert await page.evaluate(WIDE) == [], f"{address} is too wide in {locale}"

"""The page where a file is handed in, in a real browser: read, corrected, submitted, released."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import FilePayload, Page, Route, expect

from stream.config.settings import Settings
from stream.lists.store.list_store import ListStore
from stream.ops.clock import monotonic_s
from tests.browser.conftest import Site
from tests.support.browser import TWICE, Person
from tests.support.commands import Operator
from tests.support.workbooks import write_xlsx

pytestmark = [pytest.mark.needs_chromium, pytest.mark.asyncio(loop_scope="session")]
FEED = """
list = "{list}"
format = "csv"
expires_in = "90d"
[owner]
name = "{owner}"
contact = "noc@trc.example"
[from]
kind = "push"
{tail}
"""
TWO = "[gate]\nsecond_person = true"
FEEDS = {
    "desk": ("TH/desk", "TH", ""),
    "big": ("TH/big", "TH", ""),
    "two": ("TH/two", "TH", TWO),
    "own": ("partner/own", "partner", ""),
}
SHEET = """date,phone,contact phone,kind
20/11/2026,0812345678,0812345111,parcel
21/11/2026,0812345679,0812345111,parcel
22/11/2026,'0812345670,0812345111,loan
22/11/2026,nobody <b>x</b>,0812345111,loan
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(site: Site, site_folder: Path) -> AsyncIterator[Operator]:
    """Lists that take files, and the shell beside the page."""
    paths = []
    for name, (listed, owner, tail) in FEEDS.items():
        paths.append(site_folder / "feeds" / f"{name}.toml")
        paths[-1].write_text(FEED.format(list=listed, owner=owner, tail=tail))
    site.pages.feeds._looked_s = None
    yield Operator(site_folder / "ringfence.toml")
    for path in paths:
        path.unlink()
    site.pages.feeds._looked_s = None


def a_file(text: str | bytes, name: str = "reports.csv") -> FilePayload:
    """A file as a person chooses it."""
    data = text.encode() if isinstance(text, str) else text
    return {"name": name, "mimeType": "text/csv", "buffer": data}


async def chosen(person: Person, feed: str, text: str | bytes, name: str = "reports.csv") -> Page:
    """The page after a file was chosen for a feed, and read."""
    page = await person.open(f"/files?feed={feed}")
    await page.set_input_files("#file", a_file(text, name))
    await page.wait_for_selector("#seen h2, #trouble:not([hidden])")
    return page


async def lists_of(settings: Settings) -> set[str]:
    async with await ListStore.connect(settings.list_store()) as register:
        return set((await register.heads()).lists)


async def test_a_file_is_understood_corrected_and_submitted(
    desk: Operator, operator: Person, site_settings: Settings, site_folder: Path
) -> None:
    """The page asks what it cannot tell; a click corrects it; examples, rejected rows and changes
    are shown; nothing is stored before the submission; the audit names person and reason.
    """
    page = await chosen(operator, "desk", SHEET)
    assert "more than one column may be the number" in await page.inner_text("#seen")
    await operator.look("files-question")
    await page.select_option("[aria-label='Meaning of phone']", "number")
    await page.select_option("#region", "TH")
    await page.focus("#again")
    await page.keyboard.press("Enter")
    await expect(page.locator("#submit")).to_be_visible()
    told = await page.inner_text("#seen")
    cleaned = "a spreadsheet's mark of a text was left out"
    for text in ("goes live when you submit it", "+66812345678", "nobody <b>x</b>", cleaned):
        assert text in told, text
    assert await page.input_value("#dates") == "day-month"
    assert "<b>x</b>" not in await page.inner_html("#seen")
    await operator.look("files-read")
    assert "TH/desk" not in await lists_of(site_settings), "nothing is stored yet"
    assert not [*(site_folder / "state" / "feeds").glob("desk*")]
    await page.fill("#reason", "reports of november")
    await page.keyboard.press("Enter")
    await expect(page.locator("#done")).to_have_text("It is live")
    await operator.look("files-done")
    said = desk.types("lists", "export", "TH/desk", "--format", "jsonl")
    assert said.count('"+66') == 3
    assert '"parcel"' in said
    audit = desk.types("audit")
    assert "page:operator" in audit
    assert "reports of november" in audit
    assert not [*(site_folder / "state" / "handed-in").iterdir()]


async def test_a_second_person_releases(desk: Operator, operator: Person) -> None:
    """The person who submitted a file cannot release it in any way; another person can."""
    page = await chosen(operator, "two", "number\n+66812345671\n+66812345672\n")
    assert "waits for a second person" in await page.inner_text("#seen")
    await page.fill("#reason", "two of us")
    await page.click("#submit button")
    await expect(page.locator("#done")).to_have_text("It waits for a second person")
    await page.click("text=Go to TH/two")
    await expect(page.locator("main")).to_contain_text("page:operator handed it in (two of us)")
    await operator.settled()
    await page.fill("#release-two-reason", "I say so myself")
    await page.click("form[action$='/release'] button")
    await expect(page.locator("main")).to_contain_text("another person lets it in")
    await operator.settled(but="409")
    release = ("feeds", "release", "two", "--reason", "seen", "--actor")
    assert "another person" in desk.types(*release, "http:operator", code=1)
    desk.types(*release, "page:malee")
    assert desk.types("lists", "export", "TH/two", "--format", "text").count("+66") == 2


async def test_a_partner_hands_in_its_own_lists(
    desk: Operator, partner: Person, viewer: Person
) -> None:
    """A partner is offered its own lists alone, and drops a file there; a viewer may not."""
    page = await partner.open("/files")
    assert await page.locator("#feed option").count() == 1
    await page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["number\\n+66812345673\\n"], "mine.csv"));
          const drop = document.getElementById("drop");
          for (const name of ["dragenter", "dragover", "drop"])
            drop.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true }));
        }"""
    )
    await expect(page.locator("#submit")).to_be_visible()
    assert await page.locator("#look-at-calls").count() == 0, "calls are the carrier's"
    await page.fill("#reason", "ours")
    await page.click("#submit button")
    await expect(page.locator("#done")).to_have_text("It is live")
    await partner.settled()
    assert "+66812345673" in desk.types("lists", "export", "partner/own", "--format", "text")
    await viewer.open("/files")
    await viewer.settled(but="403")


async def test_only_what_is_shown_is_submitted(desk: Operator, operator: Person) -> None:
    """Once another list, column or file is chosen, nothing can be submitted until it was read so:
    the server may be busy meanwhile. A second click on Submit is none.
    """
    sheet = "phone,contact phone\n+66812345701,+66812345801\n+66812345702,+66812345802\n"
    page = await chosen(operator, "desk", sheet)
    await page.select_option("[aria-label='Meaning of phone']", "number")
    await page.click("#again")
    await expect(page.locator("#submit")).to_be_visible()
    await page.select_option("[aria-label='Meaning of phone']", "")
    await page.select_option("[aria-label='Meaning of contact phone']", "number")
    await expect(page.locator("#submit")).to_be_hidden()
    await page.click("#again")
    await expect(page.locator("#submit")).to_be_visible()

    async def busy(route: Route) -> None:
        await route.fulfill(status=503, body='{"detail": "try again"}')

    await page.route("**/files/look", busy)
    await page.select_option("#feed", "big")
    await expect(page.locator("#trouble")).to_be_visible()
    await expect(page.locator("#submit")).to_be_hidden()
    await page.unroute("**/files/look")
    await page.select_option("#feed", "desk")
    await expect(page.locator("#submit")).to_be_visible()
    await page.route("**/files/look", busy)
    await page.set_input_files("#file", a_file("number\n+66812345703\n"))
    await expect(page.locator("#trouble")).to_be_visible()
    await expect(page.locator("#submit")).to_have_count(0)
    await page.unroute("**/files/look")
    await page.set_input_files("#file", a_file(sheet))
    await page.select_option("[aria-label='Meaning of contact phone']", "number")
    await page.click("#again")
    await page.fill("#reason", "corrected")
    await page.evaluate(TWICE, "#submit button")
    await expect(page.locator("#done")).to_have_text("It is live")
    exported = desk.types("lists", "export", "TH/desk", "--format", "text")
    assert sorted(exported.split()) == ["+66812345801", "+66812345802"]
    await operator.settled(but="503")


async def test_what_is_no_list_is_said(desk: Operator, operator: Person) -> None:
    """A login page, an empty file and a form of another site are refused in words."""
    page = await chosen(operator, "desk", "<!doctype html><html><body>Sign in</body></html>")
    assert await page.locator("#submit").count() == 0
    await operator.settled()
    page = await chosen(operator, "desk", "")
    assert "the body is empty" in await page.inner_text("#trouble")
    await operator.settled(but="400")
    await page.evaluate("document.getElementById('intake').dataset.csrf = 'guessed'")
    await page.set_input_files("#file", a_file("number\n+66812345674\n"))
    await expect(page.locator("#trouble")).to_contain_text("did not come from a page of yours")
    await operator.settled(but="403")


async def test_a_workbook_asks_for_its_sheet(
    desk: Operator, operator: Person, tmp_path: Path
) -> None:
    """Of a workbook with two lists the page asks which sheet; places are cells."""
    sheets = {
        "mobile": [["phone"], ["+66812345681"], ["+66812345682"]],
        "fixed": [["phone"], ["+6621234568"], ["none"]],
    }
    data = write_xlsx(tmp_path / "two.xlsx", sheets).read_bytes()
    page = await chosen(operator, "desk", data, "two.xlsx")
    await expect(page.locator("#sheet")).to_be_visible()
    await page.select_option("#sheet", "fixed")
    await page.click("#again")
    await expect(page.locator("#submit")).to_be_visible()
    told = await page.inner_text("#seen")
    assert "+6621234568" in told
    assert "A3" in told
    await operator.settled()


ARRAYS = """{"block": [{"tel": "+66812345691", "seen": "01/02/2046", "ends": "03/04/2046"},
                       {"tel": "+66812345692", "seen": "02/02/2046", "ends": "05/06/2046"}],
           "allow": [{"tel": "+66812345693"}, {"tel": "+66812345694"}]}"""


async def test_a_document_asks_for_its_array_and_its_days(desk: Operator, operator: Person) -> None:
    """Of two arrays the page asks which one; a day that is two is asked too, and nothing can be
    submitted before both answers.
    """
    page = await chosen(operator, "desk", ARRAYS.replace("ends", "valid until"), "answer.json")
    await expect(page.locator("#items")).to_be_visible()
    assert await page.locator("#submit").count() == 0
    await page.select_option("#items", "block")
    await page.click("#again")
    await expect(page.locator("#seen")).to_contain_text("'01/02/2046' is 2046-02-01 or 2046-01-02")
    assert await page.locator("#submit").count() == 0
    assert await page.input_value("#dates") == ""
    await operator.look("files-days")
    await page.select_option("#dates", "month-day")
    await page.select_option("#expires-dates", "day-month")
    await page.click("#again")
    await expect(page.locator("#submit")).to_be_visible()
    assert await page.input_value("#dates") == "month-day"
    assert await page.input_value("#expires-dates") == "day-month"
    assert "+66812345691" in await page.inner_text("#seen")
    await operator.settled()


@pytest.mark.campaign
async def test_a_first_list_of_200_000_rows(
    desk: Operator, operator: Person, tmp_path: Path, measured: Callable[[str], None]
) -> None:
    """From the choice of a workbook to the live list, with progress; a minute is the aim."""
    rows = [["phone", "kind"], *([f"+668{n:08d}", "parcel"] for n in range(200_000))]
    data = write_xlsx(tmp_path / "first.xlsx", {"list": rows}).read_bytes()
    began_s = monotonic_s()
    page = await chosen(operator, "big", data, "first.xlsx")
    await expect(page.locator("#submit")).to_be_visible()
    read_s = monotonic_s() - began_s
    assert "200,000" in await page.inner_text("#seen")
    await page.fill("#reason", "the first list")
    await page.click("#submit button")
    await expect(page.locator("#progress")).to_be_visible()
    await expect(page.locator("#done")).to_have_text("It is live")
    whole_s = monotonic_s() - began_s
    measured(f"200,000 rows of XLSX: shown after {read_s:.0f} s, live after {whole_s:.0f} s")
    assert "200,000" in await page.inner_text("#seen")
    await operator.settled()


async def test_the_last_days_calls(desk: Operator, operator: Person) -> None:
    """The calls of the last day are decided again with the file; none were, and that is said."""
    page = await chosen(operator, "desk", "number\n+66812345674\n")
    await page.click("#look-at-calls")
    await expect(page.locator("#calls")).to_contain_text("would have been blocked")
    await operator.settled()

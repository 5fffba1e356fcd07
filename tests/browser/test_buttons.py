"""Every button of every page, clicked once refused and once with success.

The buttons are found in the templates, so a new one without a line in `CLICKS` fails here.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from playwright.async_api import Browser, Locator, Page

from stream.appeals import actions
from stream.config.settings import Settings
from stream.core.model.appeal import NamedList
from stream.core.model.decision import Decision
from stream.edge.http.tokens import ClientRole
from stream.lists.store.heads import By
from stream.ops.clock import now_ms
from tests.browser.conftest import Site, listed_entry, site_over
from tests.support.browser import Person, person
from tests.support.commands import Operator
from tests.support.decisions import decision
from tests.support.feeds import HEAD, kh
from tests.support.http_service import TOKENS

TEMPLATES: Final = Path(__file__).parents[2] / "stream/edge/http/pages"
_FORM: Final = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_BUTTON: Final = re.compile(r"<button\b([^>]*)>(.*?)</button>", re.DOTALL)
_CHANGE: Final = re.compile(r'parts\.change\([^,]*, "[^"]*", (.*?), "([^"]*)"')
_ACTION: Final = re.compile(r'\b(?:form)?action="([^"]*)"')
_VALUE: Final = re.compile(r"\{\{.*?\}\}")
_MARKED: Final = re.compile(r'\{\{ _\("([^"]*)"\) \}\}|\{% (?:end)?trans.*?%\}|_\(("[^"]*")\)')
"""Marks of a text that is translated; the text is in the first or the second group."""
NUMBER, LISTED, ALLOWED = "+447700900160", "+447700900161", "+447700900162"
LIST: Final = "TH/buttons"
BY: Final = By("somchai", "a test")


def buttons(name: str, text: str) -> Iterator[str]:
    """Yield the buttons of a template, each by where its form leads and by its label."""
    text = _MARKED.sub(lambda marked: marked[1] or marked[2] or "", text)
    for attributes, inside in _FORM.findall(text):
        of_form = _ACTION.findall(attributes)
        if of_form == ["{{ address }}"]:
            continue  # the macro that all changes call
        for one, label in _BUTTON.findall(inside):
            (action, *_) = _ACTION.findall(one) or of_form or [name]
            yield _VALUE.sub("*", f"{action}: {label}")
    for _, label in _BUTTON.findall(_FORM.sub("", text)):
        yield _VALUE.sub("*", f"{name}: {label}")
    for address, label in _CHANGE.findall(text):
        action = re.sub(r'" ~ [^"]*(?:"|$)', "*", address).strip('"')
        yield f"{action}: {label}"


def all_buttons() -> set[str]:
    """Return the buttons of all templates."""
    return {
        one
        for path in sorted(TEMPLATES.glob("*.html"))
        for one in buttons(path.stem, path.read_text("utf-8"))
    }


@dataclass(frozen=True, slots=True)
class Click:
    """One button: where it is, what is filled in before, and what is there after success.

    `done` is a text of the page, or a part of its address if it begins with a slash. `refused`
    says how it is refused: a form that no page of ours made (`forged`), by one who signed out
    (`signed-out`), or with fields of its own that are wrong.
    """

    at: str
    done: str
    fill: dict[str, str] = field(default_factory=dict)
    before: Callable[[Page], Awaitable[Any]] | None = None
    refused: str | dict[str, str] = "forged"
    label: str = ""


def _explained(number: str) -> Callable[[Page], Awaitable[None]]:
    async def ask(page: Page) -> None:
        await page.fill("#number", number)
        await page.click("button:text-is('Why?')")

    return ask


def _shown(page: str, done: str, **fill: str) -> Click:
    return Click(page, done, fill, refused="signed-out", label="Show")


CLICKS: Final = {
    "lists: Show": _shown("/lists", "/lists?q=KH", **{"#q": "KH"}),
    "feeds: Show": _shown("/feeds", "/feeds?q=KH", **{"#q": "KH"}),
    "agreements: Show": _shown("/agreements", "/agreements?q=th", **{"#q": "th"}),
    "appeals: Show": _shown("/appeals", "list=KH", **{"#list": "KH"}),
    "audit: Show": _shown("/audit", "list=KH", **{"#list": "KH"}),
    "trials: Show": _shown("/trials", "q=KH", **{"#q": "KH"}),
    "decisions: Show": _shown("/decisions", "list=KH", **{"#list": "KH"}),
    "/agreements/*#figures: Count": Click(
        "/agreements/buttons", "period=", refused="signed-out", label="Count"
    ),
    "/agreements/*/report: The whole report": Click(
        "/agreements/buttons", "/report?period=", refused="signed-out"
    ),
    "/decisions/views: Save this view": Click(
        "/decisions?verdict=block", "View saved: Blocks", {"#view-name": "Blocks"}
    ),
    "/decisions/views/remove: Remove the view *": Click(
        "/decisions?verdict=block", "/decisions", label="Remove the view Blocks"
    ),
    "/number: Why?": Click("/number", "A call from", {"#number": NUMBER}),
    "/number: *": Click("/number", "A call from", label=NUMBER),
    "/number/allow: Allow": Click(
        "/number", "not blocked any more", {"#allow-reason": "a test"}, _explained(NUMBER)
    ),
    "/number/disallow: Remove the allow entry": Click(
        "/number", "not allowed any more", {"#disallow-reason": "a test"}, _explained(ALLOWED)
    ),
    "/number/unlist: Remove from list": Click(
        "/number", "off the list", {"#unlist-reason": "a test"}, _explained(LISTED)
    ),
    "/number/list: Add to list": Click(
        "/number", "on the list", {"#list-reason": "a test"}, _explained("+447700900163")
    ),
    "/number/appeal: Open the appeal": Click(
        "/number", "The appeal is open", {"#appeal-reason": "a test"}, _explained("+447700900164")
    ),
    "/lists/*/release: Release": Click(
        "/lists/KH/b1", "Done", {"[id^=release][id$=reason]": "a test"}
    ),
    "/lists/*/refuse: Refuse": Click(
        "/lists/KH/b2", "Done", {"[id^=refuse][id$=reason]": "a test"}
    ),
    "/lists/*/rebuild: Rebuild": Click(f"/lists/{LIST}", "Done", {"#rebuild-reason": "a test"}),
    "/lists/*/rollback: Roll back": Click(
        f"/lists/{LIST}", "Done", {"#generation": "BASE", "#rollback-reason": "a test"}
    ),
    "/feeds/*/pull: Fetch now": Click("/feeds/b1", "Fetched", {"#pull-reason": "a test"}),
    "/appeals/*/redress: Redress": Click("APPEAL", "Redressed", {"#redress-reason": "a test"}),
    "/appeals/*/reject: Reject": Click("APPEAL", "Rejected", {"#reject-reason": "a test"}),
    "/appeals/*/forward: Note that the owner was asked": Click(
        "APPEAL", "Its owner is asked", {"#forward-reason": "a test"}
    ),
    "/trials: Promote": Click("/trials?q=KH/trial", "is in force", {"[id$=reason]": "a test"}),
    "/trials: Demote": Click("/trials?q=KH/trial", "is on trial", {"[id$=reason]": "a test"}),
    "/v1/appeals: Appeal": Click(
        "/v1/decisions/BUTTONS1",
        "Your appeal was received",
        {"#reason": "a clinic"},
        refused={"[name=decision_id]": "NOTHING"},
    ),
    "/theme: *": Click("/audit", "/audit", label="Dark"),
    "/sign-out: Sign out": Click("/audit", "/sign-in"),
    "/sign-in: Sign in": Click(
        "/sign-in?next=/lists",
        "/lists",
        {"#token": TOKENS[ClientRole.OPERATOR]},
        refused={"#token": "rf_wrong"},
    ),
}
"""In this order: some press what one before has made."""


ELSEWHERE: Final = {
    "file_look: Read it again": "test_files.py",
    "file_look: Look at the last day's calls": "test_files.py",
    "file_look: Submit * row{% pluralize num %}Submit * rows": "test_files.py",
    "/language: Browser's language": "test_languages.py",
    "/language: *": "test_languages.py",
}
"""Buttons of pages that scripts drive, step by step: the file of tests that walks through them."""


def test_every_button_has_its_clicks() -> None:
    """A button in a template is clicked below; what is clicked below is in a template."""
    here = Path(__file__).parent
    walked = {button for button, file in ELSEWHERE.items() if (here / file).exists()}
    assert all_buttons() == CLICKS.keys() | walked


def test_buttons_are_found() -> None:
    """In forms, at their own address, and where a macro makes the form."""
    text = """<form action="/a/{{ x }}"><button class="b">{{ _("Go") }}</button>
    <button formaction="/b">{{ n }}</button></form><button id="x">Look</button>
    <form class="c"><button>Show</button></form>
    {% call parts.change("p" ~ x, "T", "/l/" ~ h.name ~ "/release", _("Release"), danger=true) %}"""
    found = ["/a/*: Go", "/b: *", "page: Show", "page: Look", "/l/*/release: Release"]
    assert list(buttons("page", text)) == found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(own_settings: Settings) -> AsyncIterator[Site]:
    """A site of its own: what the buttons do changes no other test's lists."""
    async with site_over(own_settings, Path(own_settings.feeds.dir).parent) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clicker(browser: Browser, own: Site) -> AsyncIterator[Person]:
    """An operator, and what the buttons work on."""
    site, folder = own, Path(own.pages.settings.feeds.dir).parent
    store = await site.pages.list_store()
    await store.create(LIST, "plain", BY)
    await store.add(LIST, [listed_entry(number) for number in (LISTED, "+447700900165")], BY)
    await store.create("KH/trial", "plain", BY)
    await store.add("KH/trial", [listed_entry("+447700900164")], BY)
    office = Operator(folder / "ringfence.toml")
    office.types("allow", "add", ALLOWED, "--reason", "a test")
    feeds = folder / "feeds"
    for name in ("b1", "b2"):
        path = folder / f"{name}.txt"
        text = HEAD.format(format="text", extra="", path=path, tail="")
        (feeds / f"{name}.toml").write_text(text.replace("KH/scam", f"KH/{name}"))
        for numbers, code in ((range(40), 0), (range(5), 1)):
            path.write_text("".join(f"{number}\n" for number in kh(*numbers)))
            office.types("feeds", "pull", name, code=code)
    (folder / "agreements" / "buttons.toml").write_text(
        'title = "Buttons"\nkind = "memorandum"\nvalid_from = 2025-01-01\n'
        '[parties]\nTH = { roles = ["owner", "enforcer"], contact = "a@th.example" }\n'
        'KH = { roles = ["owner", "enforcer"], contact = "a@kh.example" }\n'
        '[terms]\naction = "block"\n[lists]\n"KH/b1" = {}\n"KH/trial" = {}\n'
    )
    site.pages.agreements.look()
    made = decision(NUMBER, decision_id="BUTTONS1", at_ms=now_ms())
    await site.pages.appeals.decisions.keep([msgspec.json.decode(made, type=Decision)])
    settings = site.pages.settings
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers) as producer:
        await producer.send_and_wait(settings.calls.decisions_topic, made)
    who = await person(browser, site.address, ClientRole.OPERATOR)
    yield who
    await who.page.context.close()


async def _appeal(site: Site, number: str) -> str:
    redress = site.pages.appeals
    named = [NamedList(list="KH/trial", fingerprint="", category="call_centre")]
    async with await redress.connect() as store:
        made = await actions.open_appeal(store, redress.store, redress.context(), number, named, BY)
    return f"/appeals/{made[0].id}"


async def _made_ready(page: Page, click: Click, address: str, label: str) -> Locator:
    """Open the page and fill in what the button needs; return the button."""
    await page.goto(address)
    if click.before is not None:
        await click.before(page)
    for place, text in click.fill.items():
        await page.locator(place).first.fill(text)
    return page.locator(f"button:text-is('{label}')").first


async def _refused(page: Page, click: Click, button: Locator) -> None:
    """Click where it must not work; the page says so."""
    if isinstance(click.refused, dict):
        for place, text in click.refused.items():
            await page.locator(place).first.evaluate("(one, text) => { one.value = text }", text)
        async with page.expect_response(lambda one: one.request.method == "POST") as answered:
            await button.click()
        assert (await answered.value).status >= 400
        return
    if click.refused == "signed-out":
        cookies = await page.context.cookies()
        await page.context.clear_cookies()
        await button.click()
        await page.wait_for_url("**/sign-in?next=*")
        await page.context.add_cookies(cookies)  # type: ignore[arg-type]
        return
    await button.evaluate("one => { one.form.elements.csrf.value = 'guessed' }")
    await button.click()
    await page.wait_for_selector("text=this form did not come from a page of yours")


@pytest.mark.campaign
@pytest.mark.needs_chromium
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("name", CLICKS)
async def test_a_button_works_and_can_be_refused(clicker: Person, own: Site, name: str) -> None:
    """Refused it changes nothing, so the same click works afterwards and says what was done."""
    click, page = CLICKS[name], clicker.page
    label = click.label or name.partition(": ")[2]
    place = click.at
    if place == "APPEAL":
        place = await _appeal(own, f"+4477009001{70 + [*CLICKS].index(name)}")
    if "#generation" in click.fill:
        base = (await (await own.pages.list_store()).heads()).lists[LIST].generation
        click = replace(click, fill=click.fill | {"#generation": str(base)})
    address = own.address + place
    await _refused(page, click, await _made_ready(page, click, address, label))
    await (await _made_ready(page, click, address, label)).click()
    if click.done.startswith("/") or "=" in click.done:
        await page.wait_for_url(lambda url: click.done in url)
    else:
        await page.wait_for_selector(f"text={click.done}")
    await clicker.settled(but="40[0-9]")

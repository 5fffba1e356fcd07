import re
from collections import Counter
from dataclasses import replace
from datetime import date
from functools import cache
from html.parser import HTMLParser
from importlib import resources
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from stream.core.model.agreement import PartyRole
from stream.core.model.enforcement_document import Counts
from stream.insight.report.figure_catalogue import FIGURES, Key
from stream.insight.report.page import page
from stream.insight.report.pairs import FeedNow, VersionEvent
from stream.insight.report.period import period_in
from stream.insight.report.points import days_told
from stream.insight.report.report_json import report_json
from stream.insight.report.whole import reported
from stream.insight.report.words import shown
from tests.support.report_material import (
    FINGERPRINT,
    all_shipped,
    at_s,
    at_the_end,
    document,
    material,
    rich,
    shipped,
)

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "footer"),
    *("h1", "h2", "h3", "p", "ul", "ol", "li", "b", "i", "a", "span", "div", "code", "details"),
    *("summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"),
    *("figure", "figcaption", "svg", "defs", "pattern", "line", "rect", "circle", "path", "text"),
    "desc",
}


class Look(HTMLParser):
    """All elements of a page with their attributes, and the text below each table cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.cells: dict[str, str] = {}
        self._cell = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._cell = (dict(attrs).get("id") or "") if tag == "td" else self._cell

    def handle_endtag(self, tag: str) -> None:
        self._cell = "" if tag == "td" else self._cell

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._cell:
            self.cells[self._cell] = self.cells.get(self._cell, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def several():
    """Pages of all kinds: rich, with a silent partner, empty, of many lists, for an observer."""
    yield "rich", rich()
    yield "whole", at_the_end(rich())
    yield "silent", rich(silent=True)
    yield "quarter", replace(rich(), period=period_in("2026-Q4"))
    yield "day", replace(rich(), period=period_in("2026-11-12"))
    yield "observer", replace(rich(), agreement=shipped("itu"))
    yield "no party", replace(material("th-ph"), home="KH")
    for agreement in all_shipped():
        yield f"empty {agreement.id}", material(agreement.id)


SEVERAL = dict(several())


@pytest.fixture(params=SEVERAL)
def html(request: pytest.FixtureRequest) -> str:
    return page_of(request.param)


@cache
def page_of(name: str) -> str:
    """One of those pages."""
    return page(reported(SEVERAL[name]))


def test_a_page_needs_nothing_else(html):
    """No script, image, font or request: links lead within the page, and a policy says so."""
    look = Look(html)
    assert {tag for tag, _ in look.elements} <= TAGS
    for tag, attributes in look.elements:
        assert not {"src", "srcset", "style", "xlink:href"} & attributes.keys(), tag
        assert not any(name.startswith("on") for name in attributes)
    assert all((link["href"] or "").startswith("#") for link in look.all("a"))
    assert set(re.findall(r"url\([^)]*\)|@import|@font-face", html)) <= {"url(#gap)"}
    policy = next(m for m in look.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'; style-src 'unsafe-inline'")


def test_a_page_can_be_read_by_everyone(html):
    """One h1, no level left out, captions, scopes, words for each chart, links that lead there."""
    look = Look(html)
    levels = [int(tag[1]) for tag, _ in look.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert look.all("html")[0]["lang"] == "en"
    assert len(look.all("caption")) == len(look.all("table"))
    assert all(head.get("scope") for head in look.all("th"))
    charts = [svg for svg in look.all("svg") if svg.get("role") == "img"]
    assert len(charts) == len(look.all("svg")) - 1 == len(look.all("desc"))
    ids = Counter(attributes["id"] for _, attributes in look.elements if "id" in attributes)
    assert not [name for name, count in ids.items() if count > 1]
    targets = {(link["href"] or "")[1:] for link in look.all("a")}
    for attributes in (one for _, one in look.elements if "aria-labelledby" in one):
        targets |= {*(attributes["aria-labelledby"] or "").split()}
    assert targets <= ids.keys()


def test_a_page_is_whole_with_whatever_there_is(html):
    """Every section is there, whatever was measured; nothing of the program shows through."""
    text = " ".join(Look(html).texts)
    for heading in (
        *("In short", "What to raise at the next meeting", "What was promised", "What happened"),
        *("What is stale, held or unanswered now", "How this was counted"),
    ):
        assert heading in text
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b|Undefined|<[a-z]+ object", text)


@pytest.mark.parametrize("name", ["rich", "silent", "whole"])
def test_json_has_the_figures_of_the_page(name):
    """Each figure in JSON is the one in the table, written out; what is null is not measured."""
    report = reported(SEVERAL[name])
    told = msgspec.json.decode(msgspec.json.encode(report_json(report)))
    cells = Look(page(report)).cells
    for held, pair in zip(told["lists"], report.pairs, strict=True):
        assert held["figures"].keys() == set(Key)
        for key in Key:
            figure, cell = held["figures"][key], cells.get(f"{held['id']}-{key}")
            if key is Key.DAYS_TOLD and pair.told:
                assert cell == days_told(pair.counted)
            elif cell is not None:
                assert cell == shown(figure["value"], FIGURES[key].unit)
            else:
                assert figure["value"] is None or not pair.told
    assert told["method"].keys() == set(Key)
    assert len(told["raise"]) == len(report.points)


def test_what_was_not_told_is_no_zero():
    """A silent partner's section says that nothing was measured, and shows no figure at all."""
    html = page(reported(rich(silent=True)))
    section = html[html.index('id="TH-national-in-KH"') : html.index('id="now"')]
    assert "Not measured." in section
    assert "23 days were expected" in section
    assert "<table" not in section
    assert "<svg" not in section


def test_what_nobody_knows_of_before_is_said_once():
    """Nothing to compare with: one sentence, and no column that says so in each line."""
    html = page(reported(replace(at_the_end(rich()), period=period_in("2026-10"))))
    assert html.count("September 2026, the period before: not measured") == 2
    assert '<th scope="col" class="num">Change</th>' not in html
    new = replace(shipped("th-kh"), valid_from_s=at_s(date(2026, 11, 1)))
    html = page(reported(replace(rich(), agreement=new)))
    assert "1 to 25 October 2026, the period before: the agreement was not in force." in html


def test_fewer_days_are_not_fewer_calls():
    """Days that were not reported are no change for the better: then averages are compared."""
    html = page(reported(at_the_end(rich())))
    row = re.search(r'id="KH-scam-in-TH-blocked">13,927</td>.*?class="num change">([^<]*)<', html)
    assert row is not None
    # 22 days of November against 31 of October: 633 calls a day, and 631.
    assert row[1] == "about the same a day"


def evil(name: str = "th-kh") -> Any:
    """All texts that a partner, or who writes files, can put into a report are hostile."""
    held = shipped(name)
    parties = {party: replace(one, contact=f"{EVIL}{party}") for party, one in held.parties.items()}
    clauses = tuple(replace(clause, reference=EVIL) for clause in held.clauses)
    agreement = replace(held, title=EVIL, texts=(EVIL,), parties=parties, clauses=clauses)
    given = rich()
    day = given.documents[-1].day
    return replace(
        given,
        agreement=agreement,
        known=(agreement,),
        documents=(
            *given.documents,
            document(day, "KH", "TH/national", by_category={EVIL: Counts(entries=1, blocked=1)}),
        ),
        unread=(EVIL,),
        versions=(VersionEvent(given.made_at_s - 86_400, "KH/scam", "held", EVIL),),
        feeds=(
            FeedNow(
                feed=EVIL, list="KH/scam", heard_at_s=0, fault=EVIL, held_at_s=1, held_reason=EVIL
            ),
        ),
    )


def test_what_partners_write_is_text():
    """Titles, contacts, categories, reasons and messages are shown as they are and never run."""
    html = page(reported(evil()))
    look = Look(html)
    assert {tag for tag, _ in look.elements} <= TAGS
    assert not any(name.startswith("on") for _, attributes in look.elements for name in attributes)
    text = "".join(look.texts)
    assert text.count("<script>alert(1)</script>") >= 8
    assert "{{7*7}}" in text


def test_an_observer_gets_no_number_and_no_fingerprint():
    """Whatever the documents and messages hold, the ITU's report has no number, no fingerprint."""
    number = "+447700900123"
    given = replace(
        rich(),
        agreement=shipped("itu"),
        unread=(f"KH said {number}", f"row 4: {FINGERPRINT}, 447700 900 123"),
    )
    assert PartyRole.OBSERVER in given.agreement.parties["ITU"].roles
    report = reported(given)
    seen = {sighting.fingerprint for document in given.documents for sighting in document.sightings}
    assert len(seen) == 3
    written = msgspec.json.encode(report_json(report)).decode()
    for text in (page(report), written):
        assert "(left out)" in text
        assert not [one for one in (*seen, number, number[1:], "900 123") if one in text]
        assert not re.search(r"\b[0-9a-f]{16}\b", text)
        assert not re.search(r"\+\d{6,}", text)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 has it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2.2 has it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_told_apart():
    """Text has AA contrast on page and panel, bars and lines 3 to 1: light, dark, and printed."""
    style = (
        resources.files("stream.insight.report").joinpath("templates/style.css").read_text("utf-8")
    )
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(
            r":root \{([^}]*)\}",
            re.sub(r"(#)([0-9a-f])([0-9a-f])([0-9a-f])\b(?![0-9a-f])", r"\1\2\2\3\3\4\4", style),
        )
    ]
    assert len(themes) == 3
    for theme in themes:
        for ground in ("page", "panel"):
            for text in ("ink", "soft", "link", "accent", "act", "discuss", "note", "target"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
            for mark in ("blocked", "flagged", "trial"):
                assert contrast(theme[mark], theme[ground]) >= 3, (mark, ground)


def test_a_report_that_was_agreed_on_has_its_day():
    """A month's report says when it is due; of a single day none was agreed."""
    assert "this one is due by 10 December 2026" in page_of("rich")
    assert "this one is due" not in page_of("day")


def test_a_page_is_made_anew_the_same():
    """The same figures give the same bytes: nothing of the machine or the hour is in it."""
    assert page(reported(rich())) == page(reported(rich()))

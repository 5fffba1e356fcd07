"""The reader's language: which one it is, its texts, and the catalogues as they are kept."""

import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from stream.edge.http import languages
from stream.edge.http.languages import LANGUAGE_COOKIE, LANGUAGES, preferred, reading
from stream.edge.http.rendering import bytes_in, page
from tests.tools import catalogues

PAGES = Path(__file__).parents[4] / "stream/edge/http/pages"
RANGES = {
    "": "en",
    "th": "th",
    "th-TH,th;q=0.9,en;q=0.8": "th",
    "en-GB,en;q=0.9,th;q=0.8": "en",
    "nb,no;q=0.9,vi;q=0.2,en;q=0.1": "vi",
    "zh-TW": "zh",
    "ZH-Hans-CN": "zh",
    "my;q=0": "en",
    "km;q=0.5, my;q=0.7": "my",
    "km;q=0.7, my;q=0.7": "km",
    "*": "en",
    "de, *;q=0.5": "en",
    "th;q=oops, vi;q=0.1": "vi",
    "th;q=2": "th",
    "th;x=1": "en",
    ",,;;,": "en",
    "x," * 100 + "th": "en",
}


@pytest.mark.parametrize("accepted", RANGES)
def test_the_browsers_languages_choose(accepted: str) -> None:
    """By weight, then by order; what is none of ours, or cannot be read, is passed over."""
    assert preferred(accepted) == RANGES[accepted]


@given(st.text())
def test_any_header_gives_a_language(accepted: str) -> None:
    """A browser may send what it likes."""
    assert preferred(accepted) in LANGUAGES


def request(accepted: str, cookie: str = "") -> Request:
    """A request for a page."""
    headers = [(b"accept-language", accepted.encode())]
    if cookie:
        headers.append((b"cookie", f"{LANGUAGE_COOKIE}={cookie}".encode()))
    scope = {"type": "http", "method": "GET", "path": "/x", "query_string": b"", "state": {}}
    return Request({**scope, "headers": headers, "server": ("127.0.0.1", 1), "scheme": "http"})


def test_a_choice_stands_above_the_browser() -> None:
    """A cookie with a language that there is none of is as if there were no cookie."""
    assert languages.read_by(request("th", "vi")) == "vi"
    assert languages.read_by(request("th", "xx")) == "th"
    assert languages.read_by(request("th", "../../etc/passwd")) == "th"
    assert languages.read_by(request("fr")) == "en"


def test_a_page_says_its_language() -> None:
    """To browsers and readers of screens, and to caches: it differs by header and by cookie."""
    given_ = {"title": "Not Found", "detail": "there is nothing of this id", "request_id": "r1"}
    for accepted, tag, shown in (
        ("th", "th", "ไม่มีสิ่งที่ใช้รหัสนี้"),
        ("zh-CN", "zh-Hans", "没有此编号的内容"),
        ("fr", "en", "There is nothing of this id."),
    ):
        answer = page(request(accepted), "problem.html", 404, **given_)
        html = bytes(answer.body).decode()
        assert f'<html lang="{tag}"' in html
        assert shown in html
        assert answer.headers["content-language"] == tag
        assert answer.headers["vary"] == "Accept-Language, Cookie"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("role", ["caller", "callee"])
def test_a_blocked_caller_has_a_page(language: str, role: str) -> None:
    """In each language, of one list and of several; the count is put in beside other values."""
    one = {"list": "KH/scam", "owner": "KH", "contact": "a@kh.example"}
    one |= {"category": "not confirmed"}  # of a hit in a filter without entries
    said: Any = {"because": [one], "role": role, "simulated": False, "appeal": None, "rule": ""}
    said |= {"decided_at": "2026-11-25T02:00:00Z", "expires_at": None, "decision_id": "A1"}
    given: Any = {"said": said, "number": "+6681***5678", "blocked": True, "rule": ""}
    most = {"reason": 9, "contact": 9}
    for count in (1, 2):
        with reading(language):
            asked = request("", language)
            answer = page(asked, "decision.html", because=[one] * count, most=most, **given)
        html = bytes(answer.body).decode()
        text = html.partition("<p>")[2].partition("</p>")[0]
        assert "not confirmed" not in html
        assert "+6681***5678" in text
        assert (str(count) in text.replace("+6681***5678", "")) is (language != "en" or count == 2)


def test_a_text_that_is_missing_is_english() -> None:
    """Also one of which a plural is asked for."""
    with reading("th"):
        assert languages.gettext("no such text") == "no such text"
        assert languages.ngettext("%(num)s mole", "%(num)s moles", 2) == "2 moles"
        assert languages.word("a_new_code") == "a new code"
        assert languages.reason("a_new_code") == "a new code"


def test_texts_are_in_the_readers_language() -> None:
    """With values put in, plural forms, and a code beside its words."""
    with reading("vi"):
        assert languages.gettext("Lists") == "Danh sách"
        assert languages.gettext("%(list)s in %(country)s", list="A", country="TH") == "A tại TH"
        assert languages.ngettext("%(num)s is down", "%(num)s are down", 1) == "1 ngừng"
        assert languages.word("pending_owner") == "chờ chủ danh sách"
        code = '<code class="dim">emergency_number</code>'
        assert languages.reason("emergency_number") == f"số khẩn cấp {code}"
    assert languages.ngettext("%(num)s is down", "%(num)s are down", 1) == "1 is down"
    assert languages.word("") == ""


def test_a_sentence_ends_as_the_language_does() -> None:
    """Thai has no mark, Chinese and Khmer have their own; values in braces stay as they are."""
    ends = {}
    for code in LANGUAGES:
        with reading(code):
            ends[code] = languages.sentence("50 % of it")[len("50 % of it") :]
    assert ends == {"en": ".", "th": "", "km": "។", "my": "။", "vi": ".", "zh": "。"}
    assert languages.sentence("") == "."


def test_numbers_and_spans_are_the_readers() -> None:
    """Separators and units by the CLDR, in Latin digits; English is that of the commands."""
    shown = {}
    for code in LANGUAGES:
        with reading(code):
            shown[code] = (languages.many(1234567), languages.many(4.25), languages.lasting(7200))
    assert shown["en"] == ("1,234,567", "4.2", "2 h")
    assert shown["vi"][:2] == ("1.234.567", "4,2")
    with reading("vi"):
        assert bytes_in(5_500_000) == "5,25 MiB"
    assert bytes_in(5_500_000) == "5.25 MiB"
    assert [bytes_in(size << 10) for size in (99, 512, 1020)] == ["99 KiB", "512 KiB", "1,020 KiB"]
    assert shown["th"] == ("1,234,567", "4.2", "2 ชั่วโมง")
    assert all(re.search("[0-9]", text) for texts in shown.values() for text in texts)


@pytest.mark.parametrize("code", catalogues.TRANSLATED)
def test_a_catalogue_is_up_to_date(code: str, wanted: Catalog) -> None:
    """It has each text of templates and code, and none that is gone: `make catalogues`."""
    kept = (catalogues.FOLDER / f"{code}.po").read_bytes()
    assert kept == catalogues.renewed(code, wanted), "run: make catalogues"


def test_no_module_with_texts_is_left_out(wanted: Catalog) -> None:
    """The texts of a module in a new folder are in the catalogues too."""
    places = {catalogues.ROOT / place for message in wanted for place, _ in message.locations}
    for path in (catalogues.ROOT / "stream").rglob("*.py"):
        assert path in places or not re.search(r'\b(?:noted|_|ngettext)\("', path.read_text()), path


@pytest.mark.parametrize("code", catalogues.TRANSLATED)
def test_a_translation_keeps_values_and_markup(code: str) -> None:
    """None loses a value, and none brings markup or a quotation mark that the English lacks."""
    assert list(catalogues.wrong(code)) == []


def test_a_translation_that_loses_a_value_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or that brings markup of its own."""
    (tmp_path / "th.po").write_text(
        'msgid "%(num)s calls"\nmsgstr "สาย"\n\nmsgid "Why"\nmsgstr "<b>ทำไม</b>"\n\n'
        'msgid "Show"\nmsgstr " แสดง"\n\nmsgid "Who"\nmsgstr "ใคร"\n'
    )
    monkeypatch.setattr(catalogues, "FOLDER", tmp_path)
    assert [fault.split("'")[1] for fault in catalogues.wrong("th")] == [
        "%(num)s calls",
        "Why",
        "Show",
    ]


@pytest.fixture(scope="module")
def wanted() -> Catalog:
    """All texts of templates and code."""
    return catalogues.texts()


PLAIN = re.compile(r"\{#.*?#\}|\{% trans.*?\{% endtrans %\}|<(code|pre)\b.*?</\1>", re.DOTALL)
VALUE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
SHOWN = re.compile(r'(?:aria-label|title|data-label|alt)="([^"]*)"')
NAMES = {"Ringfence", "UTC", "bl:", "yes", "·"}
"""The same in each language; `yes` is a macro's answer to another."""


@pytest.mark.parametrize("path", sorted(PAGES.glob("*.html")), ids=lambda path: path.stem)
def test_every_text_of_a_template_is_marked(path: Path) -> None:
    """A text beside the catalogues would be English for everybody, and nobody would notice."""
    if path.stem == "docs":
        return  # for programmers, from the OpenAPI document
    text = VALUE.sub("", PLAIN.sub("", path.read_text("utf-8")))
    left = [word for shown in SHOWN.findall(text) for word in shown.split()]
    left += re.sub(r"<[^<>]*>", " ", text, flags=re.DOTALL).split()
    assert {word for word in left if re.search("[A-Za-z]", word)} <= NAMES

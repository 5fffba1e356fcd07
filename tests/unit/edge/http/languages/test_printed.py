"""Texts that commands print, on pages: each sentence of ours is known there by its form."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.edge.http.languages import LANGUAGES, gettext, reading
from stream.edge.http.languages.printed import CHARS_MAX, PrintedForm, finding, form_of, printed
from stream.feeds.detection.column_names import NEVER
from stream.feeds.gate import GateReason

STREAM = Path(__file__).parents[5] / "stream"
PLACES = {
    "feeds/gate.py": {"_as_a_file", "_as_a_whole", "decide"},
    "feeds/row_checks.py": {"looks_of", "agreement_over"},
    "feeds/detection/lookalikes.py": {"looks"},
    "feeds/detection/guess_columns.py": {"guess", "_ranges", "_candidate", "_unnamed"},
    "insight/explain/deliveries.py": {"_key"},
    "insight/trials/status.py": {"standings", "_remarks", "_of_list"},
    "ops/monitor/scrape.py": {"_ask"},
    "services/service.py": {"readiness"},
    "web/page_caches.py": {"count"},
    **{
        f"services/{name}.py": {"_missing", "missing"}
        for name in ("enforcement", "exchange", "feeds", "ingest", "redis_sink", "supervisor")
    },
    "services/webhook_sink.py": {"_missing"},
    "services/worker.py": {"_missing"},
}
"""Functions whose texts come to a page."""
NO_SENTENCES = ("sha256 ", "its texts look like 7:")
"""Of a version's bytes nothing can be translated; the kinds of looks have a form each."""
IN_THAI = {
    "40 of 1,250 numbers would go": "จะหายไป 40 จาก 1,250 เบอร์",
    "its name says a date or time": "ชื่อระบุว่าเป็นวันที่หรือเวลา",
    "not the number: column 3: its texts look like ids: 9 of 9 follow another by 20 or less": (
        "ไม่ใช่เบอร์: คอลัมน์ 3: ข้อความดูเหมือนรหัส: 9 จาก 9 ห่างจากค่าก่อนหน้าไม่เกิน 20"
    ),
    "worker 1: no partitions are assigned": "เวิร์กเกอร์ 1: ยังไม่ได้รับพาร์ทิชัน",
    "the row has no number": "แถวนี้ไม่มีเบอร์",
    "many of 1,250 numbers would go": "many of 1,250 numbers would go",
    "no such sentence": "no such sentence",
    "": "",
}


def sentences_in(path: Path, names: set[str]) -> Iterator[str]:
    """Yield the texts of some functions of a file, with 7 for each value."""
    for top in ast.walk(ast.parse(path.read_text())):
        if not isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef) or top.name not in names:
            continue
        made = [node for node in ast.walk(top) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for text in made for part in text.values}
        docs = {id(node.value) for node in ast.walk(top) if isinstance(node, ast.Expr)}
        for text in made:
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else "7" for part in text.values
            )
        for node in ast.walk(top):
            if isinstance(node, ast.Constant) and id(node) not in parts | docs:
                yield str(node.value)


@pytest.mark.parametrize("place", PLACES)
def test_each_sentence_of_the_code_has_a_form(place: str) -> None:
    """A new one needs a form: it would be English on the pages of five languages."""
    said = {text for text in sentences_in(STREAM / place, PLACES[place]) if text.count(" ") > 1}
    assert said
    unknown = [text for text in said if form_of(text) is None]
    assert [text for text in unknown if not text.startswith(NO_SENTENCES)] == []


def test_the_meanings_of_names_have_forms() -> None:
    """They stand in sentences on columns."""
    assert [said for said in NEVER if form_of(said) is None] == []


def test_sentences_are_in_the_readers_language() -> None:
    """With their values, also a sentence in a sentence; what is no sentence of ours stays."""
    with reading("th"):
        assert {text: printed(text) for text in IN_THAI} == IN_THAI
    with reading("vi"):
        assert printed("40 of 1,250 numbers would go") == "40 trong 1.250 số sẽ bị bớt"
    known = {text: printed(text) for text in IN_THAI}
    assert known == {text: text for text in IN_THAI}


def test_the_page_names_no_option_of_the_shell() -> None:
    """Its reader chooses below, where the command's would write an option or a setting."""
    told = "no column is called number (or phone, msisdn, ...) in 'name,city': call the column of "
    told += "the numbers `number`, or name the columns: [columns] in the feed's file"
    assert printed(told).endswith(" in 'name,city': choose the columns below")
    assert "--" not in printed("call records, and no list: `ringfence dialects detect` reads them")


def test_a_finding_is_words_with_its_code() -> None:
    """As Redis keeps it: the code, and figures."""
    kept = "shrunk: 40 of 1,250 numbers would go"
    assert finding(kept) == "Shrunk: 40 of 1,250 numbers would go"
    with reading("th"):
        assert str(finding(kept)).startswith('ลดลงมาก <code class="dim">shrunk</code>: จะหายไป 40')
        assert finding("its own words") == "its own words"
    assert finding("own_service_number") == "Own service number"
    assert finding("shrunk: <b>7</b>") == "Shrunk: &lt;b&gt;7&lt;/b&gt;"
    assert {str(finding(reason.value)) for reason in GateReason}


@given(st.text(), st.sampled_from(sorted(LANGUAGES)))
def test_any_text_is_shown(text: str, language: str) -> None:
    """A text of somebody's file that is none of ours is shown as it is."""
    with reading(language):
        shown = printed(text)
        # A word of ours, such as "none", is in the catalogue as it is.
        ours = form_of(text) is not None or gettext(text) != text
    assert shown == text or ours or text.strip() != text


VALUES = st.text(st.characters(categories=["L", "N"]), min_size=1)


@given(VALUES, VALUES, st.integers(0, 10**9))
def test_values_come_back(name: str, text: str, count: int) -> None:
    """A form finds what was put into it, and no count in words."""
    form = PrintedForm.of("not %(name)s: %(text)s of %(count)s", "")
    values = {"name": name, "text": text, "count": f"{count:,}"}
    assert form.values("not {name}: {text} of {count}".format(**values)) == values
    assert form.values(f"not {name}: {text} of many") is None


def test_a_long_text_costs_nothing() -> None:
    """It is no sentence of ours: it is shown without a look at each form."""
    text = "a workbook: " * CHARS_MAX
    assert printed(text) == text

"""Files as offices write them: each is read as it is meant, or asked about; none is guessed."""

import pytest

from stream.edge.http.languages.printed import form_of
from stream.feeds.detection.proposal import FeedProposal
from stream.feeds.formats.format_words import words_of
from stream.feeds.open import read_rows
from stream.feeds.parse import Defaults, Parser
from tests.support.detect_corpus import (
    GOLDEN,
    NOW_S,
    Case,
    call_cases,
    feed_cases,
    outcome,
    said_of,
)

CASES = feed_cases()
_TOLD = (
    "number", "region", "dates", "expires_dates", "era", "format", "encoding", "sheet", "items",
    "expires",
)  # fmt: skip


def listed(case: Case, one: FeedProposal) -> set[str]:
    """The numbers that a proposal would list."""
    if one.kind not in {"text", "csv", "workbook", "jsonl", "json", "xml", "ftc"}:
        return set()
    known = Defaults("x", NOW_S, one.region, unknown_category="other", dates=one.dates)
    parser = Parser(known, words_of(one.kind))
    rows = read_rows(case.path, one.kind, options=one.options)
    return {number.decode() for chunk in rows for number in parser.parse(chunk).numbers.tolist()}


def texts_of(case: Case, one: FeedProposal | None, error: str) -> set[str]:
    """The message about a file to a person, as a page of ours gets it."""
    found = {error.replace(str(case.path), "the file")} - {""}
    if one is None:
        return found
    found |= {one.why, *one.notes, *(column.why_not for column in one.table)}
    if one.question is not None:
        found |= {one.question.text, *(choice.against for choice in one.question.choices)}
    return found - {""}


def expected_said(case: Case) -> dict[str, object]:
    """The required proposal. A `text` or `ftc` file has its numbers where its format says."""
    told = {"format": "csv", **case.expected}
    return {name: told[name] for name in _TOLD if name in told}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_is_told_or_asked_about(case: Case) -> None:
    """A file gets its proposal, its question with the likely answers, or what it is.

    Each sentence of that is known to the page, which has it in six languages.
    """
    what, one, error = outcome(case)
    assert [text for text in texts_of(case, one, error) if form_of(text) is None] == []
    assert what == case.expected["expect"]
    if what == "proposal":
        assert one is not None
        assert said_of(one) == expected_said(case)
        assert listed(case, one) == set(case.expected["numbers"])
    if what == "question":
        assert one is not None
        assert one.question is not None
        likely = [choice.answer for choice in one.question.choices if choice.is_likely]
        assert likely == case.expected.get("asked", likely)
        assert case.expected.get("says", "") in one.question.text
    assert what != "unreadable" or case.expected["says"] in error


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.answer], ids=lambda case: case.name
)
def test_the_right_answer_leads_to_the_right_numbers(case: Case) -> None:
    """A question can be answered with an offered answer, and then the file is read correctly."""
    _, asked, _ = outcome(case)
    assert asked is not None
    assert asked.question is not None
    if case.answer[0] == asked.question.option:
        assert case.answer[1] in [choice.answer for choice in asked.question.choices] or (
            case.answer[0] == "--number"
        )
    what, one, _ = outcome(case, *case.answer)
    assert what == "proposal"
    assert one is not None
    assert listed(case, one) == set(case.expected["numbers"])


def test_the_corpus_is_large() -> None:
    """At least 140 lists, each with its own test above: no innocent number is proposed in any.

    With switches' records, and samples with all that must come of them, there are some 300 files.
    """
    assert len(CASES) >= 140
    samples = list((GOLDEN.parent / "feeds").glob("*/*/input*"))
    records = [path for path in (GOLDEN.parent / "cdr").glob("*/*") if path.is_file()]
    assert len(CASES) + len(call_cases()) + len(samples) + len(records) >= 250

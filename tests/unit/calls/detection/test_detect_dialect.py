"""Call records of known switches and of others: recognised, repaired, or mapped; never guessed."""

import tomllib
from collections import Counter
from typing import Any

import pytest

from stream.calls.detection.detect_dialect import Detection, find, likely
from stream.calls.detection.preview import understood
from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.dialect import Dialect
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.submitted_records import records_in
from stream.feeds.detection.foreign_files import what_it_is
from tests.support.detect_corpus import Case, call_cases

CASES = call_cases()
READABLE = [case for case in CASES if case.expected["expect"] != "unreadable"]


def found(case: Case) -> Detection:
    """The report on a file."""
    return find(records_in(case.path.read_bytes()), "TH")


def kind_of(said: Detection) -> str:
    """The kind of it, as `expected.toml` has it."""
    if said.proposals:
        return "proposal"
    return "near" if said.near else "mapping" if said.mapping else "nothing"


@pytest.mark.parametrize("case", READABLE, ids=lambda case: case.name)
def test_each_file_is_recognised_mended_or_mapped(case: Case) -> None:
    """A file gets its dialect, or what its switch misses and the line that adds it, or a table."""
    said, expected = found(case), case.expected
    assert kind_of(said) == expected["expect"]
    if said.proposals:
        assert said.proposals[0].dialect == expected["dialect"]
    if said.near:
        assert said.near[0].dialect == expected["dialect"]
        assert expected["says"] in " ".join(reason for reason, _ in said.near[0].reasons)
        assert likely(records_in(case.path.read_bytes()), "TH") == expected["dialect"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if "open" in case.expected], ids=lambda case: case.name
)
def test_a_draft_says_what_it_knows_and_leaves_open_what_it_does_not(case: Case) -> None:
    """Fields are those that names and values agree on; an open one is refused until it is said."""
    draft = found(case).mapping
    table = tomllib.loads(draft)["mappings"]["NAME"]
    fields, expected = table["fields"], case.expected
    assert expected["fields"].items() <= fields.items()
    still_open = [field for field, place in fields.items() if not place]
    assert still_open == expected["open"]
    told = expected.get("table", {})
    assert {key: table.get(key) for key in told} == told
    assert expected.get("draft_says", "") in draft
    if is_complete(table):
        read = understood(drafted(table), records_in(case.path.read_bytes()), "TH", None)
        assert read.calls + read.other_events == read.records
    else:
        with pytest.raises(ValueError, match="|".join([*still_open, "only", "has no zone"])):
            MappingSettings(**table)


def is_complete(table: dict[str, Any]) -> bool:
    """Return whether a draft asks nothing."""
    is_said = all(table["fields"].values()) and all(table.get("only", {"": "x"}).values())
    return is_said and table.get("time_zone") != ""


def drafted(table: dict[str, Any]) -> Dialect:
    """The dialect of a draft as it is."""
    return dialect_named("mapping:m", {"m": MappingSettings(**table)})


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.expected["expect"] == "unreadable"],
    ids=lambda case: case.name,
)
def test_what_is_no_text_is_named(case: Case) -> None:
    """A spreadsheet's own file is named as what it is."""
    assert case.expected["says"] in what_it_is(case.path.read_bytes())


def test_the_score_of_the_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    """No file is taken for a switch's that it is not of, and each known switch is there."""
    score, wrong = Counter[str](), []
    for case in READABLE:
        said = found(case)
        score[kind_of(said)] += 1
        if said.proposals and case.expected["expect"] != "proposal":
            wrong.append(case.name)
    drafts = [
        is_complete(tomllib.loads(found(case).mapping)["mappings"]["NAME"])
        for case in CASES
        if "open" in case.expected
    ]
    score["complete drafts"], score["drafts with a question"] = sum(drafts), drafts.count(False)
    with capsys.disabled():
        told = ", ".join(f"{count} {what}" for what, count in score.items())
        print(f"\ndialects detect: {len(CASES)} files: {told}; wrong proposals: {len(wrong)}")  # noqa: T201
    assert not wrong
    assert {
        case.expected["dialect"] for case in CASES if "dialect" in case.expected
    } <= KNOWN.keys()

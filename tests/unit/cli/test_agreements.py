"""`ringfence agreements`, as an operator types it: what is agreed, and what follows from it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.core.model.errors import ConfigInvalid
from tests.unit.config.test_agreement_files import EXAMPLES, KH, written

SOME_DAY = "2026-11-25T12:00:00Z"


class Operator:
    """Types commands with one settings file."""

    def __init__(self, folder: Path, agreements: Path | str) -> None:
        self.folder = folder
        self.config = folder / "mine.toml"
        self.config.write_text(
            f'agreements.dir = "{agreements}"\nfeeds.dir = "{folder / "feeds"}"\n'
        )

    def types(self, *words: str, code: int = 0) -> str:
        done = CliRunner().invoke(
            app, ["agreements", *words, "--config", str(self.config)], env={"COLUMNS": "200"}
        )
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    def asks(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.types(*words, "--json", code=code))


@pytest.fixture
def examples(tmp_path: Path) -> Operator:
    """Thailand, with the agreements that are shipped."""
    return Operator(tmp_path, EXAMPLES)


def test_the_examples_hold_together(examples: Operator) -> None:
    """Nothing is wrong with what is shipped, and no two of them contradict each other."""
    told = examples.asks("check")
    assert (told["errors"], told["contradictions"], len(told["agreements"])) == ([], [], 6)
    assert "6 agreements of " in examples.types("check")


def test_all_are_listed_and_each_is_shown_whole(examples: Operator) -> None:
    """Where each stands at a moment; parties, contacts, terms, reports of one."""
    states = {one["agreement"]: one["state"] for one in examples.asks("ls", "--at", SOME_DAY)}
    assert (states["th-kh"], states["th-mm"]) == ("in_force", "pledged")
    later = {one["agreement"]: one["state"] for one in examples.asks("ls", "--at", "2027-09-01")}
    assert later["th-kh"] == "ended"
    assert "th-kh" in examples.types("ls")
    shown = examples.types("show", "th-kh")
    for words in (
        "unblock@kh-cert.example",
        "KH/scam (Article 4 (2)): may block in TH; confidence at least 50",
        "answer within 4 h",
        "a report each month, 10 days after its end, to TH, KH",
    ):
        assert words in shown
    assert "not yet: its lists are only observed" in examples.types("show", "th-mm")
    assert "no agreement xx; known: asean, itu" in examples.types("show", "xx", code=1)


@pytest.mark.parametrize(
    ("words", "may", "rule"),
    [
        (["KH/scam"], "block", "agreement:th-kh"),
        (["MM/scam"], "observe", "agreement:th-mm"),
        (["VN/scam"], "block", "agreement:asean"),
        (["JP/scam"], "flag", "agreement:partners"),
        (["LA/other"], "observe", "no_agreement"),
        (["TH/national"], "block", "list:TH/national"),
        (["CERT/all"], "block", "list:CERT/all"),
        (["TH/national", "--country", "PH"], "flag", "agreement:th-ph"),
        (["KH/scam", "--country", "PH"], "observe", "no_agreement"),
        (["KH/scam", "--at", "2027-09-01T00:00:00Z"], "observe", "no_agreement"),
    ],
)
def test_what_a_list_may_cause_is_explained(examples, words, may, rule) -> None:
    """For a list and a country: the strongest verdict, and the rule that a decision names."""
    words = words if "--at" in words else [*words, "--at", SOME_DAY]
    told = examples.asks("explain", *words)
    assert (told["may"], told["rule"]) == (may, rule)
    assert rule in examples.types("explain", *words)


def test_each_term_is_explained_by_its_clause(examples: Operator) -> None:
    """The agreement's owner, the place in its text, the contact; also the settings' terms."""
    told = examples.asks("explain", "VN/scam", "--at", SOME_DAY)
    assert told["terms"]["countries_min"] == {"value": 2, "by": "agreement:asean"}
    assert told["terms"]["unconfirmed"] == {"value": "flag", "by": "[policy]"}
    (clause,) = told["clauses"]
    assert (clause["reference"], clause["contact"]) == ("Paragraph 9", "unblock@vn-cert.example")


def test_whose_numbers_a_list_may_name_is_explained(tmp_path: Path) -> None:
    """The least of all agreements, and who says so; nothing of it where none limits them."""
    written(tmp_path, "a-one", lists=KH + 'may_list = ["KH", "LA"]\n')
    written(tmp_path, "b-two", lists=KH + 'may_list = ["KH"]\n')
    operator = Operator(tmp_path, tmp_path)
    (tmp_path / "mine.toml").rename(tmp_path / "mine")
    operator.config = tmp_path / "mine"
    told = operator.asks("explain", "KH/scam", "--at", SOME_DAY)
    by = "agreement:a-one, agreement:b-two"
    assert told["terms"]["may_list"] == {"value": ["KH"], "by": by}
    assert [one["may_list"] for one in told["clauses"]] == [["KH", "LA"], ["KH"]]
    said = operator.types("explain", "KH/scam", "--at", SOME_DAY)
    assert f"numbers of: KH; so says {by}" in said
    assert "numbers of KH, LA alone" in said


def test_a_change_within_a_week_is_foretold(examples: Operator) -> None:
    """An agreement that ends in three days is said to end, and what holds then."""
    words = ("explain", "KH/scam", "--at", "2027-08-29T00:00:00Z")
    (change,) = examples.asks(*words)["changes"]
    assert (change["at"], change["may"]) == ("2027-09-01T00:00:00Z", "observe")
    said = examples.types(*words)
    assert "From 2027-09-01T00:00:00Z: may only be observed, rule no_agreement" in said
    assert "In a week from then it is the same." in examples.types("explain", "VN/scam")


def test_contradictions_are_found_and_named(tmp_path: Path) -> None:
    """List, country, both agreements, what each says and which counts; exit code 1."""
    written(tmp_path, "a-one", terms="confidence_min = 60", more='circle = "one"')
    more = 'valid_until = 2099-12-31\ncircle = "two"'
    lists = '[lists."KH/scam"]\naction = "flag"\ncategories = ["loan"]\nshares = "numbers"\n'
    lists += 'may_list = ["KH", "LA"]\n'
    written(tmp_path, "b-two", lists=lists, more=more)
    written(
        tmp_path, "c-over", lists=lists, valid_from="2025-01-01", more="valid_until = 2025-12-31"
    )
    operator = Operator(tmp_path, tmp_path)
    (tmp_path / "mine.toml").rename(tmp_path / "mine")
    operator.config = tmp_path / "mine"
    found = {one["what"]: one for one in operator.asks("check", code=1)["contradictions"]}
    assert {*found} == {
        *("action", "categories", "circle", "confidence_min", "dates", "may_list", "shares")
    }
    assert (found["may_list"]["says"]["b-two"], found["may_list"]["counts"]) == ("KH, LA", "KH, LA")
    assert found["action"]["says"] == {"a-one": "block", "b-two": "flag"}
    assert (found["action"]["counts"], found["action"]["countries"]) == ("flag", ["TH"])
    assert (found["confidence_min"]["counts"], found["categories"]["counts"]) == ("60", "loan")
    said = operator.types("check", code=1)
    assert "KH/scam in TH: action: a-one says block, b-two says flag; what counts: flag" in said
    assert "7 contradictions" in said


def test_files_that_can_not_be_used_are_told_with_the_others(tmp_path: Path) -> None:
    """Every error at once, exit code 2; check-config says the same of them."""
    place = tmp_path / "agreements"
    place.mkdir()
    written(place, "a-one", kind="treaty")
    written(place, "b-two", more="cirle = 1")
    operator = Operator(tmp_path, place)
    told = operator.asks("check", code=2)
    kind, cirle = (error.removeprefix(f"{place}/") for error in told["errors"])
    assert kind.startswith('a-one.toml: kind: must be "memorandum", "declaration", ')
    assert cirle == "b-two.toml: cirle: is no setting; did you mean circle?"
    assert "2 files cannot be used" in operator.types("check", code=2)
    done = CliRunner().invoke(app, ["check-config", "--config", str(operator.config)])
    assert isinstance(done.exception, ConfigInvalid)
    assert [*done.exception.errors] == told["errors"]


def test_what_may_be_a_mistake_is_noted(tmp_path: Path) -> None:
    """Ended or ending, not ours, no key, no feed; a feed whose list nobody agreed on."""
    place, feeds = tmp_path / "agreements", tmp_path / "feeds"
    place.mkdir()
    feeds.mkdir()
    (feeds / "la.toml").write_text('list = "LA/scam"')
    (feeds / "kh.toml").write_text('list = "KH/scams"')
    written(place, "ended", more="valid_until = 2026-01-02")
    written(place, "keyed", more='circle = "kh"')
    other = (EXAMPLES / "th-kh.toml").read_text().replace("TH", "LA").replace("2027", "2997")
    (place / "others.toml").write_text(other)
    operator = Operator(tmp_path, place)
    said = operator.types("check", code=1)
    assert "ended and" not in said, "what is over contradicts nothing"
    for note in (
        "note: ended: ended at 2026-01-03T00:00:00Z",
        "note: keyed: no key of its circle kh here: see `ringfence circle list`",
        f"note: keyed: no feed of {feeds} brings KH/scam; did you mean KH/scams?",
        "note: others: TH ([calls] home_country) is no party",
        "note: a feed brings LA/scam, on which no agreement is in force",
    ):
        assert note in said


def test_without_a_folder_the_commands_say_so(tmp_path: Path) -> None:
    """Nothing is agreed: lists do what [policy] says."""
    operator = Operator(tmp_path, "")
    assert "there are no agreements" in operator.types("ls")
    told = operator.asks("explain", "KH/scam")
    assert (told["may"], told["rule"]) == ("block", "list:KH/scam")
    assert "names no list" in operator.types("explain", "scam", code=2)

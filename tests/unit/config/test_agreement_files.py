"""Agreement files: strict, complete, and every mistake told at once, with file and key."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.config.agreement_files import FILE_BYTES_MAX, AgreementFolder, read_agreement
from stream.core.model.agreement import FOREVER, Agreement, AgreementKind, Every, PartyRole, Shared
from stream.core.model.decision import Action
from stream.core.model.entry import Category
from stream.core.model.errors import ConfigInvalid
from tests.support.forbidden import forbidden

EXAMPLES = Path(__file__).parents[3] / "config" / "agreements"
NAMES = ("asean", "itu", "partners", "th-kh", "th-mm", "th-ph")
LEAST = """
title = "TH and KH"
kind = "{kind}"
valid_from = {valid_from}
{more}
[parties]
TH = {{ roles = ["owner", "enforcer"], contact = "noc@th.example" }}
KH = {{ roles = ["owner", "enforcer"], contact = "noc@kh.example" }}
[terms]
action = "block"
{terms}
{lists}
"""
KH = '[lists."KH/scam"]\n'


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def written(folder: Path, name: str = "th-kh", **parts: str) -> Path:
    usual = {
        "kind": "memorandum", "valid_from": "2026-01-01", "more": "", "terms": "", "lists": KH
    }  # fmt: skip
    path = folder / f"{name}.toml"
    path.write_text(LEAST.format(**usual | parts))
    return path


def errors_of(folder: Path, **parts: str) -> list[str]:
    path = written(folder, **parts)
    with pytest.raises(ConfigInvalid) as caught:
        read_agreement(path)
    return [error.removeprefix(f"{path}: ") for error in caught.value.errors]


def example(name: str) -> Agreement:
    return read_agreement(EXAMPLES / f"{name}.toml")


def test_every_example_is_one_of_those_named_here():
    """No shipped agreement goes untested."""
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_can_be_read_and_says_that_it_is_invented(name):
    """Each shipped agreement is whole, and nobody can take it for a government's word."""
    agreement = example(name)
    assert agreement.id == name
    assert "invented" in agreement.title
    assert agreement.reporting is not None
    assert agreement.texts


def test_the_examples_say_what_the_issue_says():
    """Blocks with neighbours, a pledge observed, two countries of ASEAN, flags of partners."""
    th_kh, th_mm, asean = example("th-kh"), example("th-mm"), example("asean")
    clause = th_kh.clause("KH/scam", "TH")
    assert clause is not None
    assert (clause.terms.action, clause.shares, clause.reference) == (
        Action.BLOCK, Shared.NUMBERS, "Article 4 (2)"
    )  # fmt: skip
    assert clause.terms.categories is not None
    assert Category.CALL_CENTRE in clause.terms.categories
    assert (th_kh.circle, th_kh.response_target_s) == ("asean", 4 * 3600)
    assert (th_kh.valid_from_s, th_kh.valid_until_s) == (at("2025-09-01"), at("2027-09-01"))
    assert th_kh.clause("KH/scam", "KH") is None
    assert (th_mm.kind, th_mm.confirmed_s) == (AgreementKind.PLEDGE, FOREVER)
    assert {one.terms.countries_min for one in asean.clauses} == {2}
    assert {one.owner for one in example("partners").clauses} == {"CN", "IN", "JP", "KR", "US"}
    assert {one.terms.action for one in example("partners").clauses} == {Action.FLAG}


def test_an_observer_gets_reports_and_no_list():
    """The ITU gets a report each quarter; nothing is shared with it."""
    itu = example("itu")
    assert itu.clauses == ()
    assert itu.parties["ITU"].roles == {PartyRole.OBSERVER}
    assert itu.reporting is not None
    assert (itu.reporting.every, itu.reporting.to) == (Every.QUARTER, ("ITU",))


def test_a_list_takes_from_the_terms_what_it_does_not_say(tmp_path):
    """One list may differ; the others are as the terms are."""
    lists = KH + 'action = "flag"\nmay_list = ["KH", "LA"]\n[lists."TH/national"]\n'
    agreement = read_agreement(written(tmp_path, terms="confidence_min = 70", lists=lists))
    kh, th = agreement.clauses
    assert (kh.terms.may_list, th.terms.may_list) == (frozenset({"KH", "LA"}), None)
    assert (kh.terms.action, kh.terms.confidence_min) == (Action.FLAG, 70)
    assert (th.terms.action, th.terms.confidence_min) == (Action.BLOCK, 70)
    assert (set(kh.to), set(th.to)) == ({"TH"}, {"KH"})


def test_a_time_is_exact_and_a_day_counts_whole(tmp_path):
    """Times say their zone; a day alone is one of UTC, its end the end of that day."""
    more = "valid_until = 2026-12-31T18:00:00+07:00"
    agreement = read_agreement(written(tmp_path, valid_from="2026-01-01", more=more))
    assert agreement.valid_from_s == at("2026-01-01")
    assert agreement.valid_until_s == at("2026-12-31T11:00:00")
    one_day = read_agreement(written(tmp_path, more="valid_until = 2026-01-01"))
    assert one_day.valid_until_s - one_day.valid_from_s == 86_400
    for_ever = read_agreement(written(tmp_path, more="valid_until = 9999-12-31"))
    assert for_ever.valid_until_s == FOREVER


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"more": 'cirle = "x"'}, "cirle: is no setting; did you mean circle?"),
        ({"more": 'circle = "asean@2"'}, "circle: is a circle, not an epoch of its key: asean"),
        ({"kind": "treaty"}, 'kind: must be "memorandum"'),
        ({"valid_from": "2026-02-30"}, "is no TOML: "),
        ({"valid_from": '"2026-01-01"'}, "valid_from: must be a day or a time without quotation"),
        ({"valid_from": "2026-01-01T10:00:00"}, "valid_from: must say its time zone"),
        ({"more": "valid_until = 2025-12-31"}, "valid_until: is not after valid_from"),
        ({"more": "confirmed = 2026-02-01"}, 'confirmed: is for kind = "pledge"'),
        (
            {"kind": "pledge", "more": "confirmed = 2025-02-01"},
            "confirmed: is not between valid_from and valid_until",
        ),
        ({"terms": 'to = ["TH"]'}, "terms.to: is for one list"),
        ({"terms": "confidence_min = 101"}, "terms.confidence_min: must be 0 to 100"),
        ({"terms": 'categories = ["legitimate"]'}, "terms.categories: may hold"),
        ({"terms": "categories = []"}, "terms.categories: is empty"),
        ({"terms": 'may_list = ["KHM"]'}, "terms.may_list: must be a country"),
        ({"terms": "may_list = []"}, "terms.may_list: is empty"),
        ({"lists": '[lists]\n"KH/scam" = {}\n"TH/x" = {}', "terms": "x = 1"}, "terms.x: is no"),
        ({"terms": "countries_min = 0"}, "terms.countries_min: must be 1 to 250"),
        ({"lists": ""}, "lists: is missing"),
        ({"lists": '[lists."VN/scam"]'}, 'lists."VN/scam": its owner "VN" is no party'),
        ({"lists": '[lists."scam"]'}, "lists.scam: names no list"),
        ({"lists": KH + 'to = ["LA"]'}, 'lists."KH/scam".to: "LA" is no party'),
        ({"lists": KH + 'to = ["KH"]'}, 'lists."KH/scam".to: KH owns the list'),
        ({"lists": KH + "to = []"}, 'lists."KH/scam": no party is an "enforcer" of it'),
        ({"lists": KH + 'action = "kill"'}, 'lists."KH/scam".action: must be "observe"'),
        ({"lists": KH + '[report]\nevery = "month"\nto = ["ITU"]'}, 'report.to: "ITU" is no'),
        (
            {"lists": KH + '[parties.kh]\nroles = ["owner"]\ncontact = "x"'},
            'parties.kh: must be a country of ISO 3166 in two capitals, not "kh"',
        ),
        ({"lists": KH + '[parties.XQ]\nroles = ["owner"]\ncontact = "x"'}, "parties.XQ: must be"),
        ({"lists": KH + '[parties.ITU]\nroles = []\ncontact = "x"'}, "parties.ITU.roles: names"),
        (
            {"lists": KH + '[parties.ITU]\nroles = ["observer", "owner"]\ncontact = "x"'},
            'parties.ITU.roles: an "observer"',
        ),
        (
            {"lists": KH + '[parties.ITU]\nroles = ["enforcer"]\ncontact = "x"'},
            'parties.ITU.roles: an "enforcer" is a country',
        ),
        ({"valid_from": "1969-12-31"}, "valid_from: must be a time from 1970 to 9999"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_file_and_key(tmp_path, parts, said):
    """Each wrong value says what it is, and what would be right; once."""
    (error,) = errors_of(tmp_path, **parts)
    assert error.startswith(said), error


def test_every_mistake_is_told_at_once(tmp_path):
    """A check of files reports all faults in all files."""
    written(tmp_path, "a-one", kind="treaty", terms='shares = "all"\nconfidence_min = "5"')
    written(tmp_path, "B two")
    folder = AgreementFolder(tmp_path)
    with pytest.raises(ConfigInvalid) as caught:
        folder.start()
    assert len(caught.value.errors) == 4
    assert "an agreement must be named by small letters" in caught.value.errors[0]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_file_is_read_or_refused_with_reasons(tmp_path, data):
    """Lines lost, doubled, swapped or made nonsense: an agreement, or errors that name the file."""
    lines = (EXAMPLES / "th-kh.toml").read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        what = data.draw(st.sampled_from(["", "x = 1", "[lists]", "lists = 1", "parties = []"]))
        other = data.draw(st.sampled_from([*lines, "[terms]", 'terms = "x"', "report = 1"]))
        lines[place : place + 1] = data.draw(st.sampled_from([[], [what], [other, lines[place]]]))
    path = tmp_path / "th-kh.toml"
    path.write_text("\n".join(lines))
    errors: tuple[str, ...] = ()
    try:
        assert read_agreement(path).id == "th-kh"
    except ConfigInvalid as wrong:
        errors = wrong.errors or ("refused without a reason",)
    assert all(error.startswith(f"{path}: ") for error in errors)


def test_a_huge_file_is_not_read(tmp_path):
    """A limit, told in the message."""
    path = tmp_path / "big.toml"
    path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(ConfigInvalid, match=f"{FILE_BYTES_MAX} is the most"):
        read_agreement(path)


def test_a_broken_file_keeps_its_last_good_version(tmp_path):
    """A worker goes on with what it read last, the other files' changes take effect."""
    written(tmp_path, "one")
    folder = AgreementFolder(tmp_path)
    assert [held.id for held in folder.start().held] == ["one"]
    assert not folder.look()
    written(tmp_path, "one", kind="treaty, broken")
    written(tmp_path, "two")
    assert folder.look()
    assert [held.id for held in folder.reading.agreements.held] == ["one", "two"]
    assert [*folder.reading.errors] == ["one"]
    written(tmp_path, "one", more="valid_until = 2027-01-01")
    assert folder.look()
    assert folder.reading.errors == {}
    assert folder.reading.agreements.held[0].valid_until_s == at("2027-01-02")
    (tmp_path / "two.toml").unlink()
    assert folder.look()
    assert [held.id for held in folder.reading.agreements.held] == ["one"]


def test_a_folder_that_goes_away_ends_no_agreement(tmp_path):
    """A disk that is not mounted for a moment is no notice of termination."""
    place = tmp_path / "agreements"
    place.mkdir()
    written(place, "one")
    folder = AgreementFolder(place)
    folder.start()
    place.rename(tmp_path / "elsewhere")
    assert folder.look()
    assert not folder.look()
    assert [held.id for held in folder.reading.agreements.held] == ["one"]
    assert "there is no such folder" in folder.reading.errors[str(place)][0]
    (tmp_path / "elsewhere").rename(place)
    os.utime(place / "one.toml")
    assert folder.look()
    assert folder.reading.errors == {}


def test_a_folder_that_may_not_be_looked_at_ends_no_agreement(tmp_path, monkeypatch):
    """`chmod 700 /etc/ringfence` ended every worker by an error of Python, at each start again."""
    written(tmp_path, "one")
    folder = AgreementFolder(tmp_path)
    folder.start()
    forbidden(monkeypatch, tmp_path, "stat")  # the folder above is closed
    assert folder.look()
    assert [held.id for held in folder.reading.agreements.held] == ["one"]
    assert folder.reading.errors == {
        str(tmp_path): (f"{tmp_path}: cannot be read: Permission denied",)
    }


def test_no_folder_means_no_agreements():
    """Without the setting everything is as it was before there were agreements."""
    folder = AgreementFolder(None)
    assert not folder.start()
    assert not folder.look()

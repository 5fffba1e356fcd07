"""The files that the exercise writes are what the product reads."""

import pytest

from stream.config.agreement_files import read_agreement
from stream.config.feed_files import feed_context, read_feed
from stream.config.settings import load
from stream.core.model.agreement import Shared
from stream.core.model.decision import Action
from stream.lab.demo.demo_kafka import Topics
from stream.lab.demo.product import DemoFailed, Places
from stream.lab.exercise import papers
from stream.lab.exercise.papers import BY_ISO, AgreementPaper, people_of, taking_part
from stream.lab.exercise.session import _database
from stream.lab.exercise.training import agreements_among

PLACES = Places("127.0.0.1:9092", True, "redis://127.0.0.1/3", True, Topics.named("x.th."), "g")


@pytest.mark.parametrize("places", [None, PLACES])
def test_settings_and_feeds_are_read_as_meant(tmp_path, places):
    """A country's settings load, without any word that the product does not know."""
    file, root = tmp_path / "ringfence.toml", tmp_path / "th.json"
    partners = {"TH": ("http://127.0.0.1:1", root)}
    ports = papers.Ports(1, 2, 3)
    file.write_text(papers.settings(BY_ISO["TH"], tmp_path, places, ports, partners))
    settings = load([file], {papers.CIRCLE_KEY: "ab" * 32})
    assert settings.enforcement.partners["TH"].root == str(root)
    assert settings.trunks["th-bkk-01"].country == "TH"
    feed = tmp_path / "kh-scam.toml"
    feed.write_text(papers.feed("KH/scam", "http://127.0.0.1:1/x", tmp_path / "root.json"))
    read = read_feed(feed, {}, feed_context(settings))
    assert (read.feed.list_name, read.feed.circle, read.every_s) == ("KH/scam", "exercise", 1)
    if places is not None:
        assert settings.calls.topics == {"x.th.calls": "ringfence"}
        assert settings.redis.url == PLACES.redis_url


@pytest.mark.parametrize("count", [3, 4, 5])
def test_agreements_are_read_as_meant(tmp_path, count):
    """Every agreement of the exercise is one to the product, and says what was meant."""
    isos = tuple(country.iso for country in taking_part(count))
    for made in agreements_among(isos):
        path = tmp_path / f"{made.id}.toml"
        path.write_text(made.text())
        read = read_agreement(path)
        assert [clause.list for clause in read.clauses] == list(made.lists)
        assert read.clauses[0].terms.action is Action[made.action.upper()]
        assert read.clauses[0].shares is Shared(made.shares)
        assert "invented" in read.title


def test_an_agreement_that_ends_or_is_confirmed_says_when(tmp_path):
    """The product reads the moment that a scene adds to a file."""
    path = tmp_path / "th-mm.toml"
    made = AgreementPaper(
        ("TH", "MM"), ("MM/scam",), "pledge", confirmed=1_764_000_000, until=1_764_000_600
    )
    path.write_text(made.text())
    read = read_agreement(path)
    assert (read.confirmed_s, read.valid_until_s) == (1_764_000_000, 1_764_000_600)


def test_no_number_has_two_parts_to_play():
    """Listed, innocent and spare numbers are different ones, and the same in each run."""
    for country in taking_part(5):
        people = people_of(country, 1)
        everybody = [*people.listed, *people.innocent, *people.spare]
        assert len(set(everybody)) == len(everybody)
        assert all(number.startswith(f"+{country.code}") for number in everybody)
        assert people == people_of(country, 1)
        taken = people.take(3)
        assert not set(taken) & set(people.spare)


def test_each_country_has_a_database_of_its_own():
    """Those after the one that was named; what is no number is refused."""
    assert _database("redis://h:1/4", 2) == "redis://h:1/6"
    assert _database("redis://h:1", 1) == "redis://h:1/1"
    with pytest.raises(DemoFailed, match="no database"):
        _database("redis://h:1/x", 1)

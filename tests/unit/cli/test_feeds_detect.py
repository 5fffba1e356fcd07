"""`ringfence feeds detect`: its proposal is a feed's file as soon as the operator completed it."""

import json

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.config.feed_files import FeedContext, read_feed
from stream.core.model.errors import ConfigInvalid
from stream.core.numbers.prefix_entries import STRICT
from stream.kafka.settings import KafkaSettings
from tests.support.feed_samples import Case, cases, meaning_of

KAFKA = KafkaSettings("127.0.0.1:9", "tests")
CONTEXT = FeedContext(own=(), home="TH", prefixes=STRICT, kafka=lambda: KAFKA)


def run(*words: str):
    return CliRunner().invoke(app, ["feeds", "detect", *words], env={"COLUMNS": "200"})


COMPLETED = {
    '"XX/partner"': '"TH/national"',
    'name = "XX"': 'name = "TH"',
    "abuse@example.org": "abuse@police.example",
}


def completed(text: str) -> str:
    """A proposal with what it marks filled in."""
    for left, written in COMPLETED.items():
        assert left in text
        text = text.replace(left, written)
    return text


@pytest.mark.parametrize("case", cases(rows=True), ids=lambda case: case.name)
def test_what_is_printed_is_a_feeds_file_once_it_is_completed(tmp_path, case: Case):
    """Kept as it is printed, the proposal is no feed; completed, it is one, of the right format."""
    said = run(str(case.path))
    assert said.exit_code == 0, said.output
    path = tmp_path / "partner.toml"
    path.write_text(said.output)
    with pytest.raises(ConfigInvalid) as caught:
        read_feed(path, {}, CONTEXT)
    for key in ("list", "owner.name", "owner.contact"):
        assert any(f'partner.toml: {key}: "' in error for error in caught.value.errors)
    path.write_text(completed(said.output))
    assert read_feed(path, {}, CONTEXT).feed.format == case.kind


@pytest.mark.parametrize("left", COMPLETED)
def test_a_proposal_completed_but_for_one_answer_is_refused(tmp_path, left):
    """List, owner and contact of a draft are each refused, with the words that are wrong."""
    (case,) = [case for case in cases(rows=True) if case.name == "csv/spamchile"]
    text = completed(run(str(case.path)).output)
    path = tmp_path / "partner.toml"
    path.write_text(text.replace(COMPLETED[left], left))
    with pytest.raises(ConfigInvalid, match="was left open") as caught:
        read_feed(path, {}, CONTEXT)
    assert len(caught.value.errors) == 1


def test_a_thai_spreadsheet_is_a_list_without_reading_the_code(tmp_path):
    """With its words mapped, the proposed feed reads the spreadsheet as the golden sample says."""
    (case,) = [case for case in cases(rows=True) if case.name == "csv/spreadsheet-thai"]
    text = run(str(case.path)).output
    for word, kind in case.defaults.categories.items():
        assert f'"{word}" = "other"' in text
        text = text.replace(f'"{word}" = "other"', f'"{word}" = "{kind.label}"')
    path = tmp_path / "partner.toml"
    path.write_text(completed(text))
    feed = read_feed(path, {}, CONTEXT).feed
    assert feed.options == case.options
    assert feed.reading.region == case.defaults.region
    mapped = {word: feed.reading.categories[word] for word in case.defaults.categories}
    assert mapped == case.defaults.categories
    assert meaning_of(case)["entries"]


def test_json_and_what_is_nothing(tmp_path):
    """--json has every proposal; a file that is nothing known ends with 1, an unreadable with 2."""
    (case,) = [case for case in cases(rows=True) if case.name == "ftc/day"]
    (found,) = json.loads(run(str(case.path), "--json").stdout)
    assert (found["format"], found["good"], found["rows"]) == ("ftc", 5, 7)
    path = tmp_path / "x"
    path.write_text("hello\n")
    assert run(str(path)).exit_code == 1
    path.write_bytes(b"\xd0\xcf\x11\xe0\0\1\0\0\0\2")
    assert run(str(path)).exit_code == 2
    assert run(str(path), "--region", "Thailand").exit_code == 2


WAYS = "Number,Last complaint,ends\n+447700900120,01/02/2026,03/04/2046\n"


def test_a_day_that_is_two_is_asked_for_each_column(tmp_path):
    """Each column of days without a proof is a question; the answers make a feed's file."""
    file, path = tmp_path / "x.csv", tmp_path / "partner.toml"
    file.write_text(WAYS.replace("ends", "valid until"))
    said = run(str(file))
    assert said.exit_code == 1
    assert "column 'Last complaint': '01/02/2026' is 2026-02-01 or 2026-01-02" in said.output
    path.write_text(completed(said.output))
    with pytest.raises(ConfigInvalid, match="dates"):
        read_feed(path, {}, CONTEXT)
    file.write_text(WAYS.replace("ends", "valid until") + "+447700900121,25/02/2026,05/06/2046\n")
    said = run(str(file))
    assert (said.exit_code, "--expires-dates month-day" in said.output) == (1, True)
    path.write_text(completed(said.output))
    with pytest.raises(ConfigInvalid, match="expires_dates"):
        read_feed(path, {}, CONTEXT)
    said = run(str(file), "--expires-dates", "month-day")
    assert said.exit_code == 0, said.output
    path.write_text(completed(said.output))
    dates = read_feed(path, {}, CONTEXT).feed.reading.dates
    assert (dates.order, dates.of("expires_at").order) == ("day-month", "month-day")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("feeds", "check"), WAYS),
        (("lists", "import", "TH/x"), "number,reported_at\n+447700900120,01/02/2026\n"),
    ],
)
def test_nothing_is_checked_or_imported_by_a_guess(tmp_path, words, text):
    """The command ends with the column, both days, and the options that say which."""
    file = tmp_path / "x.csv"
    file.write_text(text)
    said = CliRunner().invoke(app, [*words, str(file)], env={"COLUMNS": "200"})
    assert said.exit_code in {1, 2}
    for part in ("'01/02/2026' is 2026-02-01 or 2026-01-02", "--dates day-month", "--dates month"):
        assert part in said.output

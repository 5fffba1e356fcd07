"""Feed files: strict, complete, and every mistake told at once, with file and key."""

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from stream.config.feed_files import FeedContext, read_feed, read_feeds
from stream.config.sections import feed_paths
from stream.core.model.entry import Category
from stream.core.model.errors import ConfigInvalid
from stream.core.numbers.prefix_entries import STRICT
from stream.feeds.feed_sources import KINDS, FeedSetup, shape_of
from stream.feeds.open import FORMATS
from stream.kafka.settings import KafkaSettings
from tests.support.forbidden import forbidden

KAFKA = KafkaSettings("127.0.0.1:9", "tests")
CONTEXT = FeedContext(own=("+6621234*",), home="TH", prefixes=STRICT, kafka=lambda: KAFKA)
SECRETS = {
    "SCAM_TRACKER_TOKEN": "t",
    "MISP_KEY": "k",
    "PHONEBLOCK_TOKEN": "p",
    "TAXII_PASSWORD": "s",
    "KH_ACCESS_KEY": "a",
    "KH_SECRET_KEY": "b",
}
EXAMPLES = sorted((Path(__file__).parents[3] / "config" / "feeds").glob("*.toml"))
LEAST = """
list = "KH/scam"
format = "text"
{more}
[owner]
name = "{owner}"
contact = "noc@trc.example"
[from]
kind = "file"
path = "kh.txt"
{last}
"""


def read(folder: Path, more: str = "", last: str = "", owner: str = "KH") -> FeedSetup:
    path = folder / "kh-scam.toml"
    path.write_text(LEAST.format(more=more, last=last, owner=owner))
    return read_feed(path, {}, CONTEXT)


def errors_of(folder: Path, **parts: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        read(folder, **parts)
    return [error.removeprefix(f"{folder}/kh-scam.toml: ") for error in caught.value.errors]


def test_the_least_that_a_feed_says(tmp_path):
    """List, format, owner and where from are enough; the rest has defaults that are safe."""
    setup = read(tmp_path)
    feed = setup.feed
    reading = feed.reading
    assert (feed.name, feed.list_name, reading.category) == ("kh-scam", "KH/scam", Category.OTHER)
    assert (reading.expires_after_s, feed.renew_s) == (10 * 86_400, 86_400)
    assert (setup.every_s, setup.jitter_s) == (900, 90)
    assert feed.own == ("+6621234*",)


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"more": "lits = 1"}, "lits: is no setting; did you mean list?"),
        ({"more": 'expires_in = "ten days"'}, "expires_in: must be a span of time"),
        ({"more": 'category = "scam"'}, "category: must be "),
        ({"more": 'dates = "dmy"'}, "dates: must be"),
        ({"more": 'utc_offset = "+7"'}, "utc_offset: is no time zone"),
        (
            {"more": 'region = "th"'},
            'region: must be a country of ISO 3166 in two capitals, not "th"',
        ),
        ({"more": "confidence_max = 900"}, "confidence_max: must be 0 to 100, not 900"),
        ({"more": 'may_list = ["KHM"]'}, "may_list: must be a country"),
        ({"more": 'speaks_for = ["police"]'}, "speaks_for: needs sources"),
        ({"more": 'samples = ["+66812345678"]'}, "samples: are for format"),
        ({"more": 'circle = ""'}, "circle: must not be empty"),
        (
            {"last": "[gate]\nshrink_percent = 1"},
            "gate.shrink_percent: is no setting; did you mean",
        ),
        ({"last": "[gate]\nshrink_percent_max = 101"}, "gate: shrink_percent_max must be 0 to 100"),
        ({"last": '[gate]\nallow_listed = "ignore"'}, "gate.allow_listed: must be"),
        ({"last": '[columns]\nnumbr = "Tel"'}, "columns.numbr: is no field"),
        ({"last": "[columns]\nnumber = 1.5"}, "columns.number: must be a header's text"),
        ({"last": '[categories]\nfoo = "bar"'}, "categories.foo: must be"),
        ({"last": '[schedule]\nevery = "0s"'}, "schedule.every: must be a span"),
        ({"last": "[from2]\nx = 1"}, "from2: is no setting"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path, parts, error):
    """A fault in a feed file is refused, with file, key and the allowed values."""
    (found,) = errors_of(tmp_path, **parts)
    assert found.startswith(error)


def test_every_mistake_is_told_at_once(tmp_path):
    """Several mistakes in several files are one list, so that an operator corrects them once."""
    (tmp_path / "a.toml").write_text('list = "KH"\nformat = "texts"\n[from]\nkind = "ftp"\n')
    (tmp_path / "b.toml").write_text("list = ")
    (tmp_path / "Bad Name.toml").write_text(LEAST.format(more="", last="", owner="KH"))
    with pytest.raises(ConfigInvalid) as caught:
        read_feeds(tmp_path, {}, CONTEXT)
    told = "\n".join(caught.value.errors)
    for part in (
        "a.toml: list:",
        "a.toml: format:",
        "a.toml: owner: is missing",
        "a.toml: from.kind:",
    ):
        assert part in told
    assert "b.toml: is no TOML" in told
    assert "a feed must be named by small letters" in told


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """A missing folder is no empty folder: nothing would be followed, and nobody would know."""
    with pytest.raises(ConfigInvalid, match="there is no such folder"):
        read_feeds(tmp_path / "feeds", {}, CONTEXT)


def test_a_folder_that_may_not_be_looked_at_is_not_empty(tmp_path, monkeypatch):
    """An empty one would end every feed: "its file is gone"."""
    (tmp_path / "a.toml").write_text("")
    forbidden(monkeypatch, tmp_path)
    with pytest.raises(ConfigInvalid, match="cannot be read: Permission denied"):
        feed_paths(tmp_path)


def test_secrets_come_from_the_environment_or_a_file(tmp_path):
    """A token that is named and not there is an error that names the variable, never the token."""
    (example,) = [path for path in EXAMPLES if path.stem == "jsonl-http"]
    with pytest.raises(ConfigInvalid, match="SCAM_TRACKER_TOKEN is not set"):
        read_feed(example, {}, CONTEXT)
    token = tmp_path / "token"
    token.write_text("secret\n")
    found = read_feed(example, {"SCAM_TRACKER_TOKEN_FILE": str(token)}, CONTEXT)
    assert "secret" not in repr(found)


@pytest.mark.parametrize(
    ("owner", "more", "codes"),
    [
        ("KH", "", {855}),
        ("TH", "", None),
        ("CERT", "", None),
        ("KH", 'may_list = ["*"]', None),
        ("KH", 'may_list = ["KH", "VN"]', {855, 84}),
        ("TH", 'may_list = ["TH"]', {66}),
    ],
)
def test_whose_numbers_a_feed_may_list(tmp_path, owner, more, codes):
    """Another country lists its own numbers; our own and organisations any; a file may say."""
    assert read(tmp_path, more, owner=owner).feed.codes == codes


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_every_example_can_be_read(path):
    """Each example in config/feeds is a feed file without a mistake."""
    assert read_feed(path, SECRETS, CONTEXT).feed.name == path.stem


def test_there_is_an_example_for_each_format():
    """There is an example for each format of a feed, and for each transport."""
    feeds = [read_feed(path, SECRETS, CONTEXT) for path in EXAMPLES]
    assert {setup.feed.format for setup in feeds} == {*FORMATS, "snapshot"}
    assert {setup.source.kind for setup in feeds} == set(KINDS)


def test_a_verdict_is_remembered_only_under_the_same_settings(tmp_path):
    """A version that was held is judged again once its feed's file says something else."""
    before = read(tmp_path).feed.digest
    assert read(tmp_path, last='[schedule]\nevery = "1h"').feed.digest == before
    assert read(tmp_path, last="[gate]\nshrink_percent_max = 90").feed.digest != before
    assert read(tmp_path, more='may_list = ["*"]').feed.digest != before


def keys_of(kind: Any) -> Iterator[str]:
    """Keys of a table, those of the tables in it as `login.username`."""
    for name, shape in get_type_hints(kind).items():
        yield from (f"{name}.{key}" for key in keys_of(shape)) if is_dataclass(shape) else [name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_transport_is_in_an_example(kind: str) -> None:
    """Set, or as a comment with its default."""
    shown = set()
    for path in EXAMPLES:
        shown |= set(re.findall(r"^(?:# )?([\w.]+) = ", path.read_text(), re.MULTILINE))
    assert not set(keys_of(shape_of(kind))) - shown

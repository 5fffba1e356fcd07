"""Addresses of examples in the settings are reported, so that callers get no dead link."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.config.placeholders import placeholders
from stream.config.settings import load
from stream.doctor.expiry_checks import check_placeholders
from stream.ops.schema.checks import contact, reserved_host, somebody, somebodys_list

FEED = """
list = "KH/scam"
format = "text"
[owner]
name = "KH"
contact = "{contact}"
[from]
kind = "file"
path = "kh.txt"
"""


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("https://redress.example/d/{decision_id}", "redress.example"),
        ("abuse@example.org", "example.org"),
        ("mailto:a@mail.Example.COM", "mail.Example.COM"),
        ("x@host.invalid", "host.invalid"),
        ("https://ringfence.carrier.co.th/d/{decision_id}", ""),
        ("scam@myexample.org", ""),
        ("a@example.org.th", ""),
        ("+66 2 123 4567", ""),
        ("see example", ""),
        ("." * 100_000 + "example.org", ""),
    ],
)
def test_names_for_examples(text: str, host: str) -> None:
    """Only the names that RFC 2606 keeps for examples are taken for them."""
    assert reserved_host(text) == host


def test_what_a_draft_says_is_no_answer() -> None:
    """`feeds detect` leaves three answers open, and none of them passes for one."""
    assert somebodys_list("XX/partner")
    assert somebodys_list("XX/scam")
    assert somebodys_list("TH/national") is None
    assert somebodys_list("TH")
    assert somebody("XX")
    assert somebody("")
    assert somebody("ITU") is None
    assert contact("abuse@example.org")
    assert contact("")
    assert contact("desk@police.example") is None


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("feeds", "agreements"):
        (tmp_path / folder).mkdir()
    path = tmp_path / "ringfence.toml"
    path.write_text(f'feeds.dir = "{tmp_path}/feeds"\nagreements.dir = "{tmp_path}/agreements"\n')
    return path


def test_every_place_is_told(config: Path) -> None:
    """The page for blocked callers, owners and feeds: each place with what stands there."""
    folder = config.parent
    config.write_text(config.read_text() + 'owners.MM.contact = "noc@carrier.example"\n')
    (folder / "feeds" / "kh.toml").write_text(FEED.format(contact="noc@trc.example"))
    (folder / "feeds" / "vn.toml").write_text(FEED.format(contact="noc@trc.gov.kh"))
    (folder / "feeds" / "broken.toml").write_text("[")
    found = [*placeholders(load([config], {}), {})]
    assert [text.partition(": ")[0] for text in found] == [
        "policy.redress_url",
        "owners.MM.contact",
        f"{folder}/feeds/kh.toml",
    ]
    assert "redress.example does not exist" in found[0]
    lines = [*check_placeholders(load([config], {}), {})]
    assert [str(line.grade) for line in lines] == ["warn"] * 3


def test_nothing_is_told_where_all_is_said(config: Path) -> None:
    """With a page of one's own doctor says ok, and check-config prints nothing besides."""
    page = 'policy.redress_url = "https://block.carrier.co.th/d/{decision_id}"\n'
    config.write_text(config.read_text() + page)
    assert [*placeholders(load([config], {}), {})] == []
    assert [str(one.grade) for one in check_placeholders(load([config], {}), {})] == ["ok"]
    said = CliRunner().invoke(app, ["check-config", "--config", str(config)])
    assert (said.exit_code, said.stderr) == (0, "")


def test_check_config_warns_and_refuses(config: Path) -> None:
    """The page of the defaults is a warning on stderr; a draft among the feeds is an error."""
    said = CliRunner().invoke(app, ["check-config", "--config", str(config)])
    assert said.exit_code == 0
    assert "warning: policy.redress_url: redress.example does not exist" in said.stderr
    assert "warning" not in said.stdout
    (config.parent / "feeds" / "x.toml").write_text(FEED.format(contact="abuse@example.org"))
    said = CliRunner().invoke(app, ["check-config", "--config", str(config)])
    assert said.exit_code != 0
    assert 'owner.contact: "abuse@example.org" was left open' in str(said.exception)

"""`ringfence init` and `ringfence assets`: files for a start."""

import re
import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from stream.config.bundled_files import ASSETS, file_names, location
from stream.config.settings import load
from tests.support.commands import command

DEFAULTS = load([], {})


def test_a_start_is_the_defaults_and_what_was_chosen(tmp_path: Path) -> None:
    """The file has each setting of the defaults, in force or commented out, and is valid."""
    folder = tmp_path / "etc"
    chosen = ("--kafka", "kafka-1:9093", "--redis", "rediss://store:6380/1", "--country", "KH")
    said = command("init", str(folder), *chosen, "--topic", "cdr.in", "--dialect", "kamailio")
    assert said.code == 0, said.output
    toml = folder / "ringfence.toml"
    made = load([toml], {})
    assert made.kafka.bootstrap_servers == "kafka-1:9093"
    assert made.redis.url == "rediss://store:6380/1"
    assert made.calls.home_country == "KH"
    assert dict(made.calls.topics) == {"cdr.in": "kamailio"}
    state = folder / "state"
    assert made.lists.state_dir == str(state)
    assert made.exchange.keys_dir == str(state / "exchange" / "keys")
    assert Path(made.feeds.dir).is_dir()
    assert Path(made.agreements.dir).is_dir()
    # The rest is as without the file.
    calls = replace(made.calls, home_country="TH", topics=DEFAULTS.calls.topics)
    assert calls == DEFAULTS.calls
    assert (made.policy, made.serve, made.sip, made.ops) == (
        DEFAULTS.policy, DEFAULTS.serve, DEFAULTS.sip, DEFAULTS.ops
    )  # fmt: skip
    whole = tomllib.loads(re.sub(r"(?m)^#(\w+ = )", r"\1", toml.read_text()))
    defaults = tomllib.loads(location("settings").read_text())
    assert {name: set(table) for name, table in whole.items()} == {
        name: set(table) for name, table in defaults.items()
    }
    assert stat.S_IMODE((folder / "secrets.env").stat().st_mode) == 0o600
    assert command("check-config", "--config", str(toml)).code == 0


def test_a_start_replaces_nothing(tmp_path: Path) -> None:
    """A folder that has one of the files is left as it was."""
    (tmp_path / "secrets.env").write_text("RINGFENCE_KAFKA_PASSWORD=a\n")
    said = command("init", str(tmp_path))
    assert said.code == 1
    assert said.err == f"{tmp_path / 'secrets.env'} is there already: nothing was written\n"
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.env"]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--country", "Q"), "calls.home_country"),
        (("--dialect", "cisco"), "calls.topics"),
        (("--redis", "http://store"), "redis.url"),
    ],
)
def test_a_wrong_choice_leaves_no_file(tmp_path: Path, words: tuple[str, str], key: str) -> None:
    """The error names the setting, and the command can be typed again."""
    said = command("init", str(tmp_path / "etc"), *words)
    assert said.code == 2
    assert key in said.err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert command("init", str(tmp_path / "etc")).code == 0


def test_assets_are_exported_once(tmp_path: Path) -> None:
    """A second export changes nothing; a file that somebody changed is kept, unless forced."""
    first = command("assets", "export", str(tmp_path / "all"))
    assert (first.code, "0 there already" in first.out) == (0, True)
    for asset in ASSETS.values():
        for name, source in file_names(asset.name).items():
            assert (tmp_path / "all" / name).read_bytes() == source.read_bytes()
    alerts = tmp_path / "all" / "prometheus" / "alerts.yml"
    alerts.write_text("mine")
    again = command("assets", "export", str(tmp_path / "all"), "prometheus")
    assert (again.code, alerts.read_text()) == (1, "mine")
    assert again.err.startswith(f"{alerts} is there and differs: nothing was written")
    assert command("assets", "export", str(tmp_path / "all"), "grafana").code == 0
    assert command("assets", "export", str(tmp_path / "all"), "--force").code == 0
    assert alerts.read_text() != "mine"


def test_an_unknown_asset_is_named(tmp_path: Path) -> None:
    """With those that there are; nothing is written."""
    said = command("assets", "export", str(tmp_path), "alarms")
    assert (said.code, list(tmp_path.iterdir())) == (2, [])
    assert said.err.startswith("alarms is no asset; there are settings, feeds, ")


def test_each_asset_has_files() -> None:
    """The list says what there is."""
    rows = command("assets", "list", "-o", "json").json
    assert [row["name"] for row in rows] == list(ASSETS)
    assert all(row["files"] > 0 for row in rows)


def test_alerts_lead_to_the_runbook_s_address(tmp_path: Path) -> None:
    """With [ops] runbook_url each alert's link is an absolute URL; without it, the file's name."""
    toml = tmp_path / "ringfence.toml"
    toml.write_text('[ops]\nrunbook_url = "https://ringfence.example/runbook"\n')
    words = ("assets", "export", str(tmp_path / "with"), "prometheus", "--config", str(toml))
    assert command(*words).code == 0
    toml.write_text("")
    words = ("assets", "export", str(tmp_path / "without"), "prometheus", "--config", str(toml))
    assert command(*words).code == 0
    for folder, begin in (
        ("with", "https://ringfence.example/runbook#"),
        ("without", "deploy/RUNBOOK.md#"),
    ):
        rules = (tmp_path / folder / "prometheus").glob("*.yml")
        links = re.findall(r'runbook_url: "([^"]*)"', "".join(one.read_text() for one in rules))
        assert len(links) > 20
        assert [one for one in links if not one.startswith(begin)] == []

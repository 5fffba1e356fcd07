"""Settings come from variables too, over the files; a misspelt variable is an error."""

import json
import re
import tomllib
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.config.bundled_files import location
from stream.config.environment import NO_TABLES, filled
from stream.config.settings import VARIABLES, Settings, load
from stream.core.model.decision import Action
from stream.core.model.errors import ConfigInvalid
from stream.ops.schema.toml import flat

DEFAULTS = tomllib.loads(location("settings").read_text())
SINGLE = {
    key: value
    for key, value in flat(DEFAULTS)
    if not isinstance(value, dict) and all(part.isidentifier() and part.islower() for part in key)
}


def variable(key: tuple[str, ...]) -> str:
    return "RINGFENCE_" + "__".join(key).upper()


def errors(environ: dict[str, str], *paths: Path) -> list[str]:
    with pytest.raises(ConfigInvalid) as found:
        load(paths, environ)
    return list(found.value.errors)


@settings(max_examples=20)
@given(st.dictionaries(st.sampled_from(sorted(SINGLE)), st.none(), min_size=1))
def test_every_setting_has_a_variable(chosen: dict[tuple[str, ...], None]) -> None:
    """Defaults given once more as variables, texts without quotes, change nothing."""
    environ = {
        variable(key): value if isinstance(value, str) else json.dumps(value)
        for key in chosen
        if (value := SINGLE[key]) is not None
    }
    assert load([], environ) == load([], {})


def test_what_has_no_default_has_a_variable_too() -> None:
    """All fields of all sections are reached; a value of the wrong type says by which variable."""
    reached = {key[0] for key in SINGLE}
    sections = {one.name for one in fields(Settings)} - NO_TABLES
    named = {"mappings", "switches", "trunks", "circles", "owners"}
    assert reached == sections - named
    assert errors({"RINGFENCE_OPS__HTTP_PORT": "abc"}) == [
        'environment: RINGFENCE_OPS__HTTP_PORT: ops.http_port: must be a whole number, not "abc"'
    ]


def test_variables_lie_over_files(tmp_path: Path) -> None:
    """Numbers, lists in both spellings, words of a choice; names whatever their letters' case."""
    (tmp_path / "a.toml").write_text('[kafka]\nclient_id = "file"\n[owners.KH]\ncontact = "a"\n')
    (tmp_path / "b.toml").write_text("[switches.BKK]\ntime_zone = 'Asia/Bangkok'\n")
    read = load(
        [tmp_path],
        {
            "RINGFENCE_KAFKA__CLIENT_ID": "3",
            "RINGFENCE_OPS__WATCH": "http://10.0.0.5:9464, http://10.0.0.6:9464",
            "RINGFENCE_POLICY__DEFAULT__ACTION": "flag",
            "RINGFENCE_POLICY__RULES__DO_NOT_ORIGINATE_LISTS": '["TH/dno"]',
            "RINGFENCE_SWITCHES__BKK__TIME_ZONE": "Asia/Manila",
            "RINGFENCE_OWNERS__KH__CONTACT": "b",
            "RINGFENCE_CALLS__TOPICS": '{"calls.x" = "asterisk-csv:BKK"}',
            "RINGFENCE_SINKS__REDIS__TIMEOUT_S": "0.7",
        },
    )
    assert read.kafka.client_id == "3"
    assert read.ops.watch == ("http://10.0.0.5:9464", "http://10.0.0.6:9464")
    assert read.policy.default.action is Action.FLAG
    assert isinstance(read.policy.default.action, Enum)
    assert read.policy.rules.do_not_originate_lists == ("TH/dno",)
    assert read.switches["BKK"].time_zone == "Asia/Manila"
    assert read.owners["KH"].contact == "b"
    assert read.calls.topics == {"calls.x": "asterisk-csv:BKK"}
    assert read.sinks.redis.timeout_s == 0.7


def test_each_variable_of_a_topic_counts(tmp_path: Path) -> None:
    """The first replaces the files' topics, the second adds to it; names keep their letters."""
    (tmp_path / "a.toml").write_text(
        '[calls.topics]\nA = "ringfence"\nB = "ringfence"\nC = "kamailio"'
    )
    read = load(
        [tmp_path],
        {
            "RINGFENCE_CALLS__TOPICS__A": "ringfence",
            "RINGFENCE_CALLS__TOPICS__B": "kamailio",
            "RINGFENCE_CALLS__TOPICS__OTHER": "ringfence",
        },
    )
    assert read.calls.topics == {"A": "ringfence", "B": "kamailio", "other": "ringfence"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RINGFENCE_KAFKA__BOOTSTRAP_SERVER", "RINGFENCE_KAFKA__BOOTSTRAP_SERVERS"),
        ("RINGFENCE_KAFKA_BOOTSTRAP_SERVERS", "RINGFENCE_KAFKA__BOOTSTRAP_SERVERS"),
        ("RINGFENCE_KAFKA_PASSWRD", "RINGFENCE_KAFKA_PASSWORD"),
        ("RINGFENCE_HTTP_TOKEN_FILE", "RINGFENCE_HTTP_TOKENS"),
        ("RINGFENCE_REDIS__PASSWORD", "RINGFENCE_REDIS_PASSWORD"),
    ],
)
def test_a_misspelt_variable_is_an_error(name: str, meant: str) -> None:
    """It is never passed over in silence, and the error names what was meant."""
    (said,) = errors({name: "x"})
    assert said.startswith(f"environment: {name}: is no ")
    assert said.endswith(f"; did you mean {meant}?")


def test_no_variable_of_the_code_is_taken_for_a_mistake() -> None:
    """Each name that a module reads is a secret's or among those that are no settings."""
    sources = [path.read_text() for path in (Path(__file__).parents[3] / "stream").rglob("*.py")]
    read = {name for text in sources for name in re.findall(r'"(RINGFENCE_[A-Z_]+[A-Z])"', text)}
    assert len(read) > 5
    assert {name.removesuffix("_FILE") for name in read} <= VARIABLES | {
        "RINGFENCE_CIRCLE_EXERCISE"
    }


def test_what_is_no_setting_below_a_table_is_an_error() -> None:
    """Nothing that has two underscores is somebody else's."""
    deeper, other = errors({"RINGFENCE_OPS__WATCH__X": "1", "RINGFENCE_NOTHING__LIKE_IT": "1"})[
        ::-1
    ]
    assert deeper == (
        "environment: RINGFENCE_OPS__WATCH__X: is no setting; did you mean RINGFENCE_OPS__WATCH?"
    )
    assert other == "environment: RINGFENCE_NOTHING__LIKE_IT: is no setting"


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    """Secrets named in tables and feeds' files, and what Kubernetes writes for a Service."""
    path = tmp_path / "mine.toml"
    path.write_text('[circles.asean]\nkey_env = "RINGFENCE_KAFKA_PASSWORDS"\n')
    (tmp_path / "key").write_text("ab" * 32)
    read = load(
        [path],
        {
            "RINGFENCE_KAFKA_PASSWORDS_FILE": str(tmp_path / "key"),
            "RINGFENCE_ACTOR": "noc",
            "RINGFENCE_CONFIG": str(path),
            "RINGFENCE_PARTNER_TOKEN": "x",
            "RINGFENCE_OPS_SERVICE_HOST": "10.0.0.1",
            "RINGFENCE_HTTP_PORT": "tcp://10.0.0.1:9464",
            "RINGFENCE_OPS_HTTP_PORT_9464_TCP_ADDR": "10.0.0.1",
        },
    )
    assert read.secrets.circle_keys == {"asean": bytes.fromhex("ab" * 32)}


def test_texts_of_files_name_variables(tmp_path: Path) -> None:
    """A default, the text itself, and an error with file and key where it is not set."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[kafka]\nbootstrap_servers = "${BROKERS}"\nclient_id = "${ID:-me}"\n'
        '[owners.KH]\ncontact = "$${HOME} $HOME {x}"\n[ops]\nwatch = ["${PLACE:-}"]\n'
    )
    read = load([path], {"BROKERS": "a:1,b:2", "PLACE": "http://10.0.0.5:9464"})
    assert (read.kafka.bootstrap_servers, read.kafka.client_id) == ("a:1,b:2", "me")
    assert read.owners["KH"].contact == "${HOME} $HOME {x}"
    assert read.ops.watch == ("http://10.0.0.5:9464",)
    said = errors({"PLACE": "http://10.0.0.5:9464"}, path)[0]
    assert said.startswith(f"{path}: kafka.bootstrap_servers: ${{BROKERS}} is not set")


@given(st.recursive(st.text() | st.integers(), st.lists, max_leaves=5))
def test_texts_without_variables_stay(value: Any) -> None:
    """Dollars and braces of patterns and templates are nobody's variable."""
    assume("${" not in json.dumps(value))
    wrong: list[str] = []
    assert filled({}, {"key": value}, wrong) == {"key": value}
    assert not wrong

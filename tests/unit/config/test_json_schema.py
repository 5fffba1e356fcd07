"""The schema of the settings takes what the engine takes, and refuses what it refuses."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from typer.testing import CliRunner

from stream.cli.main import app
from stream.config.bundled_files import location
from stream.config.json_schema import settings_schema
from stream.config.settings import load
from stream.core.model.errors import ConfigInvalid

ROOT = Path(__file__).parents[3]
VALID = jsonschema_rs.validator_for(settings_schema())


def test_the_defaults_and_the_files_of_the_deployment_fit() -> None:
    """Each file that operators copy."""
    files = [location("settings"), *(ROOT / "deploy").glob("*.toml")]
    assert len(files) > 1
    for path in files:
        VALID.validate(tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[kafka]\nclient = "a"', "kafka"),
        ("[ops]\nhttp_port = 70000", "ops/http_port"),
        ('[ops]\nhttp_port = "9464"', "ops/http_port"),
        ('[calls]\nemit = "none"', "calls/emit"),
        ('[policy.default]\naction = "BLOCK"', "policy/default/action"),
        ('[policy.lists."TH/x"]\nactions = "block"', "policy/lists/TH~1x"),
        ('[ops]\nwatch = "http://10.0.0.5:9464"', "ops/watch"),
        ('[mappings.x.values]\n"a" = 1', "mappings/x"),
        ("[made_up]\na = 1", ""),
    ],
)
def test_what_the_engine_refuses_does_not_fit(text: str, place: str, tmp_path: Path) -> None:
    """Unknown keys, types, limits and choices, in sections and in tables by name."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid):
        load([path], {})
    found = [list(error.instance_path) for error in VALID.iter_errors(tomllib.loads(text))]
    wanted = [part.replace("~1", "/") for part in place.split("/") if part]
    assert any(one[: len(wanted)] == wanted for one in found)


def described(schema: dict[str, Any]) -> int:
    """Count the keys with a meaning and a default."""
    inner = schema.get("properties", {}).values()
    return sum(described(one) for one in inner) + ("default" in schema and "description" in schema)


def test_an_editor_can_show_meaning_and_default() -> None:
    """The command prints it whole, with the comments of default.toml."""
    done = CliRunner().invoke(app, ["config", "schema"])
    assert done.exit_code == 0
    schema = json.loads(done.stdout)
    assert schema == json.loads(json.dumps(settings_schema()))
    servers = schema["properties"]["kafka"]["properties"]["bootstrap_servers"]
    assert servers["default"] == "127.0.0.1:9092"
    assert servers["description"]
    assert described(schema) > 150

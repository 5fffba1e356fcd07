"""The Helm chart says what the code says; tests/integration/test_chart.py renders it."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from stream import __version__
from stream.config.bundled_files import location
from stream.config.settings import HTTP_TOKENS, SECRETS, Settings, load
from stream.ops.monitor.targets import STARTED_BY
from tests.support.chart import CHART, EVERYTHING, services
from tests.support.promql import RULE_FILES, RULES

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
DEFAULTS = tomllib.loads(location("settings").read_text())
FREE = {"config", "secrets", "agreements", "roots", "resources", "annotations", "labels"}
FREE |= {"nodeSelector", "affinity", "files", "keys"}
"""Values whose keys are the installer's."""


def test_each_service_is_the_codes() -> None:
    """Command, port of the health pages and job are those of the code and of Prometheus."""
    jobs = yaml.safe_load((RULES / "prometheus.yml").read_text())["scrape_configs"]
    ports = {urlsplit(one.url).port: STARTED_BY[one.kind] for one in load([], {}).watched()}
    table = {name: one for name, one in services().items() if "port" in one}
    assert {one["port"]: f"ringfence {' '.join(one['command'])}" for one in table.values()} == {
        port: f"{words} --follow" if words.endswith("ingest") else words
        for port, words in ports.items()
    }
    assert {one["job"] for one in table.values()} == {job["job_name"] for job in jobs}


def test_the_chart_is_of_this_version() -> None:
    """Without image.tag the chart takes the image of its own release."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_alerts_have_one_source() -> None:
    """The chart's rules are those of deploy/prometheus, and all of them."""
    for name in RULE_FILES:
        assert (CHART / "files" / name).read_text() == (RULES / name).read_text()
    named = re.search(r"\$file := list ([\w\" ]+)", TEMPLATES["monitoring.yaml"])
    assert named is not None
    assert re.findall(r"\w+", named[1]) == [name.removesuffix(".yml") for name in RULE_FILES]


def test_settings_of_the_chart_are_settings() -> None:
    """Values that the chart sets, and the defaults that it goes by, are those of the code."""
    owned = re.findall(r"^- ([a-z_.]+)$", TEMPLATES["_config.tpl"], re.MULTILINE)
    assert len(owned) > 30
    for key in owned:
        value: Any = DEFAULTS
        for part in key.split("."):
            assert part in value, key
            value = value[part]
    text = "\n".join(TEMPLATES.values())
    asked = re.findall(r'ringfence\.setting" \(list \S+ "(\w+)" "(\w+)" ("[^"]*"|\d+)\)', text)
    assert len(asked) > 10
    for section, key, default in asked:
        assert DEFAULTS[section][key] == json.loads(default), (section, key)
    assert {section for section, _, _ in asked} <= {one.name for one in fields(Settings)}


def test_each_secret_of_the_settings_is_mounted_by_name() -> None:
    """The chart knows each variable with a secret, so none of them goes to the feeds by mistake."""
    for variable in (*SECRETS.values(), HTTP_TOKENS, "RINGFENCE_EXCHANGE_PASSPHRASE"):
        assert f'"{variable}"' in TEMPLATES["_config.tpl"]


def leaves(values: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each value's path; of a table whose keys the installer chooses only its own."""
    for key, value in values.items():
        if isinstance(value, dict) and key not in FREE:
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key)


def allowed(schema: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The same of a schema."""
    for key, one in schema["properties"].items():
        inner = SCHEMA["$defs"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        if "properties" in inner and key not in FREE:
            yield from allowed(inner, (*above, key))
        else:
            yield (*above, key)


SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def test_each_value_is_in_the_file_of_values() -> None:
    """The schema lets nothing through that values.yaml does not show, and knows all that it has."""
    unseen = {("global",)}  # Helm's own
    assert {*allowed(SCHEMA)} - unseen == {*leaves(VALUES)}


@pytest.mark.parametrize(
    "table", ["", "properties/config", "properties/worker", "$defs/persistence"]
)
def test_no_value_can_be_made_up(table: str) -> None:
    """A misspelt value is an error, the settings' too."""
    found = SCHEMA
    for part in table.split("/") if table else ():
        found = found[part]
    assert found["additionalProperties"] is False


def test_each_value_is_explained() -> None:
    """Each key of values.yaml has a comment where it is first seen: on its line, or above it."""
    known: set[str] = set()
    before = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        for key in re.findall(r"(?:^ *|[{,] ?)([a-z][\w-]*): ?", line.partition("#")[0]):
            explained = "#" in line or before.lstrip().startswith("#") or key in known
            assert explained or line.endswith(":"), line
            known.add(key)
        before = line


def test_everything_is_on_in_the_values_for_tests() -> None:
    """Each service that values.yaml knows is enabled there: none is left untested."""
    given = yaml.safe_load(EVERYTHING.read_text())
    switches = [path for path in leaves(VALUES) if path[-1] == "enabled" and len(path) == 2]
    off = [path[0] for path in switches if VALUES[path[0]]["enabled"] is not True]
    assert off
    assert all(given[name]["enabled"] for name in off)

"""The reference: it names everything that the code has, and the files to fetch are up to date."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import jsonschema_rs
import msgspec
import pytest

from stream.config.bundled_files import location
from stream.config.json_schema import meanings
from stream.config.settings import Settings
from stream.core.model.decision import Decision, Reason
from tests.tools.docs import cli, feed_files, http, records, settings, topics
from tests.tools.docs.build import DOCS, fetched, written
from tests.tools.docs.decisions import PARTS, STATUSES, decisions

ROOT = DOCS.parent
FRONT = ROOT / "README.md"


@pytest.mark.parametrize(
    ("path", "text"), list(fetched()), ids=lambda one: getattr(one, "name", "")
)
def test_what_partners_fetch_is_what_the_code_says(path: Path, text: str) -> None:
    """JSON Schemas, AsyncAPI, OpenAPI and the picture in docs/ are those of this code."""
    assert path.read_text() == text, "run: make docs-reference"


@pytest.mark.parametrize("schema", records.schemas().values(), ids=records.schemas())
def test_a_schema_is_read_by_other_languages(schema: records.Schema) -> None:
    """Patterns are those of JSON Schema: a partner's JavaScript, Go or Rust refuses Python's."""
    jsonschema_rs.validator_for(schema)


def test_no_file_to_fetch_is_left_over() -> None:
    """A schema that the code does not write any more is gone from docs/ too."""
    known = {path for path, _ in fetched()}
    there = {path for path in (DOCS / "reference").rglob("*") if path.suffix == ".json"}
    assert there <= known


def test_each_command_has_its_section() -> None:
    """Every command that is not hidden is on a page, under its anchor, with each option."""
    text = "\n".join(cli.pages().values())
    for words, command in cli.commands(cli.program()):
        assert f"({cli.anchor(words)})=" in text, words
        for one in command.params:
            if not getattr(one, "hidden", False) and one.param_type_name == "option":
                assert f"`{one.opts[0]}`" in text, (words, one.opts)


def test_each_setting_has_its_meaning() -> None:
    """Every key of the settings stands on the page with what it means."""
    said = settings.known() | meanings(location("settings").read_text())
    missing = []
    for above, shape in settings.tables(Settings):
        for one in fields(shape) if above else ():
            kind = settings.kind_of(get_type_hints(shape, include_extras=True)[one.name])
            name = ".".join((*above, one.name))
            if not kind.startswith(("table", "value")) and name not in said:
                missing += [name] if above[:2] != ("policy", "lists") else []
    assert not missing


def test_each_key_of_a_feed_or_agreement_file_has_its_meaning() -> None:
    """A partner's file is explained key by key, and nothing is explained that is no key."""
    said = settings.known()
    keys = set()
    for key, shape in feed_files.shapes():
        hints = get_type_hints(shape, include_extras=True)
        for one in fields(shape):
            keys.add(f"{key}.{one.name}")
            kind = settings.kind_of(hints[one.name])
            inner = get_origin(hints[one.name]) is dict and not get_args(hints[one.name])[1]
            if kind != "table" and not kind.startswith("table by name of table") and not inner:
                assert f"{key}.{one.name}" in said, "say it in tests/tools/docs/meanings.toml"
    keys |= {
        f"{'.'.join(above)}.{one.name}"
        for above, s in settings.tables(Settings)
        for one in fields(s)
    }
    assert not [name for name in said if not name.endswith(".about") and name not in keys]


def test_a_decision_is_what_its_schema_says() -> None:
    """The schema names the fields of a decision, and which of them are always there."""
    schema = records.decision_schema()
    assert tuple(schema["properties"]) == Decision.__struct_fields__
    assert tuple(schema["$defs"]["Reason"]["properties"]) == Reason.__struct_fields__
    assert {"would", "repeats"}.isdisjoint(schema["required"])
    json.loads(msgspec.json.encode(schema))


def test_the_asyncapi_document_is_whole() -> None:
    """Each reference of the AsyncAPI document leads somewhere in it."""
    document = topics.asyncapi("1")

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [one for inner in value.values() for one in references(inner)]
        if isinstance(value, list):
            return [one for inner in value for one in references(inner)]
        return []

    for reference in references(document):
        at: object = document
        for name in reference.removeprefix("#/").split("/"):
            assert isinstance(at, dict), reference
            at = at[name]


def test_each_route_has_its_section() -> None:
    """Every address of the OpenAPI document is on the page."""
    text = http.http_page().replace("\\", "")
    for path, methods in http.openapi()["paths"].items():
        for method in methods:
            assert f"## {method.upper()} {path}\n" in text


def test_every_decision_has_its_form() -> None:
    """A decision has its title, date, status, choice and price, and a number of its own."""
    found = list(decisions(DOCS / "decisions"))
    assert found
    assert len({one.number for one in found}) == len(found)
    for one in found:
        assert one.title, one.path.name
        assert one.headings == (f"# {one.title}", *PARTS), one.path.name
        assert one.status.split()[0].strip(",") in STATUSES, one.path.name


@pytest.mark.parametrize("heading", ["##Choice", "##  Choice", "### Choice", " ## Choice"])
def test_a_heading_is_read_as_it_stands(heading: str, tmp_path: Path) -> None:
    """A heading of another level, or without its one blank, is not taken for a part's."""
    text = f"# A title\n\n- Date: 2026-11-30\n- Status: accepted\n- Area: kafka\n\n{heading}\n"
    (tmp_path / "0001-a-title.md").write_text(f"{text}\n```\n# no heading\n```\n")
    (one,) = decisions(tmp_path)
    assert (one.title, one.headings) == ("A title", ("# A title", heading))


def test_a_written_page_has_no_place_in_docs() -> None:
    """Text that is generated from the code is not stored beside it: it would become outdated."""
    assert not [name for name in written() if (DOCS / name).exists()]


def test_the_front_door_is_short() -> None:
    """README fits on a few screens: at most 250 lines, none over 120 characters, no dead link."""
    text = FRONT.read_text()
    lines = text.splitlines()
    assert len(lines) <= 250
    assert not [line for line in lines if len(line) > 120]
    targets = re.findall(r"\]\(([^)#]+)\)|^\[[^\]]+\]: (\S+)$", text, re.MULTILINE)
    assert not [one for pair in targets for one in pair if one and not (ROOT / one).exists()]

"""The Grafana dashboards: what is committed is what the code makes, and asks for what there is."""

import json
from typing import Any

import pytest

from tests.support.promql import unknown
from tests.tools.dashboards.files import FOLDER, expressions, queries, texts

DOCUMENTS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


def test_the_files_are_what_the_code_makes() -> None:
    """`make dashboards` was run after the last change of either."""
    assert {f"{name}.json": text for name, text in texts().items()} == {
        path.name: path.read_text() for path in FOLDER.glob("*.json")
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_panel_asks_for_what_is_not_there(name: str) -> None:
    """A misspelt metric or label is found here, not at night by an empty panel."""
    asked = [*expressions(DOCUMENTS[name]), *queries(DOCUMENTS[name])]
    assert asked
    assert {title: wrong for title, text in asked if (wrong := unknown(text))} == {}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_panel_says_what_it_asks(name: str) -> None:
    """A title of its own, a question, a unit; and it fits the grid."""
    panels = [one for one in DOCUMENTS[name]["panels"] if one["type"] != "row"]
    titles = [(one["title"], one["type"]) for one in panels]
    assert len(set(titles)) == len(titles)
    for panel in panels:
        assert panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24

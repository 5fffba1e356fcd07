"""The dashboards as the files that Grafana loads, and the expressions in them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tests.tools.dashboards.boards import one_list, overview
from tests.tools.dashboards.internals import internals
from tests.tools.dashboards.partner import partner

FOLDER: Final = Path(__file__).parents[3] / "deploy/grafana"
_BOARDS: Final = {
    "overview": overview,
    "list": one_list,
    "partner": partner,
    "internals": internals,
}


def texts() -> Mapping[str, str]:
    """The text of each file, by its name without .json."""
    encoder = JSONEncoder(sort_keys=True, indent=1)
    return {name: f"{encoder.encode(made())}\n" for name, made in _BOARDS.items()}


def expressions(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each panel's title with each of its expressions, in a file that was loaded."""
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def queries(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each variable's name with the expression whose series give its values."""
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"])
            assert found is not None, variable["query"]
            yield variable["name"], found[1]

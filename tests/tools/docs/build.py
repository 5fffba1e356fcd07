"""The site's source, pages of docs/ and written ones together, and Sphinx over it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from sphinx.cmd.build import build_main

from stream import __version__
from stream.config.json_schema import settings_schema
from tests.tools.docs import cli, http, lists_of, promises, records, topics
from tests.tools.docs.decisions import decisions_index
from tests.tools.docs.drawing import drawing
from tests.tools.docs.feed_files import agreement_files_page, feed_files_page
from tests.tools.docs.settings import ROOT, settings_page

DOCS = ROOT / "docs"
CHART = ROOT / "deploy" / "helm" / "ringfence"
REFERENCE = DOCS / "reference"
_BESIDE = re.compile(r"\((?:\.\./)+(deploy|config|stream)/")
"""A link out of docs/, as GitHub follows it."""


def written() -> dict[str, str]:
    """Each page that is written from the code: its path below docs/ -> its text."""
    found = {
        "decisions/index.md": decisions_index(DOCS / "decisions"),
        "reference/settings.md": settings_page(),
        "reference/feed-files.md": feed_files_page(),
        "reference/agreement-files.md": agreement_files_page(),
        "reference/records.md": records.records_page(),
        "reference/topics.md": topics.topics_page(__version__),
        "reference/rights.md": lists_of.rights_page(),
        "reference/http.md": http.http_page(),
        "reference/metrics.md": lists_of.metrics_page(),
        "reference/alerts.md": lists_of.alerts_page(),
        "reference/runbook.md": lists_of.runbook_page(),
        "reference/formats.md": lists_of.formats_page(),
        "reference/redis.md": lists_of.redis_page(),
    }
    return found | {f"reference/cli/{name}": text for name, text in cli.pages().items()}


def fetched() -> Iterator[tuple[Path, str]]:
    """Each committed file that is generated: those that partners fetch, a page and a picture."""
    for name, schema in records.schemas().items():
        yield REFERENCE / "schemas" / f"{name}.schema.json", _json(schema)
    yield REFERENCE / "asyncapi.json", _json(topics.asyncapi(__version__))
    yield REFERENCE / "openapi.json", _json(http.openapi())
    yield CHART / "values.schema.json", _json(_chart_schema())
    yield promises.PAGE, promises.page(promises.promises(), promises.kept())
    yield DOCS / "understand" / "processes.svg", drawing(DOCS / "understand" / "processes.toml")


def _chart_schema() -> dict[str, Any]:
    """The schema of the chart's values: the chart's own, with the settings below `config`."""
    schema: dict[str, Any] = msgspec.json.decode((CHART / "values.schema.json").read_bytes())
    settings = {key: held for key, held in settings_schema().items() if not key.startswith("$")}
    schema["properties"]["config"] = settings
    return schema


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def write_fetched() -> None:
    """Write the files that partners fetch."""
    for path, text in fetched():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def source(into: Path) -> None:
    """The site's whole source: docs/ and the pages that are written."""
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(DOCS, into, ignore=shutil.ignore_patterns("__pycache__"))
    # Sphinx takes pictures and files to fetch from below its source alone.
    for name in ("deploy", "config", "stream"):
        ignore = shutil.ignore_patterns("*.md", "__pycache__")
        shutil.copytree(ROOT / name, into / name, ignore=ignore)
    for path in into.rglob("*.md"):
        path.write_text(_BESIDE.sub(r"(/\1/", path.read_text()))
    # Each page carries the whole navigation tree: with 135 decisions in it the site takes twice as
    # long to build and to load, and no reader finds one there. Their index links to each of them.
    for path in (into / "decisions").glob("*.md"):
        path.write_text("---\norphan: true\n---\n\n" + path.read_text())
    for name, text in written().items():
        path = into / name
        assert not path.exists(), f"{name} is written from the code: it has no place in docs/"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def build(into: Path) -> int:
    """Build the site, and the man pages beside it, strictly; any warning fails.

    Returns Sphinx' exit code.
    """
    pages = into.with_name(into.name + "-source")
    source(pages)
    strict = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
    common = ["-d", str(pages) + "-trees", *strict, str(pages)]
    code = build_main(["-b", "html", *common, str(into)])
    return code or build_main(["-b", "man", *common, str(into.with_name("man"))])

"""The site: it builds without a warning, links to nothing that is not there, fetches nothing."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.tools.docs.settings import ROOT

# The site, its man pages and its reference take a minute of CPU; `make docs` builds the same.
pytestmark = pytest.mark.campaign

_LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src"}


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep ids, and what leads elsewhere."""
        held = dict(attrs)
        self.anchors |= {held[name] or "" for name in ("id", "name") if name in held}
        if (name := _LINKS.get(tag)) and (link := held.get(name)):
            self.links.append((tag, link))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """Every page of the site that `make docs` builds, which fails at the first warning."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    words = [sys.executable, "-m", "tests.tools.docs", "--out", str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = {}
    for path in folder.rglob("*.html"):
        found[path] = Page()
        found[path].feed(path.read_text())
    return found


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    """Each link inside the site finds its file, and its anchor there."""
    wrong = []
    for path, page in site.items():
        for _, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                path
                if not parts.path
                else Path(os.path.normpath(path.parent / unquote(parts.path)))
            )
            fragment = unquote(parts.fragment)
            if not target.exists() or (
                fragment and target in site and fragment not in site[target].anchors
            ):
                wrong.append(f"{path.name}: {link}")
    assert not wrong


def test_a_page_fetches_nothing_from_elsewhere(site: dict[Path, Page]) -> None:
    """Scripts, styles and pictures are the site's own: a carrier's network has no internet."""
    assert not [
        (path.name, link)
        for path, page in site.items()
        for tag, link in page.links
        if tag != "a" and urlsplit(link).netloc
    ]


def test_every_group_of_commands_has_a_man_page(site: dict[Path, Page]) -> None:
    """`man ringfence-lists` has its options, beside the site."""
    folder = next(path for path in site if path.name == "genindex.html").parent.with_name("man")
    names = {path.name for path in folder.glob("*.1")}
    assert {"ringfence.1", "ringfence-lists.1", "ringfence-why.1"} <= names
    assert "--expires-in" in (folder / "ringfence-lists.1").read_text().replace("\\-", "-")

"""`/runbook`: deploy/RUNBOOK.md as a page, for who has nothing but this browser at night."""

import re
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Response
from markdown_it import MarkdownIt
from markupsafe import Markup

from stream.edge.http.tokens import Role
from stream.web.session_deps import Visit, sees

router = APIRouter(include_in_schema=False)

_NO_WORD: Final = re.compile(r"[^a-z0-9 -]")


def file() -> Path:
    """The runbook: inside an installed wheel, else in the repository's `deploy/`."""
    packaged = Path(str(files("stream"))) / "RUNBOOK.md"
    return packaged if packaged.is_file() else packaged.parents[1] / "deploy" / "RUNBOOK.md"


def anchor(heading: str) -> str:
    """A heading's place in the page, as GitHub makes it: links work in both."""
    return _NO_WORD.sub("", heading.lower()).replace(" ", "-")


@cache
def _read() -> tuple[tuple[str, ...], Markup]:
    """The headings and the text as HTML; raw HTML in it stays a text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(file().read_text("utf-8"))
    headings = []
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(inline.content))
            if token.tag == "h2":
                headings.append(inline.content)
    html = markdown.renderer.render(tokens, markdown.options, {})
    return tuple(headings), Markup(html)  # noqa: S704 - our own file, and HTML is off


@router.get("/runbook")
async def runbook(visit: Annotated[Visit, sees(Role.VIEWER)]) -> Response:
    """All of it on one page, so that the browser's search finds what an alert says."""
    headings, text = _read()
    return visit.page("runbook.html", headings=[(one, anchor(one)) for one in headings], text=text)

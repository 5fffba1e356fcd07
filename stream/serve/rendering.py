"""Pages for people: small, whole in themselves, without scripts; whatever goes in is escaped."""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

_PAGES: Final = Environment(
    loader=PackageLoader("stream.serve", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def when(at: str | int | None) -> str:
    """A time (RFC 3339, or seconds since the epoch) as people read it, in UTC."""
    if at is None:
        return "not known"
    moment = datetime.fromtimestamp(at, UTC) if isinstance(at, int) else datetime.fromisoformat(at)
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def coded(text: str) -> Markup:
    """A docstring's text, with what stands between backticks as code."""
    parts = str(escape(text)).split("`")
    marks = (f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts))
    return Markup("".join(marks))  # noqa: S704 - every part was escaped


_PAGES.filters.update(when=when, coded=coded)


def page(name: str, status: int = 200, **given: Any) -> Response:
    """A template with what goes into it."""
    text = _PAGES.get_template(name).render(**given)
    return Response(text, status_code=status, media_type="text/html")


def wants_page(request: Request) -> bool:
    """Whether a browser asks: it names HTML, a program names JSON or nothing."""
    return "text/html" in request.headers.get("accept", "")

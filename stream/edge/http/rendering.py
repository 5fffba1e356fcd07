"""HTML pages: every value is escaped; style and scripts come from `assets` only.

A page of a signed-in person has the frame, which `web/session_deps.py` puts into the request's
state.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from stream.core.model.moments import read_rfc3339
from stream.core.numbers.number import masked
from stream.edge.http import languages
from stream.edge.http.assets import asset
from stream.edge.http.languages.printed import finding, printed

THEME_COOKIE: Final = "ringfence-theme"
THEMES: Final = ("light", "dark")
_PAGES: Final = Environment(
    loader=PackageLoader("stream.edge.http", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    extensions=["jinja2.ext.i18n"],
)
_PAGES.policies["ext.i18n.trimmed"] = True
_URL_SAFE: Final = "/%:?#[]@!$&'()*+,;=~"
"""Characters with a meaning in an address, and % of what is encoded already (RFC 3986)."""
_WITH_PAGES: Final = ("/v1/decisions/", "/v1/appeals")
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def when(at: str | float | None) -> Markup | str:
    """Return a time (RFC 3339, or seconds since the epoch) to the minute, in UTC.

    All times are elements `time`: `local_times.js` shows them in the reader's zone.
    """
    return languages.gettext("unknown") if at is None else _time(at, "%Y-%m-%d %H:%M UTC", "minute")


def to_second(at: str | float) -> Markup:
    """Return a time to the second, in UTC."""
    return _time(at, "%Y-%m-%d %H:%M:%S UTC", "second")


def clock(at_s: float) -> Markup:
    """Return the time of day, to the second, in UTC."""
    return _time(at_s, "%H:%M:%S UTC", "clock")


def _time(at: str | float, form: str, exact: str) -> Markup:
    moment = read_rfc3339(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)
    if moment is None:
        return escape(at)  # a record of another version: what it says is better than nothing
    moment = moment.astimezone(UTC)
    machine, text = f"{moment:%Y-%m-%dT%H:%M:%SZ}", f"{moment:{form}}"
    return Markup('<time datetime="{}" data-to="{}">{}</time>').format(machine, exact, text)


def coded(text: str) -> Markup:
    """Return a docstring's text as HTML, with code where it has backticks."""
    parts = str(escape(text)).split("`")
    marks = (f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(parts))
    return Markup("".join(marks))  # noqa: S704 - every part was escaped


def bytes_in(count: float) -> str:
    """Return a size for people: `12 MiB`."""
    power = min(int(max(count, 1)).bit_length() - 1, 49) // 10
    return f"{languages.rounded(count / 1024**power)} {_SIZES[power]}"


_PAGES.filters.update(
    masked=masked,
    when=when,
    to_second=to_second,
    clock=clock,
    coded=coded,
    many=languages.many,
    lasting=languages.lasting,
    month=languages.month,
    word=languages.word,
    reason=languages.reason,
    said=languages.gettext,
    printed=printed,
    finding=finding,
    capital=languages.capital,
    sentence=languages.sentence,
    bytes_in=bytes_in,
)
_PAGES.globals.update(asset=asset, languages=languages.LANGUAGES, tag=languages.tag)
_PAGES.install_gettext_callables(  # type: ignore[attr-defined] # by the extension
    languages.gettext, languages.plural, newstyle=True
)


def page(request: Request, name: str, status: int = 200, **given: Any) -> Response:
    """Return a rendered template, in the frame of the signed-in person, if any."""
    theme, language = request.cookies.get(THEME_COOKIE, ""), languages.read_by(request)
    text = _PAGES.get_template(name).render(
        frame=request.scope["state"].get("frame"),
        theme=theme if theme in THEMES else "",
        language=language,
        language_chosen=request.cookies.get(languages.LANGUAGE_COOKIE, ""),
        language_back=_address(request),
        **given,
    )
    headers = {"Content-Language": languages.tag(language), "Vary": "Accept-Language, Cookie"}
    return Response(text, status_code=status, headers=headers, media_type="text/html")


def _address(request: Request) -> str:
    """Return the page that a choice of language leads back to: none that a form made."""
    query = f"?{request.url.query}" if request.url.query else ""
    return request.url.path + query if request.method in {"GET", "HEAD"} else "/"


def fragment(name: str, **given: Any) -> str:
    """Render a part of a page, the same for everybody who reads its language."""
    return _PAGES.get_template(name).render(**given)


def see_other(address: str) -> Response:
    """Redirect a browser to a page of ours; characters that no header may hold are encoded."""
    return Response(status_code=303, headers={"Location": quote(address, safe=_URL_SAFE)})


def wants_page(request: Request) -> bool:
    """Return whether a browser asks, at an address with a page and by no JSON of its own.

    A program accepts JSON or names nothing; but Java's HttpURLConnection accepts HTML by default.
    """
    path, sent = request.url.path, request.headers.get("content-type", "")
    has_page = not path.startswith("/v1/") or path.startswith(_WITH_PAGES)
    is_json = sent.lower().startswith("application/json")
    return has_page and not is_json and "text/html" in request.headers.get("accept", "")

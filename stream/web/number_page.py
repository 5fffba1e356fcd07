"""One number: why it is blocked or not, and the changes that an operator may make.

Numbers travel in forms, not in addresses: those end in browsers' histories and in proxies' logs.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from stream.core.model.agreement import owner_of
from stream.core.model.appeal import APPELLANT_CHARS_MAX
from stream.core.model.entry import Category
from stream.core.numbers.number import Kind as NumberKind
from stream.core.numbers.number import parse
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.web.session_deps import (
    Fields,
    FormChange,
    Visit,
    changes,
    check_origin,
    fields_of,
    sees,
    text_in,
)

router = APIRouter(include_in_schema=False)

_FOUND: Final = {0, 1}
"""Exit codes of `ringfence why`: a list holds it, none does."""
_CHARS_MAX: Final = 40
_FIELDS: Final = ("number", "trunk", "at")


@router.get("/number")
async def asking(visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show the form."""
    return visit.page("number.html", asked=dict.fromkeys(_FIELDS, ""), why=None, trouble="")


@router.post("/number")
async def answer(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show what `ringfence why NUMBER --history` prints. Changes and records nothing."""
    fields = await fields_of(request)
    check_origin(request, fields, visit.session.csrf)
    asked = {name: fields.get(name, "").strip()[:_CHARS_MAX] for name in _FIELDS}
    words = ["why", "--json", "--history"]
    words += [f"--{name}={asked[name]}" for name in ("trunk", "at") if asked[name]]
    try:
        number = _number(visit, fields)
    except ProblemError as error:
        return visit.page("number.html", asked=asked, why=None, trouble=str(error))
    ran = await visit.parts.commands.look([*words, number])
    if ran.code not in _FOUND:
        return visit.page(
            "number.html", asked=asked, why=None, trouble=ran.said or "the log says why"
        )
    why: dict[str, Any] = msgspec.json.decode("\n".join(ran.lines))
    settings = visit.parts.settings
    home = settings.calls.home_country
    held = {one["list"] for one in why["lists"] if one["state"] in {"listed", "expired"}}
    ours = sorted(
        name
        for name in (await (await visit.parts.list_store()).heads()).lists
        if owner_of(name) == home
    )
    return visit.page(
        "number.html",
        asked=asked,
        why=why,
        trouble="",
        on_ours=[name for name in ours if name in held],
        off_ours=[name for name in ours if name not in held],
        categories=[one.label for one in Category if one is not Category.LEGITIMATE],
    )


@router.post("/number/allow")
async def allow(change: Annotated[FormChange, changes()]) -> Response:
    """Never block it, from now on: `ringfence allow add`."""
    words = ["allow", "add", _number(change.visit, change.fields)]
    days = change.fields.get("days", "")
    if days:
        if not days.isascii() or not days.isdigit() or len(days) > 4:
            raise ProblemError(ProblemKind.MALFORMED, "days must be a number, or empty")
        words.append(f"--expires-in={days}d")
    return await _done(change, words, "It is not blocked any more, within a second.")


@router.post("/number/disallow")
async def disallow(change: Annotated[FormChange, changes()]) -> Response:
    """Remove its allow entry: `ringfence allow remove`."""
    words = ["allow", "remove", _number(change.visit, change.fields)]
    return await _done(change, words, "It is not allowed any more; lists decide again.")


@router.post("/number/appeal")
async def appeal(change: Annotated[FormChange, changes()]) -> Response:
    """Open an appeal: `ringfence appeals create`."""
    contact = text_in(change.fields, "contact", APPELLANT_CHARS_MAX)
    words = ["appeals", "create", _number(change.visit, change.fields), f"--appellant={contact}"]
    return await _done(change, words, "The appeal is open.", "/appeals?sort=-received")


@router.post("/number/list")
async def listed(change: Annotated[FormChange, changes()]) -> Response:
    """Add it to a list of ours: `ringfence lists add`."""
    category = change.fields.get("category", "")
    if category not in {one.label for one in Category}:
        raise ProblemError(ProblemKind.MALFORMED, "name a category")
    number = _number(change.visit, change.fields)
    words = ["lists", "add", await _ours(change), number, f"--category={category}"]
    return await _done(change, words, "The number is on the list.")


@router.post("/number/unlist")
async def unlisted(change: Annotated[FormChange, changes()]) -> Response:
    """Remove it from a list of ours: `ringfence lists remove`."""
    words = ["lists", "remove", await _ours(change), _number(change.visit, change.fields)]
    return await _done(change, words, "The number is off the list.")


def _number(visit: Visit, fields: Fields) -> str:
    """Return the number of a form, in E.164. Raises ProblemError."""
    text, home = (
        fields.get("number", "").strip()[:_CHARS_MAX],
        visit.parts.settings.calls.home_country,
    )
    read = parse(text, home)
    if read.kind is not NumberKind.E164:
        raise ProblemError(
            ProblemKind.MALFORMED, f"that is no phone number in {home}; +CC... always is"
        )
    return read.text


async def _ours(change: FormChange) -> str:
    name = change.fields.get("list", "")
    home = change.visit.parts.settings.calls.home_country
    known = (await (await change.visit.parts.list_store()).heads()).lists
    if name not in known or owner_of(name) != home:
        raise ProblemError(
            ProblemKind.MALFORMED, f"name a list of {home}; others' are their owners'"
        )
    return name


async def _done(change: FormChange, words: list[str], notice: str, to: str = "/number") -> Response:
    await change.run(words)
    return await change.done(to, notice)

"""One number: why it is blocked or not, as a picture too, and the changes of an operator.

Numbers travel in forms, not in addresses: those end in browsers' histories and in proxies' logs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Request, Response

from stream.core.model.agreement import owner_of
from stream.core.model.appeal import APPELLANT_CHARS_MAX
from stream.core.model.decision import Decision
from stream.core.model.entry import Category
from stream.core.numbers.number import Kind as NumberKind
from stream.core.numbers.number import parse
from stream.edge.http.api.commands import JSON_LINES_MAX
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import noted, word
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
_FIELDS: Final = ("number", "trunk", "at")
_RECENT_MAX: Final = 10
_RECENT_WAIT_S: Final = 1.0
"""Seconds that the form waits for recent decisions: it is of use without them."""


@router.get("/number")
async def asking(visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show the form, and numbers of recent decisions to begin with."""
    return await _form(visit, dict.fromkeys(_FIELDS, ""))


async def _form(visit: Visit, asked: Fields, trouble: str = "") -> Response:
    recent = visit.parts.recent
    return visit.page(
        "number.html",
        asked=asked,
        why=None,
        trouble=trouble,
        home=visit.parts.settings.calls.home_country,
        recent=recent_of(await recent.look(_RECENT_WAIT_S)),
        recent_trouble=recent.trouble,
    )


def recent_of(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the newest decision of each of a few numbers: those that acted first."""
    newest: dict[str, Decision] = {}
    for one in decisions:
        if one.number is not None:
            newest.setdefault(one.number, one)
    acted = [one for one in newest.values() if one.verdict != "allow" or one.simulated]
    let_by = [one for one in newest.values() if one.verdict == "allow" and not one.simulated]
    return (acted[:_RECENT_MAX] + let_by)[:_RECENT_MAX]


@router.post("/number")
async def answer(request: Request, visit: Annotated[Visit, sees(ClientRole.VIEWER)]) -> Response:
    """Show what `ringfence why NUMBER --history` prints. Changes and records nothing."""
    fields = await fields_of(request)
    check_origin(request, fields, visit.session.csrf)
    asked = {name: fields.get(name, "").strip() for name in _FIELDS}
    words = ["why", "--json", "--history"]
    words += [f"--{name}={asked[name]}" for name in ("trunk", "at") if asked[name]]
    try:
        number = _number(visit, asked)
    except ProblemError as error:
        return await _form(visit, asked, str(error))
    ran = await visit.parts.commands.look([*words, number], count=JSON_LINES_MAX)
    if ran.code not in _FOUND:
        return await _form(visit, asked, ran.said or noted("the log says why"))
    why = ran.json
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
        ways=chains(why),
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
            raise ProblemError(ProblemKind.MALFORMED, noted("days must be a number, or empty"))
        words.append(f"--expires-in={days}d")
    return await _done(change, words, noted("It is not blocked any more, within a second."))


@router.post("/number/disallow")
async def disallow(change: Annotated[FormChange, changes()]) -> Response:
    """Remove its allow entry: `ringfence allow remove`."""
    words = ["allow", "remove", _number(change.visit, change.fields)]
    return await _done(change, words, noted("It is not allowed any more; lists decide again."))


@router.post("/number/appeal")
async def appeal(change: Annotated[FormChange, changes()]) -> Response:
    """Open an appeal: `ringfence appeals create`."""
    contact = text_in(change.fields, "contact", APPELLANT_CHARS_MAX)
    words = ["appeals", "create", _number(change.visit, change.fields), f"--appellant={contact}"]
    return await _done(change, words, noted("The appeal is open."), "/appeals?sort=-received")


@router.post("/number/list")
async def listed(change: Annotated[FormChange, changes()]) -> Response:
    """Add it to a list of ours: `ringfence lists add`."""
    category = change.fields.get("category", "")
    if category not in {one.label for one in Category}:
        raise ProblemError(ProblemKind.MALFORMED, noted("name a category"))
    number = _number(change.visit, change.fields)
    words = ["lists", "add", await _ours(change), number, f"--category={category}"]
    return await _done(change, words, noted("The number is on the list."))


@router.post("/number/unlist")
async def unlisted(change: Annotated[FormChange, changes()]) -> Response:
    """Remove it from a list of ours: `ringfence lists remove`."""
    words = ["lists", "remove", await _ours(change), _number(change.visit, change.fields)]
    return await _done(change, words, noted("The number is off the list."))


def _number(visit: Visit, fields: Fields) -> str:
    """Return the number of a form, read as on its trunk, in E.164. Raises ProblemError."""
    text, trunk = fields.get("number", "").strip(), fields.get("trunk") or None
    trunks = visit.parts.settings.trunks_by_name()
    country = trunks.country(trunk)
    read = parse(text, country, trunks.prefix(trunk))
    if read.kind is not NumberKind.E164:
        text = _("that is no phone number in %(country)s; +CC... always is", country=country)
        raise ProblemError(ProblemKind.MALFORMED, text)
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


CHAINS_MAX: Final = 4
"""Lists that are drawn, a chain each; the text below the pictures has all of them."""
_NAME_CHARS, _MORE_CHARS = 19, 24
"""Characters that a box has room for: the name is bold."""
_HOLDS: Final = {"listed", "unconfirmed"}
_MARKS: Final = {"block": "bad", "flag": "warn", "allow": "ok"}


@dataclass(frozen=True, slots=True)
class ChainBox:
    """One step: what it is, a name, details below, and since when (RFC 3339, "": not known)."""

    step: str
    name: str
    more: str = ""
    at: str = ""
    mark: str = ""

    @property
    def short(self) -> str:
        """The name as the box has room for it."""
        return _short(self.name, _NAME_CHARS)

    @property
    def short_more(self) -> str:
        """The details as the box has room for them."""
        return _short(self.more, _MORE_CHARS)


@dataclass(frozen=True, slots=True)
class Chain:
    """The boxes of one list, from the reporter to the switch."""

    title: str
    boxes: Sequence[ChainBox]


def chains(why: Mapping[str, Any]) -> list[Chain]:
    """Return a chain for each list that holds the number now; one without a list if none does."""
    end = [_decided(why), _switch(why)]
    held = [one for one in why["lists"] if one["state"] in _HOLDS][:CHAINS_MAX]
    if not held:
        return [Chain(_("No list holds the number"), end)]
    return [
        Chain(
            _("From a report to the switch, by %(list)s", list=one["list"]),
            [*_listed(one, why), *end],
        )
        for one in held
    ]


def _listed(held: Mapping[str, Any], why: Mapping[str, Any]) -> list[ChainBox]:
    reports = [one for one in held["reports"] if one["live"]] or held["reports"]
    sources = list(dict.fromkeys(str(one["source"]) for one in reports))
    category = word(held["category"] or "")
    turns = [
        turn
        for turn in why.get("history", [])
        if turn["list"] == held["list"] and turn["what"] == "added"
    ]
    agreement = held["agreement"]
    return [
        ChainBox(
            _("Reported by"),
            _first_of(sources) or _("unknown"),
            category,
            str(max((one["reported_at"] or "" for one in reports), default="")),
        ),
        ChainBox(
            _("On list"),
            held["list"],
            word("unconfirmed") if held["state"] == "unconfirmed" else "",
            str(max((turn["at"] for turn in turns), default="")),
        ),
        ChainBox(
            _("Allowed by"),
            agreement["title"]
            if agreement
            else (_("no agreement") if held["needs_agreement"] else _("settings")),
            _("at most %(action)s", action=word(held["may"])),
        ),
    ]


def _decided(why: Mapping[str, Any]) -> ChainBox:
    call, made = why["call"], why["decided"]["decisions"]
    would = _("would %(action)s", action=word(call["would"] or ""))
    told = (_("by %(source)s", source=call["rule"]) if call["rule"] else "", would)
    more = ", ".join(filter(None, told if call["would"] else told[:1]))
    at = str(made[0]["decided_at"]) if made else ""
    return ChainBox(_("Decision"), word(call["verdict"]), more, at, _MARKS.get(call["verdict"], ""))


def _switch(why: Mapping[str, Any]) -> ChainBox:
    held, made = why["sinks"]["key"]["held"], why["decided"]["decisions"]
    if held:
        return ChainBox(
            _("Switch"), _("%(action)s by key", action=word(held["action"])), f"bl:{held['entry']}"
        )
    did = ", ".join(f"{name} {what}" for name, what in made[0]["sinks"].items()) if made else ""
    return ChainBox(_("Switch"), _("asked with each call"), did or _("no key in SIP proxies"))


def _first_of(names: Sequence[str]) -> str:
    return names[0] + (f" +{len(names) - 1}" if len(names) > 1 else "") if names else ""


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

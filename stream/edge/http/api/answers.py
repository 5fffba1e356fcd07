"""Answers of the routes under `/v1` as types, and their schemas in the OpenAPI document.

A route names its answer by `answered(Type)`. `add_schemas` puts the types that were named into the
document. The routes write their JSON by hand or by msgspec; schemathesis compares both with the
schema.
"""

from collections.abc import Mapping, Sequence
from inspect import cleandoc
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from stream.core.model.decision import Decision

_REF: Final = "#/components/schemas/{name}"
_named: dict[str, Any] = {}
"""Types that routes name, by the name of their schema."""


class LookupAnswer(Decision, frozen=True, kw_only=True):
    """A decision, as on Kafka's topic, and what it rests on.

    `fail_open`: no list is loaded yet. `lists_followed`: the lists are those of this moment.
    `rules_not_told` names rules that only the stream can apply.
    """

    fail_open: bool
    lists_followed: bool
    rules_not_told: Sequence[str] | msgspec.UnsetType = msgspec.UNSET


class UnreadableRecord(msgspec.Struct):
    """A record that is no call, by its place in the body."""

    index: int
    reason: str
    detail: str


class RecordsTaken(msgspec.Struct):
    """The count of records that Kafka has, and the first of those that are no calls.

    `unreadable_count` is there where more are unreadable than are listed.
    """

    accepted: int
    unreadable: list[UnreadableRecord]
    unreadable_count: int | msgspec.UnsetType = msgspec.UNSET


class BlocklistItem(msgspec.Struct):
    """A number or prefix, and what happens to its calls: `block`, or `allow` inside a prefix."""

    number: str
    action: str
    list: str | None
    reason: str | None
    expires_at_s: int | None


class BlocklistAnswer(msgspec.Struct):
    """The blocklist, or its changes since the cursor that was asked with."""

    full: bool
    cursor: str
    items: list[BlocklistItem]
    removed: list[str]


class DecidingListAnswer(msgspec.Struct):
    """A list that decided, and the contact for a removal."""

    list: str
    owner: str
    category: str
    confirmed: bool
    contact: str | None


class AppealAnswered(msgspec.Struct):
    """An appeal as a holder of its id may see it."""

    appeal: str
    state: str
    number: str | None
    decision_id: str | None
    received_at: str
    deadline_at: str
    answered_at: str | None
    overdue: bool
    lists: list[str]
    comment: str
    appeal_id: str
    received_at_s: int
    deadline_at_s: int
    answered_at_s: int | None


class DecisionAnswer(msgspec.Struct):
    """A decision as a blocked caller may see it: numbers are masked."""

    decision_id: str
    verdict: str
    simulated: bool
    number: str | None
    role: str
    decided_at: str
    expires_at: str | None
    rule: str
    because: list[DecidingListAnswer]
    appeal: AppealAnswered | None
    how_to_appeal: str


class LiveAnswer(msgspec.Struct):
    """Always true."""

    live: bool


class ReadyAnswer(msgspec.Struct):
    """Readiness, and what is missing for it."""

    ready: bool
    missing: list[str]


class ProblemAnswer(msgspec.Struct):
    """A fault (RFC 9457). `errors` are single faults with their places, `error_count` all of them.

    `type` is `urn:ringfence:problem:<kind>`. Some kinds have further members.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    error_count: int | msgspec.UnsetType = msgspec.UNSET


def typed(kind: Any, **more: Any) -> dict[str, Any]:
    """Return the media type object of an answer of `kind`: a struct, or a list of them."""
    many = getattr(kind, "__origin__", None) is list
    one = kind.__args__[0] if many else kind
    _named[one.__name__] = one
    schema = {"$ref": _REF.format(name=one.__name__)}
    return {"schema": {"type": "array", "items": schema} if many else schema, **more}


def answered(kind: Any, **more: Any) -> dict[str, Any]:
    """Return the content of an answer that is JSON of `kind`."""
    return {"application/json": typed(kind, **more)}


def add_schemas(app: FastAPI) -> None:
    """Add the schemas of all named types to the document of `app`."""
    made = app.openapi

    def whole() -> dict[str, Any]:
        document = made()
        _, parts = msgspec.json.schema_components(_named.values(), ref_template=_REF)
        # By name: the order in which modules are imported differs from process to process.
        by_name = dict(sorted(_plain(parts).items()))
        document.setdefault("components", {}).setdefault("schemas", {}).update(by_name)
        return document

    app.openapi = whole  # type: ignore[method-assign]


def _plain(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return schemas whose descriptions have no indentation, on every Python."""
    return {
        name: {**part, "description": cleandoc(part["description"])}
        if "description" in part
        else part
        for name, part in parts.items()
    }

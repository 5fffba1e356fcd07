"""`POST /v1/lists/{owner}/{name}/changes`: a few numbers onto a list or off it, with a reason."""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Request, Response

from stream.core.model.agreement import owner_of
from stream.edge.http.api.answers import answered, typed
from stream.edge.http.api.idempotency import KeptAnswer, key_in
from stream.edge.http.api.list_changes import NUMBERS_MAX, ChangeAnswer, ListChange
from stream.edge.http.api.push_intake import KeyHeader, PushIntake, may_push, reason_of
from stream.edge.http.api.push_routes import response_of
from stream.edge.http.bodies import JSON
from stream.edge.http.dependencies import PartsHere, needs
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole
from stream.feeds.feed import Feed
from stream.lists.store.heads import By

router = APIRouter(prefix="/v1/lists", tags=["feeds"])

_decode = msgspec.json.Decoder(ListChange).decode
_encode = msgspec.json.Encoder().encode
_Part = Annotated[str, Path(max_length=64)]
_EXAMPLE: Final = {
    "reason": "three widows called today",
    "add": [{"number": "+447700900101", "category": "call_centre", "expires_in": "30d"}],
    "remove": ["+447700900102"],
}


@router.post(
    "/{owner}/{name}/changes",
    summary="Put a few numbers on a list, or take them off",
    responses={
        200: {
            "description": "It is done. `rejected` names what was left out, and why.",
            "content": answered(ChangeAnswer),
        },
        404: {"description": "There is no such list, or it is not yours."},
        409: {
            "description": "The list takes no changes by one person, others change it now, or the "
            "key that its numbers are hashed with is not here."
        },
        422: {"description": "The Idempotency-Key came with another change."},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {JSON: typed(ListChange, example=_EXAMPLE)}}
    },
)
async def change(
    request: Request,
    parts: PartsHere,
    client: Annotated[Client, needs(ClientRole.PARTNER)],
    owner: _Part,
    name: _Part,
    key: KeyHeader = "",
) -> Response:
    """Up to 1,000 numbers, prefixes or ranges; live within a second. More are a file.

    A partner changes the list of a feed that it hands in, and its numbers are reports of that feed:
    the next whole version takes their place. An operator changes lists of its own country, and
    `remove` takes off what anybody reported.

    Emergency numbers, the carrier's own, those of the allowlist, and others that the feed may not
    bring are left out; the others count.
    """
    push, once = parts.push, key_in(key)
    feeds = await _feeds_for(push, client, f"{owner}/{name}")
    body = await request.body()
    asked = asked_in(request, body)
    by = By(f"http:{client.name}", asked.reason)

    async def work() -> KeptAnswer:
        done = await push.changer.change(f"{owner}/{name}", feeds, asked, by)
        for outcome in ("added", "updated", "removed", "absent"):
            parts.metrics.changes.labels(outcome).inc(getattr(done, outcome))
        parts.metrics.changes.labels("rejected").inc(len(done.rejected))
        return KeptAnswer("", 200, _encode(done))

    if not once:
        return response_of(await work())
    said = hashlib.sha256(b"POST %b/%b " % (owner.encode(), name.encode()) + body).digest()
    kept, again = await push.once.answer(client.name, once, said, work)
    return response_of(kept, again=again)


async def _feeds_for(push: PushIntake, client: Client, name: str) -> Sequence[Feed]:
    """Return a partner's feeds of the list; () for an operator. Raises ProblemError."""
    of_list = [one for one in (await push.feeds()).values() if one.feed.list_name == name]
    pushed = [one for one in of_list if one.source.is_pushed]
    if any(one.feed.gate.second_person for one in pushed):
        text = "changes of this list need two persons: hand them in as a file"
        raise ProblemError(ProblemKind.CONFLICT, text)
    if client.role is ClientRole.OPERATOR:
        if owner_of(name) != push.home:
            text = f"an operator changes lists of {push.home}; others' are their owners'"
            raise ProblemError(ProblemKind.CONFLICT, text)
        return ()
    mine = [one.feed for one in pushed if may_push(client, one)]
    if not mine:
        text = "there is no list of this name that you may change"
        raise ProblemError(ProblemKind.NOT_FOUND, text)
    return mine


def asked_in(request: Request, body: bytes) -> ListChange:
    """Return the change of a body. Raises ProblemError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        text = f"takes {JSON}: send it with the header Content-Type: {JSON}"
        raise ProblemError(ProblemKind.UNSUPPORTED, text)
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        where = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        text = f"takes reason, add and remove: {where}"
        raise ProblemError(ProblemKind.MALFORMED, text) from error
    if not asked.add and not asked.remove:
        raise ProblemError(ProblemKind.MALFORMED, "give numbers to add, to remove, or both")
    if len(asked.add) + len(asked.remove) > NUMBERS_MAX:
        text = f"takes {NUMBERS_MAX} numbers; more are a file"
        raise ProblemError(ProblemKind.TOO_LARGE, text)
    reason = reason_of(asked.reason, "")
    if not reason:
        raise ProblemError(ProblemKind.MALFORMED, "give a reason: the audit keeps it")
    return msgspec.structs.replace(asked, reason=reason)

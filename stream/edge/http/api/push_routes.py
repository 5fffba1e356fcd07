"""`PUT /v1/feeds/{name}/versions`: a partner hands in its list, and gets the gate's verdict.

The body goes into a file, and `ringfence feeds push` works on it: page, shell and HTTP cannot
differ. The process that answers lookups reads none of it.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from stream.core.model.errors import UNREADABLE
from stream.edge.http.api.answers import answered
from stream.edge.http.api.commands import Ran
from stream.edge.http.api.file_intake import ReceivedFile
from stream.edge.http.api.idempotency import KeptAnswer, key_in
from stream.edge.http.api.push_intake import KeyHeader, PushIntake, reason_of
from stream.edge.http.dependencies import PartsHere, needs
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.gate import GateVerdict
from stream.lists.store.heads import By

router = APIRouter(prefix="/v1/feeds", tags=["feeds"])

NAME_CHARS_MAX: Final = 200
_DECIDED: Final = {0, 1}
"""Exit codes of `ringfence feeds push` with a verdict: live; held or refused."""
_STATUS: Final = {GateVerdict.HELD: 202}
_encode = msgspec.json.Encoder().encode


class FindingAnswer(msgspec.Struct):
    """One reason of the gate, and its figures."""

    reason: str
    detail: str


class RejectedRowAnswer(msgspec.Struct):
    """A rejected row by its line, and what to do. The row itself is in your file."""

    line: int
    reason: str
    what_to_do: str


class RowsAnswer(msgspec.Struct):
    """Counts of rows. `rejected` is by reason; `first_rejected` are the first 20 of them.

    `left_out` counts rows that may not go live, by the gate's reason; `adjusted` counts changes to
    what rows claim; `passed_over` rows that are no reports.
    """

    good: int
    rejected: dict[str, int]
    first_rejected: list[RejectedRowAnswer]
    left_out: dict[str, int]
    adjusted: dict[str, int]
    passed_over: int


class ReleaseAnswer(msgspec.Struct):
    """The people who may let a held version in, and where."""

    who: str
    page: str
    command: str


class VersionAnswer(msgspec.Struct):
    """The gate's verdict on a version.

    `verdict`: `accepted` and `same` are live, `held` waits for a person (`release`). `added`,
    `removed` and `updated` count numbers of the list; of a held version, those that would be.
    `numbers` counts the feed's numbers on the list, `generation` is the list's.
    """

    feed: str
    list: str
    version: str
    sha256: str
    verdict: str
    live: bool
    findings: Sequence[FindingAnswer]
    rows: RowsAnswer
    added: int
    removed: int
    updated: int
    numbers: int | None
    generation: int | None
    release: ReleaseAnswer | None


@router.put(
    "/{name}/versions",
    summary="Hand in a list",
    responses={
        200: {
            "description": "It is live. `same`: it was before.",
            "content": answered(VersionAnswer),
        },
        202: {
            "description": "The gate holds it: `findings` say why, `release` who lets it in.",
            "content": answered(VersionAnswer),
        },
        404: {"description": "There is no such feed, or it is not yours."},
        409: {
            "description": "The feed is fetched, not handed in; or it is worked on just now. Or "
            "these are changes, and others of the feed wait for a person."
        },
        415: {"description": "It is a form, not the file itself."},
        422: {
            "description": "The gate refuses it: `findings` in the problem say why. Or the "
            "Idempotency-Key came with another file."
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def hand_in(
    request: Request,
    parts: PartsHere,
    client: Annotated[Client, needs(ClientRole.PARTNER)],
    name: Annotated[str, Path(description="The feed.", max_length=40)],
    reason: Annotated[str, Query(description="For the audit.", max_length=1000)] = "",
    file: Annotated[
        str, Query(description="The file's name, for reports.", max_length=NAME_CHARS_MAX)
    ] = "",
    key: KeyHeader = "",
) -> Response:
    """The body is the file as it is, in the format of the feed's file, also packed by gzip or zstd.

    It takes the place of all that the feed has on its list. The feed's file has to say
    `[from] kind = "push"`. A partner whose token has the name of the feed's owner may hand it in,
    and the clients that the feed's file names.

    Send it again with the same `Idempotency-Key` after an error or no answer: it is worked on once.
    """
    push = parts.push
    setup = await push.feed_of(client, name)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        text = "takes the file itself as the body, no form: curl -T FILE, not -F"
        raise ProblemError(ProblemKind.UNSUPPORTED, text)
    by = By(f"http:{client.name}", reason_of(reason, "handed in by HTTP"))
    once = key_in(key)
    async with push.files.received(request) as received:

        async def work() -> KeptAnswer:
            return await _answered(push, setup, received, by, reason_of(file, ""))

        if not once:
            return response_of(await work())
        asked = hashlib.sha256(b"PUT %b %b" % (name.encode(), received.sha256)).digest()
        kept, again = await push.once.answer(client.name, once, asked, work)
    return response_of(kept, again=again)


async def _answered(
    push: PushIntake, setup: FeedSetup, received: ReceivedFile, by: By, called: str
) -> KeptAnswer:
    """Have the command work on the file, and return the answer. Raises ProblemError."""
    feed = setup.feed
    record = await decided(push, setup, received.path, by, called or "a file by HTTP")
    if record["verdict"] == GateVerdict.REFUSED:
        errors = [msgspec.to_builtins(one) for one in _findings(record)]
        text = "the gate refuses this version; the last good one stays"
        raise ProblemError(
            ProblemKind.VERSION_REFUSED, text, errors=errors, feed=feed.name, list=feed.list_name
        )
    answer = answer_of(setup, record)
    return KeptAnswer("", _STATUS.get(GateVerdict(answer.verdict), 200), _encode(answer))


async def decided(
    push: PushIntake,
    setup: FeedSetup,
    path: FilePath,
    by: By,
    called: str,
    more: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the verdict of `ringfence feeds push`, as its JSON says it. Raises ProblemError."""
    words = ["feeds", "push", setup.feed.name, str(path), "--json", f"--called={called}", *more]
    ran = await push.commands.take(words, by)
    try:
        record = await asyncio.to_thread(_record_in, ran)
    except ProblemError:
        push.told("failed")
        raise
    push.told(record["verdict"])
    return record


def _record_in(ran: Ran) -> dict[str, Any]:
    """Return the verdict that the command printed. Raises ProblemError."""
    try:
        found = ran.json if ran.code in _DECIDED else None
    except UNREADABLE:
        found = None
    if isinstance(found, dict) and "verdict" in found:
        return found
    text = f"it was not taken in: {ran.said or 'the log says why'}"
    kind = ProblemKind.REGISTER_DOWN if ran.code == 3 else ProblemKind.CONFLICT
    raise ProblemError(kind, text, retry_after_s=5 if ran.code == 3 else None)


def _findings(record: Mapping[str, Any]) -> list[FindingAnswer]:
    parted = (text.partition(": ") for text in record.get("findings", ()))
    return [FindingAnswer(reason, detail) for reason, _, detail in parted]


def answer_of(setup: FeedSetup, record: Mapping[str, Any]) -> VersionAnswer:
    """Return the answer for a record as `ringfence feeds push --json` prints it."""
    feed, verdict = setup.feed, record["verdict"]
    held = verdict == GateVerdict.HELD
    command = f"ringfence feeds release {feed.name} --version {record['id']} --reason ..."
    who = "an operator, by page or command"
    if feed.gate.second_person or record.get("sent_by"):
        who = "an operator who did not hand it in, by page or command"
    return VersionAnswer(
        feed=feed.name,
        list=feed.list_name,
        version=record["id"],
        sha256=record["sha256"],
        verdict=verdict,
        live=not held,
        findings=_findings(record) if held else [],
        rows=RowsAnswer(
            good=record.get("good", 0),
            rejected=record.get("rejected", {}),
            first_rejected=[
                RejectedRowAnswer(int(row["line"]), row["reason"], row["what_to_do"])
                for row in record.get("rejected_rows", ())
            ],
            left_out=record.get("dropped", {}),
            adjusted=record.get("adjusted", {}),
            passed_over=record.get("passed_over", 0),
        ),
        added=record.get("gained", 0),
        removed=record.get("lost", 0),
        updated=record.get("updated", 0),
        numbers=None if held else record.get("numbers", 0),
        generation=None if held else record.get("generation", 0),
        release=ReleaseAnswer(who, f"/lists/{feed.list_name}", command) if held else None,
    )


def response_of(kept: KeptAnswer, *, again: bool = False) -> Response:
    """Return the response; `again`: it is the answer to the same request of before."""
    headers = {"Idempotent-Replayed": "true"} if again else {}
    return Response(kept.body, kept.status, headers, "application/json")

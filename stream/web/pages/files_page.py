"""Hand a list in by page: drop a file, see how it is understood, correct it, submit it.

Nothing is stored before that. The browser keeps the file and sends it with each step, so any
process may answer, and a person who leaves leaves nothing behind. A step is a command of ours, in a
process of its own. The body of a step is a line of JSON, the form, and then the file.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import phonenumbers
from fastapi import APIRouter, Query, Request, Response

from stream.core.model.entry import FIELDS
from stream.core.model.errors import UNREADABLE
from stream.core.model.free_text import line_of
from stream.edge.http.api.commands import JSON_LINES_MAX, Ran
from stream.edge.http.api.push_intake import may_push
from stream.edge.http.api.push_routes import NAME_CHARS_MAX, decided
from stream.edge.http.languages import noted
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import ClientRole
from stream.feeds.feed_sources import FeedSetup
from stream.feeds.gate import GateVerdict
from stream.lists.store.heads import By
from stream.web.session_deps import Visit, check_origin, reason_in, sees

router = APIRouter(include_in_schema=False)

_MEANINGS: Final = {
    "number": noted("the number to block"),
    "category": noted("category"),
    "reported_at": noted("when it was reported"),
    "expires_at": noted("when it ends"),
    "confidence": noted("confidence, 0 to 100"),
    "source": noted("who reported it"),
}
assert set(_MEANINGS) == set(FIELDS)
_REGIONS: Final = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))


class FileForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of a step. `read_as` is a reading as `ringfence feeds preview` gave it."""

    csrf: str
    feed: str
    name: str = ""
    read_as: dict[str, Any] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileStep:
    """A file that was sent with a form, by a person who may hand in the form's feed."""

    visit: Visit
    form: FileForm
    setup: FeedSetup
    path: Path

    @property
    def words(self) -> list[str]:
        """The option of the reading, as a command takes it."""
        if self.form.read_as is None:
            return []
        return [f"--read-as={msgspec.json.encode(self.form.read_as).decode()}"]

    @property
    def called(self) -> str:
        """The file's name, on one line."""
        try:
            return line_of(self.form.name, "the file's name", NAME_CHARS_MAX) or "a file"
        except ValueError as error:
            raise ProblemError(ProblemKind.MALFORMED, str(error)) from error


Sees = sees(ClientRole.PARTNER)


@asynccontextmanager
async def _step(request: Request, visit: Visit) -> AsyncIterator[FileStep]:
    """Receive one step; the file is there within the block. Raises ProblemError."""
    push = visit.parts.push
    async with push.files.received(request, with_fields=True) as received:
        try:
            form = msgspec.json.decode(received.fields, type=FileForm)
        except (*UNREADABLE, ValueError) as error:
            raise ProblemError(ProblemKind.MALFORMED, noted("the form cannot be read")) from error
        check_origin(request, {"csrf": form.csrf}, visit.session.csrf)
        setup = await push.feed_of(visit.client, form.feed)
        yield FileStep(visit, form, setup, received.path)


@router.get("/files")
async def files(
    visit: Annotated[Visit, Sees], feed: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Show where a file is dropped, and the lists that it may go to."""
    setups = await visit.parts.push.feeds()
    mine = [one for one in setups.values() if one.source.is_pushed and may_push(visit.client, one)]
    return visit.page("files.html", setups=mine, chosen=feed)


@router.post("/files/look")
async def look(request: Request, visit: Annotated[Visit, Sees]) -> Response:
    """Show how the file is understood: `ringfence feeds preview`. Changes and stores nothing."""
    async with _step(request, visit) as step:
        words = ["feeds", "preview", step.setup.feed.name, str(step.path), *step.words]
        words.append(f"--actor=page:{visit.client.name}")
        ran = await visit.parts.commands.look(words, count=JSON_LINES_MAX)
        found = _json_in(ran, {0})
    report = found["file"]
    columns = report["table"] if report is not None else []
    return visit.page(
        "file_look.html",
        setup=step.setup,
        called=step.called,
        found=found,
        report=report,
        check=found["check"],
        columns=columns,
        meanings=_MEANINGS,
        regions=_REGIONS,
        home=visit.parts.settings.calls.home_country,
        read_as=msgspec.json.encode(found["read_as"]).decode(),
    )


@router.post("/files/calls")
async def calls(request: Request, visit: Annotated[Visit, sees()]) -> Response:
    """Show the calls of the last day that the file would have blocked: `ringfence replay`.

    Only to an operator: a partner could ask for the calls of any number by listing it.
    """
    async with _step(request, visit) as step:
        feed = step.setup.feed
        words = ["replay", "--from=1d", f"--candidate={step.path}", f"--feed={feed.name}"]
        ran = await visit.parts.commands.look(
            [*words, "--json=-", *step.words], count=JSON_LINES_MAX
        )
        found = _json_in(ran, {0})
    return visit.page("file_calls.html", found=found, blocked=found["changes"]["newly_blocked"])


@router.post("/files/submit")
async def submit(request: Request, visit: Annotated[Visit, Sees]) -> Response:
    """Hand the file in: `ringfence feeds push`. Shows the gate's verdict."""
    async with _step(request, visit) as step:
        by = By(f"page:{visit.client.name}", reason_in({"reason": step.form.reason}))
        record = await decided(visit.parts.push, step.setup, step.path, by, step.called, step.words)
    held = record["verdict"] == GateVerdict.HELD
    return visit.page("file_done.html", record=record, setup=step.setup, held=held)


def _json_in(ran: Ran, fine: set[int]) -> dict[str, Any]:
    """Return the JSON that a command printed. Raises ProblemError."""
    try:
        found = ran.json if ran.code in fine else None
    except UNREADABLE:
        found = None
    if isinstance(found, dict):
        return found
    raise ProblemError(ProblemKind.CONFLICT, ran.said or noted("the log says why"))

"""The parts of handing lists in over HTTP and by page, and who may hand in which feed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header

from stream.core.model.free_text import REASON_CHARS_MAX, line_of
from stream.edge.http.api.commands import OwnCommands
from stream.edge.http.api.file_intake import FileIntake
from stream.edge.http.api.idempotency import AnswersOnce
from stream.edge.http.api.list_changes import ListChanger
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole
from stream.feeds.feed_sources import FeedSetup


@dataclass(slots=True, kw_only=True)
class PushIntake:
    """The parts of handing in: the feeds of this moment, files, kept answers, our commands.

    `home` is the country whose lists are ours. `told` gets each verdict, for metrics.
    """

    feeds: Callable[[], Awaitable[Mapping[str, FeedSetup]]]
    files: FileIntake
    once: AnswersOnce
    commands: OwnCommands
    changer: ListChanger
    home: str
    told: Callable[[str], object] = lambda _: None

    async def feed_of(self, client: Client, name: str) -> FeedSetup:
        """Return the feed that `client` may hand in. Raises ProblemError."""
        setup = (await self.feeds()).get(name)
        if setup is None or not may_push(client, setup):
            text = "there is no feed of this name that you may hand in"
            raise ProblemError(ProblemKind.NOT_FOUND, text)
        if not setup.source.is_pushed:
            text = (
                f'this feed is fetched; [from] kind = "push" takes files, not "{setup.source.kind}"'
            )
            raise ProblemError(ProblemKind.CONFLICT, text)
        return setup


def may_push(client: Client, setup: FeedSetup) -> bool:
    """Return whether a client may hand this feed in: an operator, its owner, one it names."""
    if client.role is ClientRole.OPERATOR or client.is_owner(setup.feed.owner):
        return True
    named: tuple[str, ...] = setup.source.settings.clients if setup.source.is_pushed else ()
    return client.role is ClientRole.PARTNER and client.name in named


def reason_of(text: str, otherwise: str) -> str:
    """Return a reason for the audit, on one line. Raises ProblemError."""
    try:
        return line_of(text, "the reason", REASON_CHARS_MAX) or otherwise
    except ValueError as error:
        raise ProblemError(ProblemKind.MALFORMED, str(error)) from error


KeyHeader = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        description="Your name for this request: sent again with it, it gets the same answer.",
    ),
]

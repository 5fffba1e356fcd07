"""What the pages work with, handed in by the composition."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fastapi import Request

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import InsightSettings
from stream.core.filters.blocklists import Blocklists
from stream.edge.http.appeal_service import Redress
from stream.lists.store.list_store import ListStore
from stream.web.commands import Commands
from stream.web.feed_index import FeedsKnown
from stream.web.live_feed import Live
from stream.web.recent_decisions import Recent
from stream.web.sessions import Sessions
from stream.web.trial_cache import Counting


@dataclass(slots=True, kw_only=True)
class PageParts:
    """Everything that pages share; one of each process.

    `settings` are the whole configuration; `agreements` the folder as last read; `redress` what is
    kept of decisions and appeals; `live` what the overview shows; `recent` the newest decisions;
    `feeds` those of the folder; `commands` what changes are made by; `blocklists` the lists as this
    process has them; `counting` what trials would have done; `now_s` the clock.
    """

    settings: InsightSettings
    sessions: Sessions
    agreements: AgreementFolder
    redress: Redress
    live: Live
    recent: Recent
    feeds: FeedsKnown
    commands: Commands
    blocklists: Callable[[], Blocklists]
    counting: Counting
    now_s: Callable[[], int]
    _register: ListStore | None = field(init=False, default=None)

    async def list_store(self) -> ListStore:
        """The register, connected once. Raises ListStoreDown, ListStoreUnsafe."""
        if self._register is None:
            self._register = await ListStore.connect(self.settings.list_store())
        return self._register

    async def close(self) -> None:
        """Let go of the connections."""
        if self._register is not None:
            await self._register.close()


def page_parts_of(request: Request) -> PageParts:
    """The parts of the application that serves `request`."""
    found = request.app.state.page_parts
    assert isinstance(found, PageParts)
    return found

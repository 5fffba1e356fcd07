"""The lists and agreements of a process, kept up to date: for workers, sinks and lookups.

Every process loads them alike: the last good lists from the state directory, then the list store,
whose changes are followed.
"""

import asyncio
import logging
from pathlib import Path

from stream.config.agreement_files import AgreementFolder
from stream.config.settings import EngineSettings
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements
from stream.core.model.errors import ListStoreDown
from stream.lists.follower.list_events import EventKind, ListEvent, OnEvent
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.ops.kernels import KernelStatus, warm_up
from stream.ops.runtime import tune_garbage_collector
from stream.ops.tasks import cancelled, every
from stream.ops.traces import OFF, Traces

log = logging.getLogger(__name__)

_LEVELS = {
    EventKind.LOADED: logging.INFO,
    EventKind.SWAPPED: logging.DEBUG,
    EventKind.DELETED: logging.INFO,
    EventKind.GAP: logging.WARNING,
    EventKind.CHECKSUM: logging.WARNING,
    EventKind.REGISTER_UP: logging.INFO,
    EventKind.REGISTER_DOWN: logging.WARNING,
    EventKind.REGISTER_UNSAFE: logging.ERROR,
    EventKind.REGISTER_LOST: logging.ERROR,
    EventKind.PUT_BACK: logging.WARNING,
    EventKind.CHANGES_LOST: logging.ERROR,
    EventKind.SNAPSHOT_REFUSED: logging.ERROR,
    EventKind.TRIALS: logging.INFO,
    EventKind.CLOCK_DIFFERS: logging.ERROR,
    EventKind.STATE_DIR_FAILED: logging.ERROR,
}


def refresher_for(settings: EngineSettings, on_event: OnEvent, traces: Traces = OFF) -> Refresher:
    """Return the follower of all lists, as the settings want it."""
    return Refresher(
        RefreshSettings(
            list_store=settings.list_store(),
            state_dir=Path(settings.lists.state_dir),
            keys=settings.circle_keys(),
            changes_block_ms=settings.lists.changes_block_ms,
            reconcile_s=settings.lists.reconcile_s,
            generations_kept=settings.lists.generations_kept,
        ),
        on_event,
        traces=traces,
    )


async def lists_now(settings: EngineSettings) -> tuple[Blocklists, str]:
    """Return the lists as a worker that starts now would have them, and the list store's state.

    Raises ListStoreDown where neither the list store nor the state directory has lists.
    """
    down = asyncio.Event()
    said: list[str] = []

    def on_event(event: ListEvent) -> None:
        if event.kind is EventKind.REGISTER_DOWN:
            said[:] = [f"does not answer ({event.detail}); these are the last good lists"]
            down.set()
        elif event.kind in {EventKind.REGISTER_LOST, EventKind.SNAPSHOT_REFUSED}:
            said.append(f"{event.kind}: {event.detail}")

    refresher = refresher_for(settings, on_event)
    await asyncio.to_thread(refresher.load_last_good)
    following = asyncio.create_task(refresher.run())
    loaded = asyncio.create_task(refresher.wait_loaded())
    away = asyncio.create_task(down.wait())
    try:
        # No TaskGroup: the first that ends is the answer, and a follower that runs is cancelled.
        await asyncio.wait({following, loaded, away}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        if away.done() and not refresher.current.lists:
            raise ListStoreDown(
                f"the list store {said[0].partition(';')[0]}, and "
                f"{settings.lists.state_dir} holds no lists"
            )
    finally:
        await cancelled(following, loaded, away)
    return refresher.current, "; ".join(said) or "in agreement"


def tell(event: ListEvent) -> None:
    """Log an event on the lists' way."""
    extra = {"list": event.list_name} if event.list_name else {}
    log.log(_LEVELS[event.kind], "%s: %s", event.kind, event.detail, extra=extra)


class LiveLists:
    """The lists and agreements of the moment."""

    def __init__(self, settings: EngineSettings, on_event: OnEvent, traces: Traces = OFF) -> None:
        self._settings = settings
        self.agreements = AgreementFolder(settings.agreements.folder())
        self.refresher = refresher_for(settings, on_event, traces)
        self._begun = asyncio.Event()

    def current(self) -> Blocklists:
        """Return the lists: the same value until something changes."""
        return self.refresher.current

    def agreed(self) -> Agreements:
        """Return the agreements: the same value until something changes."""
        return self.agreements.reading.agreements

    async def load(self) -> KernelStatus:
        """Load kernels and last good lists; return whether the kernels are in use.

        Who reads Kafka beside it waits for `begun` first: readers choose once between the kernels
        and the slower aiokafka.
        """
        # gather, not a TaskGroup: threads cannot be cancelled, so both end anyway.
        warmth, _ = await asyncio.gather(
            asyncio.to_thread(_use_kernels, self._settings),
            asyncio.to_thread(self.refresher.load_last_good),
        )
        self._begun.set()
        return warmth

    async def begun(self) -> None:
        """Wait until `load` has ended."""
        await self._begun.wait()

    async def run(self) -> None:
        """Follow the list store, until cancelled. Raises ListStoreUnsafe at the start."""
        await self.refresher.run()

    async def wait_loaded(self) -> None:
        """Wait until there are lists, and keep them out of garbage collections."""
        await self.refresher.wait_loaded()
        tune_garbage_collector()
        log.info("lists are loaded: %d", len(self.current().lists))

    async def watch_agreements(self) -> None:
        """Take up changed agreements, until cancelled."""
        await every(self._settings.agreements.reload_s, self.agreements.look)


def _use_kernels(settings: EngineSettings) -> KernelStatus:
    """Switch the compiled kernels on, unless the settings say no; before lists are built. Blocks.

    Logs why they are not used, if so.
    """
    ops = settings.ops
    if ops.kernels == "off":
        warmth = KernelStatus("the settings say so", 0.0)
    else:
        warmth = warm_up(ops.kernels_folder(settings.lists.state_dir))
    if warmth.why_not:
        log.warning("without compiled kernels, at several times the CPU: %s", warmth.why_not)
    return warmth

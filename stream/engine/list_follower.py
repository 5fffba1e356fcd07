"""The follower of the lists as the settings want it: for workers, and for live lookups."""

from pathlib import Path

from stream.config.settings import EngineSettings
from stream.lists.follower.list_events import OnEvent
from stream.lists.follower.refresh import Refresher, RefreshSettings
from stream.ops.traces import OFF, Traces


def refresher_for(settings: EngineSettings, on_event: OnEvent, traces: Traces = OFF) -> Refresher:
    """The lists' way of one worker."""
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

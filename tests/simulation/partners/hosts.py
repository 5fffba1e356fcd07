"""Processes of the exchange in a simulation: `ringfence feeds run`, with those that it begins."""

from dataclasses import replace
from pathlib import Path

from stream.config.settings import Settings
from stream.services.feeds import FeedsService
from tests.simulation.loop import Process
from tests.simulation.partners.publications import OURS
from tests.simulation.partners.web import PORT
from tests.simulation.store.ensemble import MASTER, Ensemble
from tests.simulation.worker import Hosted, settings_for

RETRY_S_MOST = 8.0
PROCESSES_MAX = 6
"""Processes at once: its own, two of each of two feeds, and one that finds its parent gone."""
FILES_MAX = 3
"""Files of one fetch: a version, and its checksum's on the way."""


def feeds_settings(folder: Path, store: Ensemble) -> Settings:
    """Return the settings of a host that follows feeds; the feeds' files are in `folder`/feeds."""
    settings = settings_for("", folder / "state")
    feeds = replace(
        settings.feeds,
        dir=str(folder / "feeds"),
        own_numbers=(OURS,),
        retry_s_first=1.0,
        retry_s_most=RETRY_S_MOST,
    )
    lists = replace(settings.lists, rebuild_changes=0)
    return replace(with_store(settings, store), feeds=feeds, lists=lists)


def with_store(settings: Settings, store: Ensemble) -> Settings:
    """Return the settings with a list store."""
    if store.sentinels:
        redis = replace(settings.redis, sentinels=store.addresses, sentinel_master=MASTER)
    else:
        redis = replace(settings.redis, url=store.url)
    return replace(settings, redis=redis)


class FeedsHost(Hosted):
    """One host with `feeds run`."""

    def _made(self) -> FeedsService:
        return FeedsService(self.settings, {})

    def disk_full(self, full: bool) -> None:
        """Let there be no room on its disk, for all its processes, or room again."""
        super().disk_full(full)
        for process in self.world.loop.processes:
            if process.name == self.name:
                process.disk_full = full

    @property
    def processes(self) -> int:
        """Return the number of processes there."""
        return sum(one.name == self.name and one.alive for one in self.world.loop.processes)

    def left(self, process: Process) -> str:
        """Return what a process left that ended in order; "": nothing."""
        if tasks := [one.get_name() for one in process.tasks if not one.done()][1:]:
            return f"tasks: {tasks}"  # the first one is the process' own, which asks
        # redis-py closes no connection whose opening was cancelled; it goes with the process.
        pipes = (
            one
            for one in self.world.network.connections(self.name)
            if one.process is process and one.peer.port == PORT
        )
        if held := [str(one) for one in pipes if not one.is_closing()]:
            return f"connections: {held}"
        # A fetch that is ended leaves its own, which the next one clears.
        files = [one.name for one in Path(self.settings.lists.state_dir).rglob("incoming*")]
        return f"files: {files}" if len(files) > FILES_MAX else ""

"""Cause every fault, see its alert fire and clear, and write what was scraped."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.tools.faults import doors, foreign, record, scenes
from tests.tools.faults.place import JOBS, Place
from tests.tools.faults.record import Seen
from tests.tools.faults.scenes import Scene
from tests.tools.faults.watch import Prometheus

WARM_S = 60.0
AFTER_S = 12.0
"""Seconds recorded after an alert cleared: a restarted process is back by then."""
PAST_S = 200.0
"""For alerts that compare with the hours before."""
DEFAULT_PORTS = {
    "engine": 9464,
    "feeds": 9465,
    "exchange": 9466,
    "enforcement": 9468,
    "sink-redis": 9470,
    "sink-webhooks": 9469,
    "serve": 9471,
    "ingest": 9472,
    "sip": 9473,
}

FROM_THE_START = [
    Scene(("WebhookFailing",), scenes.nobody_receives),
    Scene(("CertificateExpires",), scenes.short_certificate),
    Scene(("SignatureExpires", "SignatureNotRenewed", "PublishFails"), scenes.nobody_signs),
]
ALONE = [
    Scene(("ListStale", "ListsStaleFast"), scenes.register_hangs, lead_s=20, holds_s=10),
    Scene(("KafkaAway", "IngestWaits"), scenes.kafka_hangs),
    Scene(("CallsStopped",), scenes.nobody_calls, lead_s=PAST_S, holds_s=10),
]
SLOW = ("ListsStaleSlow", "DecisionsLateSlow")
LANES = [
    [
        Scene(("LatencyHigh", "DecisionsLateFast"), scenes.starved, 240),
        Scene(("LagGrowing",), scenes.slowed, 240),
        Scene(("BlocksJumped",), scenes.poisoned, lead_s=PAST_S),
        Scene(("BlocksFellToZero",), scenes.emptied, lead_s=PAST_S),
        Scene(("RejectsJumped",), scenes.garbage, lead_s=PAST_S),
        Scene(("WrongDialect",), scenes.another_dialect),
        Scene(("WorkerBehind",), scenes.a_worker_hangs),
        Scene(("PartitionStopped",), scenes.damaged),
        Scene(("EngineDown",), scenes.engine_stopped),
        Scene(("RestartLoop",), scenes.workers_die, holds_s=15),
    ],
    [
        Scene(("FeedHeld",), scenes.shrunk),
        Scene(("FeedRefused",), scenes.a_page_for_a_feed),
        Scene(("FeedDown",), scenes.no_feed),
        Scene(("FeedFileWrong",), scenes.wrong_feed_file),
        Scene(("FeedStateForeign",), scenes.root_pulled),
        Scene(("AgreementBroken",), scenes.broken_agreement),
        Scene(("ListOutOfScope",), foreign.a_partner_names_others, clears_s=300),
        Scene(("FiltersTooCoarse",), foreign.coarse_filters),
        Scene(("AppealsOverdue",), scenes.unanswered),
        Scene(("ProcessDown",), scenes.feeds_stopped),
        Scene(("InnocentSighted",), scenes.a_partner_doubts, clears_s=300),
        Scene(("EnforcementNotTold",), scenes.nobody_publishes, 300, 300, holds_s=10),
    ],
    [
        Scene(("KeysMissing",), scenes.more_keys_than_room),
        Scene(("KeysOld", "SinkBehind"), scenes.proxies_hang),
        Scene(("RedisEvicts",), scenes.evicting),
        Scene(("RedisMemoryFull",), scenes.register_full),
        Scene(("RecordsSkipped",), foreign.another_program_writes),
        Scene(("RecordsLost",), doors.rotated_away, holds_s=6),
        Scene(("SipRefuses",), doors.a_trunk_asks_too_much),
        Scene(("SipFlooded",), doors.strangers_flood),
        Scene(("TokenExpires",), doors.token_ends),
        Scene(("IntakeDown",), doors.nobody_answers_sip),
    ],
]
LAST = [Scene(("RegisterLostData",), scenes.restored_from_nothing)]


@dataclass(frozen=True, slots=True)
class Times:
    """Of one scene, since the epoch. `before_s` 0: the fault was there from the start."""

    begin_s: float
    before_s: float
    firing_s: float
    mended_s: float


class Play:
    """One run of scenes, and what was seen."""

    def __init__(self, place: Place, prometheus: Prometheus, only: Sequence[str]) -> None:
        self._place, self._prometheus = place, prometheus
        self._only = set(only)
        self._names = {
            str(place.ports[name]): f"{name}:{port}" for name, port in DEFAULT_PORTS.items()
        }
        self.began_s = time.time()
        self.failed: list[str] = []

    async def scene(self, scene: Scene, *, from_the_start: bool = False) -> None:
        """Cause, wait, fix, wait, write."""
        if self._only and not self._only & set(scene.alerts):
            if from_the_start:  # nobody wants to see it, and others would not be well
                async with scene.cause(self._place):
                    return
            return
        if not from_the_start:
            for alert in scene.alerts:
                await self._prometheus.until(alert, fires=False, within_s=scene.clears_s)
            await asyncio.sleep(3)
        cause_s = time.time()
        fired: dict[str, float] = {}
        begin_s = self.began_s if from_the_start else max(self.began_s, cause_s - scene.lead_s)
        async with scene.cause(self._place):
            for alert in scene.alerts:
                try:
                    await self._prometheus.until(alert, fires=True, within_s=scene.fires_s)
                except TimeoutError as error:
                    self._say(f"{alert:22} NOT FIRED: {error}")
                    self.failed.append(alert)
                else:
                    fired[alert] = time.time() - cause_s
            await asyncio.sleep(scene.holds_s)
            firing_s = time.time() - 1.5
        times = Times(begin_s, 0.0 if from_the_start else cause_s - 2, firing_s, time.time())
        for alert, after_s in fired.items():
            await self._cleared(alert, scene.clears_s, times, after_s)

    async def _cleared(self, alert: str, within_s: float, times: Times, after_s: float) -> None:
        try:
            await self._prometheus.until(alert, fires=False, within_s=within_s)
        except TimeoutError as error:
            self._say(f"{alert:22} fired after {after_s:5.1f} s; NOT CLEARED: {error}")
            self.failed.append(alert)
            return
        cleared_s = time.time()
        self._say(
            f"{alert:22} fired after {after_s:5.1f} s, cleared {cleared_s - times.mended_s:5.1f} s "
            "after it was mended"
        )
        await asyncio.sleep(AFTER_S)
        end_s = cleared_s + AFTER_S - 2
        seen = Seen(alert, float(int(times.begin_s)), times.before_s, times.firing_s, end_s)
        await record.write(self._prometheus, seen, self._names)

    async def slow(self, alert: str) -> None:
        """One whose windows are so long that the whole run is its recording."""
        if self._only and alert not in self._only:
            return
        firing_s = 0.0
        deadline_s = time.time() + 1500
        while time.time() < deadline_s:
            if await self._prometheus.firing(alert):
                if not firing_s:
                    self._say(f"{alert:22} fires")
                firing_s = time.time()
            elif firing_s:
                seen = Seen(alert, float(int(self.began_s)), 0.0, firing_s - 20, time.time() + 3)
                self._say(f"{alert:22} cleared")
                await asyncio.sleep(4)
                await record.write(self._prometheus, seen, self._names)
                return
            await asyncio.sleep(1)
        self._say(f"{alert:22} NOT {'CLEARED' if firing_s else 'FIRED'}")
        self.failed.append(alert)

    async def lane(self, lane: Sequence[Scene]) -> None:
        """One after the other."""
        for scene in lane:
            try:
                await self.scene(scene)
            except (AssertionError, OSError, LookupError, TimeoutError, ExceptionGroup) as error:
                self._say(f"{scene.alerts}: {error!r:.2000}")
                self.failed += scene.alerts

    def _say(self, text: str) -> None:
        sys.stdout.write(f"{time.time() - self.began_s:6.0f} s  {text}\n")
        sys.stdout.flush()


async def main(folder: Path, only: Sequence[str]) -> int:
    """The whole run; 1 if an alert did not fire or did not clear."""
    with Place(folder) as place:
        jobs = {job: [place.ports[name] for name in names] for job, names in JOBS.items()}
        async with Prometheus(folder / "prometheus", jobs) as prometheus, AsyncExitStack() as stack:
            calling = asyncio.create_task(place.calls())
            stack.callback(calling.cancel)
            play = Play(place, prometheus, only)
            await asyncio.sleep(WARM_S)
            slow = [asyncio.create_task(play.slow(alert)) for alert in SLOW]
            for scene in FROM_THE_START:
                await play.scene(scene, from_the_start=True)
            await play.lane(ALONE)
            await asyncio.gather(*map(play.lane, LANES))
            await asyncio.gather(*slow)
            await play.lane(LAST)
            return bool(play.failed)


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--only", action="append", default=[], metavar="ALERT")
    words.add_argument("--folder", help="where logs are kept; else they go with the run")
    given = words.parse_args()
    if given.folder:
        Path(given.folder).mkdir(parents=True)
        sys.exit(asyncio.run(main(Path(given.folder), given.only)))
    with tempfile.TemporaryDirectory(prefix="ringfence-faults-") as made:
        sys.exit(asyncio.run(main(Path(made), given.only)))

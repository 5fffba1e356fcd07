"""The time until a change is enforced, while 20,000 CDR/s flow through the same worker.

No peer: the plain loop cannot change its list while it runs. Measured is `ringfence run` with 64
lists of 1M numbers that were loaded from snapshots and are followed in the register (Redis, on the
broker's core), with default settings. One by one, numbers nobody listed are added to a list of
the register and then removed, by the register's own `add` and `remove` as `ringfence lists add`
calls them; one of the 20 calls of each millisecond is made by the number of the moment.

Add: from before the register is called until Kafka appended the first decision that blocks the
number. Remove: from before the call until the append of the last decision that blocks it. So the
register's write, the change stream, the worker's swap, the batch under way and the publishing of
its decisions all count in. Resolution: 1 ms (calls of the number, and Kafka's stamps).

Target: p99 of each at most 1 s, aim 100 ms.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from stream.core.filters.digests import Digests, elements
from stream.core.filters.snapshot import MANIFEST_PART
from stream.core.model.entry import NEVER, Category, Entry
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings
from stream.lists.store.store_codec import BaseRecord
from tests.bench import snapshots
from tests.bench.bench_latency import LATE_MS_MAX, STILL_S, TIMEOUT_S, prepare_s, under_load
from tests.bench.engine import READY_S, Setup, ringfence
from tests.bench.lab import Lab
from tests.bench.readback import Appended
from tests.bench.report import Report, Row, Target
from tests.bench.traffic import innocent_numbers

SLOT_MS = 800
ADD_AT_S, REMOVE_AT_S = 0.1, 0.5
"""When in its slot a number is added and removed: 300 ms and more to see each enforced."""
BY = By("bench", "measuring how soon a change is enforced")


@dataclass(frozen=True, slots=True)
class Issued:
    """When (ms since the epoch) the changes of one number were begun, and when its slot ends."""

    add_ms: float
    remove_ms: float
    end_ms: float


async def run(lab: Lab) -> list[Report]:
    """Load the register, start the worker, let calls flow, change, and read the decisions."""
    rate = max(lab.scale.rates)
    seconds = lab.scale.changes * SLOT_MS // 1000 + 1
    probes = innocent_numbers(lab.scale.changes, seed=77)
    probe_file = lab.run / "probes.npy"
    state = snapshots.linked(snapshots.state_dir(lab), lab.run / lab.new_name("state"), tables=True)
    np.save(probe_file, probes)
    settings = ListStoreSettings(lab.redis.url())
    async with await ListStore.connect(settings) as register, lab.work() as work:
        await load(lab, register, state)
        process, port = ringfence(lab, work, Setup(state, redis_url=lab.redis.url()))
        with process:
            await asyncio.to_thread(process.wait_until_ready, port, READY_S)
            start_at = time.time() + prepare_s(rate, seconds)
            more = ("--probe-file", str(probe_file), "--slot-ms", str(SLOT_MS))
            lateness, issued = await asyncio.gather(
                under_load(lab, work, process, rate, seconds, more, start_at=start_at),
                _change(register, probes.tolist(), start_at),
            )
            await lab.topics.wait_until_steady(work.decisions, 1, STILL_S, TIMEOUT_S, process.check)
        decisions = await lab.topics.read(work.decisions, lambda _: 0)
    late_ms = lateness["appended_max"]
    note = f"the load was at most {late_ms:.0f} ms late"
    # A later load sends a number's calls when the number is off the list again.
    if late_ms > LATE_MS_MAX:
        return [Report("changes", notes=[f"NOT MEASURED, the machine is too busy: {note}"])]
    report = _report(_enforced(decisions, rate, issued), rate)
    report.notes.append(note)
    return [report]


async def load(lab: Lab, register: ListStore, state: Path) -> None:
    """Put the snapshots of `state` into the register as its lists' bases."""
    lab.say(f"Loading {lab.scale.lists} lists into {lab.redis.title}")
    for index in range(lab.scale.lists):
        name = snapshots.list_name(index)
        await register.create(name, "plain", BY)
        folder = snapshots.snapshot_folder(state, index)
        parts = {path.name: path.read_bytes() for path in folder.iterdir()}
        await put_base(register, name, parts, lab.scale.numbers)


async def put_base(register: ListStore, name: str, parts: Mapping[str, bytes], count: int) -> None:
    """Publish a snapshot as the base of a list that was just made."""
    reservation = await register.reserve(name, BY)
    assert reservation.generation == snapshots.GENERATION, reservation
    seen = (await register.heads()).lists[name]
    await register.write_base(reservation, parts)
    digest = sha256(parts[MANIFEST_PART]).hexdigest()
    record = BaseRecord(reservation.generation, count, digest)
    published = await register.publish_base(reservation, record, seen, record.count, BY)
    assert published is not None, f"{name} was changed meanwhile"


async def _change(register: ListStore, probes: list[int], start_at: float) -> list[Issued]:
    """Add and remove one number after the other, each in its slot."""
    name = snapshots.list_name(0)
    issued = []
    for slot, digits in enumerate(probes):
        begin_s = start_at + slot * SLOT_MS / 1000
        number = f"+{digits}"
        array = np.array([number.encode()], "S16")
        fingerprint = int(Digests(elements(array, b"")).fingerprints()[0])
        entry = Entry(number, fingerprint, Category.OTHER, "bench", int(begin_s), NEVER, 90)
        await asyncio.sleep(begin_s + ADD_AT_S - time.time())
        add_ms = time.time() * 1e3
        await register.add(name, [entry], BY)
        await asyncio.sleep(begin_s + REMOVE_AT_S - time.time())
        remove_ms = time.time() * 1e3
        await register.remove(name, [Removal(fingerprint, number)], BY)
        issued.append(Issued(add_ms, remove_ms, begin_s * 1e3 + SLOT_MS))
    return issued


def _enforced(decisions: Appended, rate: int, issued: list[Issued]) -> dict[str, list[float]]:
    """For each number: ms from add to the first block, and from remove to the last."""
    per_tick = rate // 1000
    slot_of = decisions.calls // per_tick // SLOT_MS
    by_probe = decisions.calls % per_tick == 0
    adds, removes = [], []
    for slot, moment in enumerate(issued):
        blocked_ms = decisions.at_ms[by_probe & (slot_of == slot)]
        assert len(blocked_ms), f"the number of slot {slot} was never blocked"
        assert blocked_ms[0] >= moment.add_ms - 1, f"slot {slot} was blocked before it was added"
        adds.append(float(blocked_ms[0] - moment.add_ms))
        removes.append(max(float(blocked_ms[-1] - moment.remove_ms), 0.0))
    return {"add": adds, "remove": removes}


def _report(enforced: dict[str, list[float]], rate: int) -> Report:
    report = Report("changes")
    for kind, values in enforced.items():
        p50, p99 = map(float, np.percentile(values, [50, 99]))
        figures = {"p50 ms": [p50], "p99 ms": [p99], "worst ms": [max(values)]}
        row = f"{kind} to enforced, {len(values)} changes, at {rate:,} CDR/s"
        report.rows.append(Row(row, figures))
        report.targets.append(Target(f"{kind} to enforced, p99", p99, "ms", 1_000, 100, less=True))
    return report

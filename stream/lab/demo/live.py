"""The live part: calls at a steady rate, and two changes of lists in the middle of it."""

import asyncio
import time
from datetime import UTC, datetime

import numpy as np

from stream.core.filters.digests import Digests, elements
from stream.core.model.entry import NEVER, Category, Entry
from stream.lab.demo.changes import Change
from stream.lab.demo.kafka import Sender
from stream.lab.demo.material import LIVE_S, PROBES_PER_S, Material
from stream.lab.demo.watch import Watch, clock_ms
from stream.lists.store.heads import By, Removal
from stream.lists.store.list_store import ListStore
from stream.lists.store.settings import ListStoreSettings

ADD_AT_S, REMOVE_AT_S = 2.5, 6.0
"""When the two numbers change, counted from the first live call."""
TICK_S = 0.005
BY = By("demo", "a change while calls flow")


async def live_calls(
    sender: Sender, register: ListStoreSettings, material: Material, watch: Watch
) -> None:
    """Send the live calls, and change the two listings meanwhile, through the product's register.

    The register is spoken to from here rather than by `lists add`: starting a command takes longer
    than the change that is timed.
    """
    added, removed = material.changes
    async with await ListStore.connect(register) as open_register, asyncio.TaskGroup() as group:
        await open_register.heads()  # the connection is there before the clock starts
        group.create_task(_steady(sender, material, watch))
        group.create_task(_change(open_register, added, ADD_AT_S))
        group.create_task(_change(open_register, removed, REMOVE_AT_S))


async def _steady(sender: Sender, material: Material, watch: Watch) -> None:
    records = material.live.records
    began_s = time.monotonic()
    sent = probes = 0
    elapsed_s = 0.0
    while elapsed_s < LIVE_S:
        await asyncio.sleep(TICK_S)
        elapsed_s = min(LIVE_S, time.monotonic() - began_s)
        due = round(len(records) * elapsed_s / LIVE_S)
        for record in records[sent:due]:
            await sender.send(record, watch.acknowledged)
        sent = due
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        probes_due = round(PROBES_PER_S * elapsed_s)
        for _ in range(probes, probes_due):
            for change in material.changes:
                await sender.send(change.next_call(stamp), watch.acknowledged)
        probes = probes_due
    await sender.flush()


async def _change(register: ListStore, change: Change, at_s: float) -> None:
    await asyncio.sleep(at_s)
    fingerprint = int(Digests(elements(np.array([change.number], "S16"), b"")).fingerprints()[0])
    now_s = int(time.time())
    entry = Entry(change.number, fingerprint, Category.CALL_CENTRE, "demo", now_s, NEVER, 100)
    change.begun_ms = clock_ms()
    if change.kind == "add":
        await register.add(change.list, [entry], BY)
    else:
        await register.remove(change.list, [Removal(fingerprint, change.number)], BY)
    change.committed_ms = clock_ms()

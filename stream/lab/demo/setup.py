"""The set-up, by the product's own commands: topics, five imports, the allowlist."""

import asyncio
from pathlib import Path

from stream.lab.demo.kafka import Admin, Sender
from stream.lab.demo.material import Material
from stream.lab.demo.product import Commands
from stream.lab.demo.servers import Servers
from stream.lab.demo.steps import Step, Steps

ACTOR = "demo"
IMPORTS_AT_ONCE = 2
"""One per core of a small machine."""


async def set_up(
    servers: Servers, material: Material, config: Path, steps: Steps, sender: Sender
) -> None:
    """Make topics and lists, and put the recorded calls on their topic, side by side."""
    commands = Commands(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(_topics_and_calls(commands, servers, material, steps, sender))
        group.create_task(_lists(commands, material, steps))


async def _topics_and_calls(
    commands: Commands, servers: Servers, material: Material, steps: Steps, sender: Sender
) -> None:
    step = steps.begin("topics create")
    await commands.run("topics", "create")
    if servers.appends_stamped:
        async with Admin(servers.places.bootstrap) as admin:
            await admin.stamp_on_append(servers.places.topics.all()[:2])
    step.done(", ".join(servers.places.topics.all()))
    records = material.recorded.records
    step = steps.begin("recorded calls")
    await sender.backlog(records, lambda sent: step.at(sent, len(records)))
    step.done(f"{len(records):,} wait for the engine")


async def _lists(commands: Commands, material: Material, steps: Steps) -> None:
    places = asyncio.Semaphore(IMPORTS_AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for name, path, count in material.files:
            step = steps.begin(f"lists import {name}")
            group.create_task(_import(commands, places, step, name, path, count))
    step = steps.begin("allow add")
    texts = material.world.allow_texts
    await commands.run(
        "allow",
        "add",
        *texts,
        "--actor",
        ACTOR,
        "--reason",
        "a bank's lines, and callers who appealed",
    )
    step.done(f"{len(texts) - 1} numbers and a bank's prefix")


async def _import(
    commands: Commands, places: asyncio.Semaphore, step: Step, name: str, path: Path, count: int
) -> None:
    by = ("--actor", ACTOR, "--reason", "simulated list")
    async with places:
        step.restart()
        await commands.run("lists", "create", name, *by)
        await commands.run("lists", "import", name, str(path), *by)
    step.done(f"{count:,} numbers")

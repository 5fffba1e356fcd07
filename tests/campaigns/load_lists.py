"""Let one worker and one `serve` follow 10,000 lists under 200 agreements.

    python -m tests.campaigns.load_lists                            10,000 lists, 200 agreements
    python -m tests.campaigns.load_lists --lists 300 --agreements 20

Each list has numbers of its own. Members are asked for over HTTP, and called in Kafka: each is
blocked by its list, under its agreement. A number that is added while all of it runs is enforced.
/metrics stays short: lists beyond `[ops] lists_max` are counted together.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, TopicPartition
from phonenumbers import SUPPORTED_REGIONS

from tests.campaigns.place import HOST, TOKEN, Place, played, resident_mb, servers
from tests.campaigns.soak_traffic import numbers
from tests.support.builders import entry
from tests.support.figures import WHOLE, record
from tests.support.lists import BY, opened
from tests.support.waiting import HANGS_S, Patience, until

AT_ONCE = 16
"""Lists that are made at the same time."""
EACH_S = 0.2
"""Until a list is read and on the disk, at most: 15 ms of CPU, and a dozen files to sync."""
SAMPLED = 300
"""Members that are asked for, and called."""
OWNERS = sorted(SUPPORTED_REGIONS - {"TH"})
"""Countries: more than there are agreements."""
AGREEMENT = """
title = "Agreement {index} (invented)"
kind = "memorandum"
valid_from = 2026-01-01
circle = "plain"
[parties]
{owner} = {{ roles = ["owner"], contact = "noc@owner.example" }}
TH = {{ roles = ["enforcer"], contact = "noc@enforcer.example" }}
[terms]
action = "block"
[lists]
{lists}
"""


@dataclass(frozen=True, slots=True)
class Size:
    """Figures of the campaign."""

    lists: int = 10_000
    agreements: int = 200
    entries: int = 4


class Lists:
    """Names and members of the lists, and the agreements that they are under."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self._numbers = numbers(range(200, 600))

    def owner(self, index: int) -> str:
        """The country of list `index`."""
        return OWNERS[index % self.size.agreements % len(OWNERS)]

    def name(self, index: int) -> str:
        """The list's name."""
        return f"{self.owner(index)}/l{index:05d}"

    def members(self, index: int) -> list[str]:
        """Numbers of list `index`, which no other list has."""
        first = index * self.size.entries
        return self._numbers[first : first + self.size.entries]

    def agreement(self, index: int) -> str:
        """One agreement as a file."""
        held = range(index, self.size.lists, self.size.agreements)
        lists = "\n".join(f'"{self.name(one)}" = {{}}' for one in held)
        return AGREEMENT.format(index=index, owner=self.owner(index), lists=lists)


async def made(place: Place, lists: Lists) -> None:
    """Put all lists into the list store, and the agreements into their folder."""
    folder = place.folder / "agreements"
    folder.mkdir()
    for index in range(lists.size.agreements):
        (folder / f"a-{index:03d}.toml").write_text(lists.agreement(index))
    left = iter(range(lists.size.lists))
    async with opened(place.redis_url) as store:

        async def some() -> None:
            for index in left:
                await store.create(lists.name(index), "plain", BY)
                held = [entry(number) for number in lists.members(index)]
                await store.add(lists.name(index), held, BY)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def said(client: ClientSession, number: str) -> dict[str, Any]:
    """The answer about a call of `number`."""
    asked = {"caller": number, "callee": "+447700900123", "trunk": "intl-1"}
    async with client.get("/v1/decision", params=asked) as answer:
        told: dict[str, Any] = await answer.json()
    return told


async def decided(place: Place, count: int) -> dict[str, dict[str, Any]]:
    """The first `count` decisions of the topic, by caller."""
    every = [TopicPartition(place.site.decisions, number) for number in range(4)]
    found: dict[str, dict[str, Any]] = {}
    async with AIOKafkaConsumer(
        bootstrap_servers=place.site.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign(every)
        patience = Patience(f"{count} decisions")
        while len(found) < count:
            patience.check(len(found))
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for one in records:
                    told = msgspec.json.decode(one.value)
                    found[told["caller"]] = told
    return found


async def run(size: Size, folder: Path, part: str = WHOLE) -> dict[str, Any]:
    """Run the campaign, and record its figures."""
    lists = Lists(size)
    with servers() as (broker, redis):
        place = Place(folder, broker, redis.url(), f'agreements.dir = "{folder}/agreements"\n')
        place.site.made()
        began_s = time.monotonic()
        await made(place, lists)
        figures: dict[str, Any] = {
            "lists": size.lists,
            "agreements": size.agreements,
            "made_s": round(time.monotonic() - began_s, 1),
        }
        began_s = time.monotonic()
        within_s = HANGS_S + EACH_S * size.lists
        with place.running("run", within_s=within_s) as worker:
            figures["worker_ready_s"] = round(time.monotonic() - began_s, 1)
            began_s = time.monotonic()
            serving = place.running("serve", health="http-health", within_s=within_s)
            with serving as serve:
                figures["serve_ready_s"] = round(time.monotonic() - began_s, 1)
                figures |= await _asked(place, lists)
                page = worker.page("/metrics")[1]
                figures["metrics_kb"] = round(len(page) / 1024)
                figures["worker_mb"], figures["serve_mb"] = resident_mb(worker), resident_mb(serve)
    record("load-lists", figures, part)
    return figures


async def _asked(place: Place, lists: Lists) -> dict[str, Any]:
    """Ask for members of lists over HTTP and by Kafka, and add a number meanwhile."""
    every = range(0, lists.size.lists, max(lists.size.lists // SAMPLED, 1))
    members = {lists.members(index)[0]: lists.name(index) for index in every}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with ClientSession(f"http://{HOST}:{place.ports['http']}", headers=headers) as client:
        began_s = time.monotonic()
        asked = {number: await said(client, number) for number in members}
        ms = 1000 * (time.monotonic() - began_s) / len(members)
        innocent = [await said(client, f"+4477009001{n:02d}") for n in range(50)]
        added, name = "+447700900999", lists.name(lists.size.lists - 1)
        began_s = time.monotonic()
        async with opened(place.redis_url) as store:
            await store.add(name, [entry(added)], BY)

        async def blocked() -> bool:
            verdict: str = (await said(client, added))["verdict"]
            return verdict == "block"

        await until(blocked, "the number that was added is blocked")
        change_s = time.monotonic() - began_s
    record_of = b'{"call_id":"l-%d","caller":"%b","callee":"+447700900123","trunk":"intl-1"}'
    calls = [record_of % (at, one.encode()) for at, one in enumerate(members)]
    await place.site.send(calls)
    by_stream = await decided(place, len(members))
    return {
        "asked": len(members),
        "right": sum(is_by(asked[number], name) for number, name in members.items()),
        "decided_right": sum(is_by(by_stream[number], name) for number, name in members.items()),
        "innocents_blocked": sum(one["verdict"] != "allow" for one in innocent),
        "lookup_ms": round(ms, 1),
        "change_s": round(change_s, 2),
    }


def is_by(decision: dict[str, Any], name: str) -> bool:
    """Return whether it is a block by that list, under an agreement."""
    return decision["verdict"] == "block" and any(
        one["list"] == name and one.get("agreement") for one in decision["reasons"]
    )


def right(figures: dict[str, Any]) -> list[str]:
    """Return what is not as it has to be."""
    checks = {
        "each member is blocked by HTTP": figures["right"] == figures["asked"],
        "each member is blocked by the stream": figures["decided_right"] == figures["asked"],
        "nobody else is": figures["innocents_blocked"] == 0,
        "/metrics stays short": figures["metrics_kb"] < 2_000,
    }
    return [what for what, holds in checks.items() if not holds]


def main() -> int:
    """Run the campaign of the options; 1 if something is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lists", type=int, default=Size().lists)
    parser.add_argument("--agreements", type=int, default=Size().agreements)
    return played(partial(run, Size(**vars(parser.parse_args()))), right)


if __name__ == "__main__":
    raise SystemExit(main())

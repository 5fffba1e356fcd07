"""The soak's calls: a steady rate of them into Kafka until the process is ended.

    python -m tests.campaigns.soak_traffic --bootstrap HOST:PORT --topic calls --rate 100000

Every call is from a set that is made before the start. A call's record is the same each time it is
sent; a decision's id is not, as it is made of the record's place in Kafka. A line a second of
standard output says how many were sent so far, and by how many milliseconds the last were late.
"""

import argparse
import asyncio
import random
import sys
import time

import msgspec
from aiokafka import AIOKafkaProducer

TICK_S = 0.01
MADE = 50_000
LISTED_SHARE = 0.02
PARTITIONS = 4


def number(area: int, line: int) -> str:
    """A number of fiction: +1, an area code, 555-01xx."""
    return f"+1{area}55501{line:02d}"


def numbers(areas: range) -> list[str]:
    """All such numbers of these area codes, a hundred each."""
    return [number(area, line) for area in areas for line in range(100)]


STATIC, FED = range(200, 360), range(400, 600)
CHANGED, PASSING, INNOCENT = range(600, 603), range(610, 635), range(700, 1000)
"""Area codes of lists that stay, of a feed, of changes by hand, of numbers that are listed before
it begins and never again, and of numbers nobody lists.

A process holds each number that changed since a list's base, once. Those changed by hand are so few
that all of them have changed within the warm-up: what grows then is a leak.
"""


def records(count: int, seed: int = 1) -> list[bytes]:
    """Calls of dialect `ringfence`, 2 % of them by listed callers."""
    rng = random.Random(seed)
    listed, innocent = numbers(STATIC), numbers(INNOCENT)
    fields = {
        "callee": "+447700900123",
        "started_at": "2026-11-25T01:02:03.123Z",
        "stage": "attempt",
        "ingress": "international",
        "trunk": "intl-1",
        "carrier": "a carrier with a rather long name, so that records are of the usual size",
    }
    made = []
    for index in range(count):
        caller = rng.choice(listed if rng.random() < LISTED_SHARE else innocent)
        made.append(msgspec.json.encode({"call_id": f"s-{index}", "caller": caller, **fields}))
    return made


async def send(bootstrap: str, topic: str, rate: int) -> None:
    """Send for ever; a task for each partition, so that none waits for another's answer."""
    made = records(MADE)
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks=1, max_batch_size=1 << 20, linger_ms=0
    ) as producer:
        start_s, sent, late_s = time.monotonic() + 0.5, [0] * PARTITIONS, [0.0] * PARTITIONS

        async def one(partition: int) -> None:
            step, place = TICK_S * PARTITIONS, partition * MADE // PARTITIONS
            due_s, share, owed = start_s + partition * TICK_S, rate * TICK_S, 0.0
            while True:
                await asyncio.sleep(max(due_s - time.monotonic(), 0.0))
                late_s[partition] = time.monotonic() - due_s
                owed += share
                batch = producer.create_batch()
                for _ in range(int(owed)):
                    batch.append(key=None, value=made[place % MADE], timestamp=None)
                    place += 1
                sent[partition] += int(owed)
                owed -= int(owed)
                await producer.send_batch(batch, topic, partition=partition)
                due_s += step

        async def tell() -> None:
            while True:
                await asyncio.sleep(1.0)
                sys.stdout.write(f"{sum(sent)} {1000 * max(late_s):.0f}\n")
                sys.stdout.flush()

        async with asyncio.TaskGroup() as group:
            group.create_task(tell())
            for partition in range(PARTITIONS):
                group.create_task(one(partition))


def main() -> None:
    """Read the options, and send."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--rate", type=int, required=True, help="CDR/s")
    options = parser.parse_args()
    asyncio.run(send(options.bootstrap, options.topic, options.rate))


if __name__ == "__main__":
    main()

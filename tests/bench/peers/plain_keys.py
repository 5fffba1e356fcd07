"""The plain way from attempts to keys: what a good Python engineer writes in an afternoon.

One process: aiokafka's `async for`, msgspec, a set of listed numbers, HSET and EXPIRE by redis-py.
`python -m tests.bench.peers.plain_keys --help`.

Differences to Ringfence, all in the plain loop's favour: decision and key are made in one process
instead of going through a topic; one list, a set in memory; no number is cleaned, no exception,
agreement or emergency number looked at, no decision published that others could read.
"""

import argparse
import asyncio
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis


class Attempt(msgspec.Struct):
    """Return the relevant fields of Kamailio's record."""

    src_user: str


async def loop(bootstrap: str, topic: str, listed: frozenset[str], redis: Redis) -> None:
    """Write keys until told to stop."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    read = msgspec.json.Decoder(Attempt).decode
    async for record in consumer:
        caller = read(record.value).src_user
        if caller in listed:
            await redis.hset(f"plain:{caller}", mapping={"action": "block", "list": "TH/national"})
            await redis.expire(f"plain:{caller}", 86_400)


def main() -> None:
    """Run the loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--list", type=Path, required=True)
    options = parser.parse_args()
    listed = frozenset(options.list.read_text().split())
    asyncio.run(loop(options.bootstrap, options.topic, listed, Redis.from_url(options.redis)))


if __name__ == "__main__":
    main()

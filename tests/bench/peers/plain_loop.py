"""The plain loop: what a good Python engineer writes in an afternoon to block listed callers.

aiokafka `async for`, `json`, pybloom-live `in` on ONE list, `send`. Nothing is tuned and nothing is
crippled: defaults wherever the documentation's examples leave them, `acks="all"` because a lost
block is a lost block. `python -m tests.bench.peers.plain_loop --help`.

Differences to Ringfence, all in the plain loop's favour except the last: one list instead of 64;
no confirmation, so a Bloom false positive blocks an innocent caller; no emergency numbers, no
allowlist, no overlay of changes, no reasons, no rejected topic (a bad record stops it); it
confirms no send before offsets are committed, so it can lose decisions; it handles one record at a
time, which is what is measured.
"""

import argparse
import asyncio
import json
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pybloom_live import BloomFilter  # type: ignore[attr-defined]


def decision_of(call: dict[str, Any], verdict: str) -> bytes:
    """A decision as short as one can be and still be of use."""
    decision = {
        "call_id": call["call_id"],
        "verdict": verdict,
        "caller": call["caller"],
        "callee": call["callee"],
        "decided_at": datetime.now(UTC).isoformat(),
    }
    return json.dumps(decision).encode()


async def block_listed_callers(options: argparse.Namespace) -> None:
    """Read calls, look each caller up, send a decision; until cancelled."""
    with Path(options.list).open("rb") as file:
        blocklist = BloomFilter.fromfile(file)
    consumer = AIOKafkaConsumer(
        options.calls,
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=options.bootstrap, acks="all")
    await consumer.start()
    await producer.start()
    try:
        async for record in consumer:
            call = json.loads(record.value)
            if call["caller"] in blocklist:
                verdict = "block"
            elif options.all:
                verdict = "allow"
            else:
                continue
            await producer.send(
                options.decisions, decision_of(call, verdict), key=call["caller"].encode()
            )
    finally:
        await producer.stop()
        await consumer.stop()


async def main() -> None:
    """Parse the command line and run until SIGTERM."""
    parser = argparse.ArgumentParser(description="The plain loop that Ringfence is compared with.")
    parser.add_argument("--bootstrap", required=True, help="host:port of the broker")
    parser.add_argument("--calls", required=True, help="topic to read")
    parser.add_argument("--decisions", required=True, help="topic to write")
    parser.add_argument("--group", required=True, help="consumer group")
    parser.add_argument("--list", required=True, help="a pybloom-live file")
    parser.add_argument("--all", action="store_true", help="send a decision for every call")
    loop = asyncio.create_task(block_listed_callers(parser.parse_args()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, loop.cancel)
    with suppress(asyncio.CancelledError):
        await loop


if __name__ == "__main__":
    asyncio.run(main())

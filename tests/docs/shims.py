"""Kafka's console tools as far as transcripts use them: `python -m tests.docs.shims NAME ...`."""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition


def option(words: list[str], name: str, default: str = "") -> str:
    """The value behind `name`."""
    return words[words.index(name) + 1] if name in words else default


async def produce(words: list[str]) -> None:
    """A record for each line of the standard input; a separator ends its key."""
    server, topic = option(words, "--bootstrap-server"), option(words, "--topic")
    separator = next((w.partition("=")[2] for w in words if w.startswith("key.separator=")), "")
    async with AIOKafkaProducer(bootstrap_servers=server) as producer:
        for line in sys.stdin.read().splitlines():
            key, mark, value = line.partition(separator) if separator else ("", "", line)
            await producer.send_and_wait(topic, value.encode(), key=key.encode() if mark else None)


async def consume(words: list[str]) -> None:
    """Records from the beginning, a line each, as many as `--max-messages`."""
    server, topic = option(words, "--bootstrap-server"), option(words, "--topic")
    left = int(option(words, "--max-messages", "1"))
    consumer = AIOKafkaConsumer(bootstrap_servers=server, auto_offset_reset="earliest")
    async with consumer:
        found = await consumer._client.fetch_all_metadata()
        partitions = found.partitions_for_topic(topic) or ()
        consumer.assign([TopicPartition(topic, one) for one in partitions])
        while left:
            record = await consumer.getone()
            sys.stdout.write((record.value or b"").decode() + "\n")
            left -= 1


if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    asyncio.run(produce(rest) if "producer" in name else consume(rest))

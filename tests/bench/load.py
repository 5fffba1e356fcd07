"""The load generator: CDRs at a steady rate, each millisecond's worth in one Kafka batch.

All records and batches are made before the start, so that sending costs little; partitions are sent
to by four tasks, so that a slow answer of one delays no other. It reports its own lateness: how
long after its due time each batch was handed to the client, and after how long Kafka had it.

With `--probe-file`, one record of each millisecond comes from a probe number instead: number i of
the file (uint64) during slot i of `--slot-ms` milliseconds; for the change bench.
"""

import argparse
import asyncio
import gc
import json
import time
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from tests.bench.traffic import PARTITIONS, Traffic, traffic

TICK_MS = 1


class Lateness:
    """Delays of batches, in ms: handed over, and appended (by the broker's clock, whole ms)."""

    def __init__(self) -> None:
        self.sent_ms: list[float] = []
        self.appended_ms: list[float] = []

    def summary(self) -> dict[str, float]:
        """Their 50th and 99th percentiles and maximum."""
        return {
            f"{what}_{name}": float(np.percentile(values, share))
            for what, values in (("sent", self.sent_ms), ("appended", self.appended_ms))
            for name, share in (("p50", 50), ("p99", 99), ("max", 100))
        }


def with_probes(made: Traffic, rate: int, probe_file: Path, slot_ms: int) -> Traffic:
    """The same traffic, the first call of each millisecond made by the slot's probe number."""
    probes = np.load(probe_file)
    each = np.arange(0, len(made), max(rate // 1000, 1))
    slot = each * 1000 // rate // slot_ms
    callers = made.callers.copy()
    callers[each] = probes[np.minimum(slot, len(probes) - 1)]
    return Traffic(callers, made.callees, made.listed)


def batches(
    producer: AIOKafkaProducer, made: Traffic, rate: int
) -> list[list[tuple[float, BatchBuilder]]]:
    """For each partition its batches with their due times, seconds after the start."""
    per_tick = max(rate * TICK_MS // 1000, 1)
    due: list[list[tuple[float, BatchBuilder]]] = [[] for _ in range(PARTITIONS)]
    for tick, start in enumerate(range(0, len(made), per_tick)):
        batch = producer.create_batch()
        for record in made.records(start, start + per_tick):
            fits = batch.append(key=None, value=record, timestamp=None)
            assert fits is not None, "a tick must fit into one Kafka batch"
        batch.close()
        due[tick % PARTITIONS].append((start / rate, batch))
    return due


async def send(
    producer: AIOKafkaProducer,
    target: tuple[str, int],
    due: list[tuple[float, BatchBuilder]],
    start_at_s: float,
    lateness: Lateness,
) -> None:
    """Send one partition's batches when they are due."""
    topic, partition = target
    answers = []
    for after_s, batch in due:
        due_s = start_at_s + after_s
        wait_s = due_s - time.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        future = await producer.send_batch(batch, topic, partition=partition)
        lateness.sent_ms.append((time.time() - due_s) * 1e3)
        answers.append((due_s, future))
    for due_s, future in answers:
        lateness.appended_ms.append((await future).timestamp - due_s * 1e3)


async def main() -> None:
    """Parse, prepare, wait for the start, send, report."""
    parser = argparse.ArgumentParser(description="Steady load for the benches.")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--rate", type=int, required=True, help="CDR/s")
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--list-size", type=int, required=True, help="numbers on list 0")
    parser.add_argument("--start-at", type=float, required=True, help="seconds since the epoch")
    parser.add_argument("--report", type=Path, required=True, help="JSON of the lateness")
    parser.add_argument("--probe-file", type=Path, help="probe numbers (.npy, uint64)")
    parser.add_argument("--slot-ms", type=int, default=1_000)
    options = parser.parse_args()
    made = traffic(options.rate * options.seconds, options.list_size, seed=options.rate)
    if options.probe_file is not None:
        made = with_probes(made, options.rate, options.probe_file, options.slot_ms)
    async with AIOKafkaProducer(bootstrap_servers=options.bootstrap, acks=1) as producer:
        due = batches(producer, made, options.rate)
        gc.freeze()
        late_s = time.time() - options.start_at
        if late_s > 0:
            raise SystemExit(f"the load was prepared {late_s:.1f} s after its start")
        lateness = Lateness()
        await asyncio.gather(
            *(
                send(producer, (options.topic, partition), each, options.start_at, lateness)
                for partition, each in enumerate(due)
            )
        )
    options.report.write_text(json.dumps(lateness.summary()))


if __name__ == "__main__":
    asyncio.run(main())

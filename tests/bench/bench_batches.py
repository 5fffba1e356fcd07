"""The fixed price of a batch: CPU of a worker for batches of 1, 4, 32 and 256 calls, by stage.

One batch at a time: the next is sent a pause after the last decision of the one before is there. So
each is one batch to the worker too, however busy the machine is, and a pause lies before it, as at
200 calls a second. Every call gets a decision. `ringfence run` and the plain loop in turn, each in
rounds; what a process uses beside its batches (heartbeats, looks of each second) is in the figures.

The stages are those of a worker under a stopwatch (stopwatch.py), which adds about 10 us a batch;
they are all there is, so they add up to the whole. No target: `latency` has those for CPU.
"""

import asyncio
import json
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.bench import alternatives, snapshots
from tests.bench.bench_latency import ready
from tests.bench.engine import RINGFENCE, Setup, configured
from tests.bench.lab import Lab, Work
from tests.bench.machine import cpu_s
from tests.bench.process import Process, python
from tests.bench.report import Report, Row
from tests.bench.topics import BATCH_BYTES
from tests.bench.traffic import PARTITIONS, traffic

SIZES = (1, 4, 32, 256)
BATCHES, UNCOUNTED = 300, 50
"""Batches of a round, and those before them: of a peer that joins its group and warms up."""
PAUSE_S = 0.004
DECIDED_S = 60.0
"""Longest wait for the decisions of a batch; of the first one for a peer's start too."""

STAGES = {
    "wait for sockets": ["selectors:EpollSelector.select"],
    "receive: the kernel's copy": [
        "asyncio.selector_events:_SelectorSocketTransport._read_ready__get_buffer",
        "asyncio.selector_events:_SelectorSocketTransport._read_ready__data_received",
    ],
    "fetch: answers, and what is asked next": [
        "stream.kafka.fetch.connection:FetchConnection.buffer_updated",
        "stream.kafka.fetch.broker:Broker.pump",
    ],
    "record batches": ["stream.kafka.fetch.fetched_batches:FetchedBatches.next"],
    "decode": ["stream.engine.decider:decode"],
    "match": ["stream.core.filters.blocklists:Blocklists.match"],
    "rule": ["stream.calls.decide:rulings_of"],
    "encode": ["stream.calls.decide:encode"],
    "decide, the rest": ["stream.services.worker:Decider.__call__"],
    "decisions: record batches": [
        "stream.core.kernels.frame_records:split_by_partition",
        "stream.core.kernels.frame_records:frame_records",
        "stream.kafka.batch_encoder:Frame._build",
    ],
    "publish": ["stream.kafka.produce.direct_sends:DirectSends.send"],
    "acknowledge": ["aiokafka.conn:AIOKafkaConnection._handle_frame"],
    "send: the kernel's copy": ["asyncio.selector_events:_SelectorSocketTransport.write"],
    "metrics": [
        "stream.engine.worker_metrics:WorkerMetrics.done",
        "stream.engine.worker_metrics:WorkerMetrics.taken",
        "stream.engine.worker_metrics:WorkerMetrics.decoded",
    ],
    "crash notes": [
        "stream.calls.crash_notes:CrashLog.begin",
        "stream.calls.crash_notes:CrashLog.end",
    ],
    "event loop, and its tasks": ["asyncio.base_events:BaseEventLoop._run_once"],
}


async def run(lab: Lab) -> list[Report]:
    """The whole by peer and size, then the stages."""
    setup = Setup(snapshots.state_dir(lab))
    peers = [
        ready(lab, f"{RINGFENCE}, {lab.scale.lists} lists", setup),
        alternatives.plain_loop(lab),
        *alternatives.franz_go(lab),
    ]
    rounds: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    stages: list[dict[str, dict[str, float]]] = []
    for _ in range(lab.scale.latency_rounds):
        for peer in peers:
            figures: dict[str, float] = {}
            for size in SIZES:
                async with lab.work(emit_all=True) as work:
                    with await asyncio.to_thread(peer.start, work) as process:
                        figures[_named(size)] = await _batches(lab, work, process, size)
            rounds[peer.name].append(figures)
        stages.append({_named(size): await _stages(lab, setup, size) for size in SIZES})
    whole = Report("batches", [Row.of(name, each) for name, each in rounds.items()])
    apart = Report("batches, by stage")
    for name in (*STAGES, "elsewhere"):
        by_size = {size: [one[size].get(name, 0.0) for one in stages] for size in stages[0]}
        apart.rows.append(Row(name, by_size))
    sums = {size: [sum(one[size].values()) for one in stages] for size in stages[0]}
    apart.rows.append(Row("sum: all there is", sums))
    return [whole, apart]


def _named(size: int) -> str:
    return f"us a batch of {size}"


async def _batches(lab: Lab, work: Work, process: Process, size: int) -> float:
    """Microseconds of CPU for a batch of `size` calls."""
    made = traffic((UNCOUNTED + BATCHES) * size, lab.scale.numbers, seed=size)
    began_s = 0.0
    async with (
        AIOKafkaProducer(
            bootstrap_servers=lab.broker.bootstrap, acks=1, max_batch_size=BATCH_BYTES
        ) as producer,
        AIOKafkaConsumer(
            bootstrap_servers=lab.broker.bootstrap,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        ) as decisions,
    ):
        decisions.assign([TopicPartition(work.decisions, number) for number in range(PARTITIONS)])
        for number in range(UNCOUNTED + BATCHES):
            if number == UNCOUNTED:
                began_s = cpu_s(process.pid)
            batch = producer.create_batch()
            for record in made.records(number * size, (number + 1) * size):
                fits = batch.append(key=None, value=record, timestamp=None)
                assert fits is not None, "the calls of a batch must fit into one of Kafka's"
            await producer.send_batch(batch, work.calls, partition=number % PARTITIONS)
            await _decided(decisions, size, process)
            await asyncio.sleep(PAUSE_S)
        return (cpu_s(process.pid) - began_s) / BATCHES * 1e6


async def _decided(decisions: AIOKafkaConsumer, count: int, process: Process) -> None:
    """Wait until `count` more decisions are there."""
    async with asyncio.timeout(DECIDED_S):
        while count > 0:
            process.check()
            found = await decisions.getmany(timeout_ms=1000, max_records=count)
            count -= sum(map(len, found.values()))


async def _stages(lab: Lab, setup: Setup, size: int) -> dict[str, float]:
    """Microseconds of CPU for a batch of `size` calls, by stage."""
    async with lab.work(emit_all=True) as work:
        config, port = configured(lab, work, setup)
        steps, report = config.with_suffix(".steps.json"), config.with_suffix(".stages.json")
        steps.write_text(json.dumps(STAGES))
        command = python("tests.bench.stopwatch", str(config), str(steps), str(report))
        log = config.with_suffix(".log")
        with Process("stopwatch", command, [lab.cores.engine], log) as process:
            await asyncio.to_thread(process.wait_until_ready, port, DECIDED_S)
            await _batches(lab, work, process, size)
        return _counted(report)


def _counted(report: Path) -> dict[str, float]:
    """Microseconds a batch, of the batches after the first ones."""
    lines = json.loads(report.read_text())[UNCOUNTED:]
    first, last = lines[0]["ns"], lines[-1]["ns"]
    return {
        stage: (ns - first.get(stage, 0)) / (len(lines) - 1) / 1000 for stage, ns in last.items()
    }

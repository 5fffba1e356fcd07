"""Where a worker's time goes: CPU nanoseconds per CDR in each step, adding up to the whole.

No peer and no target: this is the profile that docs/understand/performance.md quotes, to be made
again when a step changes. It is `ringfence run` itself, on the topics and with the lists of the
throughput bench, with a stopwatch around the functions below (stopwatch.py). Each step is without
those that are listed apart and run inside it; "elsewhere" is what is in none: the event loop,
aiokafka's tasks, commits, the loop's own turns. Counted is the second half of the topic, CPU time
alone, so that waiting counts for nothing. The stopwatch itself costs about 1 ns a CDR.
"""

import json
from pathlib import Path

from tests.bench import snapshots
from tests.bench.bench_throughput import STILL_S, TIMEOUT_S
from tests.bench.engine import Setup, configured
from tests.bench.lab import LONG, MIDDLE, Lab
from tests.bench.process import Process, python
from tests.bench.report import Report, Row

STEPS = {
    "receive: the kernel's copy": [
        "asyncio.selector_events:_SelectorSocketTransport._read_ready__get_buffer"
    ],
    "answers, and what is asked next": [
        "stream.kafka.fetch.connection:FetchConnection.buffer_updated",
        "stream.kafka.fetch.broker:Broker.pump",
    ],
    "record batches: frame, CRC": ["stream.kafka.record_batches:_framed"],
    "record batches: columns": ["stream.kafka.fetch.fetched_batches:read_records"],
    "JSON: validate, find the fields": ["stream.calls.decode:locate"],
    "numbers to E.164": ["stream.calls.decode:parse_texts"],
    "decode, the rest": ["stream.engine.decider:decode"],
    "SHA-512": [
        "stream.core.filters.blocklists:Digests",
        "stream.core.filters.digests:Digests.words",
    ],
    "probe of all lists": ["stream.core.filters.blocklists:probe_table"],
    "confirm hits": ["stream.core.filters.exact_index:ExactIndex.confirm"],
    "match, the rest": ["stream.core.filters.blocklists:Blocklists.match"],
    "decisions: JSON": ["stream.calls.decide:encode"],
    "decide, the rest": ["stream.services.worker:Decider.__call__"],
    "decisions: record batches": [
        "stream.core.kernels.frame_records:split_by_partition",
        "stream.core.kernels.frame_records:frame_records",
        "stream.kafka.batch_encoder:Frame._build",
    ],
    "send: the kernel's copy": ["asyncio.selector_events:_SelectorSocketTransport.write"],
    "metrics": [
        "stream.engine.worker_metrics:WorkerMetrics.done",
        "stream.engine.worker_metrics:WorkerMetrics.taken",
    ],
}


async def run(lab: Lab) -> list[Report]:
    """Blocks only, then a decision for every CDR."""
    return [await _profiled(lab, emit_all=False), await _profiled(lab, emit_all=True)]


async def _profiled(lab: Lab, *, emit_all: bool) -> Report:
    setup = Setup(snapshots.state_dir(lab))
    rounds = [await _round(lab, setup, emit_all=emit_all) for _ in range(lab.scale.rounds)]
    names = [*STEPS, "elsewhere"]
    rows = [
        Row(name, {"CPU ns per CDR": [each.get(name, 0.0) for each in rounds]}) for name in names
    ]
    rows.append(
        Row("sum: all there is", {"CPU ns per CDR": [sum(each.values()) for each in rounds]})
    )
    return Report(f"stages, {'every CDR' if emit_all else 'blocks'}", rows)


async def _round(lab: Lab, setup: Setup, *, emit_all: bool) -> dict[str, float]:
    """Nanoseconds per CDR of each step."""
    calls = MIDDLE if emit_all else LONG
    made = await lab.calls(calls)
    expected = len(made) if emit_all else int(made.listed.sum())
    async with lab.work(calls, emit_all=emit_all) as work:
        config, _ = configured(lab, work, setup)
        steps, report = config.with_suffix(".steps.json"), config.with_suffix(".stages.json")
        steps.write_text(json.dumps(STEPS))
        command = python("tests.bench.stopwatch", str(config), str(steps), str(report))
        log = config.with_suffix(".log")
        with Process("stopwatch", command, [lab.cores.engine], log) as process:
            await lab.topics.wait_until_steady(
                work.decisions, expected, STILL_S, TIMEOUT_S, process.check
            )
    return _second_half(report, len(made))


def _second_half(report: Path, records: int) -> dict[str, float]:
    lines = json.loads(report.read_text())
    first = next(line for line in lines if line["records"] >= records // 2)
    last = lines[-1]
    counted = last["records"] - first["records"]
    return {step: (ns - first["ns"].get(step, 0)) / counted for step, ns in last["ns"].items()}

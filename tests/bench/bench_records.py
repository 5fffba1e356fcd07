"""The cost of extracting records from a fetch's answer: CPU per record of 288 bytes, one thread.

Compared: `read_records` (checksums, unpacking, a kernel that checks and finds every record; columns
come out) with aiokafka's own parser in Cython (checksums, unpacking, an object for each record), on
the same bytes: an answer of 12,000 CDRs for each codec, in batches of 128 KiB, and of Kafka's
default of 16 KiB. Both unpack with cramjam.

Target: uncompressed, at least 5 times as fast.
"""

import time
from collections.abc import Callable

import numpy as np
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from numpy.typing import NDArray

from stream.core.model.byte_strings import PADDING
from stream.kafka.record_batches import Room, Stretch, read_records
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio
from tests.bench.traffic import traffic

RECORDS = 12_000
CODECS = ("uncompressed", "gzip", "snappy", "lz4", "zstd")
BATCHES_KIB = (128, 16)


async def run(lab: Lab) -> list[Report]:
    """Measure both, codec by codec, in interleaved rounds."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    report = Report("records", notes=[f"Ringfence {lab.kernels}"])
    for kib in BATCHES_KIB:
        for codec, name in enumerate(CODECS):
            content = _answer(codec, kib * 1024)
            ways = {"Ringfence": _ours(content), "aiokafka's parser": _theirs(content)}
            rounds: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(max(lab.scale.rounds, 2)):
                for way, read in ways.items():
                    start = time.thread_time()
                    assert read() == RECORDS
                    rounds[way].append((time.thread_time() - start) / RECORDS * 1e9)
            title = f"{name}, batches of {kib} KiB"
            report.rows += [
                Row(f"{way}: {title}", {"CPU ns per record": values})
                for way, values in rounds.items()
            ]
            if not codec:
                times = ratio(rounds["aiokafka's parser"], rounds["Ringfence"])
                report.targets.append(
                    Target(f"aiokafka's parser / Ringfence, {title}", times, "x", 5, 8)
                )
    return report


def _answer(codec: int, batch_bytes: int) -> bytes:
    """Batches of CDRs, as aiokafka's producer would write them."""
    batches = []
    records = traffic(RECORDS, 1000, seed=288).records(0, RECORDS)
    at = 0
    while at < len(records):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, batch_bytes)
        first = at
        while at < len(records) and builder.append(
            at - first, 1_700_000_000_000 + at // 20, None, records[at], []
        ):
            at += 1
        batch = builder.build()
        batches.append(first.to_bytes(8, "big") + batch[8:])
    return b"".join(batches)


def _ours(content: bytes) -> Callable[[], int]:
    answer: NDArray[np.uint8] = np.frombuffer(content + bytes(PADDING), np.uint8)
    room = Room()

    def read() -> int:
        count = 0
        left: Stretch | None = Stretch(0, len(content), 0)
        while left is not None:
            records = read_records(answer, [left], room)
            count, left = count + len(records.values), records.rest[0]
        return count

    return read


def _theirs(content: bytes) -> Callable[[], int]:
    def read() -> int:
        records, count = MemoryRecords(content), 0
        while records.has_next():
            batch = records.next_batch()
            assert batch is not None
            assert batch.validate_crc()
            count += sum(record.value is not None for record in batch)
        return count

    return read

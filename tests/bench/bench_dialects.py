"""What it costs to decode each switch's records: CPU per record, one thread.

Compared, on the same bytes: `decode` (every record checked to its last byte, call id, numbers and
trunk found, numbers read to E.164, which msgspec does not do) with msgspec making Python objects of
each record, or, for CSV, with the csv module making its cells. The records are the golden samples,
8,000 of each with callers of their own, in batches as the engine has them. Numbers called are in
E.164; a national one (`0812345678`) costs about 1 us more, as in any dialect.

Targets: a dialect that rides the scan costs no more than msgspec alone.
"""

import csv
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from stream.calls.decode import decode
from stream.calls.dialects import KNOWN
from stream.calls.dialects.dialect import Dialect, SwitchSettings
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio

RECORDS = 8_000
GOLDEN = Path(__file__).parents[1] / "golden" / "cdr"
SAMPLES = {
    "ringfence": "attempt",
    "freeswitch": "a-leg",
    "freeswitch-events": "channel-create",
    "freeswitch-csv": "example",
    "asterisk-csv": "newcdrcolumns",
    "asterisk-custom": "sample",
    "asterisk-ami": "beanstalkd",
    "asterisk-kafka": "asterisk_cdr",
    "asterisk-vsgroup": "as-documented",
    "kamailio": "transaction",
    "opensips": "e_acc_cdr",
    "3gpp": "incoming-gateway",
}
CALLER = b"447700900125"
SETTINGS = DecodeSettings(record_bytes_max=262_144, check_callee=True)


async def run(lab: Lab) -> list[Report]:
    """Measure each dialect and its alternative in interleaved rounds."""
    lab.say(f"Ringfence's functions are used {lab.kernels}")
    with on_core(lab.cores.engine):
        return [_measured(lab)]


def _measured(lab: Lab) -> Report:
    report = Report("dialects", notes=[f"Ringfence {lab.kernels}"])
    for name, case in SAMPLES.items():
        (path,) = (GOLDEN / name / case).glob("input.*")
        sample = path.read_bytes().rstrip(b"\n").replace(b'"0812345678"', b'"+66812345678"')
        values = [sample.replace(CALLER, b"447700900%03d" % (n % 1000)) for n in range(RECORDS)]
        dialect = KNOWN[name].make(name, SwitchSettings(time_zone="Asia/Bangkok"))
        other = "csv" if path.suffix == ".csv" else "msgspec"
        ways = {"Ringfence": _ours(values, dialect), other: _theirs(values, other)}
        rounds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(max(lab.scale.rounds, 3)):
            for way, read in ways.items():
                start = time.thread_time()
                assert read() == RECORDS
                rounds[way].append((time.thread_time() - start) / RECORDS * 1e9)
        scanned = dialect.layout is not None
        title = f"{name}, {len(sample)} bytes, {'scan' if scanned else 'ordinary'}"
        report.rows += [
            Row(f"{way}: {title}", {"CPU ns per record": spent}) for way, spent in rounds.items()
        ]
        if scanned:
            times = ratio(rounds[other], rounds["Ringfence"])
            report.targets.append(Target(f"{other} / Ringfence, {name}", times, "x", 1, 3))
    return report


def _ours(values: Sequence[bytes], dialect: Dialect) -> Callable[[], int]:
    count = len(values)
    raw = RawBatch(
        Texts.of(values),
        np.arange(count),
        np.zeros(count, np.int64),
        (Segment(Partition("calls", 0), 0, count),),
        1,
    )
    trunks = Trunks("TH")
    return lambda: len(decode(raw, {"calls": dialect}, trunks, SETTINGS))


def _theirs(values: Sequence[bytes], kind: str) -> Callable[[], int]:
    if kind == "csv":
        return lambda: sum(1 for value in values for _ in csv.reader([value.decode()]))
    read = msgspec.json.Decoder().decode
    return lambda: sum(1 for value in values if read(value) is not None)

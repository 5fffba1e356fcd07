"""The cost of decoding each switch's records: CPU per record, one thread.

Compared, on the same bytes: `decode` (every record checked to its last byte, call id, numbers and
trunk found, numbers read to E.164, which the others do not do) with what a program would make of a
record: Python objects by msgspec (JSON), cells by the csv module, a tree by ElementTree, lines in a
dictionary by `str.partition`, an object by fastavro. Of BER no other reader is installed. The
records are the golden samples, 8,000 of each with callers of their own, in batches as the engine
has them. Numbers called are in E.164; a national one (`0812345678`) that was read before costs
0.2 us more, a new one 20 us, as in any dialect.

Targets: a dialect that rides the scan costs no more than msgspec or csv alone.
"""

import csv
import io
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import fastavro
import msgspec
import numpy as np

from stream.calls.decode import decode
from stream.calls.dialects import KNOWN, dialect_named
from stream.calls.dialects.dialect import WIRE_HEAD, Dialect, SwitchSettings
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.encodings.registry import RegistryDialect
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.model.byte_strings import Texts
from stream.core.model.schemas import RegisteredSchema, SchemaKey
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.bench.lab import Lab
from tests.bench.machine import on_core
from tests.bench.report import Report, Row, Target, ratio
from tests.support.schema_registry import AVRO, AVRO_SCHEMA, MAPPING, SCHEMAS

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
    "cgrates": "kafka-json",
    "teams": "direct-routing-in",
    "twilio": "inbound",
    "twilio-events": "complete",
    "freepbx": "inbound",
    "kazoo": "crossbar-cdr",
    "radius": "cisco-stop",
    "asterisk-ami-text": "cdr",
    "asterisk-cel": "cel-custom",
    "cucm": "inbound-by-trunk",
    "broadworks": "terminating",
    "avaya-ipo": "inbound",
    "sansay": "answered",
    "ribbon": "stop",
    "freeswitch-xml": "a-leg",
    "3gpp-ber": "incoming-gateway",
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
        _compared(lab, report, name, values, dialect, _OTHERS.get(path.suffix))
    mapping = {"acme": MappingSettings(**tomllib.loads(MAPPING)["mappings"]["acme"])}
    registry = RegistryDialect("registry", dialect_named("mapping:acme", mapping), _Held())
    callers = [AVRO.replace(b"447700900101", b"447700900%03d" % (n % 1000)) for n in range(RECORDS)]
    _compared(lab, report, "registry, Avro", callers, registry, ("fastavro", _avro))
    return report


def _compared(
    lab: Lab,
    report: Report,
    name: str,
    values: Sequence[bytes],
    dialect: Dialect,
    alternative: "tuple[str, Callable[[bytes], object]] | None",
) -> None:
    """Measure one dialect and its alternative in turn, and add their rows."""
    ways = {"Ringfence": _ours(values, dialect)}
    other, theirs = alternative or ("", None)
    if theirs is not None:
        ways[other] = partial(_theirs, values, theirs)
    rounds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(max(lab.scale.rounds, 3)):
        for way, read in ways.items():
            start = time.thread_time()
            assert read() == RECORDS
            rounds[way].append((time.thread_time() - start) / RECORDS * 1e9)
    scanned = dialect.layout is not None
    title = f"{name}, {len(values[0])} bytes, {'scan' if scanned else 'ordinary'}"
    report.rows += [
        Row(f"{way}: {title}", {"CPU ns per record": spent}) for way, spent in rounds.items()
    ]
    if scanned:
        times = ratio(rounds[other], rounds["Ringfence"])
        report.targets.append(Target(f"{other} / Ringfence, {name}", times, "x", 1, 3))


class _Held:
    """The schema of the Avro records, as a registry gave it."""

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        """See `Schemas`."""
        return RegisteredSchema("AVRO", SCHEMAS[int(key)]["schema"])


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


def _theirs(values: Sequence[bytes], read: Callable[[bytes], object]) -> int:
    return sum(1 for value in values if read(value) is not None)


_PARSED: Final = fastavro.parse_schema(AVRO_SCHEMA)


def _avro(value: bytes) -> object:
    return fastavro.schemaless_reader(io.BytesIO(value[WIRE_HEAD:]), _PARSED, None)


def _cells(value: bytes) -> object:
    return next(csv.reader([value.decode()]))


def _lines(value: bytes) -> object:
    parts = (line.partition("=" if b" = " in value else ":") for line in value.decode().split("\n"))
    return {name.strip(): text.strip() for name, _, text in parts}


_OTHERS: Final[Mapping[str, tuple[str, Callable[[bytes], object]]]] = {
    ".json": ("msgspec", msgspec.json.Decoder().decode),
    ".csv": ("csv", _cells),
    ".txt": ("str.partition", _lines),
    ".xml": ("ElementTree", ET.fromstring),
}
"""By the form of the sample."""

"""The scan against the fallback decoder, json and msgspec: the same calls from any bytes at all.

    python -m tests.fuzz.scan --seconds 600 --seed 1

Each round makes records from the next seed and decodes them both ways, in the dialect
`ringfence`, in one that is nested, one with constants, FreeSWITCH's, 3GPP's, and those of CSV. It
ends at the first difference and says which record made it.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import SwitchSettings
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core import kernels
from stream.core.model.byte_strings import PADDING, Texts
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.fuzz import csv_records, json_records
from tests.fuzz.harness import fuzz

PATHS = {
    "call_id": "call_id",
    "caller": "from.number",
    "callee": "to.number",
    "trunk": "sip.trunk.name",
    "ingress": "ingress",
    "verstat": "sip.verstat",
    "attestation": "attestation",
    "passport": "passport",
}
REQUIRED_PATHS = {key: PATHS[key] for key in ("call_id", "caller", "callee")}
GIVEN = {"trunk": "uk", "ingress": "domestic"}
DIALECTS = {
    "ringfence": dialect_named("ringfence", {}),
    "nested": dialect_named("mapping:m", {"m": MappingSettings("json", PATHS)}),
    "given": dialect_named(
        "mapping:m", {"m": MappingSettings("json", REQUIRED_PATHS, constants=GIVEN)}
    ),
}
CSV_DIALECTS = {
    name: dialect_named(f"{name}:s", {}, {"s": SwitchSettings(time_zone="Asia/Bangkok")})
    for name in ("freeswitch-csv", "asterisk-csv", "asterisk-custom")
}
SETTINGS = DecodeSettings(record_bytes_max=2_000, check_callee=True, attestation=True)
TRUNKS = Trunks("TH", {"uk": Trunk("GB")})
SWITCH_DIALECTS = {name: dialect_named(name, {}) for name in ("freeswitch", "3gpp")}
ALL = DIALECTS | CSV_DIALECTS | SWITCH_DIALECTS
KERNELS_DIR = Path(__file__).parents[2] / "state" / "kernels"
ROUND = 20_000
BATCH = 500
SHARE = 50


def mutants(dialect: str, seed: int, count: int) -> list[bytes | None]:
    """Records of a dialect, most of them changed; tombstones too."""
    if dialect in CSV_DIALECTS:
        return list(csv_records.mutants(dialect, seed, count))
    if dialect in SWITCH_DIALECTS:
        return list(json_records.switch_records(dialect, seed, count))
    return list(json_records.mutants(seed, count))


def decoded(values: Sequence[bytes | None] | Texts, dialect: str) -> CallBatch:
    """The batch that `values` make, as records of several partitions.

    The scan begins again with each, so that it never tires of records that have no common shape.
    """
    count = len(values)
    raw = RawBatch(
        values=values,
        offsets=np.arange(count),
        timestamps_ms=np.zeros(count, np.int64),
        segments=tuple(
            Segment(Partition("calls", start // SHARE), start, min(start + SHARE, count))
            for start in range(0, count, SHARE)
        ),
        epoch=1,
    )
    return decode(raw, {"calls": ALL[dialect]}, TRUNKS, SETTINGS)


def compare(values: Sequence[bytes | None], dialect: str) -> int:
    """Fail unless both ways find the same; how many calls the scan itself vouched for."""
    return sum(
        _compare(values[start : start + BATCH], dialect) for start in range(0, len(values), BATCH)
    )


def _compare(values: Sequence[bytes | None], dialect: str) -> int:
    scanned = decoded(Texts.of(values), dialect)
    with kernels.reference_only():
        fallback = decoded(values, dialect)
    assert scanned.located is not None
    assert fallback.located is None, "the reference was not asked"
    # Also of a field that is not there: whole columns are read without asking.
    assert (scanned.located.starts >= 0).all()
    ends = scanned.located.starts + np.maximum(scanned.located.sizes, 0)
    assert (ends <= len(scanned.located.data) - PADDING).all()
    rejected = {row: value for value, row in zip(values, range(len(values)), strict=True)}
    for row in scanned.rows.tolist():
        del rejected[row]
    assert scanned.rows.tolist() == fallback.rows.tolist(), _odd_one_out(values, dialect)
    for index, (one, other) in enumerate(zip(scanned.key_fields, fallback.key_fields, strict=True)):
        assert one == other, values[int(fallback.rows[index])]
    by_offset = [
        sorted(batch.rejected, key=lambda one: one.origin.offset) for batch in (scanned, fallback)
    ]
    assert by_offset[0] == by_offset[1]
    for name in ("callers", "callees"):
        one, other = getattr(scanned, name), getattr(fallback, name)
        assert one.e164.tolist() == other.e164.tolist()
        assert one.kinds.tolist() == other.kinds.tolist()
        assert one.other_texts == other.other_texts
    return _check_vouched(values, scanned, dialect)


def _check_vouched(values: Sequence[bytes | None], scanned: CallBatch, dialect: str) -> int:
    """A record that the scan vouches for is read by json or csv too, and as a whole call."""
    vouched = 0
    for index, row in enumerate(scanned.rows.tolist()):
        assert scanned.located is not None
        if index not in scanned.located.fallback:
            vouched += 1
            value = values[row]
            assert value is not None
            call_id = scanned.key_fields[index].call_id
            if dialect in CSV_DIALECTS:
                assert call_id in next(csv.reader([value.decode()], strict=True)), value
            elif dialect == "freeswitch":
                assert json.loads(value)["variables"]["call_uuid"] == call_id, value
            elif dialect == "3gpp":
                assert call_id.rpartition("/")[2] in value.decode(), value
                json.loads(value)
            else:
                assert json.loads(value)["call_id"] == call_id, value
            assert scanned.call_of(index).call_id == scanned.key_fields[index].call_id, value
    return vouched


def _odd_one_out(values: Sequence[bytes | None], dialect: str) -> bytes | None:
    """The first record that is a call one way and none the other."""
    scanned = set(decoded(Texts.of(values), dialect).rows.tolist())
    with kernels.reference_only():
        fallback = set(decoded(values, dialect).rows.tolist())
    first: int = min(scanned ^ fallback)
    return values[first]


def main() -> None:
    """Compare until the time is over."""
    assert not kernels.activate(KERNELS_DIR)
    fuzz(
        "records vouched for, no difference",
        ALL,
        lambda dialect, seed: compare(mutants(dialect, seed, ROUND), dialect),
        "--dialect",
        ROUND,
    )


if __name__ == "__main__":
    main()

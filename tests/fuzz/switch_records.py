"""Every switch's dialect against any bytes: a call or a reject with its reason; never a crash.

    python -m tests.fuzz.switch_records --dialect freeswitch --seconds 600 --seed 1

Each round takes golden samples of the dialect, changes them at one to three places, takes fields or
lines out, puts others and far away times in, and reads them with kernels and without. Then it
writes the records into one file, and cuts that in pieces. It ends at the first record that is read
otherwise than promised, which the message holds.
"""

import random
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import quote_from_bytes

from stream.calls.decode import decode
from stream.calls.detection.detect_dialect import likely
from stream.calls.detection.preview import understood
from stream.calls.dialects import KNOWN, dialect_named, framing_in
from stream.calls.dialects.dialect import Dialect, SwitchSettings, Transcoded, whole
from stream.calls.dialects.fields import EARLIEST_S, LATEST_S
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.settings import DecodeSettings
from stream.calls.submitted_records import Framing, RecordSplitter, records_in
from stream.calls.trunks import Trunk, Trunks
from stream.core import kernels
from stream.core.model.ber import FILLING
from stream.core.model.call import RejectReason
from stream.core.numbers.spelling import in_utf8
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.fuzz.scan import KERNELS_DIR
from tests.support.builders import raw_of

GOLDEN = Path(__file__).parents[1] / "golden" / "cdr"
NOW_S = 1_795_000_000.0
SWITCHES = {
    "zone": SwitchSettings(time_zone="Asia/Bangkok"),
    "trunk": SwitchSettings("America/New_York", trunk="uk"),
}
MAPPINGS = {
    "csv": MappingSettings(
        "csv",
        {"call_id": "0", "caller": "1", "callee": "2", "started_at": "3", "duration_s": "4"},
        time="%Y-%m-%d %H:%M:%S",
        time_zone="Asia/Bangkok",
        patterns={"caller": r"^(?:sip:)?([^@]+)"},
    ),
    "bars": MappingSettings(
        "csv",
        {"callee": "number", "started_at": "started"},
        delimiter="||",
        columns=("type", "node", "id", "io", "cli", "extension", "number", "dialled", "started"),
        skip=("#", "type||"),
        only={"type": ("CALL", "")},
        joined={"call_id": ("node", "id")},
        otherwise={"callee": ("dialled",)},
        choose={"caller": {"io": {"I": "cli", "O": "extension"}}},
        time="ms",
    ),
    "fixed": MappingSettings(
        "fixed",
        {"call_id": "0", "caller": "1", "callee": "2", "started_at": "3"},
        widths=(8, 16, 16, 16),
        time="us",
    ),
    "json": MappingSettings(
        "json",
        {"call_id": "id", "caller": "from.number", "callee": "to.number", "started_at": "at"},
        only={"kind": ("call", "1", "")},
        otherwise={"call_id": ("uuid",), "callee": ("dialled",)},
    ),
    "chosen": MappingSettings(
        "json",
        {"call_id": "id", "callee": "to"},
        choose={"caller": {"io": {"in": "cli", "out": "ext"}}, "trunk": {"io": {"in": "gw"}}},
    ),
    "kinds": MappingSettings(
        "json", kinds={"kind": {"call": "json", "1": "json", "leg": "chosen"}}
    ),
}
MAPPED = {
    "mapping:csv": [b'c-1,sip:+447700900101@h,"081,2",2026-11-25 08:02:03,17', b"c-2,,,,"],
    "mapping:bars": [
        b"type||node||id||io||cli||extension||number||dialled||started",
        b'CALL||1||42||I||+447700900101||215||"0812""345678"||||1795593723000',
        b"CALL||1||43||O||||215||||0812345678||1795593723000",
        *(
            b"CALL||1||%d||I||+447700900101||215||0812345678||||1795593723000" % number
            for number in range(50, 58)
        ),
        b"END||1||44||O||||215||||0812345678||",
        b"# 2026-11-25",
    ],
    "mapping:fixed": [
        b"c1      +447700900101   0812345678      1795593723000000",
        b"c2                      0812345678",
    ],
    "mapping:json": [
        b'{"kind":"call","id":"a","from":{"number":"+447700900101"},"to":{"number":"081"},"at":1}',
        b'{"kind":1,"uuid":7,"from":{"number":null},"dialled":"081","at":"2026-11-25T08:02:03Z"}',
        *(
            b'{"id":"%d","a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"kind":"call",'
            b'"from":{"number":"+447700900101"},"to":{"number":"081"},"g":7,"h":8}' % number
            for number in range(12)
        ),
        b'{"kind":"leg","id":"a","from":{"number":"+447700900101"},"to":{"number":"081"}}',
    ],
    "mapping:chosen": [
        b'{"kind":"leg","id":"a","io":"in","cli":"+447700900101","to":"081","gw":"t"}',
        b'{"kind":"leg","id":8,"io":"out","ext":215,"to":"+447700900101","at":1795593723}',
        *(
            b'{"kind":"leg","id":"%d","io":"in","cli":"+447700900101","to":"081"}' % number
            for number in range(8)
        ),
    ],
}
MAPPED["mapping:kinds"] = [*MAPPED["mapping:json"], *MAPPED["mapping:chosen"]]
TRUNKS = Trunks("TH", {"uk": Trunk("GB")})
SETTINGS = DecodeSettings(record_bytes_max=20_000, check_callee=True)
REASONS = frozenset(RejectReason)
ROUND, BATCH = 400, 20
TIMES = (
    *(b"0", b"-1", b"946684799", b"4102444800", b"1e300", b"9" * 400, b"99999999999999999999"),
    *(b"1970-01-01 00:00:00", b"0001-01-01 00:00:00", b"9999-12-31 23:59:59", b"2026-13-45"),
    *(b"2026-03-08 02:30:00", b"2026-11-25T08:02:03.999999999Z", b"2611258002032b0700", b"NaN"),
)
"""Far away, in a gap of the clock, in no form."""
LINES = (
    *(b"", b" ", b"\r", b"\t = ", b"\tAcct-Status-Type = 2", b'\tCisco-AVPair = "="', b"{}"),
    *(b'\tCisco-AVPair = "h323-conf-id=1"', b'\tCalled-Station-Id = "\\777\\"', b"Event: CEL"),
    *(b"<variables><uuid><uuid>1</uuid></uuid>", b"<!DOCTYPE cdr>", b"<![CDATA[<uuid>]]>"),
    *(b"</cdr>", b"<cdr>", b"&lol;", b"<!-- -- -->", b"<a>" * 40),
    b'\th323-setup-time = "*99:99:99.9 UTC Mon Feb 30 9999"',
)
"""Lines that a broken or hostile writer puts between others."""
DIALECTS: dict[str, tuple[Dialect, ...]] = {
    kind: tuple(
        dialect_named(kind if kind == "ringfence" else f"{kind}:{switch}", {}, SWITCHES)
        for switch in (("zone",) if kind == "ringfence" else SWITCHES)
    )
    for kind in KNOWN
} | {f"mapping:{name}": (dialect_named(f"mapping:{name}", MAPPINGS),) for name in MAPPINGS}


@cache
def samples(kind: str) -> tuple[bytes, ...]:
    """The golden samples of a dialect; FreeSWITCH's JSON in the forms of a POST too."""
    found = [path.read_bytes().rstrip(b"\n") for path in sorted(GOLDEN.glob(f"{kind}/*/input.*"))]
    if kind == "freeswitch":
        found += [b"cdr=" + quote_from_bytes(one).encode() for one in found if one[:1] == b"{"]
        found += [b"cdr=" + b64encode(one) for one in found if one[:1] == b"{"]
    return tuple(found or MAPPED[kind])


def mutants(kind: str, seed: int, count: int) -> Iterator[bytes]:
    """Records of a dialect, most of them changed; some are halves, some have odd times."""
    rng = random.Random(f"{kind} {seed}")
    pool = list(samples(kind))
    others = [one for name in DIALECTS for one in samples(name)]
    for _ in range(count):
        base = rng.choice(pool)
        match rng.randrange(10):
            case 0:
                yield base
            case 1:
                yield _without_a_field(base, rng)
            case 2 | 3:
                yield _with_another_time(base, rng)
            case 4:
                yield changed(rng.choice(others), others, rng)
            case _:
                yield changed(base, pool, rng)


def _without_a_field(base: bytes, rng: random.Random) -> bytes:
    """A record with some of its fields or lines taken out or given twice, quotes whole."""
    apart = b"\n" if base.count(b"\n") > 5 else b","
    parts = base.split(apart)
    if apart == b"\n" and rng.random() < 0.3:
        parts.insert(rng.randrange(len(parts)), rng.choice(parts))
    if apart == b"\n" and rng.random() < 0.3:
        parts.insert(rng.randrange(len(parts)), rng.choice(LINES))
    return apart.join(part for part in parts if rng.random() < (0.95 if apart == b"\n" else 0.7))


def _with_another_time(base: bytes, rng: random.Random) -> bytes:
    """A record of which one number, or what stands between quotes, is a far away time."""
    parts = base.split(b'"')
    parts[rng.randrange(len(parts))] = rng.choice(TIMES)
    return b'"'.join(parts)


def check(dialect: Dialect, values: Sequence[bytes]) -> int:
    """Read `values` both ways; how many are calls. Fails unless what is promised holds."""
    raw = raw_of(*values)
    batch = decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)
    with kernels.reference_only():
        other = decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)
    assert len(batch) + len(batch.rejected) == len(values)
    assert batch.rows.tolist() == other.rows.tolist()
    assert [*batch.key_fields] == [*other.key_fields]
    assert all(one.reason in REASONS and one.detail for one in batch.rejected)
    for index, row in enumerate(batch.rows.tolist()):
        value = values[row] if isinstance(dialect, Transcoded) else in_utf8(values[row])
        _check_call(dialect, value, batch.started_at_s(index))
    result = understood(dialect, values, "TH", NOW_S)
    assert result.calls + result.rejected.total() == len(values)
    return len(batch)


def _check_call(dialect: Dialect, value: bytes, started_at_s: float | None) -> None:
    """The readable part of a call, and a check that all ways to read it agree."""
    call_fields = dialect.key_fields(value)
    call = whole(call_fields, dialect.details(value))
    told = (call.call_id, call.caller, call.callee, call.trunk)
    assert told == (call_fields.call_id, call_fields.caller, call_fields.callee, call_fields.trunk)
    mapped = dialect.name.startswith("mapping:")
    assert call_fields.call_id or dialect.name == "ringfence" or mapped or dialect.layout
    assert call.started_at_s == started_at_s
    far = dialect.name == "ringfence"
    assert started_at_s is None or far or EARLIEST_S <= started_at_s < LATEST_S
    assert call.duration_s is None or call.duration_s >= 0
    dialect.found(value)


def check_cutting(values: Sequence[bytes], framing: Framing, rng: random.Random) -> None:
    """Write `values` into one file: cut in any pieces and from any record on it is the same."""
    data = b"\n\n".join(values)[:200_000]
    whole = RecordSplitter(0, 1, 5_000, framing)
    expected = whole.feed(data)
    pieces, found, at = RecordSplitter(0, 1, 5_000, framing), [], 0
    while at < len(data):
        size = rng.choice((1, 7, 63, 4_096, 100_000))
        found += pieces.feed(data[at : at + size])
        at += size
    assert (found, pieces.at, pieces.number) == (expected, whole.at, whole.number)
    if expected[1:]:
        index = rng.randrange(1, len(expected))
        again = RecordSplitter(expected[index].at, expected[index].number, 5_000, framing)
        assert again.feed(data[expected[index].at :]) == expected[index:]
    blank = FILLING if framing is Framing.BER else None
    assert all(record.value.strip(blank) for record in [*expected, *whole.rest()])
    records_in(data)


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` records; how many were calls."""
    calls = 0
    values = list(mutants(kind, seed, count))
    check_cutting(values, framing_in(kind), random.Random(seed))
    for start in range(0, count, BATCH):
        batch = values[start : start + BATCH]
        for dialect in DIALECTS[kind]:
            try:
                calls += check(dialect, batch)
            except BaseException as error:
                error.add_note(f"{dialect.name}: {_culprit(dialect, batch)!r}")
                raise
    likely(values[:BATCH], "TH")
    return calls


def _culprit(dialect: Dialect, values: Sequence[bytes]) -> object:
    """The record by which a batch fails, if it is one alone."""
    for value in values:
        try:
            check(dialect, [value])
        except (AssertionError, ValueError, TypeError, LookupError, OverflowError):
            return value
    return values


def main() -> None:
    """Check until the time is over."""
    assert not kernels.activate(KERNELS_DIR)
    fuzz("calls read", DIALECTS, lambda kind, seed: run(kind, seed, ROUND), "--dialect", ROUND)


if __name__ == "__main__":
    main()

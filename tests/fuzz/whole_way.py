"""The whole way of a call, every rule on, from any bytes: decisions or rejects, never an exception.

    python -m tests.fuzz.whole_way --dialect 3gpp --seconds 600 --seed 1

Each round changes golden samples of a dialect: huge exponents and integers, NaN, deep nesting, keys
given twice, lone surrogates, bytes that are no UTF-8. Records are decoded and decided with kernels
and without; both must say the same. What a call's key fields say, its details and its readers say
too; and a member that nobody uses changes nothing. It ends at the first record that does otherwise.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache

import msgspec
import numpy as np

from stream.calls.call_batch import CallBatch, Outcome
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.deduplicate import Deduplicator
from stream.calls.dialects.dialect import Dialect, Transcoded
from stream.calls.dialects.mapping import ColumnsMapping
from stream.calls.plausibility.bursts import Bursts
from stream.calls.trace_context import contexts_of
from stream.calls.trunks import Trunk, Trunks
from stream.core import kernels
from stream.core.filters.blocklists import Blocklists
from stream.core.model.call import Ingress, RejectReason
from stream.core.model.decision import SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.spelling import in_utf8
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.core.policy.rules import BurstSettings, RuleSettings, RuleState, RuleStates
from stream.kafka.batch import Headers, RawBatch
from tests.fuzz import switch_records
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.fuzz.json_records import mutants as mapped_mutants
from tests.fuzz.scan import DIALECTS as MAPPED
from tests.fuzz.scan import KERNELS_DIR
from tests.support.builders import NOW_S, blocklists, live, raw_of

HOSTILE = (
    *(b"1e400", b"-1e-400", b"1e-999999999", b"NaN", b"-Infinity", b"9" * 40, b"9" * 5000),
    *(b"[" * 90 + b"]" * 90, b"[" * 250 + b"]" * 250, b"[" * 3000, b'{"a":' * 250 + b"1"),
    *(b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\xaf"'),
    *(b'{"a":1,"a":2}', b"{}", b"[]", b'""', b"null", b"true", b"-0", b"0.1e-7", b'"' + b"9" * 300),
    *(b'"<sip:+447700900101@h>;x"', b'"+44 (0) 7700 900101"', b'"%2B447700900101"', b'"191"'),
)
UNUSED = (b"1e400", b"9" * 5000, b"[" * 90 + b"]" * 90, b'"\\ud83d\\ude00"', b'{"a":1,"a":2}')
TRUNKS = Trunks(
    "TH", {"uk": Trunk("GB", Ingress.INTERNATIONAL), "7": Trunk("TH", Ingress.DOMESTIC)}
)
DIALECTS: dict[str, tuple[Dialect, ...]] = switch_records.DIALECTS | {
    f"mapping:{name}": (dialect,) for name, dialect in MAPPED.items()
}
SETTINGS = replace(switch_records.SETTINGS, attestation=True)  # a rule asks for it
ROUND, BATCH = 600, 30
Seen = list[object]


@cache
def lists() -> Blocklists:
    """Lists that hold the numbers of the samples, and those that rules ask."""
    return blocklists(
        live("KH/scam", "+447700900101", "+447700900125", "+66812345678"),
        live("TH/dno", "+66812345670"),
    )


@cache
def rules() -> Rules:
    """Every rule blocks."""
    states = RuleStates(**{one.name: RuleState.BLOCK for one in fields(RuleStates)})
    policy = PolicySettings(rules=RuleSettings(states, do_not_originate_lists=("TH/dno",)))
    return Rules(
        compile_policy(policy, lists().names),
        EmergencyNumbers({}),
        TRUNKS,
        SipAnswerSettings("https://redress.example/d/{decision_id}", "TN"),
        emit_all=True,
    )


def mutants(kind: str, seed: int, count: int) -> Iterator[bytes]:
    """Records of a dialect, most of them changed, many with a hostile value."""
    if kind not in switch_records.DIALECTS:
        yield from (value or b"" for value in mapped_mutants(seed, count))
        return
    rng = random.Random(f"whole {kind} {seed}")
    pool = list(switch_records.samples(kind))
    for _ in range(count):
        base = rng.choice(pool)
        match rng.randrange(4):
            case 0 | 1:
                yield _with_a_hostile_value(base, rng)
            case 2:
                yield changed(_with_a_hostile_value(base, rng), pool, rng)
            case _:
                yield changed(base, pool, rng)


def _with_a_hostile_value(base: bytes, rng: random.Random) -> bytes:
    """A record with another value somewhere, sometimes under a key that is there already."""
    mark = b":" if base[:1] == b"{" else b","
    parts = base.split(mark)
    place = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
    _, comma, behind = parts[place].partition(b",")
    parts[place] = rng.choice(HOSTILE) + comma + behind
    if rng.random() < 0.2 and len(parts) > 3:
        other = rng.randrange(1, len(parts))
        parts.insert(other, parts[rng.randrange(1, len(parts))])
    return mark.join(parts)


def check(dialect: Dialect, values: Sequence[bytes], rng: random.Random) -> int:
    """Take `values` all the way, both ways; how many were calls. Fails unless promises hold."""
    raw = _raw(values, rng)
    batch, seen = _whole_way(dialect, raw)
    with kernels.reference_only():
        assert _whole_way(dialect, raw)[1] == seen
    _check_readers(dialect, raw, batch)
    at = rng.randrange(len(values))
    _check_unused(dialect, values[at], rng)
    return len(batch)


def _raw(values: Sequence[bytes], rng: random.Random) -> RawBatch:
    raw = raw_of(*values)
    times = NOW_S * 1000 + np.sort(np.array([rng.randrange(120_000) for _ in values], np.int64))
    return replace(raw, timestamps_ms=times, headers=[_headers(rng) for _ in values])


def _headers(rng: random.Random) -> Headers:
    parent = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    return [
        (rng.choice(("traceparent", "tracestate", "x")), rng.choice((parent, b"", b"\xff", b"a=b")))
        for _ in range(rng.randrange(3))
    ]


def _whole_way(dialect: Dialect, raw: RawBatch) -> tuple[CallBatch, Seen]:
    """Decode and decide; all that is said."""
    batch = decode(raw, {"calls": dialect}, TRUNKS, SETTINGS)
    bursts = Bursts(BurstSettings(calls=3), ["calls"])
    repeats = Deduplicator(600, ["calls"])
    outcome = decide(batch, lists(), rules(), NOW_S * 1000, repeats, bursts).outcome()
    contexts_of(raw, range(len(raw)))
    rejected = sorted(map(repr, batch.rejected))
    calls: list[object] = [batch.call_of(index) for index in range(len(batch))]
    return batch, [[*batch.key_fields], calls, _said(outcome), rejected]


def _said(outcome: Outcome) -> list[object]:
    """The decisions, which are JSON; an id is not given twice."""
    decisions = [msgspec.json.decode(value) for value in filter(None, outcome.values)]
    assert [one["decision_id"].encode() for one in decisions] == outcome.ids.tolist()
    assert len(set(outcome.ids.tolist())) == len(outcome.ids)
    return decisions


def _check_readers(dialect: Dialect, raw: RawBatch, batch: CallBatch) -> None:
    """All that reads a call says the same of it, and what is no call is none for the dialect."""
    assert sorted([*batch.rows.tolist(), *(one.origin.offset - 10 for one in batch.rejected)]) == [
        *range(len(raw))
    ]
    for index, (row, told) in enumerate(zip(batch.rows.tolist(), batch.key_fields, strict=True)):
        value = raw.values[row]
        assert value is not None
        value = value if isinstance(dialect, Transcoded) else in_utf8(value)
        assert told == dialect.key_fields(value)
        call, details = batch.call_of(index), dialect.details(value)
        assert (call.call_id, call.caller, call.callee, call.trunk) == (
            told.call_id,
            told.caller,
            told.callee,
            told.trunk,
        )
        assert call.started_at_s == batch.started_at_s(index) == details.started_at_s
        dialect.found(value)


def _check_unused(dialect: Dialect, value: bytes, rng: random.Random) -> None:
    """A member that nobody uses, in any object, changes nothing about a call."""
    places = [place for place, byte in enumerate(value) if byte == ord("{")]
    if value[:1] != b"{" or isinstance(dialect, ColumnsMapping):  # cells are places in the text
        return
    try:
        msgspec.json.decode(value, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    at = rng.choice(places) + 1
    behind = b"" if value[at : at + 1] == b"}" else b","
    more = value[:at] + b'"unused":' + rng.choice(UNUSED) + behind + value[at:]
    try:  # a bracket in a text is no object
        if len(msgspec.json.decode(more, type=dict[str, msgspec.Raw])) == 0:
            return
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    both = decode(raw_of(value, more), {"calls": dialect}, TRUNKS, SETTINGS)
    limits = {one.reason for one in both.rejected} & {RejectReason.TOO_DEEP, RejectReason.TOO_LARGE}
    if len(both) and not limits:
        assert both.rows.tolist() == [0, 1], (value, more)
        assert both.key_fields[0] == both.key_fields[1], (value, more)
        assert both.call_of(0) == both.call_of(1), (value, more)


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` records; how many were calls."""
    rng = random.Random(seed)
    values, calls = list(mutants(kind, seed, count)), 0
    for start in range(0, count, BATCH):
        for dialect in DIALECTS[kind]:
            batch = values[start : start + BATCH]
            try:
                calls += check(dialect, batch, rng)
            except BaseException as error:
                error.add_note(f"{dialect.name} seed {seed}: {batch!r}"[:20_000])
                raise
    return calls


def main() -> None:
    """Check until the time is over."""
    assert not kernels.activate(KERNELS_DIR)
    fuzz("calls read", DIALECTS, lambda kind, seed: run(kind, seed, ROUND), "--dialect", ROUND)


if __name__ == "__main__":
    main()

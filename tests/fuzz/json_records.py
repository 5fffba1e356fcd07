"""Call records of many shapes, and what a hostile or broken switch may make of them. Seeded."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

_TOKENS = [
    *b'"\\{}[]:,+-.0159eEtfnu \n\t\r\0\x1f\x7f',
    # Values and numbers, right and wrong.
    b'""', b"null", b"true", b"false", b"nul", b"NaN", b"Infinity", b"01", b"-", b"-0", b"0.",
    b"1e5", b"1E+", b"1e999", b".5", b"9" * 30, b"1" * 70,
    # Brackets.
    b"[]", b"{}", b"[[", b"]]", b"{{", b"[" * 70, b"}" * 3,
    # Escapes.
    b"\\", b"\\\\", b'\\"', b"\\/", b"\\u", b"\\x", b"\\u0063", b"\\u0e2a", b"\\ud83d",
    b"\\ude00", b"\\ud83d\\ude00", b"\\ud83d\\u0041", b"\\u12g4",
    b"\\u0000", b"\\uD83D\\uDE00", b"\\b\\f\\n\\r\\t",
    # UTF-8, and what is none: cut, overlong, a surrogate, beyond the last character.
    b"\xff", b"\x80", b"\xc3", b"\xc3\xa9", b"\xc1\xbf", b"\xe0\xb8\xaa", b"\xe0\x9f\xbf",
    b"\xed\xa0\x80", b"\xed\x9f\xbf", b"\xf0\x9f\x98\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
    # Keys given twice, at their place and elsewhere, and fields of odd types.
    b'"caller":', b',"caller":"+66899999999"', b',"caller":null', b',"trunk":"uk"', b',"trunk":7',
    b',"trunk":""', b',"trunk":null', b',"x":{"caller":1,"caller":2}', b',"call_id":null',
    b'"call_id"', b',"from":{"number":"1"}', b',"number":"1"', b',"sip":{}', b',"sip":null',
    b',"sip":[{"trunk":1}]', b'{"a":', b'"a":1,', b",1",
    # Space, and more than a vector holds.
    b",", b"  ", b"x" * 64, b"x" * 130, b"/* */",
]  # fmt: skip
TOKENS = [token if isinstance(token, bytes) else bytes([token]) for token in _TOKENS]

_NAMES = ["สมชาย ใจดี", "José", "Ann", "", "x" * 63, "x" * 64, "x" * 200, 'a "b" \\ /', "😀", "\x7f"]
_NUMBERS = [
    "+66812345678", "+447700900123", "+12025550123", "02 123 4567", "0812345678", "anonymous",
    "1155", "sip:+66812345678@example.net", "+660812345678", "+9990000000000001", "+", "", None,
]  # fmt: skip


def calls(seed: int, count: int) -> Iterator[bytes]:
    """Records as switches write them, of the shapes of `ringfence` and of nested JSON."""
    rng = random.Random(seed)
    for _ in range(count):
        record = _call(rng)
        if rng.random() < 0.1:
            items = list(record.items())
            rng.shuffle(items)
            record = dict(items)
        yield json.dumps(
            record,
            ensure_ascii=rng.random() < 0.3,
            indent=rng.choice([None, None, None, 2]),
            separators=rng.choice([None, (",", ":")]),
        ).encode()


def _call(rng: random.Random) -> dict[str, object]:
    caller, callee = rng.choice(_NUMBERS), rng.choice(_NUMBERS)
    trunk = rng.choice(["uk", "intl-1", "", None, 7, ["uk"], "เส้น"]) if rng.random() < 0.3 else "uk"
    record: dict[str, object] = {
        "call_id": f"c{rng.randrange(10 ** rng.choice([1, 6, 12]))}-4b1d7c0f93ae528866d1",
        "caller": caller,
        "callee": callee,
        "from": {"number": caller, "name": rng.choice(_NAMES)},
        "to": {"number": callee},
        "stage": rng.choice(["attempt", "end"]),
        "duration_s": rng.choice([0, 17, 12.5, -1, 1e-7, 1e300, 10**30, True, None]),
        "sip": {"code": rng.choice([200, 404, 486]), "trunk": {"name": trunk}},
    }
    if rng.random() < 0.8:
        record["trunk"] = trunk
    if rng.random() < 0.5:
        record["ingress"] = rng.choice(["international", "domestic", None, ""])
    if rng.random() < 0.3:
        record[rng.choice(_NAMES)] = rng.choice(_NAMES)
    if rng.random() < 0.2:
        record["legs"] = [{"caller": "x", "number": 1}, [], {}, [[1, 2.5], "caller"]]
    if rng.random() < 0.2:  # too many values, or texts between them, for a shape to be kept
        record["more"] = {f"{'k' * rng.choice((1, 90))}{n}": n for n in range(rng.choice((40, 70)))}
    if rng.random() < 0.05:
        del record[rng.choice(["call_id", "caller", "callee", "from", "to", "sip"])]
    return record


def mutants(seed: int, count: int) -> Iterator[bytes | None]:
    """Records of `calls`, most of them changed at one to three places; tombstones too.

    Those made of one record follow each other, so that they meet a scan that knows its shape.
    """
    rng = random.Random(seed)
    family = 12
    bases = list(calls(seed, -(-count // family)))
    for number in range(count):
        base = bases[number // family]
        if number % family < 2:
            yield base
        elif rng.random() < 0.001:
            yield None
        else:
            yield changed(base, bases, rng)


_GOLDEN = Path(__file__).parents[1] / "golden" / "cdr"
_NEAR = {
    "freeswitch": (b'"callflow"', b'"caller_profile"', b'"variables"', b'"call_uuid"',
        b'"caller_id_number"', b'"destination_number"', b'"network_addr"'),
    "3gpp": (b'"Bx_', b"Record", b'"callingNumber"', b'"calledNumber"', b'"address"', b'"digits"',
        b'"natureOfAddress"', b'"ton"', b'"recordingEntity"', b'"servedMSISDN"', b'"callReference"',
        b'"mscIncomingTKGP"', b'"list-Of-', b'"called-Party', b'"sIP-URI"', b'"tEL-URI"'),
}  # fmt: skip
_PUT_IN = {
    "freeswitch": [
        b"%", b"%2B", b'"callflow":[{}],', b'"caller_id_number":"",', b'"call_uuid":"",',
        b'"+66812345678"', b'[{"caller_profile":{}}],', b'"sip_verstat":"a%20b",', b"[", b"]",
        b'"sip_verstat":"TN-Validation-Passed",', b',{"caller_profile":{"caller_id_number":"1"}}',
    ],
    "3gpp": [
        b'"Bx_mtCall":{},', b'"moSMSRecord":null,', b'"Bx_as":7,', b'"address":"",', b'"ton":"1",',
        b'"digits":"7",', b'"natureOfAddress":null,', b'"natureOfAddress":1,', b'"ton":"national",',
        b'"callReference":"x",', b'"networkCallReference":"n-1",', b'"networkCallReference":null,',
        b'"sIP-Method":"INVITE",', b'"sIP-Method":"BYE",', b'"iSDN-E164":"66812345678",',
        b'"tEL-URI":null,', b'"sIP-URI":"sip:alice@ims.example",', b'"servedMSISDN":66812345678,',
        b'"tkgpName":"intl-7",', b'"callingNumber":null,', b'{"tEL-URI":"tel:+447700900126"},',
        b'"callReference":-7,', b'"callReference":7.0,', b'"iMS-Charging-Identifier":1e5,',
        b"+", b"tel:", b"<", b"@", b"{},", b"7,", b"0", b"1",
    ],
}  # fmt: skip
_USUAL = {"freeswitch": ("a-leg",), "3gpp": ("incoming-gateway", "mo", "mt", "ims", "teleparser")}


def switch_records(dialect: str, seed: int, count: int) -> Iterator[bytes]:
    """Samples of a switch's JSON, most of them changed, and most of those near a key field."""
    rng = random.Random(f"{dialect} {seed}")
    samples = [path.read_bytes() for path in sorted((_GOLDEN / dialect).glob("*/input.*"))]
    usual = [(_GOLDEN / dialect / name / "input.json").read_bytes() for name in _USUAL[dialect]]
    tokens = [*TOKENS, *_PUT_IN[dialect]]
    for _ in range(count):
        record = rng.choice((*usual, rng.choice(samples)))
        at = record.find(rng.choice(_NEAR[dialect])) + rng.choice((0, 0, rng.randrange(60)))
        match rng.randrange(4):
            case 0:
                yield changed(record, samples, rng, tokens)
            case 1 | 2:
                yield record[:at] + rng.choice(tokens) + record[at + rng.choice((0, 1)) :]
            case _:
                yield record


def changed(
    base: bytes, others: Sequence[bytes], rng: random.Random, tokens: Sequence[bytes] = TOKENS
) -> bytes:
    """`base`, changed at one to three places: tokens put in, pieces taken out or repeated, a bit
    flipped, the end cut off or another record's.
    """
    record = bytearray(base)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(record) + 1)
        match rng.randrange(9):
            case 0 | 1 | 2:
                record[at:at] = rng.choice(tokens)
            case 3:
                record[at : at + rng.choice((1, 1, 2, 5, 20))] = rng.choice(tokens)
            case 4:
                del record[at : at + rng.choice((1, 1, 1, 2, 8, 60))]
            case 5:
                del record[at:]
            case 6:
                record[at:at] = record[at : at + rng.choice((40, 400))]
            case 7 if record:
                record[at % len(record)] ^= 1 << rng.randrange(8)
            case _:
                other = rng.choice(others)
                record[at:] = other[rng.randrange(len(other)) :]
    return bytes(record)

"""Records in the wire format of a schema registry, and schemas, against any bytes; never a crash.

    python -m tests.fuzz.registry_frames --kind avro --seconds 600 --seed 1

A round changes records of Avro, Protobuf and JSON at one to three places, or puts numbers of any
length and messages' indexes in; the kind `schema` changes the schemas too, as an owner of the
registry might. Each record ends as a call or as a reject with its own bytes. The first that does
not ends the run.
"""

import base64
import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import Dialect
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.encodings.registry import RegistryDialect
from stream.calls.trunks import Trunks
from stream.core.model.schemas import RegisteredSchema, SchemaKey, SchemaUnknown
from tests.fuzz.harness import fuzz
from tests.fuzz.json_records import changed
from tests.fuzz.switch_records import REASONS, SETTINGS
from tests.support.builders import raw_of
from tests.support.schema_registry import AVRO, JSON, PLAIN, PROTOBUF, SCHEMAS

KINDS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "avro": (AVRO,),
    "protobuf": (PROTOBUF, PLAIN),
    "json": (JSON,),
    "schema": (AVRO, PROTOBUF, PLAIN, JSON),
}
ROUND, BATCH = 200, 20
MAPPING = MappingSettings(
    "json",
    {
        "call_id": "id",
        "caller": "from",
        "callee": "to.number",
        "started_at": "started",
        "duration_s": "seconds",
    },
)
TOKENS = (
    *(b"\0", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xff" * 9 + b"\x01", b"\xff" * 4 + b"\x0f"),
    *(b"\x80" * 9, b"\x80" * 10, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x02" * 70),
    *(b"\0\0\0\0\x01", b"\0\0\0\0\x02", b"\0\0\0\0\x63", b"\0\xff\xff\xff\xff", b"\x04\x02\0"),
    *(b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 120, b"\x0c", b"\x1a\x0c" * 60, b"\xc3", b"\xed\xa0"),
    *(b"\x7f\xf8\0\0\0\0\0\0", b"\x7f\xf0\0\0\0\0\0\0", b'{"call_id":1}', b'"caller":null,'),
)
SCHEMA_TOKENS = (
    *(b'"null"', b'"string"', b'"long"', b'"bytes"', b'"Call"', b'"carrier.Call"', b"[]", b"{}"),
    *(b'{"type":"array","items":"null"}', b'{"type":"array","items":"long"}', b'"type":"record"'),
    *(b'{"type":"map","values":"long"}', b'{"type":"fixed","name":"f","size":0}', b'"fields":[]'),
    *(b'{"type":"fixed","name":"g","size":2000000000}', b'["null","null"]', b'"size":-1'),
    *(b'{"type":"enum","name":"e","symbols":["a"]}', b"[" * 90, b'{"type":' * 90, b'"name":7'),
    *(b'"logicalType":"decimal"', b'"default":null', b'"namespace":"x"', b'{"type":"Call"}'),
)


class Held:
    """Schemas of a registry, of which some were changed."""

    def __init__(self, schemas: Mapping[int, RegisteredSchema]) -> None:
        self._schemas = schemas

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        if key not in self._schemas:
            raise SchemaUnknown(f"the schema registry has no schema {key}")
        return self._schemas[int(key)]


@cache
def right() -> Mapping[int, RegisteredSchema]:
    """The schemas of the samples."""
    return {
        number: RegisteredSchema(one.get("schemaType", "AVRO"), one["schema"])
        for number, one in SCHEMAS.items()
    }


def wrong(rng: random.Random) -> Mapping[int, RegisteredSchema]:
    """Schemas of which each is damaged, or of another kind."""
    found = {}
    for number, one in right().items():
        text = one.text
        if one.kind == "PROTOBUF":
            data = changed(base64.b64decode(text), [PROTOBUF], rng, TOKENS)
            text = base64.b64encode(data).decode()
        else:
            text = changed(text.encode(), [text.encode()], rng, SCHEMA_TOKENS).decode(
                errors="replace"
            )
        kind = one.kind if rng.random() < 0.9 else rng.choice(("AVRO", "PROTOBUF", "JSON", ""))
        found[number] = RegisteredSchema(kind, text)
    return found


def mutants(kind: str, rng: random.Random, count: int) -> Iterator[bytes]:
    """Records, most of them changed behind the schema's id, some of them before."""
    pool = KINDS[kind]
    for _ in range(count):
        base = rng.choice(pool)
        match rng.randrange(10):
            case 0:
                yield base
            case 1:
                yield changed(base, pool, rng, TOKENS)
            case 2:
                yield base[:5] + rng.randbytes(rng.randrange(60))
            case _:
                yield base[:5] + changed(base[5:], pool, rng, TOKENS)


def check(dialect: Dialect, values: list[bytes]) -> int:
    """Decode `values`; how many are calls. Fails unless each is a call or a reject."""
    raw = raw_of(*values)
    batch = decode(raw, {"calls": dialect}, Trunks("TH", {}), SETTINGS)
    assert len(batch) + len(batch.rejected) == len(values)
    first = int(raw.offsets[0])
    for one in batch.rejected:
        assert one.reason in REASONS
        assert one.detail
        assert one.value == values[one.origin.offset - first]
    for row in batch.rows.tolist():
        json.loads(dialect.text(values[row]))  # type: ignore[attr-defined]
        dialect.details(values[row])
        dialect.found(values[row])
    return len(batch)


def run(kind: str, seed: int, count: int) -> int:
    """Check `count` records; how many were calls."""
    rng = random.Random(f"{kind} {seed}")
    values = list(mutants(kind, rng, count))
    calls = 0
    for start in range(0, count, BATCH):
        schemas = wrong(rng) if kind == "schema" else right()
        for inner in ("mapping:acme", "ringfence"):
            plain = dialect_named(inner, {"acme": MAPPING})
            dialect = RegistryDialect(f"registry:{inner}", plain, Held(schemas))
            try:
                calls += check(dialect, values[start : start + BATCH])
            except BaseException as error:
                error.add_note(f"{dialect.name}: {values[start : start + BATCH]!r} {schemas!r}")
                raise
    return calls


def main() -> None:
    """Check until the time is over."""
    fuzz("calls read", KINDS, lambda kind, seed: run(kind, seed, ROUND), "--kind", ROUND)


if __name__ == "__main__":
    main()

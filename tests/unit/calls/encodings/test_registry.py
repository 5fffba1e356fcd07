"""Records in the wire format of a schema registry, and whatever else stands on such a topic."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import Dialect, NoCall, schema_number
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.encodings.proto_text import descriptor_of
from stream.calls.encodings.registry import RegistryDialect
from stream.calls.trunks import Trunks
from stream.core.model.call import RejectReason
from stream.core.model.schemas import RegisteredSchema, SchemaKey, SchemaUnknown
from tests.support.builders import DECODING, raw_of
from tests.support.schema_registry import AVRO, AVRO_SCHEMA, JSON, PLAIN, PROTOBUF, SCHEMAS

ACME = MappingSettings(
    "json",
    {
        "call_id": "id",
        "caller": "from",
        "callee": "to.number",
        "started_at": "started",
        "duration_s": "seconds",
    },
)


class Held:
    """Schemas that a registry has given."""

    def __init__(self, **more: RegisteredSchema) -> None:
        self.schemas = {
            number: RegisteredSchema(one.get("schemaType", "AVRO"), one["schema"])
            for number, one in SCHEMAS.items()
        } | {int(name[1:]): schema for name, schema in more.items()}

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        if key not in self.schemas:
            raise SchemaUnknown(f"the schema registry has no schema {key}")
        return self.schemas[int(key)]


def dialect(inner: str = "ringfence", **more: RegisteredSchema) -> Dialect:
    return RegistryDialect(f"registry:{inner}", dialect_named(inner, {"acme": ACME}), Held(**more))


def framed(number: int, data: bytes) -> bytes:
    return b"\0" + number.to_bytes(4) + data


def refused(value: bytes, inner: str = "ringfence", **more: RegisteredSchema) -> NoCall:
    with pytest.raises(NoCall) as caught:
        dialect(inner, **more).key_fields(value)
    return caught.value


def test_avro_is_read_by_a_mapping() -> None:
    """Members in records, unions, and times as milliseconds."""
    read = dialect("mapping:acme")
    fields = read.key_fields(AVRO)
    assert fields.call_id == "9f2c0000-0000-4000-8000-000000000001"
    assert (fields.caller, fields.callee) == ("+447700900101", "+66812345678")
    details = read.details(AVRO)
    assert (details.started_at_s, details.duration_s) == (1795593723.0, 61.5)
    assert read.found(AVRO)["callee"].raw == "+66812345678"


@pytest.mark.parametrize(("value", "call_id"), [(PROTOBUF, "p-1"), (PLAIN, "p-2"), (JSON, "j-1")])
def test_protobuf_and_json_are_read_too(value: bytes, call_id: str) -> None:
    """A message within a message, one at the top, and plain JSON behind the schema's id."""
    fields = dialect().key_fields(value)
    assert (fields.call_id, fields.callee) == (call_id, "+66812345678")


TIMES = """syntax = "proto3";
import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
message Party { string number = 1; google.protobuf.Timestamp seen = 2; }
message Call {
  string id = 1; string from = 2; Party to = 3; google.protobuf.Timestamp started = 4;
  map<string, google.protobuf.Timestamp> times = 5; repeated google.protobuf.Value notes = 6;
}"""


def test_a_time_that_no_calendar_has_hides_no_caller() -> None:
    """Milliseconds as seconds are a frequent mistake. Such a record stopped the worker."""
    read = dialect("mapping:acme", n6=RegisteredSchema("PROTOBUF", TIMES))
    late = b"\x08" + b"\xff" * 7 + b"\x7f"  # seconds
    infinite = b"\x11" + b"\0" * 6 + b"\xf0\x7f"

    def member(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    record = framed(6, b"\x02\x02") + b"".join(
        (
            member(1, b"p-1"),
            member(2, b"+447700900101"),
            member(3, member(1, b"+66812345678") + member(2, late)),
            member(4, late),
            member(5, member(1, b"a") + member(2, late)),
            member(6, infinite),
        )
    )
    fields = read.key_fields(record)
    assert (fields.call_id, fields.caller, fields.callee) == (
        "p-1",
        "+447700900101",
        "+66812345678",
    )
    assert read.started_at_s(record) is None


WITHHELD = """syntax = "proto3";
message Party { string number = 1; Party of = 2; }
message Call {
  string id = 1; string from = 2; Party to = 3; optional string second = 4;
  oneof either { string one = 5; string two = 6; }
}"""


def proto(*members: tuple[int, bytes]) -> bytes:
    """A record of the schema 6, whose members are texts and messages."""
    return framed(6, b"\x02\x02") + b"".join(
        bytes([number << 3 | 2, len(data)]) + data for number, data in members
    )


def mapped_calls(fields: dict[str, str], *values: bytes, **also: Any) -> Any:
    """Return the parties of `values`, read by the schema WITHHELD and a mapping."""
    inner = dialect_named("mapping:own", {"own": MappingSettings("json", fields, **also)})
    held = Held(n6=RegisteredSchema("PROTOBUF", WITHHELD))
    reader = RegistryDialect("registry:mapping:own", inner, held)
    batch = decode(raw_of(*values), {"calls": reader}, Trunks("TH", {}), DECODING)
    return [(one.caller, one.callee) for one in batch.key_fields], len(batch.rejected)


def test_a_protobuf_record_can_withhold_its_caller() -> None:
    """proto3 does not write an empty text: it is as null in JSON. An empty id is still none."""
    callee = (3, b"\x0a\x02+1")
    named, withheld = proto((1, b"a"), (2, b"+2"), callee), proto((1, b"a"), callee)
    fields = {"call_id": "id", "caller": "from", "callee": "to.number"}
    values = named, withheld, proto((1, b"a"), (2, b"+2")), proto((2, b"+2"), callee)
    found = mapped_calls(fields, *values)
    assert found == ([("+2", "+1"), (None, "+1"), ("+2", None)], 1)
    assert mapped_calls(fields | {"caller": "second"}, named) == ([(None, "+1")], 0)


def test_a_caller_at_another_place_of_protobuf_is_no_withheld_one() -> None:
    """Neither in another member of a oneof, nor at a second place."""
    callee, two = (3, b"\x0a\x02+1"), (6, b"+2")
    fields = {"call_id": "id", "caller": "one", "callee": "to.number"}
    assert mapped_calls(fields, proto((1, b"a"), callee, two)) == ([], 1)
    fields["caller"] = "from"
    also = {"otherwise": {"caller": ("two",)}}
    assert mapped_calls(fields, proto((1, b"a"), callee, two), **also) == ([("+2", "+1")], 0)


def test_what_is_rejected_keeps_its_own_bytes() -> None:
    """Damaged records, unknown schemas and other formats are named, and calls beside them count."""
    values = [
        AVRO,
        framed(99, b"x" * 9),
        AVRO[:-3],
        AVRO + b"more",
        b'{"call_id":"plain"}',
        framed(4, b'{"call_id":"a","call_id":"b","caller":"+447700900101","callee":"+1"}'),
        framed(4, b"\xff\xfe{}"),
        None,
    ]
    raw = raw_of(*values)
    for inner, calls in (("mapping:acme", 1), ("ringfence", 0)):
        batch = decode(raw, {"calls": dialect(inner)}, Trunks("TH", {}), DECODING)
        assert len(batch) == calls
        first = int(raw.offsets[0])
        kept = {one.origin.offset - first: one for one in batch.rejected}
        assert all(one.value == values[offset] for offset, one in kept.items())
        assert kept[1].reason is RejectReason.UNKNOWN_SCHEMA
        assert kept[2].reason is kept[3].reason is kept[4].reason is RejectReason.WRONG_ENCODING
        assert "left over" in kept[3].detail
    assert kept[5].reason is RejectReason.DUPLICATE_KEY
    assert kept[6].reason in {RejectReason.NOT_UTF8, RejectReason.NOT_JSON}
    assert kept[7].reason is RejectReason.TOMBSTONE


def test_the_wire_format_is_named_on_other_topics() -> None:
    """A topic in a plain dialect says which schema its records name, and what to write."""
    raw = raw_of(AVRO)
    batch = decode(raw, {"calls": dialect_named("kamailio", {})}, Trunks("TH", {}), DECODING)
    (one,) = batch.rejected
    assert one.detail == "Confluent wire format, schema id 1: use registry:kamailio"


def test_schemas_that_cannot_be_used_are_named() -> None:
    """Another type, no schema, a descriptor that is a text; each keeps its records for later."""
    cases = {
        "THRIFT": RegisteredSchema("THRIFT", ""),
        "no Avro": RegisteredSchema("AVRO", '{"type": "rec"}'),
        "no Avro schema": RegisteredSchema("AVRO", "[1, 2"),
        "line 1": RegisteredSchema("PROTOBUF", "message"),
        "imports": RegisteredSchema("PROTOBUF", 'import "b.proto"; message A {}'),
        "without a byte": RegisteredSchema("AVRO", '{"type": "array", "items": "null"}'),
        "holds itself": RegisteredSchema(
            "AVRO",
            json.dumps(
                {"type": "record", "name": "A", "fields": [{"name": "a", "type": ["null", "A"]}]}
            ),
        ),
    }
    for words, schema in cases.items():
        found = refused(framed(7, b"\0\0"), _7=schema)
        assert (found.reason, words in found.detail) == (RejectReason.UNKNOWN_SCHEMA, True), found


def test_types_within_types_are_bounded() -> None:
    """A small schema that stands for a million types ends as a reason."""
    inner: Any = "string"
    for level in range(20):
        fields = [{"name": name, "type": inner} for name in ("a", "b")]
        fields[1]["type"] = f"N{level - 1}" if level else "string"
        inner = {"type": "record", "name": f"N{level}", "fields": fields}
    found = refused(framed(7, b"\0"), _7=RegisteredSchema("AVRO", json.dumps(inner)))
    assert "types within types" in found.detail


def test_a_default_of_another_type_hides_no_call() -> None:
    """Registries took it for years, and no reading needs it."""
    fields = [one | {"default": "0"} for one in AVRO_SCHEMA["fields"]]
    schema = RegisteredSchema("AVRO", json.dumps({**AVRO_SCHEMA, "fields": fields}))
    assert dialect("mapping:acme", _1=schema).key_fields(AVRO).callee == "+66812345678"


IMPORTS = """syntax = "proto3";
import "confluent/meta.proto"; import "google/protobuf/descriptor.proto";
import public "google/type/phone_number.proto"; import "confluent/type/decimal.proto";
import "google/type/date.proto"; import "google/type/timeofday.proto"; import "buf/none.proto";
message Party { string number = 1; }
message Call {
  string id = 1; string from = 2; Party to = 3; google.type.PhoneNumber other = 4;
  confluent.type.Decimal cost = 5; google.type.Date day = 6; google.type.TimeOfDay hour = 7;
}"""


@pytest.mark.parametrize("parsed", [False, True])
def test_what_every_client_has_is_imported(parsed: bool) -> None:
    """No registry keeps those files; of `confluent/meta.proto` only options need anything."""
    text = IMPORTS
    if parsed:
        text = base64.b64encode(descriptor_of(IMPORTS).SerializeToString()).decode()
    members = (1, b"p-1"), (2, b"+447700900101"), (3, b"\x0a\x0c+66812345678"), (5, b"\x0a\x01a")
    found = dialect("mapping:acme", _6=RegisteredSchema("PROTOBUF", text)).key_fields(
        proto(*members, (4, b"\x0a\x0d+447700900102"))
    )
    assert (found.call_id, found.callee) == ("p-1", "+66812345678")


def test_references_are_schemas_of_their_own() -> None:
    """An Avro type and a Protobuf file of another subject."""
    party = AVRO_SCHEMA["fields"][2]["type"] | {"namespace": "carrier"}
    fields = [dict(one) for one in AVRO_SCHEMA["fields"]]
    fields[2]["type"] = "carrier.Party"
    whole = json.dumps({**AVRO_SCHEMA, "fields": fields})
    schema = RegisteredSchema("AVRO", whole, (("carrier.Party", json.dumps(party)),))
    assert dialect("mapping:acme", _1=schema).key_fields(AVRO).callee == "+66812345678"
    missing = 'syntax = "proto3"; import "b.proto"; message Call { b.Party to = 1; }'
    found = refused(framed(7, b"\0"), _7=RegisteredSchema("PROTOBUF", missing))
    assert "imports what the registry does not give" in found.detail


@given(st.sampled_from([1, 2, 4]), st.binary(max_size=200))
def test_any_bytes_are_a_call_or_a_reason(number: int, data: bytes) -> None:
    """Nothing that a producer writes behind an id ends otherwise."""
    read = dialect("mapping:acme")
    raw = raw_of(framed(number, data))
    batch = decode(raw, {"calls": read}, Trunks("TH", {}), DECODING)
    assert len(batch) + len(batch.rejected) == 1


def test_an_id_is_read_only_where_data_follows() -> None:
    """Empty records, other first bytes and a head alone name no schema."""
    assert schema_number(AVRO) == 1
    assert [schema_number(value) for value in (b"", b"\0\0\0\0\1", b"{}" * 9)] == [None] * 3

"""`.proto` texts: they say what Google's compiler makes of them, and nothing else passes."""

import base64
from importlib import import_module
from typing import Any

import pytest

from stream.calls.decode import decode
from stream.calls.encodings.proto_text import TEXT_MAX, TextInvalid, descriptor_of
from stream.calls.trunks import Trunks
from stream.core.model.schemas import RegisteredSchema
from tests.support.builders import DECODING, raw_of
from tests.support.schema_registry import DESCRIPTOR, PROTO, PROTOBUF
from tests.unit.calls.encodings.test_registry import dialect, framed

WHOLE = """// as a registry gives it
syntax = "proto3";
package carrier.v1;
import "google/protobuf/timestamp.proto";
option java_package = "x";
enum Kind { option allow_alias = true; NONE = 0; A = 1; B = 1; }
message Outer {
  reserved 4, 8 to 10;
  reserved "old";
  enum Side { IN = 0; OUT = -1; }
  message Party { string number = 1; optional string name = 2; }
  string call_id = 1 [deprecated = true];
  Party from = 2;
  .carrier.v1.Outer.Party to = 3;
  oneof way { string sip = 5; v1.Outer.Party other = 6; }
  map<string, Party> by_name = 7;
  repeated int32 codes = 11 [packed = false];
  Side side = 12;
  Kind kind = 13;
  google.protobuf.Timestamp at = 14;
  optional int64 ms = 15;
}
service Calls { rpc Ask(Outer) returns (stream Outer); }
"""


def made(text: str, message: str) -> Any:
    """The class of a message in a text."""
    pools, factory, well_known = map(
        import_module,
        ("google.protobuf.descriptor_pool", "google.protobuf.message_factory",
         "google.protobuf.timestamp_pb2"),
    )  # fmt: skip
    pool = pools.DescriptorPool()
    pool.AddSerializedFile(well_known.DESCRIPTOR.serialized_pb)
    file = descriptor_of(text)
    file.name = "tested.proto"
    pool.AddSerializedFile(file.SerializeToString())
    return factory.GetMessageClass(pool.FindMessageTypeByName(message))


def test_each_form_of_a_field_is_understood() -> None:
    """Nested and foreign names, choices, maps, optional fields, enums with two names for one."""
    kind = made(WHOLE, "carrier.v1.Outer")
    told = {"call_id": "c", "to": {"number": "+447700900101"}, "sip": "x", "codes": [1, 2],
            "by_name": {"a": {"number": "1", "name": ""}}, "side": "OUT", "ms": "0"}  # fmt: skip
    forms = import_module("google.protobuf.json_format")
    message = forms.ParseDict(told, kind())
    back = kind.FromString(message.SerializeToString())
    assert forms.MessageToDict(back, preserving_proto_field_name=True) == told
    fields = kind.DESCRIPTOR.fields_by_name
    assert fields["ms"].has_presence
    assert fields["by_name"].message_type.GetOptions().map_entry
    assert not fields["codes"].is_packed
    assert [one.name for one in kind.DESCRIPTOR.oneofs] == ["way", "_ms"]


def test_a_text_is_what_protoc_makes_of_it() -> None:
    """The sample's text and its compiled form describe the same messages."""
    protos = import_module("google.protobuf.descriptor_pb2")
    compiled = protos.FileDescriptorProto.FromString(base64.b64decode(DESCRIPTOR))
    found = descriptor_of(PROTO)
    assert (found.package, found.syntax, found.dependency) == (
        compiled.package, compiled.syntax, compiled.dependency,
    )  # fmt: skip
    for ours, theirs in zip(found.message_type, compiled.message_type, strict=True):
        names = [one.name for one in theirs.nested_type]
        assert (ours.name, [one.name for one in ours.nested_type]) == (theirs.name, names)
        for one, other in zip(ours.nested_type, theirs.nested_type, strict=True):
            assert [(field.name, field.number, field.label) for field in one.field] == [
                (field.name, field.number, field.label) for field in other.field
            ]


def test_records_of_a_text_are_calls() -> None:
    """By a registry that gives no other form."""
    reader = dialect(_2=RegisteredSchema("PROTOBUF", PROTO))
    batch = decode(raw_of(PROTOBUF), {"calls": reader}, Trunks("TH"), DECODING)
    assert [one.call_id for one in batch.key_fields] == ["p-1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("message {", "line 1"),
        ('syntax = "proto3";\nmessage A { string b = 1 }', "line 2"),
        ("message A " + "{ message A " * 40 + "{" + "}" * 41, "braces"),
        (" " * (TEXT_MAX + 1), "KB"),
        ('edition = "2023";', "edition"),
        ('syntax = "proto9";', "neither"),
        ("message A { optional group B = 1 { } }", "group"),
        ("message A { oneof b { group C = 1 { } } }", "group"),
        ("message A { required string a = 0x1; }", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, words: str) -> None:
    """And nothing is printed, or half understood."""
    with pytest.raises(TextInvalid, match=words):
        descriptor_of(text)


def test_a_text_that_refers_to_nothing_is_an_unknown_schema() -> None:
    """A type that is nowhere, and an import that the registry does not give."""
    for text in ("message A { B b = 1; }", 'import "b.proto"; message A { string b = 1; }'):
        reader = dialect(_7=RegisteredSchema("PROTOBUF", text))
        batch = decode(raw_of(framed(7, b"\0x")), {"calls": reader}, Trunks("TH"), DECODING)
        assert [one.reason for one in batch.rejected] == ["unknown_schema"]

"""Files that a Protobuf schema imports and no registry keeps.

Every client of Confluent's registry has them built in (`ProtobufSchema.KNOWN_DEPENDENCIES`), so a
schema has no references to them. Kafka Connect and ksqlDB write such imports.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from stream.calls.encodings.proto_text import descriptor_of

_OF_PROTOBUF: Final = (
    "any", "descriptor", "duration", "empty", "field_mask", "source_context", "struct",
    "timestamp", "wrappers", "type", "api",
)  # fmt: skip
"""In an order in which each comes after those that it imports."""
_TEXTS: Final = {
    "confluent/type/decimal.proto": (
        "package confluent.type; message Decimal { bytes value = 1; int32 scale = 2; }"
    ),
    "google/type/date.proto": (
        "package google.type; message Date { int32 year = 1; int32 month = 2; int32 day = 3; }"
    ),
    "google/type/timeofday.proto": (
        "package google.type; message TimeOfDay { int32 hours = 1; int32 minutes = 2; "
        "int32 seconds = 3; int32 nanos = 4; }"
    ),
    "google/type/phone_number.proto": (
        "package google.type; message PhoneNumber { "
        "message ShortCode { string region_code = 1; string number = 2; } "
        "oneof kind { string e164_number = 1; ShortCode short_code = 2; } string extension = 3; }"
    ),
}
"""Those that can be a part of a call record, by name: texts of proto3."""


def with_imports(files: Mapping[str, Any]) -> dict[str, Any]:
    """Return `files` (FileDescriptorProto by name, in order) after those that they import.

    An import that nobody has is left out: as a rule it is for options alone, such as
    `confluent/meta.proto`. If the schema uses a type of it, Google's library says so.
    """
    wanted = {name for file in files.values() for name in file.dependency}
    found = {name: file for name, file in _known(wanted) if name not in files}
    for file in files.values():
        _leave_out(file, found.keys() | files.keys())
    return {**found, **files}


def _known(wanted: Iterable[str]) -> Iterable[tuple[str, Any]]:
    protos: Any = import_module("google.protobuf.descriptor_pb2")
    for short in _OF_PROTOBUF:
        module: Any = import_module(f"google.protobuf.{short}_pb2")
        file = protos.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        yield file.name, file
    for name in wanted:
        if name in _TEXTS:
            yield name, descriptor_of(f'syntax = "proto3"; {_TEXTS[name]}')


def _leave_out(file: Any, known: Iterable[str]) -> None:
    """Remove the imports of a file that are not `known`."""
    names, public = list(file.dependency), list(file.public_dependency)
    left = [name for name in names if name in known]
    if left != names:
        del file.dependency[:], file.public_dependency[:], file.weak_dependency[:]
        file.dependency.extend(left)
        file.public_dependency.extend(
            left.index(names[place]) for place in public if names[place] in left
        )

"""Dialects `registry:<dialect>`: records in the wire format of Confluent's schema registry.

    the schema's id (see `schema_ids`), for Protobuf the message's indexes, then the data

Avro, Protobuf and JSON are read by the schema of their id. The call is then read from them as JSON,
by a mapping or by a switch's own dialect. Numbers stay unchanged (a timestamp of Avro is its
milliseconds or microseconds). Bytes are base64, and members of Protobuf have the names of the
.proto. Protobuf has no null, and proto3 does not write an empty text. So a member that its schema
has and the record lacks is null where the dialect looks for a required field.
"""

import base64
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import msgspec

from stream.calls.dialects.dialect import Dialect, NoCall, Transcoded, Value
from stream.calls.encodings.proto_imports import with_imports
from stream.calls.encodings.proto_text import TextInvalid, descriptor_of
from stream.calls.encodings.schema_ids import schema_key
from stream.core.model.call import RejectReason
from stream.core.model.schemas import RegisteredSchema, SchemaKey, Schemas, SchemaUnknown
from stream.core.numbers.spelling import in_utf8

_TYPES_MAX: Final = 10_000  # a schema may name its types so that they unfold without end
_SCHEMAS_MAX: Final = 1000
"""Compiled schemas that are kept: a topic has some ten."""
_INDEXES_MAX: Final = 64
"""Messages within messages that an index may name."""
_EXTRA: Final = "reading it needs an extra: pip install 'ringfence[registry]'"
Decode = Callable[[memoryview], bytes]
Nulls = dict[str, "Nulls | None"]
"""Members of a message that are null where a record lacks them; those of messages in it below."""


class RegistryDialect(Transcoded):
    """Records of the dialect `inner`, written by schemas of a registry."""

    has_ids = True

    def __init__(self, name: str, inner: Dialect, schemas: Schemas) -> None:
        super().__init__(name, inner)
        self._schemas = schemas
        self._decoders: dict[SchemaKey, Decode] = {}

    def text(self, value: Value, /) -> bytes:
        """Return the record as JSON. Raises NoCall, RegistryDown."""
        found = schema_key(value)
        if found is None:
            text = f"no Confluent wire format: if it is plain, its dialect is {self.inner.name}"
            raise NoCall(RejectReason.WRONG_ENCODING, text)
        key, begin = found
        decode = self._decoders.get(key) or self.decoder(key)
        try:
            return decode(memoryview(value)[begin:])
        except _Wrong as wrong:
            text = f"schema {key}: {wrong}"
            raise NoCall(RejectReason.WRONG_ENCODING, text) from None

    def decoder(self, key: SchemaKey) -> Decode:
        """Return the decoder by one schema. Raises NoCall: it cannot be used; RegistryDown."""
        try:
            found = _decoder_of(self._schemas.schema(key), self.inner.json_keys)
        except SchemaUnknown as unknown:
            raise NoCall(RejectReason.UNKNOWN_SCHEMA, str(unknown)) from None
        except _Wrong as wrong:
            text = f"schema {key} cannot be used: {wrong}"
            raise NoCall(RejectReason.UNKNOWN_SCHEMA, text) from None
        if len(self._decoders) >= _SCHEMAS_MAX:
            self._decoders.clear()
        self._decoders[key] = found
        return found


class _Wrong(ValueError):
    """A schema or a record that cannot be read; its text quotes neither."""


def _decoder_of(schema: RegisteredSchema, required: Collection[str]) -> Decode:
    match schema.kind:
        case "AVRO":
            return _avro(schema)
        case "PROTOBUF":
            return _protobuf(schema, required)
        case "JSON":
            return in_utf8
    raise _Wrong(f"it is of the type {schema.kind[:20]}, not AVRO, PROTOBUF or JSON")


def _avro(schema: RegisteredSchema) -> Decode:
    try:
        fastavro: Any = import_module("fastavro")
    except ModuleNotFoundError as error:
        raise _Wrong(_EXTRA) from error
    named: dict[str, Any] = {}
    try:
        for _, text in schema.references:
            fastavro.parse_schema(_plain(json.loads(text)), named)
        parsed = fastavro.parse_schema(_plain(json.loads(schema.text)), named)
        _refuse_endless(parsed, named, (), iter(range(_TYPES_MAX)))
    except _Wrong:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Wrong(f"it is no Avro schema ({type(error).__name__})") from error
    except fastavro.schema.SchemaParseException as error:
        raise _Wrong(f"it is no Avro schema ({type(error).__name__})") from error
    read, encode = fastavro.schemaless_reader, msgspec.json.encode

    def decode(data: memoryview) -> bytes:
        file = io.BytesIO(data)
        try:
            record = read(file, parsed, None)
        except _AVRO_FAULTS as error:
            raise _Wrong(f"the data is not of it ({type(error).__name__})") from None
        if file.tell() != len(data):
            raise _Wrong(f"{len(data) - file.tell()} bytes are left over: it is of another schema")
        return encode(record)

    return decode


_AVRO_FAULTS = (EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError)


_UNUSED: Final = frozenset({"logicalType", "default"})


def _plain(schema: Any) -> Any:
    """Return an Avro schema without what no reading needs, and what may be wrong.

    A time beyond all calendars is no fault here. Older registries took defaults of another type
    (`"0"` for an int), which fastavro refuses.
    """
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key not in _UNUSED}
    return [_plain(one) for one in schema] if isinstance(schema, list) else schema


def _refuse_endless(
    schema: Any, named: Mapping[str, Any], within: tuple[str, ...], budget: Iterator[int]
) -> bool:
    """Return whether a value of `schema` takes at least a byte. Raises _Wrong.

    Ten bytes may say that an array has 2^60 items of none. A type that holds itself may be nested
    as deep as the record is long, and fastavro's stack is C's.
    """
    if next(budget, None) is None:
        raise _Wrong(f"it has more than {_TYPES_MAX:,} types within types")
    if isinstance(schema, str) and schema in named:
        schema = named[schema]
    if isinstance(schema, list):
        for one in schema:
            _refuse_endless(one, named, within, budget)
        return True
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in {"array", "map"}:
        inside = _refuse_endless(
            schema["items" if kind == "array" else "values"], named, within, budget
        )
        if kind == "array" and not inside:
            raise _Wrong("it has an array of items without a byte")
        return True
    if kind in {"record", "error"}:
        if schema["name"] in within:
            raise _Wrong("it has a type that holds itself")
        below = (*within, schema["name"])
        # All of them first: each has to be looked at.
        takes = [_refuse_endless(one["type"], named, below, budget) for one in schema["fields"]]
        return any(takes)
    if kind == "fixed":
        return bool(schema["size"] > 0)
    if isinstance(kind, dict | list):
        return _refuse_endless(kind, named, within, budget)
    return bool(kind != "null")


def _protobuf(schema: RegisteredSchema, required: Collection[str]) -> Decode:
    try:
        names = ("descriptor_pb2", "descriptor_pool", "json_format", "message", "message_factory")
        descriptors, pools, forms, messages, factory = (
            import_module(f"google.protobuf.{name}") for name in names
        )
    except ModuleNotFoundError as error:
        raise _Wrong(_EXTRA) from error
    pool = pools.DescriptorPool()
    own = "ringfence.proto"
    try:
        texts = (*schema.references, (own, schema.text))
        files = {name: _file(descriptors, text) for name, text in texts}
        for name, file in with_imports(files).items():
            file.name = name
            pool.Add(file)
        top = list(pool.FindFileByName(own).message_types_by_name.values())
    except TextInvalid as error:
        raise _Wrong(str(error)) from error
    except ModuleNotFoundError as error:
        raise _Wrong(_EXTRA) from error
    except (KeyError, TypeError, ValueError, messages.DecodeError) as error:
        text = "it imports what the registry does not give, or is no Protobuf schema"
        raise _Wrong(text) from error
    classes: dict[tuple[int, ...], tuple[Any, Nulls]] = {}
    encode, faults = msgspec.json.encode, (forms.Error, ValueError, TypeError, RecursionError)

    def members(message: Any) -> Any:
        return forms.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool)

    def decode(data: memoryview) -> bytes:
        indexes, at = _indexes(data)
        made = classes.get(indexes)
        if made is None:
            kind = _message_at(top, indexes)
            made = classes[indexes] = factory.GetMessageClass(kind), _nulls(kind, required)
        message = made[0]()
        try:
            message.ParseFromString(bytes(data[at:]))
            try:
                found = members(message)
            except faults:
                _leave_out(message, members, messages.Message, faults)
                found = members(message)
            _add_nulls(found, made[1])
            return encode(found)
        except (messages.DecodeError, *faults) as error:
            raise _Wrong(f"the data is not of it ({type(error).__name__})") from None

    return decode


def _nulls(kind: Any, required: Collection[str], within: tuple[Any, ...] = ()) -> Nulls:
    """Return the members of a message that `required` names, with those of messages in it.

    A member of a `oneof` is left out: the caller may stand in another one.
    """
    found: Nulls = {}
    for field in kind.fields:
        group = field.containing_oneof
        if field.name not in required or (group is not None and len(group.fields) > 1):
            continue
        below = field.message_type
        if isinstance(field.default_value, list) or below in within:
            continue
        if below is None or below.file.package == "google.protobuf":
            found[field.name] = None
        elif nulls := _nulls(below, required, (*within, kind)):
            found[field.name] = nulls
    return found


def _add_nulls(members: dict[str, Any], nulls: Nulls) -> None:
    for name, below in nulls.items():
        if name not in members:
            members[name] = below
        elif below is not None:
            _add_nulls(members[name], below)


def _leave_out(
    message: Any,
    members: Callable[[Any], Any],
    kind: type[Any],
    faults: tuple[type[Exception], ...],
) -> None:
    """Clear the members that JSON cannot hold: a time beyond all calendars hides no caller.

    `members` raises one of `faults` for a message of `kind` with such a member.
    """
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if isinstance(value, kind) and field.message_type.file.package != "google.protobuf":
            _leave_out(value, members, kind, faults)
            continue
        several = [value] if isinstance(value, kind) else value
        try:
            for one in several.values() if hasattr(several, "values") else several:
                if isinstance(one, kind):
                    members(one)
        except faults:
            message.ClearField(field.name)


def _file(descriptors: Any, text: str) -> Any:
    """Return a schema's file: parsed by the registry, in base64, or as its `.proto` text."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return descriptor_of(text)
    file = descriptors.FileDescriptorProto()
    file.ParseFromString(data)
    return file


def _indexes(data: memoryview) -> tuple[tuple[int, ...], int]:
    """Return the message's indexes, zigzag varints, and where its data begins."""
    count, at = _varint(data, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= _INDEXES_MAX:
        raise _Wrong("the list of message indexes is no list")
    found = []
    for _ in range(count):
        index, at = _varint(data, at)
        found.append(index)
    return tuple(found), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in zip(range(0, 63, 7), data[at : at + 9], strict=False):
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
    raise _Wrong("the list of message indexes is no list")


def _message_at(top: list[Any], indexes: tuple[int, ...]) -> Any:
    there, found = top, None
    for index in indexes:
        if not 0 <= index < len(there):
            raise _Wrong("no message has these indexes")
        found = there[index]
        there = list(found.nested_types)
    return found

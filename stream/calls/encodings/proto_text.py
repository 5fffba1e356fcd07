"""`.proto` texts as registries give them, made into the form that Google's protobuf reads.

The parser is proto-schema-parser (pure Python). What it found becomes a `FileDescriptorProto`; its
names are resolved and checked by Google's library. Comments, services, extensions and options that
change no reading are left out. Editions and groups are refused.
"""

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any, Final

TEXT_MAX: Final = 256 * 1024
"""Characters of a text: its parser takes 2 s for so many."""
DEPTH_MAX: Final = 32
"""Braces within braces: its parser's stack is Python's."""
_SCALARS: Final = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "fixed64": 6, "fixed32": 7,
    "bool": 8, "string": 9, "bytes": 12, "uint32": 13, "sfixed32": 15, "sfixed64": 16,
    "sint32": 17, "sint64": 18,
}  # fmt: skip
_OPTIONAL, _REQUIRED, _REPEATED = 1, 2, 3
_BRACES: Final = re.compile(r"[{}]")


class TextInvalid(ValueError):
    """A text that cannot be used; the words do not quote it."""


def descriptor_of(text: str) -> Any:
    """Return the FileDescriptorProto of a `.proto` text, without a name. Raises TextInvalid.

    Raises ModuleNotFoundError without the extra.
    """
    protos: Any = import_module("google.protobuf.descriptor_pb2")
    file = _parsed(text)
    if file.edition is not None:
        raise TextInvalid("it has an edition; proto2 and proto3 are read")
    syntax = (file.syntax or "proto2").strip("\"'")
    if syntax not in {"proto2", "proto3"}:
        raise TextInvalid("its syntax is neither proto2 nor proto3")
    made = protos.FileDescriptorProto(syntax="" if syntax == "proto2" else syntax)
    for element in file.file_elements:
        match type(element).__name__:
            case "Package":
                made.package = element.name
            case "Import":
                if element.public:
                    made.public_dependency.append(len(made.dependency))
                made.dependency.append(element.name.strip("\"'"))
            case "Message":
                _message(made.message_type.add(), element, syntax)
            case "Enum":
                _enum(made.enum_type.add(), element)
    return made


def _parsed(text: str) -> Any:
    """Parse the text; stop at an error, where the parser would print it and go on."""
    if len(text) > TEXT_MAX:
        raise TextInvalid(f"its text has more than {TEXT_MAX >> 10} KB")
    depth = deepest = 0
    for brace in _BRACES.findall(text):
        depth += 1 if brace == "{" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH_MAX:
        raise TextInvalid(f"its text has more than {DEPTH_MAX} braces within braces")
    parsers: Any = import_module("proto_schema_parser.parser")
    listeners: Any = import_module("antlr4.error.ErrorListener")

    def refuse(_self: Any, _recognizer: Any, _symbol: Any, line: int, *_: Any) -> None:
        raise TextInvalid(f"line {line} of its text cannot be read")

    listener = type("Refuses", (listeners.ErrorListener,), {"syntaxError": refuse})()

    def strict(recognizer: Any) -> None:
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(listener)

    try:
        return parsers.Parser(setup_lexer=strict, setup_parser=strict).parse(text)
    except TextInvalid:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TextInvalid(f"its text cannot be read ({type(error).__name__})") from error


def _message(made: Any, message: Any, syntax: str) -> None:
    made.name = message.name
    alone = []
    for element in message.elements:
        match type(element).__name__:
            case "Field":
                field = _field(made, element)
                if syntax == "proto3" and _label(element) == "OPTIONAL":
                    field.proto3_optional = True
                    alone.append(field)
            case "MapField":
                _map(made, element)
            case "OneOf":
                made.oneof_decl.add(name=element.name)
                index = len(made.oneof_decl) - 1
                for one in _fields(element.elements):
                    _field(made, one).oneof_index = index
            case "Message":
                _message(made.nested_type.add(), element, syntax)
            case "Enum":
                _enum(made.enum_type.add(), element)
            case "Group":
                raise TextInvalid("it has a group; use a message")
    # Each optional field of proto3 is a oneof of its own, after the others.
    for field in alone:
        made.oneof_decl.add(name=f"_{field.name}")
        field.oneof_index = len(made.oneof_decl) - 1


def _fields(elements: Iterable[Any]) -> Iterable[Any]:
    for element in elements:
        if type(element).__name__ == "Group":
            raise TextInvalid("it has a group; use a message")
        if type(element).__name__ == "Field":
            yield element


def _label(field: Any) -> str:
    return field.cardinality.name if field.cardinality is not None else ""


def _field(made: Any, field: Any) -> Any:
    label = {"REQUIRED": _REQUIRED, "REPEATED": _REPEATED}.get(_label(field), _OPTIONAL)
    found = made.field.add(name=field.name, number=field.number, label=label)
    _typed(found, field.type)
    for option in field.options:
        if option.name == "packed":
            found.options.packed = option.value is True
    return found


def _typed(found: Any, name: str) -> None:
    """Set a field's type; a message's or enum's name is resolved by Google's library."""
    if name in _SCALARS:
        found.type = _SCALARS[name]
    else:
        found.type_name = name


def _map(made: Any, field: Any) -> None:
    entry = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
    within = made.nested_type.add(name=entry)
    within.options.map_entry = True
    _typed(within.field.add(name="key", number=1, label=_OPTIONAL), field.key_type)
    _typed(within.field.add(name="value", number=2, label=_OPTIONAL), field.value_type)
    made.field.add(name=field.name, number=field.number, label=_REPEATED, type_name=entry)


def _enum(made: Any, enum: Any) -> None:
    made.name = enum.name
    for element in enum.elements:
        match type(element).__name__:
            case "EnumValue":
                made.value.add(name=element.name, number=element.number)
            case "Option":
                if element.name == "allow_alias":
                    made.options.allow_alias = element.value is True

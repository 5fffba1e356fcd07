"""Schemas as a schema registry gives them."""

from enum import StrEnum
from typing import NamedTuple, Protocol

from stream.core.model.errors import Fault

SchemaKey = int | str
"""The id of a schema in its registry, or its GUID."""


class RegisteredSchema(NamedTuple):
    """A schema: `kind` is AVRO, PROTOBUF or JSON.

    `text` is Avro's or JSON Schema's JSON. For Protobuf it is a FileDescriptorProto in base64, or
    the `.proto` text of a registry that does not parse it. `references` has the schemas that it
    refers to, by name, each after those that it needs itself.
    """

    kind: str
    text: str
    references: tuple[tuple[str, str], ...] = ()


class RegistryAnswer(StrEnum):
    """Outcome of a request to a registry; each is a metric label."""

    FOUND = "found"
    UNKNOWN = "unknown"
    """It has no such schema."""
    REFUSED = "refused"
    """Our login, or its rights, are wrong."""
    FAILED = "failed"
    """Another status, or no answer of a registry."""
    UNREACHABLE = "unreachable"


class SchemaUnknown(Exception):
    """The registry answers that it has no schema of this id, or none that can be read."""


class RegistryDown(Fault):
    """The registry does not answer, or refuses us. Nothing is known of the schema."""

    exit_code = 3


class Schemas(Protocol):
    """The schemas of a registry, by id or GUID."""

    def schema(self, key: SchemaKey) -> RegisteredSchema:
        """Return a schema. Raises SchemaUnknown, RegistryDown."""

"""Schemas as a schema registry gives them."""

from typing import NamedTuple, Protocol

from stream.core.model.errors import Fault


class RegisteredSchema(NamedTuple):
    """A schema: `kind` is AVRO, PROTOBUF or JSON.

    `text` is Avro's or JSON Schema's JSON; of Protobuf it is a FileDescriptorProto in base64.
    `references` has the schemas that it refers to, by name, each after those that it needs itself.
    """

    kind: str
    text: str
    references: tuple[tuple[str, str], ...] = ()


class SchemaUnknown(Exception):
    """The registry answers that it has no schema of this id, or none that can be read."""


class RegistryDown(Fault):
    """The registry does not answer, or refuses us. Nothing is known of the schema."""

    exit_code = 3


class Schemas(Protocol):
    """The schemas of a registry, by id."""

    def schema(self, number: int) -> RegisteredSchema:
        """Return a schema. Raises SchemaUnknown, RegistryDown."""

"""Load all that the image may ever load, in its own environment: `python check_image.py KERNELS`.

Every module, every command's help, the kernels in a folder, a country's name; of the extras,
clients of S3 and of the services that give credentials, and a record of Avro and of Protobuf. It
ends with a traceback where deploy/trim.py took too much, or `strip` left a library that cannot be
loaded.
"""

import base64
import json
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import botocore.session
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from typer import Context
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import stream
from stream.calls.dialects import dialect_named
from stream.calls.encodings.registry import RegistryDialect
from stream.cli.main import app
from stream.core.model.schemas import RegisteredSchema
from stream.insight.report.words import country_name
from stream.ops.kernels import warm_up


def helps(command: TyperCommand | TyperGroup, above: Context | None = None) -> int:
    """Write the help of a command and of those below it; return how many."""
    context = Context(command, parent=above, info_name=command.name or "ringfence")
    assert command.get_help(context)
    if not isinstance(command, TyperGroup):
        return 1
    names = command.list_commands(context)
    return sum(helps(command.get_command(context, name), context) for name in names)


def check_s3() -> None:
    """Make a client of S3, and those by which AWS' own chain finds credentials."""
    session = botocore.session.Session()
    for service in ("s3", "signin", "sso", "sso-oidc", "sts"):
        assert session.create_client(
            service,
            "eu-west-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",  # noqa: S106
        )


class Held:
    """Schemas of a registry: Avro and Protobuf with one text each."""

    def schema(self, number: int) -> RegisteredSchema:
        """Return the schema of an id."""
        if number == 1:
            fields = [{"name": "call_id", "type": "string"}]
            avro = {"type": "record", "name": "Call", "fields": fields}
            return RegisteredSchema("AVRO", json.dumps(avro))
        file = FileDescriptorProto(name="call.proto", syntax="proto3")
        kind, label = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.LABEL_OPTIONAL
        file.message_type.add(name="Call").field.add(
            name="call_id", number=1, type=kind, label=label
        )
        return RegisteredSchema("PROTOBUF", base64.b64encode(file.SerializeToString()).decode())


def check_registry() -> None:
    """Read a record of Avro and one of Protobuf."""
    read = RegistryDialect("registry:ringfence", dialect_named("ringfence", {}), Held())
    for value in (b"\0\0\0\0\1\6abc", b"\0\0\0\0\2\0\x0a\3abc"):
        assert json.loads(read.text(value)) == {"call_id": "abc"}


if __name__ == "__main__":
    # First: the import of a module with kernels compiles them, unless they were read before.
    status = warm_up(Path(sys.argv[1]), may_compile=False)
    assert not status.why_not, status.why_not
    modules = [
        found.name
        for found in walk_packages(stream.__path__, "stream.")
        if not found.name.endswith(".__main__")
    ]
    for module in modules:
        import_module(module)
    assert country_name("KH") == "Cambodia"
    check_s3()
    check_registry()
    commands = helps(get_command(app))
    sys.stdout.write(f"{len(modules)} modules, {commands} commands; extras: s3, registry\n")

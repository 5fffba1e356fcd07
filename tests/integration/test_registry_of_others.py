"""A schema registry that others wrote: Apicurio, by its interface of Confluent's registry.

It registers the schemas, says their ids and gives them back. Records are written by fastavro and by
Google's protobuf, and are read as the engine reads them.
"""

import base64
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import fastavro
import pytest
import urllib3

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.encodings.registry import RegistryDialect
from stream.calls.trunks import Trunks
from stream.core.model.call import RejectReason
from stream.kafka.schema_registry import SchemaRegistry
from stream.kafka.settings import SchemaRegistrySection
from stream.lab.embedded.guarded_server import Server, free_ports, new_folder
from tests.support.builders import DECODING, raw_of
from tests.support.schema_registry import AVRO_SCHEMA, DESCRIPTOR, PROTO

VERSION = "2.6.13.Final"
"""The last that runs on Java 17."""
ARCHIVE = (
    Path.home()
    / f".m2/repository/io/apicurio/apicurio-registry-app/{VERSION}"
    / f"apicurio-registry-app-{VERSION}-all.tar.gz"
)
INSTALL = (
    "no Apicurio: mvn dependency:get -Dtransitive=false "
    f"-Dartifact=io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
)
pytestmark = [pytest.mark.campaign, pytest.mark.skipif(not ARCHIVE.exists(), reason=INSTALL)]

MAPPING = MappingSettings(
    "json", {"call_id": "id", "caller": "from", "callee": "to.number", "started_at": "started"}
)
_JSON_SCHEMA = '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}'
CALL = {"call_id": "p-1", "caller": "+447700900101", "callee": "+66812345678"}


def _answers(port: int) -> bool:
    try:
        url = f"http://127.0.0.1:{port}/apis/ccompat/v7/schemas/types"
        return bool(urllib3.request("GET", url, retries=False, timeout=5.0).status == 200)
    except (urllib3.exceptions.HTTPError, OSError):
        return False


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of its interface for Confluent's clients."""
    folder = new_folder("apicurio")
    try:
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        (port,) = free_ports(1)
        settings = {"quarkus.http.host": "127.0.0.1", "quarkus.http.port": port}
        said = [f"-D{name}={value}" for name, value in settings.items()]
        command = ["java", "-Xmx512m", *said, "-jar", str(next(folder.glob("*-runner.jar")))]
        with Server("Apicurio", port, folder, command, _answers) as server:
            server.start()
            yield f"http://127.0.0.1:{port}/apis/ccompat/v7"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def registered(url: str, subject: str, text: str, kind: str, *references: dict[str, Any]) -> int:
    """Register a schema; its id."""
    body = {"schema": text, "schemaType": kind, "references": references}
    answer = urllib3.request("POST", f"{url}/subjects/{subject}/versions", json=body, timeout=30.0)
    assert answer.status == 200, answer.data
    return int(answer.json()["id"])


def client(url: str) -> SchemaRegistry:
    files = {"ca_file": "", "cert_file": "", "key_file": ""}
    section = SchemaRegistrySection(url=url, username="", **files, timeout_s=30.0)
    return SchemaRegistry(section, "")


def read(url: str, inner: str, *values: bytes) -> CallBatch:
    """The calls in `values`."""
    dialect = RegistryDialect("registry", dialect_named(inner, {"acme": MAPPING}), client(url))
    return decode(raw_of(*values), {"calls": dialect}, Trunks("TH"), DECODING)


def head(number: int) -> bytes:
    """The wire format's."""
    return b"\0" + number.to_bytes(4)


def test_avro_with_a_reference(url: str) -> None:
    """A record whose schema refers to another subject's is a call."""
    party = AVRO_SCHEMA["fields"][2]["type"] | {"namespace": "carrier"}
    registered(url, "party", json.dumps(party), "AVRO")
    fields = [*AVRO_SCHEMA["fields"]]
    fields[2] = {"name": "to", "type": "carrier.Party"}
    refers = {"name": "carrier.Party", "subject": "party", "version": 1}
    whole = json.dumps({**AVRO_SCHEMA, "fields": fields})
    number = registered(url, "calls-value", whole, "AVRO", refers)
    file = io.BytesIO()
    call = {
        "id": "9f2c0000-0000-4000-8000-000000000001", "from": "+447700900101",
        "to": {"number": "+66812345678"}, "started": 1_795_593_723_000, "seconds": 61.5,
    }  # fmt: skip
    fastavro.schemaless_writer(file, fastavro.parse_schema(AVRO_SCHEMA), call)
    batch = read(url, "mapping:acme", head(number) + file.getvalue())
    assert [one.caller for one in batch.key_fields] == ["+447700900101"]
    assert batch.started_at_s(0) == 1_795_593_723.0
    assert client(url).newest("calls-value") == number


def test_json(url: str) -> None:
    """A record of a JSON schema is read as it is; an id of none is kept with its reason."""
    number = registered(url, "json-value", _JSON_SCHEMA, "JSON")
    value = json.dumps(CALL).encode()
    batch = read(url, "ringfence", head(number) + value, head(number + 1000) + value)
    assert [one.call_id for one in batch.key_fields] == ["p-1"]
    assert [one.reason for one in batch.rejected] == [RejectReason.UNKNOWN_SCHEMA]


def test_protobuf(url: str) -> None:
    """A message within a message, by the schema that the registry compiled."""
    number = registered(url, "proto-value", PROTO, "PROTOBUF")
    pools, factory = map(
        import_module, ("google.protobuf.descriptor_pool", "google.protobuf.message_factory")
    )
    import_module("google.protobuf.timestamp_pb2")
    made = pools.Default().AddSerializedFile(base64.b64decode(DESCRIPTOR))
    kind = made.message_types_by_name["Envelope"].nested_types_by_name["Call"]
    message = factory.GetMessageClass(kind)(**CALL)
    value = head(number) + b"\4\0\2" + message.SerializeToString()
    batch = read(url, "ringfence", value)
    assert [(one.reason, one.detail) for one in batch.rejected] == []
    assert [one.call_id for one in batch.key_fields] == ["p-1"]


def test_protobuf_with_a_reference(url: str) -> None:
    """A file that imports another subject's; the registry gives both as texts."""
    party = 'syntax = "proto3"; package carrier; message Party { string number = 1; }'
    registered(url, "party.proto", party, "PROTOBUF")
    whole = (
        'syntax = "proto3"; package carrier; import "party.proto"; '
        "message Leg { string id = 1; string from = 2; Party to = 3; sint64 started = 4; }"
    )
    refers = {"name": "party.proto", "subject": "party.proto", "version": 1}
    number = registered(url, "leg-value", whole, "PROTOBUF", refers)
    # Fields 1 to 3 as texts, the third within a message.
    data = b"\n\3l-1" + b"\x12\r+447700900101" + b"\x1a\x0e\n\x0c+66812345678"
    batch = read(url, "mapping:acme", head(number) + b"\0" + data)
    assert [(one.reason, one.detail) for one in batch.rejected] == []
    assert [(one.caller, one.callee) for one in batch.key_fields] == [
        ("+447700900101", "+66812345678")
    ]

"""A scripted schema registry, and records in its wire format as Confluent's own client writes them.

A registry that others wrote is Apicurio, in tests/integration/test_registry_of_others.py. The
records are what the serializers of confluent-kafka 2.16 wrote for these schemas; the answers are as
its client reads them.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

AVRO_SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Call",
    "namespace": "carrier",
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "from", "type": ["null", "string"], "default": None},
        {
            "name": "to",
            "type": {
                "type": "record",
                "name": "Party",
                "fields": [{"name": "number", "type": "string"}],
            },
        },
        {"name": "started", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "seconds", "type": "double"},
    ],
}
DESCRIPTOR = (
    "CgpjYWxsLnByb3RvEgdjYXJyaWVyGh9nb29nbGUvcHJvdG9idWYvdGltZXN0YW1wLnByb3RvIrIBCghFbnZlbG9w"
    "ZRoUCgdJZ25vcmVkEgkKAXgYASABKAkajwEKBENhbGwSDwoHY2FsbF9pZBgBIAEoCRIOCgZjYWxsZXIYAiABKAkS"
    "DgoGY2FsbGVlGAMgASgJEi4KCnN0YXJ0ZWRfYXQYBCABKAsyGi5nb29nbGUucHJvdG9idWYuVGltZXN0YW1wEhIK"
    "CnN0YXJ0ZWRfbXMYBSABKAMSEgoKZHVyYXRpb25fcxgGIAEoASI4CgVQbGFpbhIPCgdjYWxsX2lkGAEgASgJEg4K"
    "BmNhbGxlchgCIAEoCRIOCgZjYWxsZWUYAyABKAliBnByb3RvMw=="
)
"""A FileDescriptorProto: carrier.Envelope with messages Ignored and Call within, carrier.Plain."""
PROTO = """syntax = "proto3";
package carrier;
import "google/protobuf/timestamp.proto";
message Envelope {
  message Ignored { string x = 1; }
  message Call {
    string call_id = 1;
    string caller = 2;
    string callee = 3;
    google.protobuf.Timestamp started_at = 4;
    sint64 started_ms = 5;
    double duration_s = 6;
  }
}
message Plain { string call_id = 1; string caller = 2; string callee = 3; }
"""
"""The same as its `.proto` text."""
AVRO = bytes.fromhex(
    "00000000014839663263303030302d303030302d343030302d383030302d303030303030303030303031021a"
    "2b343437373030393030313031182b3636383132333435363738f0f1ce9bc2680000000000c04e40"
)
PROTOBUF = bytes.fromhex(
    "00000000020400020a03702d31120d2b3434373730303930303130311a0c2b36363831323334353637382206"
    "08fbab9ad80628f8b8e78da134310000000000c04e40"
)
PLAIN = bytes.fromhex(
    "000000000302020a03702d32120d2b3434373730303930303130321a0c2b3636383132333435363738"
)
JSON = bytes.fromhex(
    "00000000047b2263616c6c5f6964223a226a2d31222c2263616c6c6572223a222b3434373730303930303130"
    "33222c2263616c6c6565223a222b3636383132333435363738227d"
)
SCHEMAS: dict[int, dict[str, Any]] = {
    1: {"schema": json.dumps(AVRO_SCHEMA)},
    2: {"schema": DESCRIPTOR, "schemaType": "PROTOBUF"},
    3: {"schema": DESCRIPTOR, "schemaType": "PROTOBUF"},
    4: {"schema": '{"type": "object"}', "schemaType": "JSON"},
}
"""The registry's answer for each id, Protobuf with `format=serialized`."""
MAPPING = """
[mappings.acme]
format = "json"
[mappings.acme.fields]
call_id = "id"
caller = "from"
callee = "to.number"
started_at = "started"
duration_s = "seconds"
"""
"""Of the records of AVRO_SCHEMA."""


class ScriptedRegistry:
    """A registry; `schemas` by id, `guids` of ids, `subjects` by name and version. `status`: it
    answers that.
    """

    def __init__(self) -> None:
        self.schemas = dict(SCHEMAS)
        self.guids: dict[str, int] = {}
        self.subjects: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        self.status = 200
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.logins.append(self.headers.get("Authorization"))
                status, answer = registry.answer(self.path)
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body for a path."""
        if self.status != 200:
            return self.status, {"error_code": self.status * 100 + 1, "message": "away"}
        parts = urlsplit(path)
        words = parts.path.strip("/").split("/")
        if words[:2] == ["schemas", "guids"]:
            found = self.schemas.get(self.guids.get(words[2], 0))
        elif words[0] == "schemas":
            found = self.schemas.get(int(words[2]))
        else:
            found = self.subjects.get((words[1], words[3]))
        if found is None:
            return 404, {"error_code": 40403, "message": "Schema not found"}
        serialized = parse_qs(parts.query).get("format") == ["serialized"]
        if found.get("schemaType") == "PROTOBUF" and not serialized:
            return 200, {**found, "schema": 'syntax = "proto3";'}
        return 200, found

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def scripted_registry() -> Iterator[ScriptedRegistry]:
    """Run a registry."""
    registry = ScriptedRegistry()
    try:
        yield registry
    finally:
        registry.close()

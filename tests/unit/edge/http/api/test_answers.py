"""The OpenAPI document types every answer that is JSON."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from stream.edge.http.api.answers import LookupAnswer
from stream.edge.http.app import framework
from stream.edge.http.dependencies import Parts

DOCUMENT = framework(cast("Parts", None)).openapi()


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each body and answer in JSON, by its route and status."""
    for path, methods in DOCUMENT["paths"].items():
        for method, route in methods.items():
            told = {**route["responses"], "body": route.get("requestBody", {})}
            for status, one in told.items():
                for kind, content in one.get("content", {}).items():
                    if kind.endswith("json"):
                        yield f"{method} {path} {status}", content


def test_no_json_is_without_a_type() -> None:
    """A client's generator finds a schema for each answer and body, and never an empty one."""
    found = list(contents())
    assert len(found) > 30
    for where, content in found:
        schema = content.get("schema")
        assert schema, where
        assert schema.keys() - {"title"}, where


def test_each_named_type_is_in_the_document() -> None:
    """No reference leads nowhere."""
    known = DOCUMENT["components"]["schemas"]
    text = msgspec.json.encode(DOCUMENT).decode()
    named = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert named <= known.keys()
    assert known[LookupAnswer.__name__]["required"][-2:] == ["fail_open", "lists_followed"]

"""The HTTP interface as an OpenAPI document, and as a page."""

from typing import Any, cast

from stream.edge.http.app import framework
from stream.edge.http.dependencies import Parts
from tests.tools.docs.markdown import code, escaped, fenced, page, table

Document = dict[str, Any]


def openapi() -> Document:
    """The document that `ringfence serve` gives at `/openapi.json`. No request is served here."""
    return framework(cast("Parts", None)).openapi()


def http_page() -> str:
    """Every route with its parameters and answers."""
    document = openapi()
    parts = [
        [
            escaped(document["info"]["description"]).replace("\n\n", "\n\n"),
            "",
            "The same as an OpenAPI document: {download}`openapi.json <openapi.json>`. A running",
            "`ringfence serve` has it at `/openapi.json`, and a page for people at `/docs`.",
            "",
        ]
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts.append(_route(method.upper(), path, route))
    return page("HTTP", *parts)


def _route(method: str, path: str, route: Document) -> list[str]:
    lines = [f"## {method} {path}".replace("{", "\\{").replace("}", "\\}"), ""]
    lines += [f"**{escaped(route.get('summary', ''))}**", ""]
    lines += [escaped(text) + "\n" for text in route.get("description", "").split("\n\n") if text]
    rows = [
        (code(one["name"]), one["in"], escaped(one.get("description", "")))
        for one in route.get("parameters", ())
    ]
    lines += table(("parameter", "in", "meaning"), rows) if rows else []
    body = route.get("requestBody", {}).get("content", {})
    if body:
        lines += [f"Body: {', '.join(map(code, body))}.", ""]
    answers = [
        (code(status), escaped(one.get("description", "")), ", ".join(map(code, one["content"])))
        for status, one in route["responses"].items()
        if "content" in one
    ]
    lines += table(("answer", "meaning", "as"), answers) if answers else []
    return lines + _example(route)


def _example(route: Document) -> list[str]:
    for status, one in route["responses"].items():
        example = one.get("content", {}).get("application/json", {}).get("example")
        if status.startswith("2") and isinstance(example, dict):
            import msgspec

            text = msgspec.json.format(msgspec.json.encode(example)).decode()
            return [f"An answer {status}, for example:", "", *fenced("json", text)]
    return []

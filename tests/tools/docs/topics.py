"""Topics as an AsyncAPI 3 document: who writes and reads what, with headers and keys."""

from typing import Any, Final

from stream.core.model.call import RejectReason
from stream.kafka.settings import TopicsSettings
from stream.kafka.topics import DAY_MS, REJECTED_BYTES_MAX, wanted
from tests.tools.docs.markdown import code, page, table
from tests.tools.docs.records import decision_schema, schemas

Document = dict[str, Any]
_TEXT: Final = {"type": "string"}
CALLS, DECISIONS, REJECTED, UNDELIVERED = (
    "calls",
    "decisions",
    "calls.rejected",
    "decisions.undelivered",
)


def asyncapi(version: str) -> Document:
    """The document. Names are the defaults; `[calls]` and `[sinks.webhooks]` may say others."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Ringfence on Kafka",
            "version": version,
            "description": "Call records in, decisions out. Topic names are the defaults.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "calls": _channel(CALLS, "Call records; one topic for each dialect.", "call"),
            "decisions": _channel(DECISIONS, "Verdicts on calls.", "decision"),
            "rejected": _channel(REJECTED, "Records that are not calls.", "rejected"),
            "undelivered": _channel(
                UNDELIVERED, "Decisions that a webhook endpoint did not accept.", "undelivered"
            ),
        },
        "operations": {
            "readCalls": _operation("receive", "calls", "Read calls, at least once."),
            "writeDecisions": _operation("send", "decisions", "Publish decisions."),
            "writeRejected": _operation("send", "rejected", "Keep unreadable records."),
            "writeUndelivered": _operation("send", "undelivered", "Keep undelivered decisions."),
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channel(address: str, text: str, message: str) -> Document:
    return {
        "address": address,
        "description": text,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {"kafka": _binding(address)},
    }


def _binding(name: str) -> Document:
    """The way in which `ringfence topics create` makes the topic."""
    settings = TopicsSettings((CALLS,), DECISIONS, REJECTED, 12, 1, (UNDELIVERED,))
    topic = next(one for one in wanted(settings) if one.name == name)
    configuration: Document = {}
    for key, value in topic.configs.items():
        if key == "cleanup.policy":
            configuration[key] = [value]
        else:
            configuration[key] = int(value) if value.isdecimal() else value
    found: Document = {"topic": name, "partitions": topic.partitions}
    return found | ({"topicConfiguration": configuration} if configuration else {})


def _operation(action: str, channel: str, text: str) -> Document:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": text}


def _messages() -> Document:
    number = {**_TEXT, "description": "The number that decided, E.164; absent if there is none."}
    return {
        "call": {
            "title": "A call record, in our own dialect",
            "payload": {"$ref": "#/components/schemas/call"},
            "bindings": {
                "kafka": {"key": {**_TEXT, "description": "The call's id, for all its records."}}
            },
            "headers": _headers({"traceparent": "W3C trace context.", "tracestate": "The same."}),
        },
        "decision": {
            "title": "A decision, as a CloudEvent in binary mode",
            "payload": {"$ref": "#/components/schemas/decision"},
            "bindings": {"kafka": {"key": number}},
            "headers": _headers(
                {
                    "ce_specversion": "1.0",
                    "ce_type": "io.ringfence.decision.v1",
                    "ce_source": "The deciding system, as a URI reference.",
                    "content-type": "application/json",
                    "ce_id": "The decision's id.",
                    "traceparent": "Of the call's record, if traces are on.",
                    "tracestate": "The same.",
                }
            ),
        },
        "rejected": {
            "title": "A record that is not a call: its original bytes",
            "contentType": "application/octet-stream",
            "payload": {"type": ["string", "null"]},
            "headers": _headers(
                {
                    "detail": "The wrong field, and what to do.",
                    "origin": "Its place: topic/partition/offset.",
                    "original_size": "Of a shortened value: its size in bytes.",
                    "original_sha256": "Of a shortened value: its SHA-256, hex.",
                },
                reason={"enum": [one.value for one in RejectReason]},
            ),
        },
        "undelivered": {
            "title": "A decision that a webhook endpoint did not accept",
            "payload": {"$ref": "#/components/schemas/decision"},
            "bindings": {"kafka": {"key": number}},
            "headers": _headers(
                {
                    "ce_id": "The decision's id.",
                    "endpoint": "The endpoint's name in the settings.",
                    "reason": "Why delivery was stopped.",
                    "status": "The last HTTP status.",
                    "tries": "Number of tries.",
                }
            ),
        },
    }


def _headers(texts: dict[str, str], **more: Document) -> Document:
    described = {name: {**_TEXT, "description": text} for name, text in texts.items()}
    return {"type": "object", "properties": {**more, **described}}


def _schemas() -> Document:
    """Calls and decisions, without what only a file of its own needs."""
    found: Document = {}
    for name, schema in (("call", schemas()["call"]), ("decision", decision_schema())):
        inner = {key: one for key, one in schema.items() if key not in ("$schema", "$id", "$defs")}
        found[name] = _moved(inner)
        found |= {key: _moved(one) for key, one in schema.get("$defs", {}).items()}
    return found


def _moved(value: Any) -> Any:
    """References to `$defs` as references to the document's own schemas."""
    if isinstance(value, dict):
        return {key: _moved(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_moved(one) for one in value]
    if isinstance(value, str):
        return value.replace("#/$defs/", "#/components/schemas/")
    return value


def topics_page(version: str) -> str:
    """The topics as tables."""
    document = asyncapi(version)
    messages = document["components"]["messages"]
    parts = [
        [
            "Topic names are the defaults. `ringfence topics create` makes the topics.",
            "The same page as an AsyncAPI 3 document: {download}`asyncapi.json <asyncapi.json>`.",
            "",
        ]
    ]
    for channel in document["channels"].values():
        (name,) = channel["messages"]
        message = messages[name]
        topic = channel["bindings"]["kafka"]
        key = message.get("bindings", {}).get("kafka", {}).get("key", {}).get("description")
        lines = [f"## {channel['address']}", "", f"{channel['description']}", ""]
        lines += [f"- Value: {message['title']}."]
        lines += [f"- Key: {key}"] if key else ["- Key: none."]
        lines += [f"- Made with {topic['partitions']} partitions{_kept(topic)}.", ""]
        rows = [
            (code(header), one.get("description") or " or ".join(map(code, one["enum"])))
            for header, one in message["headers"]["properties"].items()
        ]
        parts.append(lines + table(("header", "meaning"), rows))
    return page("Topics", *parts)


def _kept(topic: Document) -> str:
    found = topic.get("topicConfiguration", {})
    days = found.get("retention.ms", 0) // DAY_MS
    text = f", kept for {days} days" if days else ""
    if found.get("max.message.bytes") == REJECTED_BYTES_MAX:
        text += f", records of up to {REJECTED_BYTES_MAX >> 20} MiB"
    return text

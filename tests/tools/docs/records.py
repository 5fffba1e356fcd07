"""Records as JSON Schema: what switches write, what Ringfence decides, what partners fetch."""

import json
from inspect import cleandoc
from typing import Any, Final

import msgspec

from stream.calls.call_batch import SIGNED
from stream.calls.dialects.dialect import REQUIRED
from stream.calls.dialects.mapping_settings import OPTIONAL
from stream.core.filters.snapshot import Manifest
from stream.core.model.call import Ingress, Stage
from stream.core.model.decision import Decision, Role, Verdict
from stream.core.model.enforcement_document import Enforcement
from stream.lists.snapshot.repository_layout import Latest
from tests.tools.docs.markdown import code, escaped, page, table

Schema = dict[str, Any]
BASE: Final = "https://ringfence.example/schemas/"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

CALL_FIELDS: Final = {
    "call_id": "The call's id at the switch; it comes back in the decision.",
    "caller": "E.164, national (read in the trunk's country), SIP or tel URI; null: withheld.",
    "callee": "The called number, in the same forms as the caller.",
    "started_at": "When the call started: RFC 3339, or the epoch in seconds or milliseconds.",
    "stage": "An attempt can still be stopped; a record of the end protects the next call.",
    "ingress": "Side of the border on which the call came in; default: the trunk's.",
    "trunk": "The name of a table [trunks.<name>] of the settings.",
    "carrier": "Stored for readers of decisions and tracebacks.",
    "duration_s": "Seconds.",
    "verstat": "The result of a STIR/SHAKEN verification, for example TN-Validation-Passed.",
    "attestation": "A, B or C: how well the first network knows the caller (RFC 8588).",
    "passport": "The Identity header field of the call, or the PASSporT in it.",
}
DECISION_FIELDS: Final = {
    "decision_id": "The same when a record is decided again: use it to drop repeats.",
    "verdict": "Action of the network for this call.",
    "simulated": "True: a list or rule on trial decided; the call continues.",
    "rule": "What decided: list:..., agreement:..., rule:..., allowlist, emergency, no_agreement; "
    "none: nothing speaks against the call; unasked: a list could not be asked.",
    "number": "The number that decided, E.164; null if none could be read.",
    "role": "The role of that number in the call.",
    "call_id": "The call's id at the switch.",
    "caller": "The caller, E.164; null: withheld or unreadable.",
    "callee": "The called number, E.164.",
    "reasons": "The lists that hold the number, or may hold it.",
    "sip": "The answer for the INVITE of a blocked call (603+, 607 or 608).",
    "called_at": "Start of the call in the record; null: not in the record.",
    "decided_at": "Time of the decision.",
    "expires_at": "End of the decision's validity.",
    "origin": "The record's place in Kafka: topic/partition/offset.",
    "would": "Only with simulated: the verdict that the trial would have caused.",
    "repeats": "The id of an earlier decision on the same call and number; skip such a record.",
}
REASON_FIELDS: Final = {
    "list": "The list, OWNER/name.",
    "agreement": "The agreement that lets the list act; null: only the settings.",
    "category": "Category of the reports.",
    "confirmed": "False: a Bloom filter hit without an exact entry.",
    "confidence": "0 to 100, at the time of the decision.",
    "generation": "The list's generation.",
    "expires_at": "End of the entry; null: it has no end.",
    "prefix": "The list's entry, if it is a prefix of the number.",
}


def call_schema() -> Schema:
    """A call record of our own dialect. Other fields in it are allowed and ignored."""
    assert (*REQUIRED, *OPTIONAL) == tuple(CALL_FIELDS)
    kinds: Schema = {
        "call_id": {"type": "string"},
        "caller": {"type": ["string", "null"]},
        "callee": {"type": ["string", "null"]},
        "started_at": {"type": ["string", "number", "null"]},
        "stage": {"enum": [*(one.value for one in Stage), None]},
        "ingress": {"enum": [*(one.value for one in Ingress), None]},
        "trunk": {"type": ["string", "null"]},
        "carrier": {"type": ["string", "null"]},
        "duration_s": {"type": ["number", "null"]},
        **{name: {"type": ["string", "null"]} for name in SIGNED},
    }
    return {
        **_head("call", "A call record in dialect `ringfence`."),
        "type": "object",
        "required": list(REQUIRED),
        "properties": {
            name: {"description": text, **kinds[name]} for name, text in CALL_FIELDS.items()
        },
        "examples": [
            {
                "call_id": "a1",
                "caller": "+85523900123",
                "callee": "+66812345678",
                "trunk": "border-1",
                "started_at": "2026-11-25T02:00:00Z",
                "stage": "attempt",
            }
        ],
    }


def decision_schema() -> Schema:
    """A record of the decisions topic."""
    schema = _of("decision", Decision, "One decision about one call.")
    assert schema["properties"].keys() == DECISION_FIELDS.keys()
    reason = schema["$defs"]["Reason"]
    assert reason["properties"].keys() == REASON_FIELDS.keys()
    _described(schema, DECISION_FIELDS)
    _described(reason, REASON_FIELDS)
    schema["properties"]["verdict"]["enum"] = [one.value for one in Verdict]
    schema["properties"]["role"]["enum"] = [one.value for one in Role]
    return schema


def schemas() -> dict[str, Schema]:
    """File name without its ending -> schema."""
    return {
        "call": call_schema(),
        "decision": decision_schema(),
        "enforcement": _of(
            "enforcement", Enforcement, "A country's report on its enforcement of a list on a day."
        ),
        "latest": _of("latest", Latest, "`latest.json` of a published list: its newest files."),
        "manifest": _of("manifest", Manifest, "`manifest.json` of a snapshot: each of its parts."),
    }


def _head(name: str, title: str) -> Schema:
    return {"$schema": _DIALECT, "$id": f"{BASE}{name}.schema.json", "title": title}


def _of(name: str, kind: Any, title: str) -> Schema:
    """The schema of a struct, its own fields at the top."""
    (whole,), made = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    # Schemas have patterns of JavaScript: Python's \Z is an error there, and $ is the text's end.
    parts = json.loads(json.dumps(made).replace(r'\\Z"', '$"'))
    for part in parts.values():
        # A docstring as it stands in its file; from 3.13 on Python takes its indentation away.
        if "description" in part:
            part["description"] = cleandoc(part["description"])
    top = parts.pop(whole["$ref"].rpartition("/")[2])
    top.pop("title", None)
    return {**_head(name, title), **top, **({"$defs": parts} if parts else {})}


def _described(schema: Schema, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        kind = schema["properties"][name]
        kind["description"] = text


def records_page() -> str:
    """Fields of calls and decisions as tables, and where the schemas are."""
    decision = decision_schema()
    return page(
        "Records and decisions",
        [
            "The JSON of records in Kafka. Download the schemas:",
            "",
            *(
                f"- {{download}}`{name}.schema.json <schemas/{name}.schema.json>`: "
                f"{escaped(schema['title'])}"
                for name, schema in schemas().items()
            ),
            "",
            "Ignore fields that you do not know: new fields may be added.",
            "",
            "## A call, in our own dialect",
            "",
        ],
        _fields(call_schema()),
        ["## A decision", ""],
        _fields(decision),
        ["## A reason of a decision", ""],
        _fields(decision["$defs"]["Reason"]),
        ["## The answer for SIP", ""],
        _fields(decision["$defs"]["SipAnswer"]),
    )


def _fields(schema: Schema) -> list[str]:
    required = schema.get("required", ())
    rows = [
        (
            code(name),
            _kind(kind),
            "always" if name in required else "",
            escaped(kind.get("description", "")),
        )
        for name, kind in schema["properties"].items()
    ]
    return table(("field", "type", "there", "meaning"), rows)


def _kind(kind: Schema) -> str:
    if "enum" in kind:
        return " or ".join(code(str(one)) for one in kind["enum"] if one is not None)
    if "anyOf" in kind:
        return " or ".join(_kind(one) for one in kind["anyOf"])
    if "$ref" in kind:
        return "object"
    types = kind.get("type", "any")
    return " or ".join([types] if isinstance(types, str) else types)

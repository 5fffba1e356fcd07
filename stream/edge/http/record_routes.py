"""The route of call records, for switches that do not speak Kafka."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse

from stream.edge.http import bodies
from stream.edge.http.api.answers import RecordsTaken, answered
from stream.edge.http.dependencies import PartsHere, needs
from stream.edge.http.problems import ProblemError, ProblemKind
from stream.edge.http.tokens import Client, ClientRole

router = APIRouter(prefix="/v1/calls", tags=["calls"])

TOLD_MAX: Final = 20
_RECORD: Final = '{"call_id":"c-1","caller":"+447700900101","callee":"0812345678"}'


@router.post(
    "/{dialect}",
    status_code=202,
    summary="Call records in",
    responses={
        202: {
            "description": "Kafka has all of them.",
            "content": answered(RecordsTaken, example={"accepted": 2, "unreadable": []}),
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {bodies.JSON: {"schema": {"type": ["object", "array"]}, "example": _RECORD}},
        }
    },
)
async def take(
    request: Request,
    parts: PartsHere,
    client: Annotated[Client, needs(ClientRole.SWITCH)],
    dialect: Annotated[str, Path(description="One of [calls.topics].", max_length=100)],
    topic: Annotated[
        str | None, Query(description="Where several topics have the dialect.", max_length=249)
    ] = None,
) -> JSONResponse:
    """One record, an array, or JSON lines.

    Also `application/x-ndjson`, `text/csv` (a record a line), `text/plain` (RADIUS detail, AMI
    text), `text/xml`, and what FreeSWITCH's mod_json_cdr and mod_xml_cdr send: their form, raw
    (`application/x-www-form-urlencoded`), plain and in base64.

    202 comes when Kafka has all of them, on all in-sync replicas, and counts them. Anything else
    means: send all of them again. 400 and 413 say which record is wrong, and none was taken. 503
    has a `Retry-After`: Kafka is away, or slower than what is sent.

    Records go as they are to the dialect's topic, with headers that say where from. Those that are
    no calls are taken too, and named in `unreadable`: they end on the topic of rejected records.
    Valid records of other events (`other_event`) are counted, and not kept there.
    """
    intake = parts.intake
    where = intake.topic_of(dialect, topic)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        text = "takes bodies as they are, without Content-Encoding"
        raise ProblemError(ProblemKind.UNSUPPORTED, text, headers={"Accept-Encoding": "identity"})
    records = bodies.records_in(
        await request.body(), request.headers.get("content-type", ""), parts.record_bytes_max
    )
    unreadable = await intake.take(
        where,
        records,
        [
            ("rf_door", b"http"),
            ("rf_client", client.name.encode()),
            ("rf_request_id", request.scope["state"]["request_id"].encode()),
        ],
    )
    told = [
        {"index": index, "reason": reason, "detail": detail}
        for index, reason, detail in unreadable[:TOLD_MAX]
    ]
    content: dict[str, Any] = {"accepted": len(records), "unreadable": told}
    if len(unreadable) > TOLD_MAX:
        content["unreadable_count"] = len(unreadable)
    return JSONResponse(content, status_code=202)

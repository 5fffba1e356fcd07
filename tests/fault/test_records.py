"""Any bytes as a call record, and any text as a number, through the real engine.

Decoding alone is covered by tests/property/test_decode.py and number parsing by
tests/property/test_number.py; here the whole way is: Kafka, engine, Kafka, metrics.
"""

import json
from collections import Counter

import pytest

from tests.fault.site import INNOCENT, LISTED, Site
from tests.fault.traffic import call, produce

pytestmark = [
    pytest.mark.apache_kafka,
    pytest.mark.expects_errors("Group Coordinator Request failed"),
]

MB = 1024 * 1024
NOT_CALLS = {
    "not JSON": (b"not a call", "not_json"),
    "half a record": (call("half", LISTED[0])[:100], "not_json"),
    "an array": (b"[]", "wrong_type"),
    "no call id": (b'{"caller": "+66812345678"}', "missing_field"),
    "a number as call id": (b'{"call_id": 1, "caller": "+66812345678"}', "wrong_type"),
    "a number as caller": (b'{"call_id": "c", "caller": 66812345678}', "wrong_type"),
    "a list as caller": (b'{"call_id": "c", "caller": ["+66812345678"]}', "wrong_type"),
    "10 MB": (call("large", LISTED[0])[:-1] + b" " * (10 * MB) + b"}", "too_large"),
    "10 MB of noise": (bytes(range(256)) * (10 * MB // 256), "too_large"),
    "deep nesting": (b'{"call_id": "c", "x": ' + b"[" * 50_000, "too_deep"),
    "keys given twice": (
        b'{"call_id": "c", "caller": "+447700900123", "caller": "+447700900124", "callee": null}',
        "duplicate_key",
    ),
    "NUL": (b"\0" * 100, "not_json"),
    "NUL in a record": (b'{"call_id": "c", \0 "caller": null, "callee": null}', "not_json"),
    "bad UTF-8": (b'{"call_id": "c\xff", "caller": null}', "not_utf8"),
    "nothing": (b"", "not_json"),
    "a tombstone": (None, "tombstone"),
}

NO_NUMBERS = {
    "16 digits": LISTED[0] + "99999",
    "letters": "+66" + "ABCDEFGHI",
    "an RTL mark before a listed number's digits in the wrong order": "\u200f" + LISTED[0][::-1],
    "a plus": "+",
    "empty": "",
    "blanks": "   ",
    "withheld": None,
    "anonymous": "anonymous",
    "an emoji": "\U0001f4de",
    "a lone surrogate's replacement": "\ufffd",
    "very long": "9" * 5000,
}
"""Nobody's number, as caller and as callee."""

DISGUISES = {
    "letters behind it": LISTED[0] + "x",
    "two pluses": "++" + LISTED[0][1:],
    "NUL within": LISTED[0][:6] + "\0" + LISTED[0][6:],
}
"""A caller's spellings of a listed number, with which phones show and call it."""


async def test_any_bytes_as_a_call(kafka, redis_url, tmp_path):
    """Each is kept with its bytes, reason and origin, and counted; the stream goes on."""
    site = Site(kafka.bootstrap, redis_url, tmp_path)
    await site.make_topics(calls_bytes_max=16 * MB)
    await site.make_list()
    values = [value for value, _ in NOT_CALLS.values()]
    behind = [call(f"c{place}", LISTED[place]) for place in range(site.partitions)]
    with site.engine() as engine:
        await engine.ready()
        written = await produce(site, [*values, *behind])
        await site.drained(engine)
        counted = Counter(reason for _, reason in NOT_CALLS.values())
        for reason, times in counted.items():
            assert engine.metric("ringfence_records_rejected_total", reason=reason) == times, reason
        assert engine.metric("ringfence_records_rejected_total") == len(NOT_CALLS)
        assert await engine.stop() == 0
        assert not engine.errors()
    rejected = {
        dict(record.headers)["origin"].decode(): record
        for record in await site.records(site.topics.rejected)
    }
    assert len(rejected) == len(NOT_CALLS)
    for (title, (value, reason)), at in zip(NOT_CALLS.items(), written, strict=False):
        record = rejected[f"{at.topic}/{at.partition}/{at.offset}"]
        headers = dict(record.headers)
        assert record.value == value, title
        assert headers["reason"].decode() == reason, title
        assert headers["detail"], title
    decided = [json.loads(record.value) for record in await site.records(site.topics.decisions)]
    assert Counter((one["call_id"], one["verdict"]) for one in decided) == Counter(
        (f"c{place}", "block") for place in range(site.partitions)
    )


async def test_a_record_larger_than_the_rejected_topic_takes(kafka, redis_url, tmp_path):
    """It is cut, and its size and SHA-256 tell what it was; the stream goes on."""
    site = Site(kafka.bootstrap, redis_url, tmp_path)
    await site.make_topics(calls_bytes_max=32 * MB)
    await site.make_list()
    value = b"x" * (18 * MB)
    with site.engine() as engine:
        await engine.ready()
        await produce(site, [value, call("c0", LISTED[0])])
        await site.drained(engine)
        assert await engine.stop() == 0
    (record,) = await site.records(site.topics.rejected)
    headers = dict(record.headers)
    assert headers["original_size"] == b"%d" % len(value)
    assert len(headers["original_sha256"]) == 64
    assert value.startswith(record.value)
    (decision,) = await site.records(site.topics.decisions)
    assert json.loads(decision.value)["verdict"] == "block"


async def test_any_text_as_a_number(site):
    """A text without a number matches no list, a disguised caller does; none stops the engine."""
    texts = {**NO_NUMBERS, **DISGUISES}
    callers = [call(title, text) for title, text in texts.items()]
    callees = [
        json.dumps({"call_id": f"callee: {title}", "caller": INNOCENT[0], "callee": text}).encode()
        for title, text in texts.items()
    ]
    with site.engine() as engine:
        await engine.ready()
        await produce(site, [*callers, *callees, call("listed", LISTED[0])])
        await site.drained(engine)
        assert await engine.stop() == 0
        assert not engine.errors()
    assert not await site.records(site.topics.rejected)
    decided = {
        told["call_id"]: told
        for told in (json.loads(one.value) for one in await site.records(site.topics.decisions))
    }
    assert decided.keys() == {"listed", *texts, *(f"callee: {title}" for title in texts)}
    blocked = {call_id for call_id, one in decided.items() if one["verdict"] == "block"}
    assert blocked == {"listed", *DISGUISES}
    assert {one["rule"] for call_id, one in decided.items() if call_id not in blocked} == {"none"}
    assert LISTED[0] not in {decided[title]["number"] for title in NO_NUMBERS}

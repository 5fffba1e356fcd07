"""Each switch's documented records through the whole product, as a carrier would connect it."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream.calls.dialects import KNOWN
from tests.support.engine import ROOT, Deployment
from tests.support.topics import read

GOLDEN = ROOT / "tests" / "golden" / "cdr"
LISTED = "+447700900125"
CASES = [
    path.parent for path in sorted(GOLDEN.glob("*/*/expected.json")) if path.parts[-3] in KNOWN
]
NO_CALLS = [
    path.parent for path in sorted(GOLDEN.glob("*/*/rejected.json")) if path.parts[-3] in KNOWN
]
SWITCHES = """
[trunks.pbx-1]
country = "TH"

[switches.bkk]
time_zone = "Asia/Bangkok"
"""


def named(kind: str) -> str:
    """The dialect, with its switch where it needs one."""
    return f"{kind}:bkk" if KNOWN[kind].local_times else kind


@pytest.fixture
def carrier(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    """One topic for each dialect, one of a wrong dialect, and a list with one number."""
    dialects = {f".{kind}": named(kind) for kind in KNOWN} | {".wrong": "opensips"}
    here = Deployment(tmp_path, kafka, redis_url, SWITCHES, dialects).made()
    here.types("lists", "create", "TH/national")
    here.types("lists", "add", "TH/national", LISTED)
    return here


async def send(here: Deployment, records: Sequence[tuple[str, str, bytes]]) -> None:
    """Put records, each (topic, key, value), in their order."""
    async with AIOKafkaProducer(bootstrap_servers=here.bootstrap, acks="all") as producer:
        for topic, key, value in records:
            await producer.send_and_wait(f"{here.calls}.{topic}", value, key=key.encode())


async def test_every_switchs_records_are_decided(carrier: Deployment) -> None:
    """A record of each documented form blocks the listed number that is in it; later records of a
    call repeat its first decision; a topic in a wrong dialect is reported with the right one.
    """
    records, expected = [], Counter[str]()
    for case in CASES:
        (sample,) = case.glob("input.*")
        call = json.loads((case / "expected.json").read_text())
        kind = case.parent.name
        records.append((kind, call["call_id"], sample.read_bytes().rstrip(b"\n")))
        numbers = f"{call['caller']} {call['callee']}"
        expected[kind] += LISTED in numbers
    assert all(expected[kind] for kind in KNOWN if kind != "ringfence")
    wrong = next(value for kind, _, value in records if kind == "kamailio")
    with carrier.engine() as engine:
        engine.until_ready()
        await send(carrier, [*records, *(("wrong", "", wrong) for _ in range(60))])
        decisions = await carrier.decided(expected.total())
        origins = [str(one["origin"]).partition("/")[0] for one in decisions]
        found = Counter(origin.removeprefix(f"{carrier.calls}.") for origin in origins)
        assert found == +expected
        assert {one["verdict"] for one in decisions} == {"block"}
        assert {one["number"] for one in decisions} == {LISTED}
        engine.until(
            lambda: engine.metric("ringfence_wrong_dialect", topic=f"{carrier.calls}.wrong") == 1
        )
        assert "they look like kamailio" in engine.log()
        first, *repeats = [
            one for one in decisions if f"{carrier.calls}.freeswitch/" in str(one["origin"])
        ]
        assert "repeats" not in first
        assert {one["repeats"] for one in repeats} == {first["decision_id"]}
        assert len(repeats) == expected["freeswitch"] - 1
        engine.until(lambda: engine.metric("ringfence_decisions_repeated_total") >= len(repeats))
        assert engine.stop() == 0


async def test_records_of_other_events_are_counted_and_not_kept(carrier: Deployment) -> None:
    """A BYE, an interim update or a line of names is no work for anybody; what is damaged is on
    the topic of rejected records, each with its bytes and its reason.
    """
    records, reasons, kept = [], Counter[str](), Counter[tuple[bytes, str]]()
    for case in NO_CALLS:
        (sample,) = case.glob("input.*")
        value = sample.read_bytes().rstrip(b"\n")
        reason = json.loads((case / "rejected.json").read_text())["reason"]
        records.append((case.parent.name, case.name, value))
        reasons[reason] += 1
        if reason != "other_event":
            kept[value, reason] += 1
    with carrier.engine() as engine:
        engine.until_ready()
        await send(carrier, records)
        engine.until(lambda: engine.metric("ringfence_records_rejected_total") == len(records))
        for reason, times in reasons.items():
            assert engine.metric("ringfence_records_rejected_total", reason=reason) == times
        assert "records of other events are counted and not kept" in engine.log()
        assert engine.stop() == 0
    found = await read(carrier.bootstrap, carrier.calls.replace("calls", "rejected"))
    assert Counter((one.value, dict(one.headers)["reason"].decode()) for one in found) == kept
    assert reasons["other_event"] >= 10
    assert kept

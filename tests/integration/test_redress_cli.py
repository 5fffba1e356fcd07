"""Appeals and tracebacks as an operator types them, beside an engine on a real broker."""

import asyncio
import csv
import io
import json
import time
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream.cli.calls import traceback_command
from stream.core.numbers.number import masked
from stream.insight.replay import traced_calls
from stream.lists.store.list_store import ListStore
from tests.support.builders import entry
from tests.support.commands import Operator, Said
from tests.support.engine import LISTED, Deployment
from tests.support.lists import BY
from tests.support.waiting import Patience

SCAM = "KH/scam"
WHY = ("--for", "Royal Thai Police", "--reason", "case 1234/2569")


async def typed(config: Path, *words: str) -> Said:
    """`ringfence WORDS`, in this process: it need not start Python for each."""
    operator = Operator(config, RINGFENCE_ACTOR="malee")
    return await asyncio.to_thread(operator.invokes, *words)


async def committed(bootstrap: str, group: str, topic: str) -> list[int | None]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group) as consumer:
        return [await consumer.committed(TopicPartition(topic, number)) for number in range(4)]


def call(number: str, name: str) -> bytes:
    record = {"call_id": name, "caller": number, "callee": "+6621234567", "trunk": "intl-1"}
    return json.dumps(record).encode()


@pytest.mark.apache_kafka
async def test_a_wrong_block_is_put_right_by_its_decision(
    tmp_path: Path, kafka, redis_url: str, register: ListStore
) -> None:
    """The decision's id opens the appeal; its answer lets the next calls through in the running
    engine, and so it stays when the owner lists the number again. A traceback tells both verdicts,
    and moves nobody's position.
    """
    here = Deployment(tmp_path, kafka, redis_url)
    text = here.config.read_text().replace("[calls]\n", '[calls]\nemit = "all"\n')
    here.config.write_text(text)
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry(LISTED)], BY)
    assert (await typed(here.config, "topics", "create")).code == 0
    with here.engine() as engine:
        await asyncio.to_thread(engine.until_ready)
        await here.send([call(LISTED, "before"), call("+66891230000", "other")])
        first = {one["call_id"]: one for one in await here.decided(2)}
        decision = first["before"]
        assert decision["verdict"] == "block"
        taken = await typed(here.config, "appeals", "create", decision["decision_id"], "--json")
        new = taken.json
        assert (new["new"], new["number"]) == (True, masked(LISTED))
        assert [one["list"] for one in new["lists"]] == [SCAM]
        done = await typed(here.config, "appeals", "redress", new["appeal"], "--reason", "a clinic")
        assert "is not blocked any more" in done.out
        assert "the next enforcement document reports it to KH" in done.out
        sent, verdict = 2, "block"
        patience = Patience("the engine to hear of the appeal")
        while verdict != "allow":
            patience.check()
            await here.send([call(LISTED, f"after-{sent}")])
            sent += 1
            verdict = (await here.decided(sent))[-1]["verdict"]
        await register.add(SCAM, [entry(LISTED, source="next version")], BY)
        await asyncio.to_thread(
            engine.until, lambda: engine.metric("ringfence_list_generation", list="KH/scam") >= 3
        )
        await here.send([call(LISTED, "listed anew")])
        sent += 1
        last = {one["call_id"]: one for one in await here.decided(sent)}["listed anew"]
        assert (last["verdict"], last["rule"]) == ("allow", "allowlist")
        assert engine.stop() == 0
    group = here.calls.replace("calls", "group")
    before = await committed(here.bootstrap, group, here.calls)
    told = await typed(
        here.config, "traceback", LISTED, "--from", "1h", "--to", "now", *WHY, "--format", "csv"
    )
    assert told.code == 0
    rows = {row["call_reference"]: row for row in csv.DictReader(io.StringIO(told.out))}
    assert len(rows) == sent - 1
    assert rows["before"]["verdict"] == "block"
    assert rows["before"]["decision_id"] == decision["decision_id"]
    assert rows["listed anew"]["rule"] == "allowlist"
    assert rows["before"]["ingress_trunk"] == "intl-1"
    assert await committed(here.bootstrap, group, here.calls) == before
    ops = [(one.op, one.actor, one.reason) async for one in register.past.audit()]
    assert ops[:2] == [
        ("traceback_done", "malee", "case 1234/2569"), ("traceback", "malee", "case 1234/2569"),
    ]  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, kafka, redis_url: str) -> "Site":
    return Site(tmp_path, kafka.bootstrap, redis_url)


class Site:
    """Topics with past calls in a mapped dialect, and nobody who decides them."""

    def __init__(self, folder: Path, bootstrap: str, redis_url: str) -> None:
        name = uuid4().hex[:8]
        self.bootstrap, self.calls, self.decisions = bootstrap, f"cdr-{name}", f"dec-{name}"
        self.config = folder / "th.toml"
        self.config.write_text(f"""
kafka.bootstrap_servers = "{bootstrap}"
redis.url = "{redis_url}"
lists.state_dir = "{folder / "state"}"
ops.kernels = "off"
trunks.isup-7 = {{ country = "TH", ingress = "international" }}
[mappings.acme]
format = "json"
fields = {{ call_id = "id", caller = "a.number", callee = "b", started_at = "at", trunk = "in" }}
constants = {{ stage = "end" }}
[calls]
decisions_topic = "{self.decisions}"
rejected_topic = "rejected-{name}"
partitions = 3
topics = {{ {self.calls} = "mapping:acme" }}
""")

    async def send(self, topic: str, records: list[tuple[bytes, float | None]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        for value, at_s in records:
            await producer.send(topic, value, timestamp_ms=at_s and int(at_s * 1000))
        await producer.stop()

    async def traced(self, number: str, *words: str) -> Said:
        return await typed(self.config, "traceback", number, *WHY, *words)


@pytest.mark.apache_kafka
async def test_a_traceback_reads_each_dialect_and_only_its_time(site: Site, register) -> None:
    """National numbers, the record's own time, records that came late; what is unreadable is
    counted, and a text that a spreadsheet would run is made harmless.
    """
    await typed(site.config, "topics", "create")
    now_s = time.time()

    def cdr(name: str, began_s: float | None, caller: str = "081 234 5678", **more) -> bytes:
        record = {"id": name, "a": {"number": caller}, "b": "021234567", "in": "isup-7", **more}
        return json.dumps(record | ({} if began_s is None else {"at": began_s})).encode()

    await site.send(
        site.calls,
        [
            (cdr("=early()", now_s - 7200), now_s - 7000),
            (cdr("late", now_s - 5400), now_s),
            (cdr("no time", None), now_s - 6000),
            (cdr("before", now_s - 9000), now_s - 6000),
            (cdr("after", now_s - 60), now_s - 60),
            (cdr("another", now_s - 5400, "+66891230000"), now_s - 5400),
            (cdr("called", now_s - 5500, "+66891230000", b=LISTED), now_s - 5400),
            (b"not even JSON", now_s - 5400),
        ],
    )
    span = ("--from", "8000s", "--to", "1h")
    said = (await site.traced("0812345678", *span)).json
    assert said["request"]["number"] == LISTED
    assert [one["call_reference"] for one in said["calls"]] == ["=early()", "no time", "late"]
    first = said["calls"][0]
    assert (first["caller"], first["callee"], first["time_of"]) == (LISTED, "+6621234567", "call")
    assert (first["ingress"], first["ingress_trunk"]) == ("international", "isup-7")
    assert (first["verdict"], said["calls"][1]["time_of"]) == (None, "record")
    assert said["summary"]["calls"] == said["summary"]["without_decision"] == 3
    assert said["summary"]["records_unreadable"] == 1
    both = await site.traced(LISTED, *span, "--side", "both", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(both.out)))
    assert [row["call_reference"] for row in rows] == ["'=early()", "no time", "called", "late"]
    assert rows[0]["caller"] == LISTED
    none = (await site.traced(LISTED, "--from", "8000s", "--to", "7500s")).json
    assert none["calls"] == []
    ever = (await site.traced(LISTED, "--from", "1970-01-01", "--to", "9000-01-01")).json
    assert ever["summary"]["calls"] == 5


@pytest.mark.apache_kafka
async def test_what_a_traceback_holds_in_memory_is_bounded(
    site: Site, register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond a bound calls come unsorted, and say so; too many decisions ask for a shorter time."""
    await typed(site.config, "topics", "create")
    records = [json.dumps({"id": f"{n}", "a": {"number": LISTED}, "b": None}) for n in range(5)]
    await site.send(site.calls, [(record.encode(), None) for record in records])
    monkeypatch.setattr(traceback_command, "SORTED_MAX", 2)
    said = await site.traced(LISTED, "--from", "1h")
    assert {one["call_reference"] for one in said.json["calls"]} == set("01234")
    assert "more than 2 calls: those that follow are not sorted" in said.err
    monkeypatch.setattr(traced_calls, "DECISIONS_MAX", 0)
    decision = {
        "decision_id": "00XE7C5058F9D",
        "verdict": "block",
        "simulated": False,
        "rule": "x",
        "number": LISTED,
        "role": "caller",
        "call_id": "0",
        "caller": LISTED,
        "callee": None,
        "reasons": [],
        "sip": None,
        "called_at": None,
        "decided_at": "",
        "expires_at": None,
        "origin": "x/0/0",
    }
    await site.send(site.decisions, [(json.dumps(decision).encode(), None), (b"garbage", None)])
    refused = await site.traced(LISTED, "--from", "1h")
    assert "more than 0 decisions about the number in that time: ask for a shorter" in refused.err


@pytest.mark.needs_transactions
async def test_a_traceback_ends_behind_aborted_transactions(site: Site, register) -> None:
    """Decisions written exactly once leave holes in the offsets: what was aborted is not read, and
    the end is found all the same.
    """
    await typed(site.config, "topics", "create")
    producer = AIOKafkaProducer(bootstrap_servers=site.bootstrap, transactional_id=uuid4().hex)
    await producer.start()
    record = json.dumps({"id": "kept", "a": {"number": LISTED}, "b": None}).encode()
    async with producer.transaction():
        await producer.send_and_wait(site.calls, record)
    await producer.begin_transaction()
    await producer.send_and_wait(site.calls, record.replace(b"kept", b"gone"))
    await producer.abort_transaction()
    await producer.stop()
    said = (await site.traced(LISTED, "--from", "1h", "--to", "now")).json
    assert [one["call_reference"] for one in said["calls"]] == ["kept"]


async def test_a_traceback_without_its_audit_hands_nothing_out(site: Site, redis_url: str) -> None:
    """No list store, no records; no topic, no answer; wrong words are refused with the right."""
    missing = await site.traced(LISTED, "--from", "1h", "--to", "now")
    assert missing.code == 3
    assert f"no topic {site.decisions}" in missing.err
    wrong = await site.traced(LISTED, "--from", "1h", "--to", "2h")
    assert (wrong.code, "is not before" in wrong.err) == (2, True)
    unsaid = await typed(
        site.config, "traceback", LISTED, "--from", "1h", "--for", " ", "--reason", "x"
    )
    assert (unsaid.code, "is empty" in unsaid.err) == (2, True)
    site.config.write_text(site.config.read_text().replace(redis_url, "redis://127.0.0.1:1/0"))
    away = await site.traced(LISTED, "--from", "1h", "--to", "now")
    assert (away.code, away.out) == (3, "")


async def test_an_appeal_is_taken_in_forwarded_and_answered(
    site: Site, register: ListStore, tmp_path: Path
) -> None:
    """By number, with the lists that block it; what nothing blocks is refused in words; the queue
    masks numbers; each command says what it did, and what cannot be done.
    """
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry("+85531000001")], BY)
    config = site.config
    free = await typed(config, "appeals", "create", "+85531000002")
    assert (free.code, "nothing to put right" in free.err) == (1, True)
    assert (await typed(config, "appeals", "create", "hello")).code == 2
    new = await typed(
        config, "appeals", "create", "+85531000001", "--appellant", "a@b.example", "--json"
    )
    appeal = new.json["appeal"]
    assert (new.json["lists"][0]["category"], new.json["appellant"]) == ("call_centre", True)
    again = await typed(config, "appeals", "create", "+85531000001")
    assert "there is an open appeal on this number already" in again.out
    queue = await typed(config, "appeals", "ls")
    assert appeal in queue.out
    assert "+85531000001" not in queue.out
    assert (await typed(config, "appeals", "ls", "--overdue")).out == "no appeal waits\n"
    forwarded = await typed(config, "appeals", "forward", appeal)
    assert f"ringfence appeals receive TH {appeal} {SCAM}" in forwarded.out
    assert (await typed(config, "appeals", "forward", appeal)).code == 1
    silent = await typed(config, "appeals", "reject", appeal)
    assert (silent.code, "give a reason (--reason)" in silent.err) == (1, True)
    assert (await typed(config, "appeals", "reject", appeal, "--reason", "300 calls")).code == 0
    shown = (await typed(config, "appeals", "show", appeal, "--full", "--json")).json
    assert (shown["number"], shown["appellant"]) == ("+85531000001", "a@b.example")
    assert [one["state"] for one in shown["history"]] == ["received", "pending_owner", "rejected"]
    listed = (await typed(config, "appeals", "ls", "--all", "--list", SCAM, "--json")).json
    assert [one["appeal"] for one in listed] == [appeal]


async def test_a_partners_question_is_answered_by_the_owner(
    site: Site, register: ListStore
) -> None:
    """Received by fingerprint; the number is found in our list, and taken off it."""
    await register.add("TH/national", [entry("+66812345671")], BY)
    held = entry("+66812345671")
    words = ("appeals", "receive", "KH", "A-7", "TH/national", f"{held.fingerprint:016x}")
    new = (await typed(site.config, *words, "--json")).json
    assert (new["from"], new["their_appeal"], new["number"]) == ("KH", "A-7", None)
    assert "it is known already" in (await typed(site.config, *words)).out
    shown = (await typed(site.config, "appeals", "show", new["appeal"], "--full")).out
    assert "KH's A-7: on +66812345671: received" in shown
    done = await typed(site.config, "appeals", "redress", new["appeal"])
    assert "taken off TH/national: what is published next lifts it at every partner" in done.out
    assert (await register.reports("TH/national", [held.fingerprint]))[held.fingerprint] == ()
    theirs = ("appeals", "receive", "KH", "A-8", SCAM, "00" * 8)
    assert (await typed(site.config, *theirs)).code == 2

"""A replay as an operator types it, beside an engine on a real broker."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream.core.numbers.number import masked
from stream.lists.store.list_store import ListStore
from tests.integration.test_redress_cli import committed, typed
from tests.support.builders import entry
from tests.support.commands import Said
from tests.support.engine import LISTED, Deployment, records
from tests.support.lists import BY

SCAM = "KH/scam"
CLINIC = "+85523900123"
AGREEMENT = """
title = "Memorandum (invented)"
kind = "memorandum"
valid_from = 2020-01-01
circle = "plain"
parties.KH = { roles = ["owner"], contact = "noc@kh.example" }
parties.TH = { roles = ["enforcer"], contact = "noc@th.example" }
[lists."KH/scam"]
action = "flag"
"""


async def replayed(here: Deployment, *words: str) -> Any:
    """The JSON of `ringfence replay`."""
    done = await typed(here.config, "replay", "--from", "1h", "--json", "-", *words)
    assert done.code == 0, done.err
    return json.loads(done.out)


def of(report: Any, change: str) -> tuple[int, int]:
    return report["changes"][change]["calls"], report["changes"][change]["numbers"]


@pytest.mark.apache_kafka
async def test_a_replay_of_production_is_what_was_decided_and_a_candidate_differs_by_its_own(
    tmp_path: Path, kafka, redis_url: str, register: ListStore
) -> None:
    """Production replayed against itself shows no difference and blocks as many calls as there are
    recorded decisions; another generation, a file and an agreement differ by exactly their numbers;
    nobody's position moves, and whole numbers need a reason that the audit keeps.
    """
    here = Deployment(tmp_path, kafka, redis_url)
    await register.create(SCAM, "plain", BY)
    await register.add(SCAM, [entry(LISTED)], BY)
    assert (await typed(here.config, "topics", "create")).code == 0
    sent = records(300, every=10)
    sent += [
        json.dumps({**json.loads(each), "call_id": f"clinic-{place}", "caller": CLINIC}).encode()
        for place, each in enumerate(sent[:7])
    ]
    with here.engine() as engine:
        await asyncio.to_thread(engine.until_ready)
        await here.send([*sent, b"nonsense"])
        decided = await here.decided(30)
        await asyncio.to_thread(
            engine.until, lambda: engine.metric("ringfence_calls_total") >= len(sent) + 1
        )
        assert engine.stop() == 0
    group = here.calls.replace("calls", "group")
    before = await committed(here.bootstrap, group, here.calls)

    same = await replayed(here)
    assert (same["calls"], same["rejected"]) == (len(sent), 1)
    assert same["verdicts"]["production"] == same["verdicts"]["candidate"]
    assert same["verdicts"]["production"]["block"] == len(decided) == 30
    assert not any(change["calls"] for change in same["changes"].values())

    empty = await replayed(here, "--candidate", f"{SCAM}@1")
    assert of(empty, "no_longer_blocked") == (30, 1)
    assert empty["changes"]["no_longer_blocked"]["by_trunk"] == [{"trunk": "intl-1", "calls": 30}]

    numbers = tmp_path / "numbers.txt"
    numbers.write_text(f"{LISTED}\n{CLINIC}\nnot a number\n")
    page = tmp_path / "replay.html"
    more = await replayed(
        here, "--candidate", str(numbers), "--as", SCAM, "--out", str(page), "--topic", here.calls
    )
    assert of(more, "newly_blocked") == (7, 1)
    assert more["changes"]["newly_blocked"]["top_callers"][0]["number"] == masked(CLINIC)
    assert "1 row of numbers.txt" in more["notes"][0]
    assert masked(CLINIC) in page.read_text()
    assert CLINIC not in page.read_text()

    agreement = tmp_path / "th-kh.toml"
    agreement.write_text(AGREEMENT)
    flagged = await replayed(here, "--candidate", str(agreement))
    assert flagged["verdicts"]["candidate"] == {"block": 0, "flag": 30, "allow": 277, "on_trial": 0}
    assert of(flagged, "no_longer_blocked") == (30, 1)

    words = ("--candidate", str(numbers), "--as", SCAM, "--full")
    refused: Said = await typed(here.config, "replay", "--from", "1h", *words)
    assert (refused.code, "--reason" in refused.err) == (2, True)
    whole = await replayed(here, *words, "--reason", "before Friday's list")
    assert whole["changes"]["newly_blocked"]["top_callers"][0]["number"] == CLINIC
    noted = [(one.op, one.reason) async for one in register.past.audit()]
    assert noted[0] == ("replay", "before Friday's list")
    assert await committed(here.bootstrap, group, here.calls) == before


async def test_a_switch_whose_clock_is_ahead_hides_no_calls_of_others(
    tmp_path: Path, kafka, redis_url: str
) -> None:
    """Its records are of later; those behind them in the partition count, also of a traceback."""
    here = Deployment(tmp_path, kafka, redis_url)
    here.types("topics", "create")
    now_ms = int(time.time() * 1000)
    async with AIOKafkaProducer(bootstrap_servers=here.bootstrap, acks="all") as producer:
        for place, value in enumerate(records(20, every=1)):
            at_ms = now_ms + 1_800_000 if place < 5 else now_ms
            await producer.send_and_wait(here.calls, value, partition=0, timestamp_ms=at_ms)
    assert (await replayed(here))["calls"] == 15
    asked = ("traceback", LISTED, "--from", "1h", "--late", "1s", "--for", "x", "--reason", "y")
    done = await typed(here.config, *asked)
    assert json.loads(done.out)["summary"]["records_read"] == 15, done.err


async def test_a_policy_that_reads_calls_otherwise_is_replayed_so(
    tmp_path: Path, kafka, redis_url: str, register: ListStore
) -> None:
    """A trunk's country and whether called numbers are checked are the candidate's own; the form
    of records is production's.
    """
    here = Deployment(tmp_path, kafka, redis_url)
    here.made(SCAM)
    national = {"call_id": "n", "caller": "0812345678", "callee": "+6621234567", "trunk": "intl-1"}
    called = {**national, "call_id": "c", "caller": "+6689000001", "callee": LISTED}
    await here.send([json.dumps(one).encode() for one in (national, called)])
    policy = tmp_path / "policy.toml"
    for text, changed in (
        ("calls.check_callee = false", 1),
        ("calls.check_callee = false\ntrunks.intl-1.country = 'KH'", 2),
        ("calls.home_country = 'KH'", 0),
    ):
        policy.write_text(f"{text}\n")
        report = await replayed(here, "--policy", str(policy))
        assert report["verdicts"]["production"]["block"] == 2
        assert of(report, "no_longer_blocked")[0] == changed, text
        assert report["notes"] == []
    policy.write_text("calls.record_bytes_max = 70000\n")
    assert "with production's" in (await replayed(here, "--policy", str(policy)))["notes"][0]
    both = ("--out", "x.html", "--json", "x.html")
    done = await typed(here.config, "replay", "--from", "1h", *both)
    assert (done.code, "cannot both go there" in done.err) == (2, True)


async def test_what_can_not_be_replayed_is_said(tmp_path: Path, kafka, redis_url: str) -> None:
    """A wrong topic, time, candidate or a list that is not named ends with what to do instead."""
    here = Deployment(tmp_path, kafka, redis_url, "ops.kernels = 'off'\n")
    here.config.write_text(here.config.read_text().replace("ops.kernels_dir", "# ops.kernels_dir"))
    for words, said in (
        (("--topic", "elsewhere"), "no topic of calls; [calls.topics] has"),
        (("--to", "2h"), "is not before"),
        (("--full",), "--reason says why"),
    ):
        done = await typed(here.config, "replay", "--from", "1h", *words)
        assert (done.code, said in done.err) == (2, True), done.err

"""One worker, as a process, against a real broker and a real Redis."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.lab.embedded import best_redis
from tests.support.engine import LISTED, ROOT, Deployment, records
from tests.support.waiting import HANGS_S
from tests.unit.config.test_agreement_files import EXAMPLES


@pytest.fixture
def deployment(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    """Topics made, and one list with one number."""
    here = Deployment(tmp_path, kafka, redis_url)
    assert here.command("topics", "create").code == 0
    assert here.command("lists", "create", "TH/national").code == 0
    assert here.command("lists", "add", "TH/national", LISTED).code == 0
    return here


async def test_calls_go_in_and_decisions_come_out(deployment: Deployment) -> None:
    """The main job, whole: blocks for the listed number alone, rejects counted, no number logged,
    and after SIGTERM everything is committed and the exit code is 0.
    """
    with deployment.engine() as engine:
        engine.until_ready()
        await deployment.send([*records(200), b"garbage"])
        decisions = await deployment.decided(20)
        assert {one["verdict"] for one in decisions} == {"block"}
        assert {one["number"] for one in decisions} == {LISTED}
        assert {one["call_id"] for one in decisions} == {f"a-{i}" for i in range(0, 200, 10)}
        engine.until(lambda: engine.value("ringfence_calls_total") == 201)
        engine.until(lambda: engine.value("ringfence_lag_records") == 0)
        engine.until(lambda: engine.value("ringfence_decision_latency_seconds_count") == 201)
        assert engine.value('ringfence_records_rejected_total{reason="not_json"') == 1
        assert engine.value("ringfence_decisions_total") == 200
        assert engine.value("ringfence_register_up") == 1
        assert engine.value("ringfence_workers_compiled") == 1
        assert engine.value('ringfence_list_generation{list="TH/national"') >= 1
        assert engine.page("/live")[0] == 200
        assert engine.stop() == 0
        assert LISTED not in engine.log()
    with deployment.engine() as again:
        again.until_ready()
        await deployment.send(records(10, series="b"))
        assert len(await deployment.decided(21)) == 21
        again.until(lambda: again.value("ringfence_calls_total") == 10)


async def test_without_kernels_the_same_is_decided(tmp_path: Path, kafka, redis_url: str) -> None:
    """The settings can do without compiled code; the log and a metric say that it is slower."""
    here = Deployment(tmp_path, kafka, redis_url, 'ops.kernels = "off"')
    assert here.command("topics", "create").code == 0
    assert here.command("lists", "create", "TH/national").code == 0
    assert here.command("lists", "add", "TH/national", LISTED).code == 0
    with here.engine() as engine:
        engine.until_ready()
        await here.send(records(50))
        assert {one["number"] for one in await here.decided(5)} == {LISTED}
        assert engine.value("ringfence_workers_compiled") == 0
        assert "without compiled kernels" in engine.log()
        assert engine.stop() == 0


async def test_a_change_is_enforced_while_calls_flow(deployment: Deployment) -> None:
    """Taking a number off the list, or allowing it, ends its blocks without a restart."""
    with deployment.engine() as engine:
        engine.until_ready()
        await deployment.send(records(10))
        await deployment.decided(1)
        assert deployment.command("lists", "remove", "TH/national", LISTED).code == 0
        time.sleep(0.5)
        await deployment.send(records(10, series="b"))
        engine.until(lambda: engine.value("ringfence_calls_total") == 20)
        assert len(await deployment.decided(1)) == 1
        assert engine.stop() == 0


async def test_agreements_change_what_a_running_worker_decides(
    tmp_path: Path, kafka, redis_url: str
) -> None:
    """A new agreement counts within seconds, a broken one keeps the last good, decisions name it,
    and so does `why`; no restart.
    """
    folder = tmp_path / "agreements"
    folder.mkdir()
    more = f'agreements = {{ dir = "{folder}", reload_s = 0.2 }}'
    here = Deployment(tmp_path, kafka, redis_url, more)
    assert here.command("topics", "create").code == 0
    assert here.command("lists", "create", "KH/scam").code == 0
    assert here.command("lists", "add", "KH/scam", LISTED).code == 0
    text = (EXAMPLES / "th-kh.toml").read_text().replace('"romance"', '"other"')
    text = text.replace("valid_until = 2027", "valid_until = 2997")
    with here.engine() as engine:
        engine.until_ready()
        await here.send(records(1))
        held_back = 'ringfence_decisions_total{list="KH/scam",rule="no_agreement"'
        engine.until(lambda: engine.value(held_back) == 1)
        (folder / "th-kh.toml").write_text(text)
        engine.until(lambda: engine.value('ringfence_agreements{state="in_force"') == 1)
        (folder / "th-kh.toml").write_text("kind = 1")
        engine.until(lambda: engine.value('ringfence_agreements{state="broken"') == 1)
        assert engine.value('ringfence_agreements{state="in_force"') == 1
        assert "its last good version stays" in engine.log()
        await here.send(records(1, series="b"))
        (decision,) = await here.decided(1)
        assert (decision["verdict"], decision["rule"]) == ("block", "agreement:th-kh")
        assert [reason["agreement"] for reason in decision["reasons"]] == ["th-kh"]
        (folder / "th-kh.toml").write_text(text)
        why = here.command("why", LISTED)
        assert "block, rule agreement:th-kh" in why.out
        assert "it may block by agreement th-kh, Article 4 (2)" in why.out
        assert "ask KH: unblock@kh-cert.example" in why.out
        assert engine.stop() == 0


async def test_a_worker_starts_from_its_last_good_lists(
    tmp_path: Path, kafka, redis_url: str
) -> None:
    """With Redis gone a worker that ever had lists goes on blocking, and says so."""
    server = best_redis()
    try:
        here = Deployment(tmp_path, kafka, server.url())
        here.command("topics", "create")
        here.command("lists", "create", "TH/national")
        here.command("lists", "add", "TH/national", LISTED)
        with here.engine() as engine:
            engine.until_ready()
            engine.until(lambda: engine.value("ringfence_list_changes") == 1)
            assert engine.stop() == 0
    finally:
        server.close()
    with here.engine() as engine:
        engine.until_ready()
        await here.send(records(10))
        assert len(await here.decided(1)) == 1
        assert engine.value("ringfence_register_up") == 0
        assert any(event["event"].startswith("register_down") for event in engine.events())
        assert engine.stop() == 0


def test_without_lists_nothing_is_read(tmp_path: Path, kafka) -> None:
    """A worker with neither register nor last good lists waits, says so, and stops when told."""
    here = Deployment(tmp_path, kafka, "redis://127.0.0.1:1/0")
    here.command("topics", "create")
    with here.engine() as engine:
        engine.until(lambda: engine.page("/ready")[0] == 503)
        engine.until(lambda: engine.value('ringfence_list_events_total{event="register_down"') > 1)
        missing = json.loads(engine.page("/ready")[1])["missing"]
        assert missing == ["the lists are not there: the list store does not answer"]
        assert engine.value("ringfence_partitions") == 0
        assert engine.stop() == 0


def test_missing_topics_end_it_with_the_command_that_helps(
    tmp_path: Path, kafka, redis_url: str
) -> None:
    """Exit code 3, and `ringfence topics create` in the last line."""
    here = Deployment(tmp_path, kafka, redis_url)
    with here.engine() as engine:
        assert engine.process.wait(HANGS_S) == 3
        assert "ringfence topics create" in engine.events()[-1]["event"]


def test_a_register_that_may_forget_is_refused(tmp_path: Path, kafka, redis_url: str, raw) -> None:
    """Exit code 3, naming the setting of Redis that is wrong."""
    raw.config_set("maxmemory-policy", "allkeys-lru")
    try:
        here = Deployment(tmp_path, kafka, redis_url)
        with here.engine() as engine:
            assert engine.process.wait(HANGS_S) == 3
            assert "noeviction" in engine.events()[-1]["event"]
    finally:
        raw.config_set("maxmemory-policy", "noeviction")


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    """Exit code 2, every error on a line of its own, no traceback."""
    here = Deployment(tmp_path, "127.0.0.1:1", "http://x", "calls_ = 1")
    done = here.command("run")
    assert done.code == 2
    assert "redis.url: must begin with redis://" in done.err
    assert "calls_: is no setting; did you mean calls?" in done.err
    assert "Traceback" not in done.err


def test_asserts_are_not_optional() -> None:
    """Python -O is refused: a bug must end the worker, not go on."""
    done = subprocess.run(
        [sys.executable, "-O", "-m", "stream", "run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert "python -O" in done.stderr


def test_a_deadline_bounds_a_shutdown(tmp_path: Path, redis_url: str) -> None:
    """A worker that waits for a broker that is not there still stops at once when told."""
    here = Deployment(tmp_path, "127.0.0.1:1", redis_url)
    with here.engine() as engine:
        engine.until(lambda: engine.value('ringfence_call_events_total{event="kafka_awaited"') > 0)
        assert engine.stop() == 0
        assert "deadline came first" not in engine.log()

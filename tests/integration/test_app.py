"""One worker, as a process, against a real broker and a real Redis."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engine import LISTED, ROOT, Deployment, records
from tests.unit.config.test_agreement_files import EXAMPLES


@pytest.fixture
def deployment(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    """Topics made, and one list with one number."""
    return Deployment(tmp_path, kafka, redis_url).made("TH/national")


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
        engine.until(lambda: engine.metric("ringfence_calls_total") == 201)
        engine.until(lambda: engine.metric("ringfence_lag_records") == 0)
        engine.until(lambda: engine.metric("ringfence_decision_latency_seconds_count") == 201)
        assert engine.metric("ringfence_records_rejected_total", reason="not_json") == 1
        assert engine.metric("ringfence_decisions_total") == 200
        assert engine.metric("ringfence_register_up") == 1
        assert engine.metric("ringfence_workers_compiled") == 1
        assert engine.metric("ringfence_list_generation", list="TH/national") >= 1
        assert engine.page("/live")[0] == 200
        assert engine.stop() == 0
        assert LISTED not in engine.log()
    with deployment.engine() as again:
        again.until_ready()
        await deployment.send(records(10, series="b"))
        assert len(await deployment.decided(21)) == 21
        again.until(lambda: again.metric("ringfence_calls_total") == 10)
        # A change is enforced while calls flow: nobody starts anything again.
        generation = again.metric("ringfence_list_generation", list="TH/national")
        deployment.types("lists", "remove", "TH/national", LISTED)
        again.until(lambda: again.metric("ringfence_list_generation") > generation)
        await deployment.send(records(10, series="c"))
        again.until(lambda: again.metric("ringfence_calls_total") == 20)
        assert len(await deployment.decided(21)) == 21
        assert again.stop() == 0


async def test_without_kernels_the_same_is_decided(tmp_path: Path, kafka, redis_url: str) -> None:
    """The settings can do without compiled code; the log and a metric say that it is slower."""
    here = Deployment(tmp_path, kafka, redis_url, 'ops.kernels = "off"').made("TH/national")
    with here.engine() as engine:
        engine.until_ready()
        await here.send(records(50))
        assert {one["number"] for one in await here.decided(5)} == {LISTED}
        assert engine.metric("ringfence_workers_compiled") == 0
        assert "without compiled kernels" in engine.log()
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
    here = Deployment(tmp_path, kafka, redis_url, more).made("KH/scam")
    text = (EXAMPLES / "th-kh.toml").read_text().replace('"romance"', '"other"')
    text = text.replace("valid_until = 2027", "valid_until = 2997")
    with here.engine() as engine:
        engine.until_ready()
        await here.send(records(1))
        held_back = {"list": "KH/scam", "rule": "no_agreement"}
        engine.until(lambda: engine.metric("ringfence_decisions_total", **held_back) == 1)
        (folder / "th-kh.toml").write_text(text)
        engine.until(lambda: engine.metric("ringfence_agreements", state="in_force") == 1)
        (folder / "th-kh.toml").write_text("kind = 1")
        engine.until(lambda: engine.metric("ringfence_agreements", state="broken") == 1)
        assert engine.metric("ringfence_agreements", state="in_force") == 1
        assert "its last good version stays" in engine.log()
        await here.send(records(1, series="b"))
        (decision,) = await here.decided(1)
        assert (decision["verdict"], decision["rule"]) == ("block", "agreement:th-kh")
        assert [reason["agreement"] for reason in decision["reasons"]] == ["th-kh"]
        (folder / "th-kh.toml").write_text(text)
        why = here.types("why", LISTED)
        assert "block, rule agreement:th-kh" in why
        assert "it may block by agreement th-kh, Article 4 (2)" in why
        assert "ask KH: unblock@kh-cert.example" in why
        assert engine.stop() == 0


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

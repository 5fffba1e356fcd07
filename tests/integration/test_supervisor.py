"""`--workers N`: several processes that are seen, and stopped, as one."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.engine import LISTED, Deployment, Engine, records
from tests.support.waiting import HANGS_S, until_now


@pytest.fixture
def deployment(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    """Topics made, and one list with one number."""
    here = Deployment(tmp_path, kafka, redis_url)
    assert here.command("topics", "create").code == 0
    assert here.command("lists", "create", "TH/national").code == 0
    assert here.command("lists", "add", "TH/national", LISTED).code == 0
    return here


def children(engine: Engine) -> dict[int, int]:
    """Process ids of the workers, by slot."""
    pid = engine.process.pid
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words = (path / "cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid and "--worker" in words:
            found[int(words[words.index("--worker") + 1])] = int(path.name)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_worker_that_is_killed_comes_back_and_nothing_is_lost(
    deployment: Deployment,
) -> None:
    """Two workers share the calls; kill -9 of one is counted and mended, every listed call is
    decided, and the sums in /metrics never fall.
    """
    with deployment.engine("--workers", "2") as engine:
        engine.until_ready()
        assert engine.value("ringfence_workers_running") == 2
        # Until the first worker has heard of the second, both count what moves.
        engine.until(lambda: engine.value("ringfence_partitions") == 4)
        await deployment.send(records(400))
        engine.until(lambda: engine.value("ringfence_calls_total") == 400)
        engine.until(lambda: engine.value("ringfence_decisions_total") == 400)
        victim = children(engine)[1]
        os.kill(victim, signal.SIGKILL)
        engine.until(lambda: engine.value("ringfence_worker_restarts_total") == 1)
        assert engine.value("ringfence_calls_total") == 400
        await deployment.send(records(400, series="b"))
        engine.until(lambda: engine.page("/ready")[0] == 200)
        engine.until(lambda: engine.value("ringfence_decisions_total") >= 800)
        decisions = await deployment.decided(80)
        wanted = {f"{series}-{i}" for series in "ab" for i in range(0, 400, 10)}
        assert {one["call_id"] for one in decisions} == wanted
        assert children(engine)[1] != victim
        workers = children(engine).values()
        assert engine.stop() == 0
        assert not any(map(is_alive, workers))


def test_killing_the_supervisor_leaves_no_worker(deployment: Deployment) -> None:
    """Kill -9 of the supervisor: its workers settle, commit and end by themselves."""
    with deployment.engine("--workers", "2") as engine:
        engine.until_ready()
        workers = list(children(engine).values())
        assert len(workers) == 2
        engine.process.kill()
        until_now(lambda: not any(map(is_alive, workers)), "the end of the workers")
        assert engine.log().count("stopped; what was decided is committed") == 2


def test_what_can_not_work_is_not_tried_for_ever(tmp_path: Path, kafka, redis_url: str) -> None:
    """Workers that find no topics end the supervisor with their exit code instead of a loop."""
    here = Deployment(tmp_path, kafka, redis_url)
    with here.engine("--workers", "2") as engine:
        assert engine.process.wait(HANGS_S) == 3
        assert "ringfence topics create" in engine.log()


def test_more_workers_than_partitions_are_refused(deployment: Deployment) -> None:
    """A worker that would idle for ever is an error that says what to do."""
    with deployment.engine("--workers", "5") as engine:
        assert engine.process.wait(HANGS_S) == 3
        assert "4 partitions for 5 workers" in engine.log()

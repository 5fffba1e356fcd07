"""The operator's commands on real servers: what they print, and how they end."""

import json
from pathlib import Path

import pytest

from tests.support.commands import Operator
from tests.support.engine import KERNELS_DIR, LISTED, Deployment, process, records


@pytest.fixture
def deployment(tmp_path: Path, kafka, redis_url: str) -> Deployment:
    return Deployment(tmp_path, kafka, redis_url, '[policy.lists."KH/scam"]\naction="flag"')


@pytest.fixture
def warm(tmp_path: Path):
    """`ringfence warm` with kernels kept in a folder."""

    def run(folder: Path, *words: str):
        config = tmp_path / "mine.toml"
        config.write_text(f'ops.kernels_dir = "{folder}"\n')
        return Operator(config).invokes("warm", *words)

    return run


def test_warm_says_whether_the_kernels_can_be_used(warm, tmp_path: Path) -> None:
    """Those that the tests use are there; a folder that anybody can write is refused, and why."""
    assert "the kernels are compiled" in warm(KERNELS_DIR).output
    said = json.loads(warm(KERNELS_DIR, "--json").output)
    assert said == {"compiled": True, "why_not": None}
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    refused = warm(theirs)
    assert refused.code == 1
    assert f"chmod go-w {theirs}" in refused.output
    said = json.loads(warm(theirs, "--json").output)
    assert said["compiled"] is False


def test_topics_are_made_once(deployment: Deployment) -> None:
    """`topics create` says what it did and can be repeated; `topics show` only looks."""
    missing = deployment.invokes("topics", "show")
    assert missing.code == 3
    assert "`ringfence topics create` makes it" in missing.err
    made = json.loads(deployment.invokes("topics", "create", "--json").out)
    assert [topic["done"] for topic in made] == ["created"] * 3
    assert made[0]["topic"] == deployment.calls
    again = json.loads(deployment.invokes("topics", "create", "--json").out)
    assert [(topic["done"], topic["differences"]) for topic in again] == [("kept", [])] * 3
    assert deployment.invokes("topics", "show").code == 0


def test_check_config_prints_what_is_in_force(deployment: Deployment) -> None:
    """TOML for people, JSON for programs, secrets only as set or not."""
    shown = deployment.invokes("check-config")
    assert shown.code == 0
    assert '[policy.lists."KH/scam"]\naction = "flag"\nunconfirmed = "flag"' in shown.out
    table = json.loads(deployment.invokes("check-config", "--json").out)
    assert table["ops"]["http_port"] == deployment.port
    assert table["secrets"]["RINGFENCE_KAFKA_PASSWORD"] == "not set"


def test_why_says_what_a_call_would_get(deployment: Deployment) -> None:
    """Lists, entry, allow entry and verdict; exit codes 0 listed, 1 not, 2 no number."""
    deployment.invokes("lists", "create", "KH/scam")
    deployment.invokes("lists", "add", "KH/scam", LISTED, "--reason", "test")
    found = deployment.invokes("why", "081 234 5678", "--json")
    assert found.code == 0
    answer = json.loads(found.out)
    assert answer["number"] == LISTED
    assert answer["call"]["verdict"] == "flag"
    assert answer["call"]["rule"] == "list:KH/scam"
    (entry,) = answer["lists"]
    assert (entry["list"], entry["owner"], entry["state"]) == ("KH/scam", "KH", "listed")
    assert entry["agreement"] is None
    (report,) = entry["reports"]
    assert (report["category"], report["confidence"], report["live"]) == ("other", 100, True)
    assert 90 <= report["confidence_now"] == entry["confidence"]
    assert deployment.invokes("allow", "add", LISTED, "--reason", "a hospital").code == 0
    allowed = deployment.invokes("why", LISTED)
    assert allowed.code == 0
    assert f"A call from {LISTED}: allow, rule allowlist" in allowed.out
    assert "a hospital" in allowed.out
    emergency = json.loads(deployment.invokes("why", LISTED, "--callee", "191", "--json").out)
    assert emergency["call"]["rule"] == "emergency"
    deployment.invokes("lists", "remove", "KH/scam", LISTED)
    removed = deployment.invokes("why", LISTED, "--json")
    assert removed.code == 1
    assert json.loads(removed.out)["lists"][0]["state"] == "removed"
    unlisted = deployment.invokes("why", "+447700900001")
    assert unlisted.code == 1
    assert "No list holds it." in unlisted.out
    assert deployment.invokes("why", "hello").code == 2
    marked = deployment.invokes("why", "6976621234567")
    assert (marked.code, "ask for 6621234567" in " ".join(marked.err.split())) == (2, True)


def test_why_falls_back_to_the_last_good_lists(tmp_path: Path, kafka, redis_url: str) -> None:
    """With Redis away it answers from the state directory, and says so; exit code 3 without any."""
    here = Deployment(tmp_path, kafka, redis_url).made("TH/national")
    with here.engine() as engine:
        engine.until(lambda: engine.metric("ringfence_list_changes") == 1)
        assert engine.stop() == 0
    here.config.write_text(here.config.read_text().replace(redis_url, "redis://127.0.0.1:1/0"))
    away = here.invokes("why", LISTED)
    assert away.code == 0
    assert "these are the last good lists" in away.out
    here.config.write_text(here.config.read_text().replace("/state", "/other"))
    # As a process: what `main` makes of a fault is a line of the real stderr.
    nothing = process("why", LISTED, "--config", str(here.config))
    assert nothing.returncode == 3
    assert nothing.stderr.strip().startswith("ListStoreDown: the list store does not answer")
    assert "Traceback" not in nothing.stderr


@pytest.mark.apache_kafka
@pytest.mark.expects_errors("not found in cluster metadata")  # topics that are new
async def test_decisions_are_shown_with_masked_numbers(deployment: Deployment) -> None:
    """The last ones, of one verdict, as lines or JSON; whole numbers only when asked for."""
    deployment.made("TH/national")
    assert deployment.types("decisions") == ""
    with deployment.engine() as engine:
        engine.until_ready()
        await deployment.send(records(100))
        await deployment.decided(10)
        assert engine.stop() == 0
    shown = deployment.invokes("decisions", "--limit", "3")
    assert shown.out.count("block") == 3
    assert LISTED not in shown.out
    assert "+6681***5678" in shown.out
    lines = deployment.invokes("decisions", "--json", "--verdict", "block").out.splitlines()
    assert {json.loads(line)["number"] for line in lines} == {"+6681***5678"}
    assert len(lines) == 10
    full = deployment.invokes("decisions", "--json", "--full", "-n", "1").out
    assert json.loads(full)["number"] == LISTED
    assert deployment.invokes("decisions", "--verdict", "flag").out == ""

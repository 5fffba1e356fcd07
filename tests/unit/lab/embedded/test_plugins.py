"""The tests' own plugins: nothing is skipped in silence, nothing is left behind unseen."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.programs import unmarked

ROOT = Path(__file__).parents[4]

LEAVES = '''
import asyncio, logging
import pytest

async def test_leaks():
    """Leaves a task."""
    asyncio.create_task(asyncio.sleep(60))

async def test_ends():
    """Leaves nothing."""
    await asyncio.create_task(asyncio.sleep(0))

def test_logs():
    """Logs an error."""
    logging.getLogger("x").error("boom")

@pytest.mark.expects_errors("bo+m")
def test_logs_as_expected():
    """Logs the error it said it would."""
    logging.getLogger("x").error("boom")

@pytest.mark.expects_errors("other")
def test_logs_another():
    """Logs another error than it said."""
    logging.getLogger("x").error("boom")
'''

NEEDS = '''
import pytest

@pytest.mark.needs_transactions
def test_transfers():
    """Needs Apache Kafka."""

def test_pure():
    """Needs nothing."""
'''

STARTS = '''
import subprocess, sys
import pytest

def test_its_python():
    """Starts what every machine with tests has."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    subprocess.run(["sh", "-c", "true"], check=True)

@pytest.mark.needs_promtool
def test_marked():
    """Starts a program that it names."""
    subprocess.run(["promtool", "--version"], check=True)

def test_unmarked():
    """Starts a program that it does not name."""
    subprocess.run(["promtool", "--version"])

def test_unknown():
    """Starts a program that nobody named."""
    subprocess.run(["tried-tool"])
'''

GUARDED = [sys.executable, "-I", "-S", "/x/stream/lab/embedded/guard.py", "1", "/tmp/folder"]


def run(folder: Path, source: str, *args: str, **environment: str) -> tuple[int, str]:
    """Run a test file with our plugins in a pytest of its own; exit code and report."""
    test = folder / "test_planted.py"
    test.write_text(source)
    ours = [f"tests.plugins.{name}" for name in ("programs", "services", "leftovers")]
    plugins = [*ours, "no:cacheprovider"]
    words = [word for plugin in plugins for word in ("-p", plugin)]
    shown = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", *words, *args, str(test)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RINGFENCE_REQUIRE_KAFKA": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.returncode, shown.stdout + shown.stderr


def bare_machine(folder: Path) -> dict[str, str]:
    """Environment of a machine without Java, Maven and redis-server."""
    return {"PATH": str(folder / "none"), "XDG_CACHE_HOME": str(folder / "cache")}


def test_what_is_left_behind_fails_the_test(tmp_path: Path) -> None:
    """A leaked task and an unexpected error are failures; what was expected is none."""
    code, report = run(tmp_path, LEAVES)
    assert code == 1
    ends = set(re.findall(r"^(FAILED|ERROR) .*::(\w+)", report, re.MULTILINE))
    assert ends == {
        ("FAILED", "test_leaks"),
        ("ERROR", "test_logs"),
        ("ERROR", "test_logs_another"),
    }
    assert "1 failed, 4 passed, 2 errors" in report


def test_what_can_not_run_is_named_first_and_last(tmp_path: Path) -> None:
    """Without Java the first line names the broker; tests not run are named, with a command."""
    code, report = run(tmp_path, NEEDS, **bare_machine(tmp_path))
    first = report.splitlines()[0]
    assert code == 0
    assert first.startswith("ringfence tests run against: Tansu ")
    assert "Valkey" in first
    assert "no Java: apt-get install default-jre-headless maven" in report
    assert re.search(r"^not run: .*::test_transfers$", report, re.MULTILINE)
    assert "1 passed, 1 skipped" in report


def test_a_test_names_the_programs_that_it_starts(tmp_path: Path) -> None:
    """Elsewhere they are missing: who names none fails here already, whatever this machine has."""
    for name in ("promtool", "tried-tool"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    code, report = run(tmp_path, STARTS, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert code == 1
    ends = set(re.findall(r"^FAILED .*::(\w+) - (.*)$", report, re.MULTILINE))
    assert {test for test, _ in ends} == {"test_unmarked", "test_unknown"}
    assert "the test starts promtool: mark it needs_promtool" in report
    assert "starts tried-tool: give it a mark in tests/plugins/programs.py" in report
    assert "2 failed, 2 passed" in report


def test_a_missing_program_skips_with_what_to_install(tmp_path: Path) -> None:
    """Not a failure, and not in silence."""
    code, report = run(tmp_path, STARTS, "-k", "marked", **bare_machine(tmp_path))
    assert code == 1
    assert "not run here: tests marked needs_promtool: no promtool: apt-get install" in report
    assert re.search(r"^not run: .*::test_marked$", report, re.MULTILINE)
    assert "1 failed, 1 skipped" in report


@pytest.mark.parametrize(
    ("words", "marks", "wrong"),
    [
        (["/usr/sbin/nginx", "-v"], {"needs_openssl"}, "mark it needs_nginx"),
        (["openssl", "passwd"], {"needs_openssl"}, ""),
        ([*GUARDED, "nginx", "-p", "/tmp"], set(), "mark it needs_nginx"),
        ([*GUARDED, "sh", "-c", "exec", "kamailio"], set(), "mark it needs_kamailio"),
        ([*GUARDED, "java", "-cp"], set(), ""),
        (["/a/test/of/ours/nginx"], set(), ""),
        ([sys.executable, "-m", "stream", "dialects", "test", "kamailio"], set(), ""),
    ],
)
def test_programs_behind_a_guard_count_too(
    monkeypatch: pytest.MonkeyPatch, words: list[str], marks: set[str], wrong: str
) -> None:
    """An embedded server is started by its guard, the program is one of its words."""
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/sbin/{program}")
    told = unmarked(words, marks)
    assert told.endswith(wrong)
    assert bool(told) == bool(wrong)


def test_ci_refuses_to_start_without_kafka(tmp_path: Path) -> None:
    """RINGFENCE_REQUIRE_KAFKA=1 makes a missing Kafka or Redis an error before any test."""
    environment = bare_machine(tmp_path) | {"RINGFENCE_REQUIRE_KAFKA": "1"}
    code, report = run(tmp_path, NEEDS, **environment)
    assert code == 3
    assert "no Java" in report
    assert "no redis-server" in report
    assert "passed" not in report

"""`ringfence exercise` from the outside, small: `make exercise` plays all of it."""

import json
import signal
import sys

import pytest

from tests.support.demo import ROOT, Played, end_all

COMMAND = [sys.executable, "-m", "stream", "exercise", "--countries", "3", "--plain"]
SCENES = ["gang", "poison", "stolen-key", "appeal", "report"]

pytestmark = pytest.mark.apache_kafka


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tmp"
    made.mkdir()
    yield made
    end_all()


@pytest.mark.campaign  # three countries are some twenty processes
def test_all_of_it_holds_between_three_countries(folder, kafka, tmp_path):
    """From end to end: a gang, poison, a stolen key, an appeal, the report, each check with known
    truth. What is to be kept is there, and nothing else is left.
    """
    steps, kept = tmp_path / "steps.json", tmp_path / "kept"
    words = ["--broker", kafka.bootstrap, "--redis", "redis"]
    words += [word for scene in SCENES for word in ("--scenario", scene)]
    played = Played(folder, [*COMMAND, *words, "--json", str(steps), "--keep", str(kept)])
    code = played.ended()
    assert code == 0, played.printed
    read = json.loads(steps.read_text())
    assert read["held"]
    assert read["countries"] == ["TH", "KH", "PH"]
    assert [scene["name"] for scene in read["scenes"]] == SCENES
    assert all(scene["held"] and scene["checks"] for scene in read["scenes"])
    assert "FAILED" not in played.printed
    assert "All held" in played.printed
    assert json.loads((kept / "exercise.json").read_text()) == read
    assert (kept / "TH" / "feeds.log").stat().st_size > 0
    assert "<html" in (kept / "report-th-kh.html").read_text()
    assert str(ROOT) not in steps.read_text()
    played.leaves_nothing()


def test_ctrl_c_leaves_nothing_behind(folder, kafka):
    """Ended while its programs start: one line, 130, no process and no file."""
    played = Played(folder, [*COMMAND, "--broker", kafka.bootstrap, "--redis", "redis"])
    played.until("topics and lists")
    played.interrupt(signal.SIGINT)
    assert played.ended() == 130, played.printed
    assert played.printed.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in played.printed
    played.leaves_nothing()

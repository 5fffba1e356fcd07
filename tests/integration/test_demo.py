"""`make demo` from the outside: what it says of itself, and what it leaves behind (nothing)."""

import json
import os
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest
import redis

from tests.support.demo import ROOT, Played, end_all
from tests.support.waiting import until_now

COMMAND = [sys.executable, "-m", "stream", "demo", "--plain"]
WHOLE = ("--numbers", "2000", "--calls", "20000")
SHORT = ("--numbers", "500", "--calls", "8000")
"""For runs that are ended in the middle: nobody looks at their figures."""


class Demo(Played):
    """The demo, small."""

    def __init__(self, folder: Path, *words: str, size: tuple[str, ...] = SHORT) -> None:
        super().__init__(folder, [*COMMAND, *size, *words])


def keys(redis_url: str) -> list[bytes]:
    """Ringfence's keys in a Redis."""
    with redis.from_url(redis_url) as register:
        return list(register.scan_iter("rf:*"))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tmp"
    made.mkdir()
    yield made
    end_all()


@pytest.fixture
def servers(kafka, redis_url):
    """The session's servers, as a reader's own; a broker that is not among them is started."""
    broker = ["--broker", kafka.bootstrap] if kafka.supports_transactions else []
    return [*broker, "--redis", redis_url]


def whole(folder: Path, *words: str) -> Demo:
    """A run that is played to its end, with its figures and its picture beside `folder`."""
    output: tuple[str, ...] = ("--json", str(folder.parent / "figures.json"))
    output += ("--picture", str(folder.parent / "frame.svg"))
    return Demo(folder, *output, *words, size=WHOLE)


def is_right(demo: Demo) -> None:
    """Nothing was missed, nothing falsely blocked, and every figure is there."""
    read = json.loads((demo.folder.parent / "figures.json").read_text())
    assert (read["missed"], read["false_blocks"]) == (0, 0)
    assert read["listed_calls"] == read["blocked"] + read["flagged"]
    assert min(read["blocked"], read["flagged"], read["rejected"], read["cdr_per_s"]) > 0
    assert read["calls"] >= 19_000
    for name in ("latency_ms", "change_to_enforced_ms"):
        assert all(value is not None for value in read[name].values()), read
    assert "Every decision is as the truth says" in demo.printed
    first = demo.printed.splitlines()[0]
    assert first.startswith(f"Ringfence on {read['broker']}")
    assert read["redis"] in first
    drawn = (demo.folder.parent / "frame.svg").read_text()
    assert drawn.startswith("<svg")
    assert len(drawn) < 60_000
    assert str(ROOT) not in drawn
    assert "url(http" not in drawn


@pytest.mark.apache_kafka
def test_every_decision_is_right_and_the_file_says_so(folder, kafka, redis_url):
    """A whole run on the reader's own servers: all right, clean exit, and they are as they were."""
    demo = whole(folder, "--broker", kafka.bootstrap, "--redis", redis_url)
    # A whole run takes as long as the machine lets it: this wait begins again with each line.
    demo.until("Every decision is as the truth says")
    assert demo.ended() == 0, demo.printed
    is_right(demo)
    assert "both yours" in demo.printed.splitlines()[0]
    assert keys(redis_url) == []
    demo.leaves_nothing()


@pytest.mark.campaign
def test_it_stays_with_a_page_and_kill_9_leaves_no_process(folder):
    """A whole run on servers of its own: all right, and the page is there as long as it is wanted.

    Killed outright it can clear nothing up, but its guards end the servers and the engine.
    """
    demo = whole(folder, "--stay")
    demo.until("until Ctrl-C")
    is_right(demo)
    address = demo.printed.partition("The page: ")[2].split()[0]
    token = demo.printed.partition("the token ")[2].split()[0]
    with urllib.request.urlopen(address) as answer:
        assert "Sign in to Ringfence" in answer.read().decode()
    headers = {"Authorization": f"Bearer {token}"}
    asked = urllib.request.Request(f"{address}v1/appeals", headers=headers)
    with urllib.request.urlopen(asked) as answer:
        (appeal,) = json.load(answer)
    assert appeal["state"] == "received"
    demo.interrupt(signal.SIGKILL)
    demo.ended()
    until_now(lambda: not demo.processes(), "the end of all its processes")


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("topics create", marks=pytest.mark.campaign),
        "lists import",
        pytest.param("run:", marks=pytest.mark.campaign),
        pytest.param("Live calls", marks=pytest.mark.campaign),
        pytest.param("until Ctrl-C", marks=pytest.mark.campaign),
    ],
)
def test_ctrl_c_at_any_time_leaves_nothing_behind(folder, servers, redis_url, moment):
    """SIGINT after each part of the set-up, in mid-run, while it stays: one line, 130, no trace."""
    demo = Demo(folder, *servers, "--stay")
    demo.until(moment)
    assert demo.processes()
    demo.interrupt()
    assert demo.ended() == 130, demo.printed
    assert demo.printed.splitlines()[-1].startswith("Interrupted")
    assert "Traceback" not in demo.printed
    demo.leaves_nothing()
    assert keys(redis_url) == []


@pytest.mark.parametrize(
    "after_s",
    [
        pytest.param(0.5, marks=pytest.mark.campaign),
        1.5,
        pytest.param(3.0, marks=pytest.mark.campaign),
    ],
)
def test_ctrl_c_while_servers_start_leaves_nothing_behind(folder, after_s):
    """SIGINT before anything was printed, and a second one from an impatient person: no trace."""
    demo = Demo(folder)
    time.sleep(after_s)
    demo.interrupt()
    time.sleep(0.05)
    demo.interrupt()
    assert demo.ended() == 130, demo.printed
    assert "Traceback" not in demo.printed
    demo.leaves_nothing()


def test_sigterm_leaves_nothing_behind(folder, servers):
    """Ended by a service manager or a closed terminal it clears up just the same."""
    demo = Demo(folder, *servers)
    demo.until("Ringfence on")
    demo.interrupt(signal.SIGTERM)
    assert demo.ended() == 128 + signal.SIGTERM
    demo.leaves_nothing()


def test_a_register_that_is_in_use_is_never_touched(folder, redis_url):
    """Keys of Ringfence in the reader's Redis: the demo refuses, with exit code 3, and says why."""
    with redis.from_url(redis_url) as register:
        register.set("rf:register", "mine")
    demo = Demo(folder, "--redis", redis_url)
    assert demo.ended() == 3
    assert "already holds a list store" in demo.printed
    demo.leaves_nothing()


@pytest.mark.campaign
def test_an_engine_that_dies_is_told_and_ends_the_demo(folder, servers):
    """The engine killed in mid-run: exit code 3, a line that says so, and no trace."""
    demo = Demo(folder, *servers)
    demo.until("Live calls")
    os.kill(demo.engine(), signal.SIGKILL)
    assert demo.ended() == 3, demo.printed
    assert "the engine ended by itself" in demo.printed
    demo.leaves_nothing()

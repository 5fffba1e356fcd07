"""The product lives through histories of faults, and each of them can be played again."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulation.plan import Plan
from tests.simulation.reference import Reference

ROOT = Path(__file__).parents[2]
SEEDS, PARTS = 200, 4
"""Played by so many processes."""


def simulated(*options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Play seeds in a process of their own, as a person does it."""
    command: Sequence[str] = (sys.executable, "-m", "tests.simulation", *options)
    kernels = ("--kernels", str(ROOT / "state" / "kernels"))
    environ = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(cwd)}
    return subprocess.run(
        [*command, *kernels], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_breaks(part):
    """Brokers and workers die, stop and move; every call is decided rightly, and in time."""
    each = SEEDS // PARTS
    found = simulated("--first", str(1 + part * each), "--seeds", str(each))
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_connection_whose_other_end_is_gone_is_given_up():
    """Positions come after the time of one question. Each look asked again, and none took so long.

    Seed 10121: a firewall dropped a connection, and three partitions stayed unread.
    """
    found = simulated("--plan", "10121", "--whole")
    assert found.returncode == 0, found.stdout + found.stderr


def test_a_seed_is_one_history_in_every_process():
    """Addresses and the order of sets differ between processes; what happens does not."""
    plans = [word for seed in ("1163", "1164", "97", "33") for word in ("--plan", seed)]
    once, again = (simulated(*plans) for _ in range(2))
    assert once.returncode == 0, once.stdout + once.stderr
    assert once.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


def test_a_plan_is_its_seeds():
    """The same seed draws the same faults; another one others."""
    assert Plan.of(5) == Plan.of(5) != Plan.of(6)


def test_a_longer_plan_has_rests():
    """Faults are rarer by more than there is more time; what a seed drew stays the same else."""
    plan = Plan.of(2)
    longer = plan.longer(100)
    assert (longer.faults_s, longer.batches) == (100 * plan.faults_s, 10 * plan.batches)
    assert longer.kinds == plan.kinds
    assert plan.doors is not None
    assert longer.doors is not None
    assert longer.doors.conversations == 10 * plan.doors.conversations
    assert longer.doors.faults == plan.doors.faults.rarer(20)
    assert longer.swarm.leader_move == 20 * plan.swarm.leader_move > 0
    assert "100 times as long" in str(longer)


def judged(changes: dict[str, str], *, exactly_once: bool = False) -> tuple[Reference, str]:
    """A reference with a call and with what is none; what it says of a changed decision."""
    held = Reference(frozenset({"+447700900100"}), exactly_once)
    held.write((0, 0), "c1", "+447700900100", 0.0)
    held.write((0, 1), "", "", 0.0)
    return held, held.decided(RIGHT | changes)


RIGHT = {
    "origin": "calls/0/0",
    "call_id": "c1",
    "caller": "+447700900100",
    "verdict": "block",
    "decision_id": "A",
}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"origin": "calls/0/7"}, "no call lies"),
        ({"origin": "calls/0/1"}, "which is no call"),
        ({"call_id": "c2"}, "not c2"),
        ({"verdict": "allow"}, "must be block"),
    ],
)
def test_the_reference_sees_each_kind_of_wrong(changes, word):
    """A decision about nothing, about what is no call, about another call, of the wrong verdict."""
    held, fault = judged(changes)
    assert word in fault
    assert "calls/0/0" in held.left


def test_the_reference_counts_what_came():
    """One that is missing, one that came twice, two ids, and a call that was rejected."""
    held, fault = judged({}, exactly_once=True)
    assert not fault
    assert list(held.left) == ["calls/0/1"]
    assert not held.rejected("calls/0/1")
    assert not held.left
    assert "2 times" in held.decided(RIGHT)
    held, _ = judged({})
    assert not held.decided(RIGHT)
    assert "two ids" in held.decided(RIGHT | {"decision_id": "B"})
    assert "was rejected" in held.rejected("calls/0/0")


def test_nothing_is_missing_that_kafka_deleted():
    """Retention excuses a call; where others lie by now, decisions about the former are none."""
    held, _ = judged({"call_id": "c2"})
    held.excuse(0, range(1))
    assert list(held.left) == ["calls/0/1"]
    held.forget()
    held.write((0, 0), "c9", "+447700900101", 0.0)
    assert not held.decided(RIGHT)
    assert list(held.left) == ["calls/0/0"]

"""The product lives through histories of faults, and each of them can be played again."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.simulation.history import Plan
from tests.simulation.reference import Reference

ROOT = Path(__file__).parents[2]
SEEDS = 40


def simulated(*options: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Play seeds in a process of their own, as a person does it."""
    command: Sequence[str] = (sys.executable, "-m", "tests.simulation", *options)
    kernels = ("--kernels", str(ROOT / "state" / "kernels"))
    environ = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(cwd)}
    return subprocess.run(
        [*command, *kernels], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


def test_no_seed_breaks():
    """Brokers and workers die, stop and move; every call is decided rightly, and in time."""
    found = simulated("--seeds", str(SEEDS))
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("seed", "story"),
    [
        (112, "a static member led the group, was killed, and did not know that it leads"),
        (48, "partitions were added after such a restart, and nobody read them"),
        (49, "one broker knew a topic and the next did not: the worker crashed at its start"),
        (1163, "a transaction was committed after its partitions had gone to another worker"),
    ],
)
def test_seeds_that_once_broke(seed, story):
    """Faults of the product that a seed found; the story says which."""
    found = simulated("--first", str(seed), "--seeds", "1")
    assert found.returncode == 0, story + found.stdout + found.stderr


def test_a_seed_is_one_history_in_every_process():
    """Addresses and the order of sets differ between processes; what happens does not."""
    once, again = (simulated("--first", "1163", "--seeds", "4") for _ in range(2))
    assert once.returncode == 0, once.stdout + once.stderr
    assert once.stdout.splitlines()[-1] == again.stdout.splitlines()[-1]


def test_a_plan_is_its_seeds():
    """The same seed draws the same faults; another one others."""
    assert Plan.of(5) == Plan.of(5) != Plan.of(6)


def test_the_reference_sees_each_kind_of_wrong():
    """A decision about nothing, about another call, of the wrong verdict, twice; one missing."""
    held = Reference(frozenset({"+447700900100"}))
    held.written = {"calls/0/0": ("c1", "+447700900100"), "calls/0/1": None}
    right = {
        "origin": "calls/0/0",
        "call_id": "c1",
        "caller": "+447700900100",
        "verdict": "block",
        "decision_id": "A",
    }
    assert not list(held.faults([right], ["calls/0/1"], exactly_once=True))
    for changes, word in (
        ({"origin": "calls/0/7"}, "no call lies"),
        ({"origin": "calls/0/1"}, "which is no call"),
        ({"call_id": "c2"}, "not c2"),
        ({"verdict": "allow"}, "must be block"),
    ):
        (fault, *_) = held.faults([right | changes], [], exactly_once=False)
        assert word in fault
    assert "2 times" in next(held.faults([right, right], [], exactly_once=True))
    assert not list(held.faults([right, right], [], exactly_once=False))
    twice = [right, right | {"decision_id": "B"}]
    assert "two ids" in next(held.faults(twice, [], exactly_once=False))
    assert "was rejected" in next(held.faults([], ["calls/0/0"], exactly_once=False))
    assert held.missing([right], []) == ["calls/0/1"]

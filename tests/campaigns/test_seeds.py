"""The campaign of seeds: some of them, and that it goes on after one that breaks."""

from tests.campaigns import seeds
from tests.campaigns.seeds import Played


def test_some_seeds_are_played():
    """As many as asked for, though a piece has more; virtual time is summed."""
    found = seeds.run(first=1, seeds=3, virtual_s=0.0, processes=1)
    assert (found.seeds, found.broken) == (3, [])
    assert found.virtual_s > 3


def test_a_broken_seed_is_told_and_counted(capsys):
    """The others count on, and the exit code and the figures show it."""
    sums = Played(7)
    sums.take([(7, 20.0, ""), (8, 0.0, "call c1 was lost"), (9, 30.0, "")])
    assert sums.figures() == {"first_seed": 7, "seeds": 3, "virtual_s": 50, "broken": 1}
    told = capsys.readouterr().out
    assert "call c1 was lost" in told
    assert "python -m tests.simulation --plan 8" in told

"""Results of campaigns, as the page "How we know" reads them."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.support.figures import WHOLE, record, together


def test_parts_are_kept_beside_each_other(tmp_path):
    """A part's later run replaces its figures; another part keeps its own, and its commit."""
    record("kills", {"lost": 1}, "twice", folder=tmp_path, commit="a")
    record("kills", {"hits_share": 0.4}, "once", folder=tmp_path, commit="a")
    record("kills", {"lost": 0}, "twice", folder=tmp_path, commit="b")
    kept = json.loads((tmp_path / "kills.json").read_text())
    assert kept["campaign"] == "kills"
    shown = {name: (part["commit"], part["figures"]) for name, part in kept["parts"].items()}
    assert shown == {"once": ("a", {"hits_share": 0.4}), "twice": ("b", {"lost": 0})}
    assert kept["parts"]["once"]["at"].endswith("Z")


def test_a_campaign_of_one_part(tmp_path):
    """The part of a campaign that has only one is named so; the commit is that of this tree."""
    record("soak", {"calls": 5}, folder=tmp_path)
    kept = json.loads((tmp_path / "soak.json").read_text())
    assert kept["parts"][WHOLE]["figures"] == {"calls": 5}
    assert kept["parts"][WHOLE]["commit"]


def test_parts_that_end_at_once_are_all_kept(tmp_path):
    """Parts of processes beside each other lose nothing of each other's."""
    with ThreadPoolExecutor(8) as threads:
        for part in range(40):
            threads.submit(record, "load", {"part": part}, f"p{part}", folder=tmp_path)
    assert len(json.loads((tmp_path / "load.json").read_text())["parts"]) == 40


def test_runs_together_are_one_campaign():
    """Counts add up, also by name; of the longest the longest counts."""
    first = {"kills": 3, "by": {"worker": 3}, "longest_s": 4.5}
    second = {"kills": 2, "by": {"worker": 1, "redis": 1}, "longest_s": 2.0}
    whole = {"kills": 5, "by": {"worker": 4, "redis": 1}, "longest_s": 4.5}
    assert together([first, second]) == whole
    assert together([first]) == first

"""Each sample of a feed format, as partners write it, is read as its neighbour says."""

import json

import pytest
from pybloom_live.pybloom import BloomFilter

from stream.feeds.open import FORMATS
from stream.feeds.read import read_bare
from stream.lists.snapshot.build import Version, bare_snapshot
from tests.support.feed_samples import GOLDEN, NOW_S, Case, cases, meaning_of


@pytest.mark.parametrize("case", cases(rows=True), ids=lambda case: case.name)
def test_golden_samples(case: Case):
    """Numbers, sources, categories, times, removals and rejected rows are those expected."""
    assert meaning_of(case) == case.expected, json.dumps(meaning_of(case), indent=1)


@pytest.mark.parametrize("case", cases(rows=False), ids=lambda case: case.name)
def test_golden_filters(case: Case):
    """A file of pybloom-live becomes a list, as it is, and pybloom-live finds its members in it."""
    data = read_bare(case.path, b"")
    with case.path.open("rb") as file:
        theirs = BloomFilter.fromfile(file)
    assert all(number in theirs for number in case.expected["members"])
    version = Version("XX", "bare", 1, "plain", b"", "")
    assert bare_snapshot(version, data, NOW_S)


def test_each_format_has_a_sample_from_the_field():
    """Every format has a sample, and each sample says where it is from."""
    for kind in FORMATS:
        assert list((GOLDEN / kind).glob("*/source.txt")), kind
    for case in (*cases(rows=True), *cases(rows=False)):
        assert (case.folder / "source.txt").read_text().strip(), case.name

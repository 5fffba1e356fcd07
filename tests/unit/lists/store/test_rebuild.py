"""Which list is rebuilt next."""

from stream.lists.store.rebuild import due


def test_the_list_with_the_most_changes_over_the_limit():
    """Only lists above the limit are rebuilt, the one with the most changes first."""
    assert due({"A/a": 51, "B/b": 70, "C/c": 50}, 50, {}, 0.0) == "B/b"
    assert due({"A/a": 50}, 50, {}, 0.0) is None
    assert due({}, 50, {}, 0.0) is None


def test_a_rebuild_that_failed_waits():
    """A list whose rebuild failed is left alone for a while; others go on."""
    assert due({"A/a": 51, "B/b": 70}, 50, {"B/b": 30.0}, 10.0) == "A/a"
    assert due({"B/b": 70}, 50, {"B/b": 30.0}, 30.0) == "B/b"


def test_never():
    """0 switches rebuilds off."""
    assert due({"A/a": 10**6}, 0, {}, 0.0) is None

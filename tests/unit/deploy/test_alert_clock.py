"""The lab's clock: rules made faster, recordings made slower, without changing what they say."""

from tests.support.promql import RULE_FILES, RULES
from tests.tools.faults.clock import fast, notation, stretched


def test_rules_are_thirty_times_faster() -> None:
    """Durations and limits on ages; names, texts and days until an expiry stay."""
    rule = """
      - alert: X
        expr: ringfence:list_age_seconds > 300 and rate(a:rate5m[5m] offset 15m) > 2 * 3600
        for: 1m
          summary: "for 5m"
    """
    made = fast(rule)
    assert "list_age_seconds > 10 and rate(a:rate5m[10s] offset 30s) > 2 * 3600" in made
    assert "for: 2s" in made
    assert '"for 5m"' in made
    for name in RULE_FILES:
        assert "[6h]" not in fast((RULES / name).read_text())


def test_ages_are_stretched_and_days_left_are_not() -> None:
    """A list that was compared 10 s ago is 300 s old; a certificate has the time that it had."""
    synced = stretched("x_timestamp_seconds", [(1000.0, 990.0), (1001.0, 990.0)], 1000.0)
    assert list(synced) == [-300.0, -300.0]
    expires = stretched("x_expires_timestamp_seconds", [(1000.0, 1500.0), (1002.0, 1500.0)], 1000.0)
    assert list(expires) == [500.0, 558.0]
    assert list(stretched("x_total", [(1000.0, 7.0)], 1000.0)) == [7.0]
    assert list(stretched("x_timestamp_seconds", [(1000.0, 0.0)], 1000.0)) == [-1000.0]
    assert list(stretched("x_waiting_seconds", [(1000.0, 2.0)], 1000.0)) == [60.0]


def test_series_are_written_as_promtool_reads_them() -> None:
    """Runs are short, a late scrape is filled, a series that ends is marked."""
    assert notation([None, None, 1, 1, None, 1, 2.5]) == "_x2 1x3 2.5"
    assert notation([1, *[None] * 5, 3]) == "1 stale _x4 3"

from msgspec.structs import fields

from stream.lab.demo.watch import DemoFigures, Enforced, Percentiles, Rate, percentiles


def test_the_rate_leaves_out_what_was_done_before_the_first_decision():
    """1,000 calls, decisions at 0, 1 and 2 s: two thirds of the calls in two seconds."""
    rate = Rate(1_000)
    for appended_ms in (0, 1_000, 2_000):
        rate.decided(appended_ms)
    assert rate.per_s() == 333


def test_a_rate_needs_two_moments():
    """With no decision, or all at once, there is no rate to tell."""
    rate = Rate(1_000)
    assert rate.per_s() is None
    rate.decided(5)
    assert rate.per_s() is None


def test_percentiles_are_values_that_were_measured():
    """Nearest rank: the 99th of 100 values is the 99th smallest; nothing of nothing."""
    assert percentiles(range(1, 101)) == Percentiles(50, 99)
    assert percentiles([7]) == Percentiles(7, 7)
    assert percentiles([]) == Percentiles(None, None)


def test_the_file_has_exactly_the_promised_keys():
    """Scripts read these names: none more, none less."""
    names = {
        one: [each.name for each in fields(one)] for one in (DemoFigures, Percentiles, Enforced)
    }
    assert names[DemoFigures] == [
        *("calls", "listed_calls", "blocked", "flagged", "missed", "false_blocks", "rejected"),
        *("cdr_per_s", "latency_ms", "change_to_enforced_ms", "broker", "redis"),
    ]
    assert (names[Percentiles], names[Enforced]) == (["p50", "p99"], ["add", "remove"])

"""Two dashboards: the overview, and one list."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, above, below, board, figure, graph

_OF: Final = '{list="$list"}'
_DECISIONS: Final = f"rate(ringfence_decisions_total{_OF}[5m])"


def _now() -> list[Any]:
    """Return the figures at the top."""
    return [
        figure("Calls", "Call records read a second.", "ringfence:calls:rate5m", "cps"),
        figure("Blocks", "Calls blocked a second.", "ringfence:blocks:rate5m", "cps"),
        figure(
            "Latency, p99",
            "From a record's Kafka timestamp to its decision. Target: below 0.2 s.",
            "ringfence:decision_latency_seconds:p99_rate5m",
            "s",
            above(0.1, 0.2),
        ),
        figure(
            "Lag",
            "Records in Kafka that no worker has read yet.",
            "sum(ringfence:lag_by_topic:records)",
            "short",
            above(10_000, 100_000),
        ),
        figure(
            "Fresh lists",
            "Share of the lists that agreed with the list store within 120 s.",
            "ringfence:lists_fresh:ratio",
            "percentunit",
            below(0.95, 0.999),
        ),
        figure(
            "Firing alerts",
            "Of our severities, page and ticket. Each has a section in deploy/RUNBOOK.md.",
            f'count(ALERTS{{alertstate="firing", severity=~"page|ticket"}}) {OR_NONE}',
            "short",
            above(1, 1),
        ),
    ]


def _calls() -> list[Any]:
    """Return the graphs of calls and decisions."""
    return [
        graph(
            "Calls by topic",
            "Shows a switch that sends less than usual.",
            ("ringfence:calls_by_topic:rate5m", "{{topic}}"),
            unit="cps",
            stacked=True,
        ),
        graph(
            "Decisions by verdict",
            "Shows blocks or flags that jump, or fall to zero.",
            ("ringfence:decisions_by_verdict:rate5m", "{{verdict}}"),
            unit="cps",
        ),
        graph(
            "Latency",
            "The target for switches is the dashed line, 0.2 s.",
            ("ringfence:decision_latency_seconds:p50_rate5m", "p50"),
            ("ringfence:decision_latency_seconds:p99_rate5m", "p99"),
            unit="s",
            limit=0.2,
        ),
        graph(
            "Lag by topic",
            "A steady rise means too few workers.",
            ("ringfence:lag_by_topic:records", "{{topic}}"),
            unit="short",
        ),
        graph(
            "Blocks by list",
            "Lists that block calls. A sudden rise needs a check of the list.",
            ("topk(10, ringfence:blocks_by_list:rate5m)", "{{list}}"),
            unit="cps",
        ),
        graph(
            "Rejected share",
            "Share of the records that are not calls. Read calls.rejected.",
            (f"sum(ringfence:rejected_share:ratio_rate5m) {OR_NONE}", "rejected"),
            unit="percentunit",
        ),
    ]


def _lists() -> list[Any]:
    """Return the graphs of freshness."""
    return [
        graph(
            "Age of the oldest lists",
            "Time since they last agreed with the list store.",
            ("topk(10, ringfence:list_age_seconds)", "{{list}}"),
            unit="s",
            limit=120,
        ),
        graph(
            "Generations behind",
            "Above 0, a worker decides by an old list.",
            ("topk(10, ringfence:list_behind:generations)", "{{list}}"),
            unit="short",
        ),
        graph(
            "Sinks behind",
            "Decisions that SIP proxies and webhooks do not have yet.",
            ("ringfence:sink_lag:records", "{{sink}}"),
            unit="short",
        ),
        graph(
            "Time since the last contact of feeds",
            "Shows the partners that send nothing.",
            ("topk(10, time() - (ringfence_feed_confirmed_timestamp_seconds > 0))", "{{feed}}"),
            unit="s",
        ),
    ]


def _promised() -> list[Any]:
    """Return the graphs of the two service levels."""
    return [
        graph(
            "Error budget: decisions on time",
            "Burn rate of the month's budget. At 1 it is used up in a month.",
            ("ringfence:decisions_late:ratio_rate1h / 0.001", "1 h"),
            ("ringfence:decisions_late:ratio_rate6h / 0.001", "6 h"),
            unit="short",
            limit=14.4,
        ),
        graph(
            "Error budget: lists fresh",
            "Burn rate of the budget for list-minutes.",
            ("ringfence:lists_stale:ratio_avg1h / 0.005", "1 h"),
            ("ringfence:lists_stale:ratio_avg6h / 0.005", "6 h"),
            unit="short",
            limit=14.4,
        ),
    ]


def _now_of_list() -> list[Any]:
    """Return the figures at the top."""
    return [
        figure(
            "Generation",
            "Enforced generation, at the worker furthest behind.",
            f"min(ringfence_list_generation{_OF})",
            "none",
        ),
        figure(
            "Age",
            "Time since it last agreed with the list store.",
            f"ringfence:list_age_seconds{_OF}",
            "s",
            above(60, 120),
        ),
        figure("Numbers", "Numbers in its snapshot.", f"max(ringfence_list_entries{_OF})", "short"),
        figure(
            "Changes since",
            "Changes since the snapshot. A rebuild compacts them.",
            f"max(ringfence_list_changes{_OF})",
            "short",
            above(40_000, 50_000),
        ),
        figure(
            "Blocks",
            "Calls that it blocks.",
            f"sum(ringfence:blocks_by_list:rate5m{_OF}) {OR_NONE}",
            "cps",
        ),
        figure(
            "Share of all calls",
            "Share of all calls that it blocks.",
            f"sum(ringfence:block_share_by_list:ratio_rate5m{_OF}) {OR_NONE}",
            "percentunit",
        ),
    ]


def _effect() -> list[Any]:
    """Return the graphs of the list's effect on calls."""
    return [
        graph(
            "Decisions",
            "Blocked and flagged calls. simulated: its effect if it were not on trial.",
            (
                f"sum by (verdict, simulated) ({_DECISIONS}) {OR_NONE}",
                "{{verdict}} simulated={{simulated}}",
            ),
            unit="cps",
        ),
        graph(
            "Matches without effect",
            "Filter hits without an exact entry, and matches that are only observed.",
            (f"sum(rate(ringfence_matches_unconfirmed_total{_OF}[5m])) {OR_NONE}", "unconfirmed"),
            (f"sum(rate(ringfence_matches_observed_total{_OF}[5m])) {OR_NONE}", "observed"),
            unit="cps",
        ),
    ]


def _past() -> list[Any]:
    """Return the graphs of its generations and size."""
    return [
        graph(
            "Generation",
            "Enforced, and the newest of any worker. A long difference is a fault.",
            (f"min(ringfence_list_generation{_OF})", "furthest behind"),
            (f"max(ringfence_list_generation_newest{_OF})", "newest"),
            unit="none",
        ),
        graph(
            "Numbers",
            "Shows a list that suddenly grows or shrinks.",
            (f"max(ringfence_list_entries{_OF})", "in the snapshot"),
            (f"max(ringfence_list_changes{_OF})", "changed since"),
            unit="short",
        ),
    ]


def overview() -> Dashboard:
    """Return the dashboard that an operator opens first."""
    return board(
        "ringfence-overview",
        "Ringfence: overview",
        "Calls, latency and freshness of lists. Red panels have a section in the runbook.",
        [
            ("Now", _now()),
            ("Calls and decisions", _calls()),
            ("Lists, list store, sinks", _lists()),
            ("Service levels", _promised()),
        ],
    )


def one_list() -> Dashboard:
    """Return the dashboard that a list's alert links to."""
    return board(
        "ringfence-list",
        "Ringfence: one list",
        "Freshness, size and effect of one list.",
        [("Now", _now_of_list()), ("Effect on calls", _effect()), ("History", _past())],
        [("list", "List", "label_values(ringfence_list_generation, list)", "")],
    )

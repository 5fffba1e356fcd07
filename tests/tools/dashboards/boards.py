"""Two dashboards: is all well, and one list."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, above, below, board, figure, graph

_OF: Final = '{list="$list"}'
_DECISIONS: Final = f"rate(ringfence_decisions_total{_OF}[5m])"


def _now() -> list[Any]:
    """What stands at the top."""
    return [
        figure("Calls", "Do records come?", "ringfence:calls:rate5m", "cps"),
        figure("Blocks", "How much is stopped?", "ringfence:blocks:rate5m", "cps"),
        figure(
            "Latency, p99",
            "From a record's Kafka timestamp to its decision. Promised: below 0.2 s.",
            "ringfence:decision_latency_seconds:p99_rate5m",
            "s",
            above(0.1, 0.2),
        ),
        figure(
            "Lag",
            "Records in Kafka that nobody has read yet.",
            "sum(ringfence:lag_by_topic:records)",
            "short",
            above(10_000, 100_000),
        ),
        figure(
            "Fresh lists",
            "Which share of the lists agreed with the register within 120 s?",
            "ringfence:lists_fresh:ratio",
            "percentunit",
            below(0.95, 0.999),
        ),
        figure(
            "Alerts that fire",
            "Of all severities; each has a heading in deploy/RUNBOOK.md.",
            f'count(ALERTS{{alertstate="firing"}}) {OR_NONE}',
            "short",
            above(1, 1),
        ),
    ]


def _calls() -> list[Any]:
    """What comes and what is decided."""
    return [
        graph(
            "Calls by topic",
            "Does one switch send less than it does?",
            ("ringfence:calls_by_topic:rate5m", "{{topic}}"),
            unit="cps",
            stacked=True,
        ),
        graph(
            "Decisions by verdict",
            "Did blocks or flags jump, or fall to nothing?",
            ("ringfence:decisions_by_verdict:rate5m", "{{verdict}}"),
            unit="cps",
        ),
        graph(
            "Latency",
            "Is the promise to switches kept? The dashed line is 0.2 s.",
            ("ringfence:decision_latency_seconds:p50_rate5m", "p50"),
            ("ringfence:decision_latency_seconds:p99_rate5m", "p99"),
            unit="s",
            limit=0.2,
        ),
        graph(
            "Lag by topic",
            "Are there enough workers?",
            ("ringfence:lag_by_topic:records", "{{topic}}"),
            unit="short",
        ),
        graph(
            "Blocks by list",
            "Which list stops calls, and does one do so suddenly?",
            ("topk(10, ringfence:blocks_by_list:rate5m)", "{{list}}"),
            unit="cps",
        ),
        graph(
            "Rejected share",
            "Which share of the records is no call? Read calls.rejected.",
            (f"sum(ringfence:rejected_share:ratio_rate5m) {OR_NONE}", "rejected"),
            unit="percentunit",
        ),
    ]


def _lists() -> list[Any]:
    """How fresh everything is."""
    return [
        graph(
            "Age of the oldest lists",
            "When were they last known to agree with the register?",
            ("topk(10, ringfence:list_age_seconds)", "{{list}}"),
            unit="s",
            limit=120,
        ),
        graph(
            "Generations behind",
            "Does a worker decide by an old list?",
            ("topk(10, ringfence:list_behind:generations)", "{{list}}"),
            unit="short",
        ),
        graph(
            "Sinks behind",
            "Do proxies and webhooks hear of decisions?",
            ("ringfence:sink_lag:records", "{{sink}}"),
            unit="short",
        ),
        graph(
            "Feeds since their source was heard",
            "Which partner is silent?",
            ("topk(10, time() - (ringfence_feed_confirmed_timestamp_seconds > 0))", "{{feed}}"),
            unit="s",
        ),
    ]


def _promised() -> list[Any]:
    """The two service levels."""
    return [
        graph(
            "Budget burnt: decisions on time",
            "How many times faster than the month's budget allows (1 uses it up)?",
            ("ringfence:decisions_late:ratio_rate1h / 0.001", "1 h"),
            ("ringfence:decisions_late:ratio_rate6h / 0.001", "6 h"),
            unit="short",
            limit=14.4,
        ),
        graph(
            "Budget burnt: lists fresh",
            "The same for list-minutes.",
            ("ringfence:lists_stale:ratio_avg1h / 0.005", "1 h"),
            ("ringfence:lists_stale:ratio_avg6h / 0.005", "6 h"),
            unit="short",
            limit=14.4,
        ),
    ]


def _now_of_list() -> list[Any]:
    """What stands at the top."""
    return [
        figure(
            "Generation",
            "The one that is enforced, at the worker furthest behind.",
            f"min(ringfence_list_generation{_OF})",
            "none",
        ),
        figure(
            "Age",
            "Since it was last known to agree with the register.",
            f"ringfence:list_age_seconds{_OF}",
            "s",
            above(60, 120),
        ),
        figure("Numbers", "In its snapshot.", f"max(ringfence_list_entries{_OF})", "short"),
        figure(
            "Changes since",
            "In front of its filter; folded in by a rebuild.",
            f"max(ringfence_list_changes{_OF})",
            "short",
            above(40_000, 50_000),
        ),
        figure(
            "Blocks",
            "Calls that it stops.",
            f"sum(ringfence:blocks_by_list:rate5m{_OF}) {OR_NONE}",
            "cps",
        ),
        figure(
            "Share of all calls",
            "What it stops, of everything.",
            f"sum(ringfence:block_share_by_list:ratio_rate5m{_OF}) {OR_NONE}",
            "percentunit",
        ),
    ]


def _effect() -> list[Any]:
    """What the list does to calls."""
    return [
        graph(
            "Decisions",
            "Blocked, flagged; on trial: what it would have done.",
            (
                f"sum by (verdict, simulated) ({_DECISIONS}) {OR_NONE}",
                "{{verdict}} simulated={{simulated}}",
            ),
            unit="cps",
        ),
        graph(
            "Matches without effect",
            "Hits that nothing confirms, and matches that may only be observed.",
            (f"sum(rate(ringfence_matches_unconfirmed_total{_OF}[5m])) {OR_NONE}", "unconfirmed"),
            (f"sum(rate(ringfence_matches_observed_total{_OF}[5m])) {OR_NONE}", "observed"),
            unit="cps",
        ),
    ]


def _past() -> list[Any]:
    """Its generations and size."""
    return [
        graph(
            "Generation",
            "Enforced, and the newest that a worker has: apart for long is a fault.",
            (f"min(ringfence_list_generation{_OF})", "furthest behind"),
            (f"max(ringfence_list_generation_newest{_OF})", "newest"),
            unit="none",
        ),
        graph(
            "Numbers",
            "Did it grow or shrink suddenly?",
            (f"max(ringfence_list_entries{_OF})", "in the snapshot"),
            (f"max(ringfence_list_changes{_OF})", "changed since"),
            unit="short",
        ),
    ]


def overview() -> Dashboard:
    """The first look at night."""
    return board(
        "ringfence-overview",
        "Ringfence: overview",
        "Are calls decided, in time, by fresh lists? What is red has a heading in the runbook.",
        [
            ("Now", _now()),
            ("Calls and decisions", _calls()),
            ("Lists, register, sinks", _lists()),
            ("What was promised", _promised()),
        ],
    )


def one_list() -> Dashboard:
    """Where an operator goes from a list's alert."""
    return board(
        "ringfence-list",
        "Ringfence: one list",
        "How fresh a list is, how large, and what it does to calls.",
        [("Now", _now_of_list()), ("What it does", _effect()), ("What became of it", _past())],
        [("list", "List", "label_values(ringfence_list_generation, list)", "")],
    )

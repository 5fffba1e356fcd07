"""A dashboard of one partner: its lists, and their effect here."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, above, board, figure, graph

_THEIRS: Final = '{list=~"$partner/.*"}'
_OF: Final = '{country="$partner"}'
_DOCUMENTS: Final = f"ringfence_enforcement_documents_total{_OF}"
_SIGHTINGS: Final = f"ringfence_enforcement_sightings_total{_OF}"


def _now() -> list[Any]:
    """Return the figures at the top."""
    return [
        figure(
            "Lists",
            "Number of its lists that are enforced here.",
            f"count(max by (list) (ringfence_list_generation{_THEIRS}))",
            "none",
        ),
        figure(
            "Numbers",
            "Numbers in all of its lists.",
            f"sum(max by (list) (ringfence_list_entries{_THEIRS}))",
            "short",
        ),
        figure(
            "Oldest list",
            "Time since it last agreed with the list store.",
            f"max(ringfence:list_age_seconds{_THEIRS})",
            "s",
            above(60, 120),
        ),
        figure(
            "Blocks",
            "Calls that its lists block here.",
            f"sum(ringfence:blocks_by_list:rate5m{_THEIRS}) {OR_NONE}",
            "cps",
        ),
        figure(
            "Age of its documents",
            "Time since its enforcement documents were last read; no data: never.",
            f"time() - max(ringfence_enforcement_read_timestamp_seconds{_OF} > 0)",
            "s",
            above(600, 3600),
        ),
        figure(
            "Sightings",
            "Our numbers that it reported as legitimate in the last day.",
            f"sum(increase({_SIGHTINGS}[1d])) {OR_NONE}",
            "short",
            above(1, 10),
        ),
    ]


def _theirs() -> list[Any]:
    """Return the graphs of its lists' effect here."""
    return [
        graph(
            "Blocks by list",
            "Calls that each of its lists blocks.",
            (f"ringfence:blocks_by_list:rate5m{_THEIRS} {OR_NONE}", "{{list}}"),
            unit="cps",
        ),
        graph(
            "Numbers by list",
            "Compare them with the agreement.",
            (f"max by (list) (ringfence_list_entries{_THEIRS})", "{{list}}"),
            unit="short",
        ),
        graph(
            "Age by list",
            "Time since each list last agreed with the list store.",
            (f"ringfence:list_age_seconds{_THEIRS}", "{{list}}"),
            unit="s",
            limit=120,
        ),
        graph(
            "Documents and sightings",
            "Its reports on our lists. Refused ones show a fault in its signing.",
            (f"sum by (result) (increase({_DOCUMENTS}[1h])) {OR_NONE}", "documents {{result}}"),
            (f"sum by (result) (increase({_SIGHTINGS}[1h])) {OR_NONE}", "sightings {{result}}"),
            unit="short",
        ),
    ]


def _ours() -> list[Any]:
    """Return the graphs of our publications."""
    return [
        graph(
            "Time since our lists were published",
            "Partners get no changes while this rises.",
            ("time() - (ringfence_exchange_published_timestamp_seconds > 0)", "{{list}}"),
            unit="s",
        ),
        graph(
            "Signatures valid for",
            "Time until the signatures of each role expire.",
            ("ringfence_exchange_expires_timestamp_seconds - time()", "{{role}}"),
            unit="s",
        ),
    ]


def partner() -> Dashboard:
    """Return the dashboard of one partner."""
    return board(
        "ringfence-partner",
        "Ringfence: one partner",
        "For a meeting: effect and freshness of a partner's lists, and its reports.",
        [("Now", _now()), ("Its lists here", _theirs()), ("Our publications", _ours())],
        [
            (
                "partner",
                "Partner",
                "label_values(ringfence_list_generation, list)",
                r"/([^\/]+)\/.*/",
            )
        ],
    )

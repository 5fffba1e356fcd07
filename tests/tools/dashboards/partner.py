"""What a country shares, and what that does here."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, above, board, figure, graph

_THEIRS: Final = '{list=~"$partner/.*"}'
_OF: Final = '{country="$partner"}'
_DOCUMENTS: Final = f"ringfence_enforcement_documents_total{_OF}"
_SIGHTINGS: Final = f"ringfence_enforcement_sightings_total{_OF}"


def _now() -> list[Any]:
    """What stands at the top."""
    return [
        figure(
            "Lists",
            "How many of its lists are enforced here.",
            f"count(max by (list) (ringfence_list_generation{_THEIRS}))",
            "none",
        ),
        figure(
            "Numbers",
            "In all of them.",
            f"sum(max by (list) (ringfence_list_entries{_THEIRS}))",
            "short",
        ),
        figure(
            "Oldest list",
            "Since it was last known to agree with the register.",
            f"max(ringfence:list_age_seconds{_THEIRS})",
            "s",
            above(60, 120),
        ),
        figure(
            "Blocks",
            "Calls that its lists stop here.",
            f"sum(ringfence:blocks_by_list:rate5m{_THEIRS}) {OR_NONE}",
            "cps",
        ),
        figure(
            "Its documents, read",
            "Since its enforcement documents were last read.",
            f"time() - max(ringfence_enforcement_read_timestamp_seconds{_OF})",
            "s",
            above(600, 3600),
        ),
        figure(
            "Sightings",
            "Numbers of ours that it says are no scammers', in the last day.",
            f"sum(increase({_SIGHTINGS}[1d])) {OR_NONE}",
            "short",
            above(1, 10),
        ),
    ]


def _theirs() -> list[Any]:
    """What its lists do here."""
    return [
        graph(
            "Blocks by list",
            "Which of its lists stops calls?",
            (f"ringfence:blocks_by_list:rate5m{_THEIRS} {OR_NONE}", "{{list}}"),
            unit="cps",
        ),
        graph(
            "Numbers by list",
            "Does it share what it said it would?",
            (f"max by (list) (ringfence_list_entries{_THEIRS})", "{{list}}"),
            unit="short",
        ),
        graph(
            "Age by list",
            "Does news come?",
            (f"ringfence:list_age_seconds{_THEIRS}", "{{list}}"),
            unit="s",
            limit=120,
        ),
        graph(
            "Documents and sightings",
            "What it tells of our lists; refused ones name a fault in its signing.",
            (f"sum by (result) (increase({_DOCUMENTS}[1h])) {OR_NONE}", "documents {{result}}"),
            (f"sum by (result) (increase({_SIGHTINGS}[1h])) {OR_NONE}", "sightings {{result}}"),
            unit="short",
        ),
    ]


def _ours() -> list[Any]:
    """What we give."""
    return [
        graph(
            "Since our lists were published",
            "Do partners get our news?",
            ("time() - (ringfence_exchange_published_timestamp_seconds > 0)", "{{list}}"),
            unit="s",
        ),
        graph(
            "Signatures good for",
            "Which role has to be signed again, and by whom?",
            ("ringfence_exchange_expires_timestamp_seconds - time()", "{{role}}"),
            unit="s",
        ),
    ]


def partner() -> Dashboard:
    """Before a meeting with it."""
    return board(
        "ringfence-partner",
        "Ringfence: one partner",
        "Before a meeting: what a partner's lists do here, how fresh they are, what comes back.",
        [("Now", _now()), ("Its lists here", _theirs()), ("What we publish", _ours())],
        [
            (
                "partner",
                "Partner",
                "label_values(ringfence_list_generation, list)",
                r"/([^\/]+)\/.*/",
            )
        ],
    )

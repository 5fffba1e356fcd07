"""The engine and its neighbours from within: where time, memory and records go."""

from typing import Any, Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.tools.dashboards.panels import OR_NONE, UP, above, board, figure, graph

_EVENTS: Final = "sum by (event) (rate({}[5m]))"


def _quantile(q: float, metric: str, *by: str) -> str:
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[5m])))"


def _standing() -> list[Any]:
    """Is everything up?"""
    return [
        figure("Kafka", "Does it answer?", "min(ringfence_kafka_up)", "none", UP),
        figure("Register", "Does it?", "min(ringfence_register_up)", "none", UP),
        figure(
            "Workers ready",
            "With lists loaded and a place in the group.",
            "sum(ringfence_workers_ready)",
            "none",
        ),
        figure(
            "Without kernels",
            "Workers that need several times the CPU.",
            "sum(ringfence_workers_ready) - sum(ringfence_workers_compiled)",
            "none",
            above(1, 1),
        ),
        figure(
            "Restarts, last hour",
            "Does a worker die again and again?",
            "sum(increase(ringfence_worker_restarts_total[1h])) " + OR_NONE,
            "short",
            above(1, 3),
        ),
        figure(
            "Partitions stopped",
            "A batch cannot be right; the log names it.",
            "sum(ringfence_partitions_stopped)",
            "none",
            above(1, 1),
        ),
    ]


def _way() -> list[Any]:
    """Where the time goes."""
    return [
        graph(
            "CPU by step",
            "Seconds of work a second: near 1 a worker, one more is needed.",
            ("ringfence:cpu_by_step:ratio_rate5m", "{{step}}"),
            unit="short",
            stacked=True,
        ),
        graph(
            "Time of a batch, p99",
            "Which step is slow? publish alone: the broker.",
            (_quantile(0.99, "ringfence_batch_duration_seconds", "step"), "{{step}}"),
            unit="s",
        ),
        graph(
            "Read one by one",
            "Calls that the fast scan could not vouch for: the price is CPU.",
            ("sum(rate(ringfence_calls_unscanned_total[5m]))", "unscanned"),
            ("sum(rate(ringfence_calls_unasked_total[5m]))", "no list could be asked"),
            unit="cps",
        ),
        graph(
            "Events of calls",
            "Commits, rebalances, waits for Kafka.",
            (_EVENTS.format("ringfence_call_events_total"), "{{event}}"),
            unit="short",
        ),
        graph(
            "Events of lists",
            "Loads, swaps, gaps, refusals.",
            (_EVENTS.format("ringfence_list_events_total"), "{{event}}"),
            unit="short",
        ),
        graph(
            "Partitions",
            "Are they spread, and all read by the fetcher?",
            ("sum(ringfence_partitions)", "assigned"),
            ("sum(ringfence_partitions_ordinary)", "read record by record"),
            unit="none",
        ),
    ]


def _processes() -> list[Any]:
    """Memory and CPU."""
    return [
        graph(
            "Memory",
            "Resident, of each process; a supervisor's is its own.",
            ("process_resident_memory_bytes", "{{job}} {{instance}}"),
            unit="bytes",
        ),
        graph(
            "CPU",
            "Cores, of each process.",
            ("rate(process_cpu_seconds_total[5m])", "{{job}} {{instance}}"),
            unit="short",
        ),
        graph(
            "Redis' memory",
            "Of the register and the proxies' keys.",
            ("ringfence_redis_memory_bytes", "{{redis}}"),
            unit="bytes",
        ),
        graph(
            "Keys evicted",
            "Above 0: entries or block keys are lost.",
            ("rate(ringfence_redis_evicted_keys_total[5m])", "{{redis}}"),
            unit="short",
        ),
    ]


def _neighbours() -> list[Any]:
    """Whoever asks us, and whom we tell."""
    return [
        graph(
            "Requests by route",
            "Who asks what?",
            ("ringfence:http_requests_by_route:rate5m", "{{route}}"),
            unit="reqps",
        ),
        graph(
            "Time of an answer, p99",
            "A lookup's is promised below 5 ms.",
            ("ringfence:http_request_duration_seconds:p99_rate5m", "{{route}}"),
            unit="s",
        ),
        graph(
            "Keys of proxies",
            "Near keys_max numbers go without.",
            ("ringfence_sink_keys", "{{kind}}"),
            ("ringfence_sink_keys_max", "at most"),
            unit="short",
        ),
        graph(
            "Age of the proxies' keys",
            "Since they were last known to be right.",
            ("ringfence:keys_age_seconds", "age"),
            unit="s",
            limit=60,
        ),
        graph(
            "Webhooks",
            "Delivered, filtered, given up.",
            (
                "sum by (endpoint, outcome) (rate(ringfence_webhook_events_total[5m]))",
                "{{endpoint}} {{outcome}}",
            ),
            unit="short",
        ),
        graph(
            "Certificates good for",
            "Which has to be renewed?",
            ("ringfence_certificate_expires_timestamp_seconds - time()", "{{of}}"),
            unit="s",
        ),
    ]


def internals() -> Dashboard:
    """For whoever asks why it is slow."""
    return board(
        "ringfence-internals",
        "Ringfence: internals",
        "Workers, batches, events, memory; HTTP, sinks and Redis.",
        [
            ("Standing", _standing()),
            ("The calls' way", _way()),
            ("Processes", _processes()),
            ("HTTP and sinks", _neighbours()),
        ],
    )

"""The metrics that figures are made of, by the names under which `/metrics` has them.

A metric that is renamed in the catalogue is renamed here, in one line; a test requires each name to
be in the catalogue.
"""

from typing import Final

CALLS: Final = "ringfence_calls_total"
DECISIONS: Final = "ringfence_decisions_total"
REJECTED: Final = "ringfence_records_rejected_total"
UNASKED: Final = "ringfence_calls_unasked_total"
LATENCY: Final = "ringfence_decision_latency_seconds"
LAG: Final = "ringfence_lag_records"
PARTITIONS_STOPPED: Final = "ringfence_partitions_stopped"
KAFKA_UP: Final = "ringfence_kafka_up"
REGISTER_UP: Final = "ringfence_register_up"
LIST_GENERATION: Final = "ringfence_list_generation"
LIST_SYNCED: Final = "ringfence_list_synced_timestamp_seconds"
LIST_ENTRIES: Final = "ringfence_list_entries"
LIST_CHANGES: Final = "ringfence_list_changes"
OUT_OF_SCOPE: Final = "ringfence_matches_out_of_scope_total"
BARE_CHANCE: Final = "ringfence_bare_filters_chance_ratio"
AGREEMENTS: Final = "ringfence_agreements"
READY_WORKERS: Final = "ringfence_workers_ready"
WORKER_RESTARTS: Final = "ringfence_worker_restarts_total"
BUILD: Final = "ringfence_build_info"
DEPLOYMENT: Final = "ringfence_deployment_info"

FEED_HELD: Final = "ringfence_feed_held"
FEED_NUMBERS: Final = "ringfence_feed_numbers"
FEED_ACCEPTED: Final = "ringfence_feed_accepted_timestamp_seconds"
FEED_CONFIRMED: Final = "ringfence_feed_confirmed_timestamp_seconds"
FEED_FAILURES: Final = "ringfence_feed_consecutive_failures"
FEED_FILE_WRONG: Final = "ringfence_feed_file_wrong"
FEEDS_REGISTER_UP: Final = "ringfence_feeds_register_up"
APPEALS: Final = "ringfence_appeals"
APPEALS_OVERDUE: Final = "ringfence_appeals_overdue"

EXCHANGE_EXPIRES: Final = "ringfence_exchange_expires_timestamp_seconds"
EXCHANGE_REGISTER_UP: Final = "ringfence_exchange_register_up"
ENFORCED_LEFT: Final = "ringfence_enforcement_lag_records"

SINK_LAG: Final = "ringfence_sink_lag_records"
SINK_KEYS: Final = "ringfence_sink_keys"
SINK_BUILT: Final = "ringfence_sink_built_timestamp_seconds"
SINK_REDIS_UP: Final = "ringfence_sink_redis_up"
WEBHOOK_EVENTS: Final = "ringfence_webhook_events_total"
WEBHOOK_FAILING: Final = "ringfence_webhook_failing"

REQUESTS: Final = "ringfence_http_requests_total"
REQUEST: Final = "ringfence_http_request_duration_seconds"
HTTP_REGISTER_UP: Final = "ringfence_http_register_up"
CONNECTIONS: Final = "ringfence_http_connections"
LOOKUPS: Final = "ringfence_http_lookups_total"

STARTED: Final = "process_start_time_seconds"
"""prometheus_client's own: when the process began, since the epoch."""

HISTOGRAMS: Final = frozenset({LATENCY, REQUEST})
"""Read bucket by bucket."""

USED: Final = frozenset(
    value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str)
)
"""Every name above; what is not among them is not even parsed."""

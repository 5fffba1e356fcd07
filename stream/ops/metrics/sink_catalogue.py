"""The catalogues of `ringfence sink redis`, `sink webhooks` and `ingest`, as in `catalogue.py`."""

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue
from stream.ops.metrics.shared_catalogue import RedisMetrics, SkipMetrics


class SinkMetrics(Catalogue):
    """Metrics of every sink."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.lag = self._gauge(
            "ringfence_sink_lag_records",
            "Decisions in a partition that the sink has not delivered yet.",
            "Rises and does not fall: the sink's other end is slow or away. Nothing is lost "
            "before the decisions topic's retention is over.",
            ["sink", "partition"],
        )
        self.events = self._counter(
            "ringfence_sink_events",
            "Commits, rebalances and waits for Kafka of the sinks.",
            "As in a worker: what happened between the sink and Kafka.",
            ["event"],
        )


class RedisSinkMetrics(Catalogue):
    """Metrics of `ringfence sink redis` besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.redis = RedisMetrics(registry, "proxies")
        self.skips = SkipMetrics(registry)
        self.decisions = self._counter(
            "ringfence_sink_decisions",
            "Decisions read by the Redis sink, by what became of them.",
            "unblocked: callers whom lists let pass by now, harmless. capped: see keys_max. "
            "unreadable: somebody else writes to the decisions topic.",
            ["outcome"],
        )
        self.keys = self._gauge(
            "ringfence_sink_keys",
            "Keys in the proxies' Redis: decided, preloaded, spared (exceptions), prefixes.",
            "decided and preloaded together near ringfence_sink_keys_max: see capped.",
            ["kind"],
        )
        self.keys.labels("prefixes")
        self.keys_max = self._gauge(
            "ringfence_sink_keys_max",
            "Keys of numbers that may be written.",
            "Raise keys_max, and give Redis 250 bytes of memory a key.",
        )
        self.capped = self._counter(
            "ringfence_sink_keys_capped",
            "Keys not written since there were keys_max.",
            "Above 0: numbers have no key, so their calls are stopped by the engine's answer "
            "alone, or not at all: raise keys_max, or preload less.",
        )
        self.writes = self._counter(
            "ringfence_sink_writes",
            "Keys put and deleted.",
            "A rate of deletions far above the changes of lists: what does not fit together?",
            ["kind"],
        )
        self.built = self._gauge(
            "ringfence_sink_built_timestamp_seconds",
            "When the proxies' keys were last known to be right, since the epoch; 0: not yet.",
            "time() minus this beyond a minute: proxies decide by old keys. The log says why.",
        )
        self.redis_up = self._gauge(
            "ringfence_sink_redis_up",
            "Whether the proxies' Redis answers.",
            "0: the proxies' Redis is away; decisions wait in Kafka.",
        )
        self.rebuilds = self._counter(
            "ringfence_sink_rebuilds",
            "Times that all keys were written again, since Redis had lost them.",
            "Rises without a restart of Redis: somebody deletes bl:meta, or flushes that Redis.",
        )


class WebhookMetrics(Catalogue):
    """Metrics of `ringfence sink webhooks` besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.events = self._counter(
            "ringfence_webhook_events",
            "Decisions per endpoint: delivered, filtered, given_up, unreadable.",
            "given_up rises: the endpoint was away too long or refuses; what it missed is in "
            "the topic of undelivered decisions, with the reason in the headers.",
            ["endpoint", "outcome"],
        )
        self.tries = self._counter(
            "ringfence_webhook_tries",
            "Tries to deliver, by endpoint and result.",
            "certificate, private_address, redirected: look at the endpoint's url and ca_file. "
            "refused: ask the receiver, perhaps the secret is not theirs. busy: it asks for "
            "fewer at once.",
            ["endpoint", "result"],
        )
        self.failing = self._gauge(
            "ringfence_webhook_failing",
            "Whether the endpoint's last try failed.",
            "1 for long: ringfence_webhook_tries_total says what stands in the way.",
            ["endpoint"],
        )


class IngestMetrics(Catalogue):
    """Every metric of the process that reads files of records."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.records = self._counter(
            "ringfence_ingest_records",
            "Records of files that Kafka has, by dialect: taken, unreadable, too_long.",
            "taken stands still while calls are made: does the switch still write, and to this "
            "file? unreadable: they end on the topic of rejected records, which says why. "
            "too_long: so do their beginnings; the log names file, line and byte.",
            ["dialect", "outcome"],
        )
        self.files = self._counter(
            "ringfence_ingest_files",
            "What happened to files: begun, finished, rotated, truncated, lost, too_large, "
            "unreadable.",
            "lost: a file was gone before it was read to its end, see deploy/RUNBOOK.md, Records "
            "in files. unreadable: look at the log and at the file's permissions.",
            ["happening"],
        )
        self.behind = self._gauge(
            "ringfence_ingest_behind_bytes",
            "Bytes in the files that were not sent yet.",
            "Rises and does not fall: Kafka is away or slow, ringfence_ingest_waiting_seconds "
            "says so; or one process is not enough for what the switch writes.",
        )
        self.waits = self._gauge(
            "ringfence_ingest_waiting_seconds",
            "How long the records under way have waited for Kafka; 0: none are.",
            "Above a few seconds: Kafka takes no records. They wait in the file; nothing is lost "
            "while it is there.",
        )

"""The catalogue of the sinks' metrics: what `ringfence sink redis` and `sink webhooks` count.

The rules are those of `ops.metrics`: labels from enums and the configuration, a comment on what to
do.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge


class SinkMetrics:
    """What every sink has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Rises and does not fall: the sink's other end is slow or away. Nothing is lost before the
        # decisions topic's retention is over.
        self.lag = Gauge(
            "ringfence_sink_lag_records",
            "Decisions in a partition that the sink has not delivered yet.",
            ["sink", "partition"],
            registry=registry,
        )
        # As in a worker: what happened between the sink and Kafka.
        self.events = Counter(
            "ringfence_sink_events",
            "Commits, rebalances and waits for Kafka of the sinks.",
            ["event"],
            registry=registry,
        )


class RedisSinkMetrics:
    """What `ringfence sink redis` has besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # unblocked: callers whom lists let pass by now, harmless. capped: see keys_max.
        # unreadable: somebody else writes to the decisions topic.
        self.decisions = Counter(
            "ringfence_sink_decisions",
            "Decisions read by the Redis sink, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        # decided and preloaded together near ringfence_sink_keys_max: see capped.
        self.keys = Gauge(
            "ringfence_sink_keys",
            "Keys in the proxies' Redis: decided, preloaded, spared (exceptions), prefixes.",
            ["kind"],
            registry=registry,
        )
        self.keys.labels("prefixes")
        # Raise keys_max, and give Redis 250 bytes of memory a key.
        self.keys_max = Gauge(
            "ringfence_sink_keys_max", "Keys of numbers that may be written.", registry=registry
        )
        # Above 0: numbers have no key, so their calls are stopped by the engine's answer alone,
        # or not at all: raise keys_max, or preload less.
        self.capped = Counter(
            "ringfence_sink_capped",
            "Keys not written since there were keys_max.",
            registry=registry,
        )
        # A rate of deletions far above the changes of lists: what does not fit together?
        self.writes = Counter(
            "ringfence_sink_writes", "Keys put and deleted.", ["what"], registry=registry
        )
        # time() minus this beyond a minute: proxies decide by old keys. The log says why.
        self.built = Gauge(
            "ringfence_sink_built_timestamp_seconds",
            "When the proxies' keys were last known to be right, since the epoch; 0: not yet.",
            registry=registry,
        )
        # 0: the proxies' Redis is away; decisions wait in Kafka.
        self.redis_up = Gauge(
            "ringfence_sink_redis_up", "Whether the proxies' Redis answers.", registry=registry
        )
        # Rises without a restart of Redis: somebody deletes bl:meta, or flushes that Redis.
        self.rebuilds = Counter(
            "ringfence_sink_rebuilds",
            "Times that all keys were written anew, since Redis had lost them.",
            registry=registry,
        )


class WebhookMetrics:
    """What `ringfence sink webhooks` has besides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # given_up rises: the endpoint was away too long or refuses; what it missed is in the topic
        # of undelivered decisions, with the reason in the headers.
        self.events = Counter(
            "ringfence_webhook_events",
            "Decisions per endpoint: delivered, filtered, given_up, unreadable.",
            ["endpoint", "outcome"],
            registry=registry,
        )
        # certificate, private_address, redirected: look at the endpoint's url and ca_file. refused:
        # ask the receiver, perhaps the secret is not theirs. busy: it asks for fewer at once.
        self.tries = Counter(
            "ringfence_webhook_tries",
            "Tries to deliver, by endpoint and result.",
            ["endpoint", "result"],
            registry=registry,
        )
        # 1 for long: ringfence_webhook_tries_total says what stands in the way.
        self.failing = Gauge(
            "ringfence_webhook_failing",
            "Whether the endpoint's last try failed.",
            ["endpoint"],
            registry=registry,
        )

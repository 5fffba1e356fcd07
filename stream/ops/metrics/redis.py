"""The catalogue of what a Redis of ours says of its own memory; by the rules of `catalogue.py`.

`redis` is which one: `register` (told by `ringfence feeds run`) or `proxies` (by the Redis sink).
"""

from collections.abc import Mapping
from typing import Any, Literal

from prometheus_client import CollectorRegistry

from stream.ops.metrics.catalogue import Catalogue


class RedisMetrics(Catalogue):
    """One Redis, as its INFO has it."""

    def __init__(self, registry: CollectorRegistry, which: Literal["register", "proxies"]) -> None:
        super().__init__(registry)
        self._which = which
        self._evicted_before: int | None = None
        self.memory = self._gauge(
            "ringfence_redis_memory_bytes",
            "Memory that Redis uses for what it holds.",
            "Near ringfence_redis_memory_max_bytes: the register refuses changes then; give it "
            "more memory, or keep fewer old generations ([lists] bases_kept).",
            ["redis"],
        )
        self.memory_max = self._gauge(
            "ringfence_redis_memory_max_bytes",
            "Memory that Redis may use (maxmemory); 0: as much as there is.",
            "0: set it below the machine's memory, with maxmemory-policy noeviction, so that Redis "
            "says that it is full instead of being killed.",
            ["redis"],
        )
        self.evicted = self._counter(
            "ringfence_redis_evicted_keys",
            "Keys that Redis threw away for lack of memory.",
            "Above 0: block keys or list entries are gone. Set maxmemory-policy noeviction and "
            "give it more memory; deploy/RUNBOOK.md, RedisEvicts.",
            ["redis"],
        )
        self.evicted.labels(which)

    def told(self, info: Mapping[str, Any]) -> None:
        """What INFO said just now; some of it may be missing, where a server is not quite Redis."""
        self.memory.labels(self._which).set(int(info.get("used_memory", 0)))
        self.memory_max.labels(self._which).set(int(info.get("maxmemory", 0)))
        evicted = int(info.get("evicted_keys", 0))
        if self._evicted_before is not None:
            # Less than before: it was restarted, and counts anew.
            more = evicted - self._evicted_before if evicted >= self._evicted_before else evicted
            self.evicted.labels(self._which).inc(more)
        self._evicted_before = evicted

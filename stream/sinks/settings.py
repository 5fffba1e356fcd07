"""`[sinks]`: what is delivered where; checked like every other section."""

from dataclasses import dataclass
from typing import Annotated

from stream.ops import checks
from stream.ops.tables import Between, Checked
from stream.sinks.redis_sink import RedisSinkSettings

Port = Annotated[int, Between(0, 65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSinkSection:
    """`[sinks.redis]`: the Redis that SIP proxies ask; `url` "": the register's own."""

    url: Annotated[str, Checked(checks.maybe_redis_url)]
    timeout_s: Annotated[float, Between(0.05, 60)]
    group_id: str
    keys_max: Annotated[int, Between(100, 100_000_000)]
    prefixes: bool
    preload: bool
    sweep_s: Annotated[float, Between(0.5, 86_400)]
    http_port: Port

    def settings(self, ttl_s: int) -> RedisSinkSettings:
        """For `sinks.redis_sink`; a key lives for `ttl_s` at most."""
        return RedisSinkSettings(self.keys_max, ttl_s, self.sweep_s, self.preload, self.prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinksSection:
    """`[sinks]`."""

    redis: RedisSinkSection

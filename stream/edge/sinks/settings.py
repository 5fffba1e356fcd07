"""`[sinks]`: what is delivered where; checked like every other section."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from stream.core.model.errors import ConfigInvalid
from stream.edge.sinks.cloud_event import Mode, secret_of
from stream.ops.renewed_secret import RenewedSecret, held
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems, secret

SigningSecret = bytes | RenewedSecret[bytes]
"""Of a webhook; one of a file counts as soon as the file has changed."""
Port = Annotated[int, Between(0, 65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSinkSection:
    """`[sinks.redis]`: the Redis that SIP proxies ask; `url` "": the list store's own.

    There are at most `keys_max` keys of numbers, of which preloaded ones leave a tenth free. All
    are looked at each `sweep_s`. `preload`: numbers on lists have keys before they call;
    `prefixes`: prefixes on lists have keys.
    """

    url: Annotated[str, Checked(checks.maybe_proxies_url)]
    ca_file: str
    cert_file: str
    key_file: str
    sentinels: tuple[Annotated[str, Checked(checks.server)], ...]
    sentinel_master: str
    sentinel_tls: bool
    timeout_s: Annotated[float, Between(0.05, 60)]
    group_id: str
    keys_max: Annotated[int, Between(100, 100_000_000)]
    prefixes: bool
    preload: bool
    sweep_s: Annotated[float, Between(0.5, 86_400)]
    http_port: Port

    def __post_init__(self) -> None:
        found = checks.redis_access(
            self.url, self.ca_file, self.cert_file, self.key_file, self.sentinel_tls
        )
        found += checks.sentinels(self.sentinels, self.sentinel_master, self.url)
        if found:
            raise Problems(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSection:
    """`[sinks.webhooks.endpoints.<name>]`: docs/how-to/sinks/webhooks.md explains it.

    `secret_env` names the variable with the secret (`whsec_...`), `old_secret_env` one that is
    being replaced. Only decisions by one of `lists` are sent; empty: by any. `origin` is the name
    under which permission is asked before events are sent; "": none is. Times are in seconds.
    """

    url: Annotated[str, Checked(checks.web_url)]
    secret_env: Annotated[str, Checked(checks.variable)]
    old_secret_env: Annotated[str, Checked(checks.maybe(checks.variable))] = ""
    mode: Mode = "binary"
    verdicts: tuple[Literal["block", "flag", "allow", "simulated"], ...] = ("block",)
    lists: tuple[Annotated[str, Checked(checks.list_name)], ...] = ()
    timeout_s: Annotated[float, Between(0.1, 300)] = 10.0
    give_up_s: Annotated[float, Between(1, 7 * 86_400)] = 3600.0
    parallel: Annotated[int, Between(1, 256)] = 8
    private_addresses: bool = False
    ca_file: str = ""
    origin: Annotated[str, Checked(checks.maybe(checks.host))] = ""

    def __post_init__(self) -> None:
        found = []
        if self.url.startswith("http:") and not self.private_addresses:
            text = "must be https://; http:// is for a network of your own (private_addresses)"
            found.append(Problem(("url",), text))
        found += checks.tls_files(self.ca_file, "", "")
        if not self.verdicts:
            found.append(Problem(("verdicts",), "names none: nothing would be delivered"))
        if found:
            raise Problems(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksSection:
    """`[sinks.webhooks]`."""

    undelivered_topic: Annotated[str, Checked(checks.topic)]
    http_port: Port
    endpoints: dict[Annotated[str, Checked(checks.feed_name)], EndpointSection]

    def topics(self) -> tuple[str, ...]:
        """Return the topics that webhooks need besides."""
        return (self.undelivered_topic,) if self.endpoints else ()

    def secrets(self, environ: Mapping[str, str]) -> dict[str, tuple[SigningSecret, ...]]:
        """Return each endpoint's secrets, newest first. Raises ConfigInvalid with all errors."""
        errors: list[str] = []
        found = {}
        for name, section in self.endpoints.items():
            found_here: list[SigningSecret] = []
            for variable in filter(None, (section.secret_env, section.old_secret_env)):
                text = secret(variable, environ, errors)
                try:
                    found_here.append(held(variable, environ, secret_of(text), secret_of))
                except ValueError as error:
                    what = str(error) if text else "is not set"
                    errors.append(f"environment: {variable}: {what}; it signs webhook {name}")
            found[name] = tuple(found_here)
        if errors:
            raise ConfigInvalid(tuple(errors))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SinksSection:
    """`[sinks]`."""

    redis: RedisSinkSection
    webhooks: WebhooksSection

"""All settings, read once: `default.toml` < the files of `--config`, in their order < secrets.

Secrets come from the environment only (a variable, or the file that `<variable>_FILE` names).
`load` raises `ConfigInvalid` with every error found, each with file and key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import IntEnum
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from cattrs import Converter

from stream.calls.dialects.mapping import MappingSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core.call import Ingress
from stream.core.decision import Action, SipSettings
from stream.core.faults import ConfigInvalid
from stream.core.policy import ListPolicy, PolicySettings, RuleSettings
from stream.ops import checks
from stream.ops.tables import (
    Between,
    Checked,
    Key,
    Problem,
    Problems,
    Tables,
    dotted,
    flat,
    one_of,
    secret,
    shown,
    strict_converter,
    structured,
)

SECRETS = {
    "kafka_password": "RINGFENCE_KAFKA_PASSWORD",
    "redis_username": "RINGFENCE_REDIS_USERNAME",
    "redis_password": "RINGFENCE_REDIS_PASSWORD",
}
PLAIN = "plain"
CIRCLE_KEY_BYTES = 32
# This table takes the default's place instead of adding to it: who names topics means only these.
REPLACED_WHOLE = frozenset({("calls", "topics")})


Filled = Annotated[str, Checked(checks.filled)]
Country = Annotated[str, Checked(checks.country)]
Topic = Annotated[str, Checked(checks.topic)]
Millis = Annotated[int, Between(1, 3_600_000)]
Listed = Literal["observe", "flag", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSection:
    """`[kafka]`: how brokers are reached."""

    bootstrap_servers: Annotated[str, Checked(checks.servers)]
    client_id: Filled
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    ca_file: str
    cert_file: str
    key_file: str
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    sasl_username: str
    replication_factor: Annotated[int, Between(1, 100)]

    def __post_init__(self) -> None:
        found = [
            Problem((name,), f'names no file: "{path}"')
            for name in ("ca_file", "cert_file", "key_file")
            if (path := getattr(self, name)) and not Path(path).is_file()
        ]
        if bool(self.cert_file) != bool(self.key_file):
            name = "key_file" if self.cert_file else "cert_file"
            found.append(Problem((name,), "is missing: cert_file and key_file go together"))
        if self.security_protocol.startswith("SASL") and not self.sasl_username:
            found.append(Problem(("sasl_username",), f"is needed for {self.security_protocol}"))
        _raise(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSection:
    """`[redis]`: where the register is."""

    url: Annotated[str, Checked(checks.redis_url)]
    require_aof: bool
    timeout_s: Annotated[float, Between(0.05, 60)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSection:
    """`[calls]`: what is read, how far at once, and how it is answered."""

    group_id: Filled
    instance_id: str
    start_at: Literal["earliest", "latest"]
    delivery: Literal["at_least_once", "exactly_once"]
    emit: Literal["blocks", "all"]
    check_callee: bool
    home_country: Country
    decisions_topic: Topic
    rejected_topic: Topic
    partitions: Annotated[int, Between(1, 10_000)]
    record_bytes_max: Annotated[int, Between(256, 64 * 1024 * 1024)]
    batch_records_max: Annotated[int, Between(1, 100_000)]
    batch_wait_ms: Millis
    commit_interval_ms: Millis
    session_timeout_ms: Millis
    rebalance_timeout_ms: Millis
    transaction_timeout_ms: Millis
    topics: dict[Topic, Filled]

    def __post_init__(self) -> None:
        found = [
            Problem((name,), f"must be below rebalance_timeout_ms ({self.rebalance_timeout_ms})")
            for name in ("batch_wait_ms", "commit_interval_ms")
            if getattr(self, name) >= self.rebalance_timeout_ms
        ]
        if self.transaction_timeout_ms > self.session_timeout_ms // 2:
            # Else a worker that lost its partitions could commit beside the one that has them now.
            half = self.session_timeout_ms // 2
            text = (
                f"must be at most half of session_timeout_ms ({half}), or two workers could decide"
            )
            found.append(Problem(("transaction_timeout_ms",), f"{text} the same calls"))
        if not self.topics:
            found.append(Problem(("topics",), 'names no topic to read, e.g. calls = "ringfence"'))
        outputs = (self.decisions_topic, self.rejected_topic)
        if self.decisions_topic == self.rejected_topic:
            found.append(Problem(("rejected_topic",), "must not be decisions_topic as well"))
        found += [
            Problem(("topics", topic), "is written by Ringfence and can not be read as calls")
            for topic in self.topics
            if topic in outputs
        ]
        _raise(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSection:
    """`[trunks.<name>]`: whose national numbers a trunk carries, and on which side it lies."""

    country: Country
    ingress: Literal["international", "domestic", "unknown"] = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class CircleSection:
    """`[circles.<name>]`: `key_env` is the variable that holds the circle's key, 64 hex digits."""

    key_env: Annotated[str, Checked(checks.variable)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """`[policy]`: what follows from a match; see `core.policy`."""

    unasked: Literal["allow", "flag"]
    decision_ttl_s: Annotated[int, Between(1, 10 * 365 * 86_400)]
    redress_url: str
    sip_location: Literal["LN", "TN", "RLN", "LPN", "RPN"]
    default: ListPolicy
    lists: dict[Annotated[str, Checked(checks.list_name)], ListPolicy]
    rules: RuleSettings
    emergency: dict[Country, tuple[Annotated[str, Checked(checks.short)], ...]]

    def __post_init__(self) -> None:
        parts = urlsplit(self.redress_url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            _raise([Problem(("redress_url",), "must be an address, https://...")])
        try:
            self.sip()
        except ValueError as error:
            text = str(error).removeprefix("redress_url ")
            _raise([Problem(("redress_url",), text)])

    def sip(self) -> SipSettings:
        """What goes into a block's SIP answer."""
        return SipSettings(redress_url=self.redress_url, location=self.sip_location)

    def settings(self) -> PolicySettings:
        """The same for `core.policy`."""
        return PolicySettings(
            default=self.default,
            lists=self.lists,
            rules=self.rules,
            unasked=Action.FLAG if self.unasked == "flag" else Action.OBSERVE,
            decision_ttl_s=self.decision_ttl_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsSection:
    """`[lists]`: where the last good lists lie, and how changes are followed."""

    state_dir: Filled
    changes_block_ms: Annotated[int, Between(10, 60_000)]
    reconcile_s: Annotated[float, Between(0.1, 86_400)]
    generations_kept: Annotated[int, Between(1, 100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsSection:
    """`[ops]`: how the program is watched and stopped."""

    http_host: Filled
    http_port: Annotated[int, Between(0, 65_535)]
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    stalled_s: Annotated[float, Between(0.5, 3600)]
    shutdown_s: Annotated[float, Between(0.5, 600)]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the environment holds; never printed. `circle_keys` by circle, without `plain`."""

    kafka_password: str = field(default="", repr=False)
    redis_username: str = field(default="", repr=False)
    redis_password: str = field(default="", repr=False)
    circle_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    kafka: KafkaSection
    redis: RedisSection
    calls: CallsSection
    mappings: dict[str, MappingSettings]
    trunks: dict[str, TrunkSection]
    circles: dict[Filled, CircleSection]
    policy: PolicySection
    lists: ListsSection
    ops: OpsSection
    secrets: Secrets = field(default_factory=Secrets)

    def trunks_by_name(self) -> Trunks:
        """The trunks for `calls.decide`."""
        named = {
            name: Trunk(trunk.country, Ingress(trunk.ingress))
            for name, trunk in self.trunks.items()
        }
        return Trunks(self.calls.home_country, named)

    def redacted(self) -> dict[str, Any]:
        """Every setting as a nested table to print; of a secret only whether it is set."""
        table = {
            section.name: _plain(getattr(self, section.name))
            for section in fields(self)
            if section.name != "secrets"
        }
        table["secrets"] = {
            variable: "set" if getattr(self.secrets, name) else "not set"
            for name, variable in SECRETS.items()
        }
        for name, circle in self.circles.items():
            table["secrets"][circle.key_env] = (
                "set" if name in self.secrets.circle_keys else "not set"
            )
        return table


def _across(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong between sections; looked for in the raw values, so that it is always said."""
    tables = {name: _table(values, name) for name in ("calls", "circles", "mappings")}
    if PLAIN in tables["circles"]:
        text = "is the circle without a key and needs no table; choose another name"
        yield Problem(("circles", PLAIN), text)
    for topic, dialect in _table(tables["calls"], "topics").items():
        key = ("calls", "topics", topic)
        name = str(dialect).removeprefix("mapping:")
        if name == dialect and dialect != "ringfence":
            yield Problem(key, f'must be "ringfence" or "mapping:<name>", not {shown(dialect)}')
        elif name != dialect and name not in tables["mappings"]:
            known = ", ".join(tables["mappings"]) or "there is none"
            yield Problem(key, f"names no table [mappings.{name}]; known: {known}")


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def _raise(found: list[Problem]) -> None:
    if found:
        raise Problems(found)


def default_file() -> Path:
    """The file of defaults: inside an installed wheel, else in the repository's `config/`."""
    packaged = Path(str(files("stream"))) / "default.toml"
    return packaged if packaged.is_file() else packaged.parents[1] / "config" / "default.toml"


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Settings:
    """The settings of the defaults, of `paths` laid over them in order, and of the environment.

    Raises ConfigInvalid with every error found.
    """
    tables = Tables()
    tables.lay(default_file())
    defaults = dict(flat(tables.values))
    for path in paths:
        tables.lay(path, REPLACED_WHOLE)
    values = _inherited(tables.values)
    settings, problems = structured(_converter(), values, Settings, defaults)
    problems = [*_across(values), *(one for one in problems if not _is_inherited(one.key, tables))]
    errors = [*tables.errors, *(f"{tables.place(key)}: {text}" for key, text in problems)]
    secrets = _secrets(values, environ, errors)
    if errors or settings is None:
        raise ConfigInvalid(tuple(errors))
    return replace(settings, secrets=secrets)


def _inherited(values: dict[str, Any]) -> dict[str, Any]:
    """The values with each list's policy completed from `[policy.default]`."""
    policy = values.get("policy")
    if not isinstance(policy, dict):
        return values
    default, lists = policy.get("default"), policy.get("lists")
    if not isinstance(default, dict) or not isinstance(lists, dict):
        return values
    completed = {
        name: default | own if isinstance(own, dict) else own for name, own in lists.items()
    }
    return values | {"policy": policy | {"lists": completed}}


def _is_inherited(key: Key, tables: Tables) -> bool:
    """Whether the value is `[policy.default]`'s, seen again in a list that took it over."""
    if key[:2] != ("policy", "lists") or len(key) < 4:
        return False
    lists = _table(_table(tables.values, "policy"), "lists")
    return key[3] in _table(_table(tables.values, "policy"), "default") and key[3] not in _table(
        lists, key[2]
    )


def _converter() -> Converter:
    converter = strict_converter()

    def action(value: Any, kind: Any) -> Action | None:
        may_be_off = isinstance(kind, UnionType)
        allowed = ("observe", "flag", "block", *(("off",) if may_be_off else ()))
        if value not in allowed:
            raise ValueError(f"must be {one_of(allowed)}, not {shown(value)}")
        return None if value == "off" else Action[cast("str", value).upper()]

    converter.register_structure_hook(Action, action)
    converter.register_structure_hook_func(lambda kind: kind == Action | None, action)
    converter.register_structure_hook(Secrets, lambda *_: Secrets())
    return converter


def _secrets(values: Mapping[str, Any], environ: Mapping[str, str], errors: list[str]) -> Secrets:
    given = {name: secret(variable, environ, errors) for name, variable in SECRETS.items()}
    protocol = _table(values, "kafka").get("security_protocol")
    if isinstance(protocol, str) and protocol.startswith("SASL") and not given["kafka_password"]:
        errors.append(f"environment: {SECRETS['kafka_password']}: is needed for {protocol}")
    keys = {}
    for name, circle in _table(values, "circles").items():
        variable = circle.get("key_env") if isinstance(circle, dict) else None
        if not isinstance(variable, str) or checks.variable(variable) is not None:
            continue
        text = secret(variable, environ, errors)
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            what = "is not set" if not text else "is not 64 hex digits (32 bytes)"
            key = dotted(("circles", name))
            errors.append(f"environment: {variable}: {what}; it is the key of {key}")
        else:
            keys[name] = bytes.fromhex(text)
            assert len(keys[name]) == CIRCLE_KEY_BYTES
    return Secrets(**given, circle_keys=keys)


def _plain(value: Any) -> Any:
    """A settings value as JSON and TOML know it."""
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, IntEnum):
        return value.name.lower()
    return "off" if value is None else value

"""All settings, read once: `default.toml` < the files of `--config`, in their order < variables.

Secrets come from the environment only (a variable, or the file that `<variable>_FILE` names).
`load` raises `ConfigInvalid` with every error found, each with file and key.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlsplit

from cattrs import Converter

from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import Dialect, SwitchSettings
from stream.calls.dialects.mapping_settings import MappingSettings
from stream.calls.encodings.registry import RegistryDialect
from stream.calls.trunks import Trunk, Trunks
from stream.config.bundled_files import location
from stream.config.environment import NO_TABLES, filled, settings_in
from stream.config.sections import (
    AgreementsSection,
    AppealsSection,
    CallsSection,
    CircleSection,
    EnforcementSection,
    ExchangeSection,
    Filled,
    IngestSection,
    KafkaSection,
    ListsSection,
    OpsSection,
    OwnerSection,
    PolicySection,
    RedisSection,
    StirSection,
    TrunkSection,
    toml_paths,
)
from stream.core.model.call import Ingress
from stream.core.model.decision import Action
from stream.core.model.errors import ConfigInvalid, SecretUnsafe
from stream.core.policy.rules import RuleState
from stream.edge.http.settings import ServeSettings
from stream.edge.http.token_file import TokenFile
from stream.edge.http.tokens import Tokens, read_tokens
from stream.edge.sinks.settings import SinksSection
from stream.edge.sip.settings import SipSettings
from stream.feeds.settings import FeedsSection
from stream.kafka.settings import (
    AwsIamSettings,
    KafkaSettings,
    OAuthSettings,
    SchemaRegistrySection,
    ServerWait,
)
from stream.lists.snapshot.circle_keys import CircleKeys, keys_in
from stream.lists.store.settings import ListStoreSettings
from stream.ops.monitor.targets import MonitorTarget, ProcessKind, address, other
from stream.ops.renewed_secret import Secret, held
from stream.ops.renewed_tls import RenewedContext
from stream.ops.schema import checks
from stream.ops.schema.toml import (
    Checked,
    Key,
    Problem,
    Tables,
    dotted,
    flat,
    one_of,
    plain,
    secret,
    shown,
    strict_converter,
    structured,
)

if TYPE_CHECKING:
    from stream.kafka.schema_registry import SchemaRegistry

SECRETS = {
    "kafka_password": "RINGFENCE_KAFKA_PASSWORD",
    "redis_username": "RINGFENCE_REDIS_USERNAME",
    "redis_password": "RINGFENCE_REDIS_PASSWORD",
    "sentinel_username": "RINGFENCE_REDIS_SENTINEL_USERNAME",
    "sentinel_password": "RINGFENCE_REDIS_SENTINEL_PASSWORD",
    "proxies_username": "RINGFENCE_PROXIES_REDIS_USERNAME",
    "proxies_password": "RINGFENCE_PROXIES_REDIS_PASSWORD",
    "proxies_sentinel_username": "RINGFENCE_PROXIES_REDIS_SENTINEL_USERNAME",
    "proxies_sentinel_password": "RINGFENCE_PROXIES_REDIS_SENTINEL_PASSWORD",
    "ingest_sftp_password": "RINGFENCE_INGEST_SFTP_PASSWORD",
    "schema_registry_password": "RINGFENCE_SCHEMA_REGISTRY_PASSWORD",
}
HTTP_TOKENS = "RINGFENCE_HTTP_TOKENS"
# All that are no settings of their own: `environment` takes any other for a misspelt one.
OTHERS = ("RINGFENCE_CONFIG", "RINGFENCE_ACTOR", "RINGFENCE_EXCHANGE_PASSPHRASE")
VARIABLES = frozenset({*SECRETS.values(), HTTP_TOKENS, *OTHERS})
PLAIN = "plain"
# This table replaces the default's instead of adding to it: who names topics means only these.
REPLACED_WHOLE = frozenset({("calls", "topics")})


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of the environment; never printed. `circle_keys` by circle, without `plain`.

    `http_tokens_file` is where the tokens come from; "": the variable itself. `followed` are those
    that count as soon as their file has changed, by the field's name.
    """

    kafka_password: str = field(default="", repr=False)
    redis_username: str = field(default="", repr=False)
    redis_password: str = field(default="", repr=False)
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    proxies_username: str = field(default="", repr=False)
    proxies_password: str = field(default="", repr=False)
    proxies_sentinel_username: str = field(default="", repr=False)
    proxies_sentinel_password: str = field(default="", repr=False)
    ingest_sftp_password: str = field(default="", repr=False)
    schema_registry_password: str = field(default="", repr=False)
    circle_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    http_tokens: Tokens = field(default_factory=Tokens, repr=False)
    http_tokens_file: str = ""
    followed: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    def of(self, name: str) -> Secret | None:
        """Return the secret of a field, which follows its file; None: it is not set."""
        return self.followed.get(name, getattr(self, name)) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Sections that lists and agreements are read by, and calls decided: all that `engine` sees.

    `exchange` is here for the folder of circles' keys, `ops` for the kernels.
    """

    kafka: KafkaSection
    redis: RedisSection
    calls: CallsSection
    mappings: dict[str, MappingSettings]
    switches: dict[Filled, SwitchSettings]
    trunks: dict[str, TrunkSection]
    circles: dict[Annotated[str, Checked(checks.circle_name)], CircleSection]
    policy: PolicySection
    stir: StirSection
    lists: ListsSection
    feeds: FeedsSection
    agreements: AgreementsSection
    exchange: ExchangeSection
    ops: OpsSection
    schema_registry: SchemaRegistrySection
    secrets: Secrets = field(default_factory=Secrets)
    asking: ServerWait = field(default_factory=ServerWait)

    def dialect(self, name: str) -> Dialect:
        """Return the dialect `name` of `[calls.topics]` or a command. Raises ValueError."""
        inner = dialect_named(name.removeprefix("registry:"), self.mappings, self.switches)
        if not name.startswith("registry:"):
            return inner
        schemas = self.schemas()
        if schemas is None:
            raise ValueError("needs a schema registry: say where it is in [schema_registry] url")
        return RegistryDialect(name, inner, schemas)

    def schemas(self) -> "SchemaRegistry | None":
        """Return the schema registry's client; None where none is named."""
        section = self.schema_registry
        if not section.url:
            return None
        # Its HTTP client takes 40 ms to import: for deployments that have a registry.
        from stream.kafka.schema_registry import registry_of  # noqa: PLC0415

        return registry_of(section, self.secrets.schema_registry_password)

    def trunks_by_name(self) -> Trunks:
        """Return the trunks for `calls.decide`."""
        named = {
            name: Trunk(
                trunk.country,
                Ingress(trunk.ingress),
                trunk.international_prefix,
                trunk.asserted_identity == "trusted",
            )
            for name, trunk in self.trunks.items()
        }
        return Trunks(self.calls.home_country, named, self.calls.international_prefix)

    def kafka_client(self) -> KafkaSettings:
        """Return the settings of Kafka clients. Raises ConfigInvalid for a bad certificate."""
        section = self.kafka
        context = None
        if "SSL" in section.security_protocol.split("_"):
            try:
                context = RenewedContext.of_client(
                    section.ca_file, section.cert_file, section.key_file
                )
            except OSError as error:  # ssl.SSLError is one
                text = f"ca_file, cert_file and key_file cannot be used: {error}"
                raise ConfigInvalid((f"kafka: {text}",)) from error
        return KafkaSettings(
            bootstrap_servers=section.bootstrap_servers,
            client_id=section.client_id,
            security_protocol=section.security_protocol,
            ssl=context,
            sasl_mechanism=section.sasl_mechanism,
            sasl_username=section.sasl_username or None,
            sasl_password=self.secrets.of("kafka_password"),
            oauth=self._oauth(),
            patience_s=self.asking.patience_s,
        )

    def _oauth(self) -> OAuthSettings | AwsIamSettings | None:
        section = self.kafka
        if section.sasl_mechanism != "OAUTHBEARER" or "SASL" not in section.security_protocol:
            return None
        if section.oauth_aws_region:
            return AwsIamSettings(section.oauth_aws_region)
        return OAuthSettings(
            section.oauth_token_url,
            section.sasl_username,
            self.secrets.of("kafka_password") or "",
            section.oauth_scope,
            section.oauth_extensions,
        )

    def list_store(self) -> ListStoreSettings:
        """Return the settings of the list store's clients."""
        section, secrets = self.redis, self.secrets
        put_back = self.lists.put_back
        return ListStoreSettings(
            url=section.url,
            username=secrets.of("redis_username"),
            password=secrets.of("redis_password"),
            ca_file=section.ca_file,
            cert_file=section.cert_file,
            key_file=section.key_file,
            sentinels=section.sentinels,
            sentinel_master=section.sentinel_master,
            sentinel_tls=section.sentinel_tls,
            sentinel_username=secrets.of("sentinel_username"),
            sentinel_password=secrets.of("sentinel_password"),
            require_aof=section.require_aof,
            timeout_s=section.timeout_s,
            wait_replicas=section.wait_replicas,
            wait_ms=section.wait_ms,
            put_back=put_back == "always" or (put_back == "failover" and bool(section.sentinels)),
            bases_kept=self.lists.bases_kept,
            bases_kept_days=self.lists.bases_kept_days,
        )

    def circle_keys(self) -> CircleKeys:
        """Return the hashing key of each circle, `plain`'s (none) among them; new ones count."""
        known = {PLAIN: b"", **self.secrets.circle_keys}
        return CircleKeys(known, Path(self.exchange.circles_dir))


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightSettings(EngineSettings):
    """The engine's sections, and those of contacts, appeals and sinks: all that `insight` sees."""

    owners: dict[Filled, OwnerSection]
    appeals: AppealsSection
    sinks: SinksSection

    def proxies(self) -> ListStoreSettings:
        """Return the settings of clients of the SIP proxies' Redis."""
        section = self.sinks.redis
        if not section.url:
            return replace(self.list_store(), timeout_s=section.timeout_s)
        return ListStoreSettings(
            url=section.url,
            username=self.secrets.of("proxies_username"),
            password=self.secrets.of("proxies_password"),
            ca_file=section.ca_file,
            cert_file=section.cert_file,
            key_file=section.key_file,
            sentinels=section.sentinels,
            sentinel_master=section.sentinel_master,
            sentinel_tls=section.sentinel_tls,
            sentinel_username=self.secrets.of("proxies_sentinel_username"),
            sentinel_password=self.secrets.of("proxies_sentinel_password"),
            timeout_s=section.timeout_s,
            named=("[sinks.redis] url", "RINGFENCE_PROXIES_REDIS_USERNAME and ..._PASSWORD"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(InsightSettings):
    """The whole configuration: for commands and services, and for the doctor that checks it."""

    enforcement: EnforcementSection
    serve: ServeSettings
    sip: SipSettings
    ingest: IngestSection

    def certificates(self, *uses: str) -> dict[str, str]:
        """Return the certificates of ours by use: kafka, redis, proxies, http, sip."""
        files = {
            "kafka": self.kafka.cert_file,
            "redis": self.redis.cert_file,
            "proxies": self.sinks.redis.cert_file,
            "http": self.serve.cert_file,
            "sip": self.sip.cert_file,
        }
        return {use: files[use] for use in uses if files[use]}

    def check_tls(self) -> None:
        """Load the files of TLS, as their processes do. Raises ConfigInvalid with every error."""
        kafka, redis, serve, sip = self.kafka, self.redis, self.serve, self.sip
        proxies, registry = self.sinks.redis, self.schema_registry
        of_client, of_server = RenewedContext.of_client, RenewedContext.of_server
        loads: dict[str, tuple[Callable[[str, str, str], object], tuple[str, str, str]]] = {
            "kafka": (of_client, (kafka.ca_file, kafka.cert_file, kafka.key_file)),
            "redis": (of_client, (redis.ca_file, redis.cert_file, redis.key_file)),
            "sinks.redis": (of_client, (proxies.ca_file, proxies.cert_file, proxies.key_file)),
            "schema_registry": (
                of_client,
                (registry.ca_file, registry.cert_file, registry.key_file),
            ),
            "serve": (of_server, (serve.cert_file, serve.key_file, "")),
            "sip": (of_server, (sip.cert_file, sip.key_file, sip.client_ca_file)),
        }
        wrong = []
        for name, (load_files, files) in loads.items():
            try:
                if any(files):
                    load_files(*files)
            except OSError as error:  # ssl.SSLError is one
                wrong.append(f"{name}: its files of TLS cannot be used: {error}")
        if wrong:
            raise ConfigInvalid(tuple(wrong))

    def deployment(self) -> str:
        """Return a hash of where list store and Kafka are: the same in all processes of them.

        No secret is in it, nor can an address be read from it.
        """
        redis = urlsplit(self.redis.url)
        store = f"{redis.hostname}:{redis.port or 6379}{redis.path.rstrip('/') or '/0'}"
        if self.redis.sentinels:
            store = f"{self.redis.sentinel_master}{redis.path} {sorted(self.redis.sentinels)}"
        brokers = sorted(one.strip() for one in self.kafka.bootstrap_servers.split(","))
        return hashlib.sha256(f"{store} {brokers}".encode()).hexdigest()[:12]

    def watched(self) -> tuple[MonitorTarget, ...]:
        """Return the places of metrics: processes of this configuration, then `[ops] watch`.

        A process with port 0 takes any port, so it is left out.
        """
        ports = {
            ProcessKind.ENGINE: self.ops.http_port,
            ProcessKind.FEEDS: self.feeds.http_port,
            ProcessKind.SERVE: self.serve.health_port,
            ProcessKind.SIP: self.sip.health_port,
            ProcessKind.INGEST: self.ingest.http_port,
            ProcessKind.REDIS_SINK: self.sinks.redis.http_port,
            ProcessKind.WEBHOOKS: self.sinks.webhooks.http_port,
            ProcessKind.EXCHANGE: self.exchange.http_port,
            ProcessKind.ENFORCEMENT: self.enforcement.http_port,
        }
        here = [
            MonitorTarget(kind.value, kind, address(self.ops.http_host, port), self.deployment())
            for kind, port in ports.items()
            if port
        ]
        return (*here, *(other(url) for url in self.ops.watch))

    def token_file(self, take_up: Callable[[Tokens], None]) -> TokenFile:
        """Return the watched file of clients' tokens."""
        file = self.secrets.http_tokens_file
        return TokenFile(Path(file) if file else None, self.secrets.http_tokens, take_up)

    def redacted(self) -> dict[str, Any]:
        """Return all settings as a nested table to print; secrets only as set or not set."""
        table = {
            section.name: plain(getattr(self, section.name))
            for section in fields(self)
            if section.name not in NO_TABLES
        }
        table["secrets"] = {
            variable: "set" if getattr(self.secrets, name) else "not set"
            for name, variable in SECRETS.items()
        }
        clients = len(self.secrets.http_tokens.held)
        table["secrets"][HTTP_TOKENS] = f"{clients} clients" if clients else "not set"
        for name, circle in self.circles.items():
            held = name in self.secrets.circle_keys
            table["secrets"][circle.key_env] = "set" if held else "not set"
        return table


def _across(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield problems between sections, from the raw values: so none hides another."""
    tables = {name: _table(values, name) for name in ("calls", "circles", "mappings", "trunks")}
    if PLAIN in tables["circles"]:
        text = "is the circle without a key and needs no table; choose another name"
        yield Problem(("circles", PLAIN), text)
    for source, trunk in _table(_table(values, "sip"), "trunks").items():
        if isinstance(trunk, str) and trunk not in tables["trunks"]:
            yield Problem(("sip", "trunks", source), _no_trunk(trunk, tables["trunks"]))
    rules = _table(_table(values, "policy"), "rules")
    for name in _table(rules, "trunks"):
        if name not in tables["trunks"]:
            yield Problem(("policy", "rules", "trunks", name), _no_trunk(name, tables["trunks"]))
    switches = dict(_switches(_table(values, "switches")))
    for name, switch in switches.items():
        if switch.trunk and switch.trunk not in tables["trunks"]:
            text = _no_trunk(switch.trunk, tables["trunks"])
            yield Problem(("switches", name, "trunk"), text)
    yield from _kinds(tables["mappings"])
    for topic, dialect in _table(tables["calls"], "topics").items():
        name = str(dialect).removeprefix("registry:")
        if name != dialect and not _table(values, "schema_registry").get("url"):
            text = "needs a schema registry: say where it is in [schema_registry] url"
            yield Problem(("calls", "topics", topic), text)
        kind, _, which = name.partition(":")
        if kind == "mapping" and which in tables["mappings"]:
            continue  # what is wrong in it is said there
        try:
            dialect_named(name, {}, switches)
        except ValueError as error:
            yield Problem(("calls", "topics", topic), str(error))


def _kinds(mappings: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the mappings that `kinds` of others name, and that read no kind of record."""
    plain = [name for name in mappings if not _table(mappings, name).get("kinds")]
    for name in mappings:
        kinds = _table(_table(mappings, name), "kinds")
        for place in kinds:
            for value, which in _table(kinds, place).items():
                if isinstance(which, str) and which not in plain:
                    text = f"names no table [mappings.{which}] without kinds; known: "
                    known = ", ".join(plain) or "there is none"
                    yield Problem(("mappings", name, "kinds", place, value), text + known)


def _no_trunk(name: str, trunks: Mapping[str, Any]) -> str:
    known = ", ".join(trunks) or "there is none"
    return f"names no table [trunks.{dotted((name,))}]; known: {known}"


def _switches(tables: Mapping[str, Any]) -> Iterator[tuple[str, SwitchSettings]]:
    """Yield the switches whose values are texts; problems of the others are reported elsewhere."""
    for name, table in tables.items():
        known = table if isinstance(table, dict) else {}
        texts = {
            key: known[key] for key in ("time_zone", "trunk") if isinstance(known.get(key), str)
        }
        try:
            yield name, SwitchSettings(**texts)
        except ValueError:
            yield name, SwitchSettings(time_zone="Z", trunk=texts.get("trunk", ""))


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def load(paths: Sequence[Path], environ: Mapping[str, str]) -> Settings:
    """Return the defaults with `paths` laid over them in order, then the environment's variables.

    A folder means its TOML files, in the order of their names.
    Raises ConfigInvalid with every error found.
    """
    tables = Tables()
    tables.lay(location("settings"))
    defaults = dict(flat(tables.values))
    fill = partial(filled, environ)
    for path in paths:
        try:
            found = [*toml_paths(path, "--config").values()] if path.is_dir() else [path]
        except ConfigInvalid as error:
            tables.errors += error.errors
            continue
        if not found:
            tables.errors.append(f"{path}: has no file that ends with .toml")
        for file in found:
            tables.lay(file, fill, REPLACED_WHOLE)
    whole = REPLACED_WHOLE
    # All at once: the first that is put takes names of the files away that others are found by.
    for given in [*settings_in(environ, Settings, tables.values, VARIABLES, tables.errors)]:
        tables.put(given.key, given.value, f"environment: {given.variable}", whole)
        whole -= {given.key[:2]}  # a second variable adds to the first
    values = _inherited(tables.values)
    settings, problems = structured(_converter(), values, Settings, defaults)
    problems = [*_across(values), *(one for one in problems if not _is_inherited(one.key, tables))]
    errors = [*tables.errors, *(f"{tables.place(key)}: {text}" for key, text in problems)]
    secrets = _secrets(values, environ, errors)
    if errors or settings is None:
        raise ConfigInvalid(tuple(errors))
    return replace(settings, secrets=secrets)


def _inherited(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with each list's policy completed from `[policy.default]`."""
    policy = values.get("policy")
    if not isinstance(policy, dict):
        return values
    default, lists = policy.get("default"), policy.get("lists")
    if not isinstance(default, dict) or not isinstance(lists, dict):
        return values
    whole = {name: default | own if isinstance(own, dict) else own for name, own in lists.items()}
    return values | {"policy": policy | {"lists": whole}}


def _is_inherited(key: Key, tables: Tables) -> bool:
    """Return whether the value is `[policy.default]`'s, seen again in a list."""
    if key[:2] != ("policy", "lists") or len(key) < 4:
        return False
    policy = _table(tables.values, "policy")
    own = _table(_table(policy, "lists"), key[2])
    return key[3] in _table(policy, "default") and key[3] not in own


@cache
def _converter() -> Converter:
    converter = strict_converter()

    def named(value: Any, kind: type[Action | RuleState]) -> Action | RuleState:
        allowed = tuple(each.name.lower() for each in kind)
        if value not in allowed:
            raise ValueError(f"must be {one_of(allowed)}, not {shown(value)}")
        return kind[cast("str", value).upper()]

    converter.register_structure_hook(Action, named)
    converter.register_structure_hook(RuleState, named)
    converter.register_structure_hook(Secrets, lambda *_: Secrets())
    converter.register_structure_hook(ServerWait, lambda *_: ServerWait())
    return converter


def _circle_files(values: Mapping[str, Any], errors: list[str]) -> dict[str, bytes]:
    """Return the keys of the folder of circles; a table of the same name replaces them."""
    folder = _table(values, "exchange").get("circles_dir")
    try:
        return keys_in(Path(folder)) if isinstance(folder, str) and folder else {}
    except SecretUnsafe as fault:
        errors.append(f"exchange.circles_dir: {fault}")
    except OSError as error:
        errors.append(f"exchange.circles_dir: {error.filename} cannot be read: {error.strerror}")
    return {}


def _secrets(values: Mapping[str, Any], environ: Mapping[str, str], errors: list[str]) -> Secrets:
    given = {name: secret(variable, environ, errors) for name, variable in SECRETS.items()}
    kafka = _table(values, "kafka")
    protocol = kafka.get("security_protocol")
    by_password = isinstance(protocol, str) and protocol.startswith("SASL")
    if by_password and not kafka.get("oauth_aws_region") and not given["kafka_password"]:
        errors.append(f"environment: {SECRETS['kafka_password']}: is needed for {protocol}")
    keys = _circle_files(values, errors)
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
    wrong: list[str] = []
    tokens = read_tokens(secret(HTTP_TOKENS, environ, errors), wrong)
    errors += [f"environment: {HTTP_TOKENS}: {what}" for what in wrong]
    file = environ.get(f"{HTTP_TOKENS}_FILE", "")
    followed = {name: held(SECRETS[name], environ, one, str) for name, one in given.items() if one}
    return Secrets(
        **given, circle_keys=keys, http_tokens=tokens, http_tokens_file=file, followed=followed
    )

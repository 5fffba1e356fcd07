"""The sections of the configuration, and the settings of each step made from them.

The type of a value has its limits; `__post_init__` has those between values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from stream.calls.settings import (
    BATCH_BYTES_MAX,
    DecodeSettings,
    LoopSettings,
    PublishSettings,
    TransactSettings,
)
from stream.core.model.decision import PHRASES, Action, SipAnswerSettings
from stream.core.model.errors import ConfigInvalid
from stream.core.numbers.prefix_entries import PREFIX_DIGITS_MAX, PREFIX_DIGITS_MIN, PrefixRules
from stream.core.policy.policy import ListPolicy, PolicySettings
from stream.core.policy.rules import RULES, BurstSettings, RuleSettings, RuleState, RuleStates
from stream.kafka.settings import SourceSettings, TopicLimits, TopicsSettings
from stream.ops.kernels import FOLDER
from stream.ops.remote.remote_files import S3Access, SftpAccess
from stream.ops.schema import checks
from stream.ops.schema.toml import Between, Checked, Problem, Problems

SINK_POLL_INTERVAL_MS: Final = 8 * 86_400_000
"""A sink delivers a batch for as long as it takes, up to a week; `/live` shows one that hangs.

With Kafka's default of 5 minutes, a batch for an endpoint that is down would start again each time
and never be given up."""

OVERHEAD: Final = 64 * 1024
"""Bytes around the largest record: headers and key in its batch, the batch in its request."""

Filled = Annotated[str, Checked(checks.filled)]
Country = Annotated[str, Checked(checks.country)]
RuleName = Annotated[str, Checked(checks.rule)]
ListName = Annotated[str, Checked(checks.list_name)]
Topic = Annotated[str, Checked(checks.topic)]
Seconds = Annotated[float, Between(1, 86_400)]
Millis = Annotated[int, Between(1, 3_600_000)]
PrefixDigits = Annotated[int, Between(2, PREFIX_DIGITS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSection:
    """`[kafka]`: addresses and access of the brokers."""

    bootstrap_servers: Annotated[str, Checked(checks.servers)]
    client_id: Filled
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
    ca_file: str
    cert_file: str
    key_file: str
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
    sasl_username: str
    oauth_token_url: Annotated[str, Checked(checks.maybe(checks.web_url))]
    oauth_aws_region: Annotated[str, Checked(checks.maybe(checks.aws_region))]
    oauth_scope: str
    oauth_extensions: dict[Filled, str]
    idempotent: bool
    compression: Literal["none", "zstd", "snappy", "lz4", "gzip"]
    replication_factor: Annotated[int, Between(0, 100)]

    @property
    def codec(self) -> str | None:
        """Compression as aiokafka names it; None: none."""
        return None if self.compression == "none" else self.compression

    def __post_init__(self) -> None:
        found = checks.tls_files(self.ca_file, self.cert_file, self.key_file)
        by_tokens, region = self.sasl_mechanism == "OAUTHBEARER", self.oauth_aws_region
        if self.security_protocol.startswith("SASL") and not self.sasl_username and not region:
            found.append(Problem(("sasl_username",), f"is needed for {self.security_protocol}"))
        if by_tokens and not self.oauth_token_url and not region:
            text = "is needed for OAUTHBEARER, or oauth_aws_region for Amazon MSK"
            found.append(Problem(("oauth_token_url",), text))
        if region and not (by_tokens and self.security_protocol == "SASL_SSL"):
            text = 'needs sasl_mechanism = "OAUTHBEARER" and security_protocol = "SASL_SSL"'
            found.append(Problem(("oauth_aws_region",), text))
        if region and self.oauth_token_url:
            text = "and oauth_token_url are two ways to get tokens: leave one out"
            found.append(Problem(("oauth_aws_region",), text))
        _raise(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSection:
    """`[redis]`: the list store."""

    url: Annotated[str, Checked(checks.redis_url)]
    ca_file: str
    cert_file: str
    key_file: str
    sentinels: tuple[Annotated[str, Checked(checks.server)], ...]
    sentinel_master: str
    sentinel_tls: bool
    require_aof: bool
    timeout_s: Annotated[float, Between(0.05, 60)]
    wait_replicas: Annotated[int, Between(0, 10)]
    wait_ms: Annotated[int, Between(1, 60_000)]

    def __post_init__(self) -> None:
        found = checks.redis_access(
            self.url, self.ca_file, self.cert_file, self.key_file, self.sentinel_tls
        )
        found += checks.sentinels(self.sentinels, self.sentinel_master, self.url)
        if self.wait_replicas and self.wait_ms >= self.timeout_s * 1000:
            text = f"must be below timeout_s ({self.timeout_s:g} s): the answer comes after it"
            found.append(Problem(("wait_ms",), text))
        _raise(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsSection:
    """`[calls]`: topics, batches, and the form of the answers."""

    group_id: Filled
    instance_id: str
    leave_on_stop: bool
    start_at: Literal["earliest", "latest"]
    fetch: Literal["fetcher", "aiokafka", "lane", "ordinary"]  # the last two: older names
    corrupt_batches: Literal["stop", "skip"]
    delivery: Literal["at_least_once", "exactly_once"]
    emit: Literal["blocks", "all"]
    check_callee: bool
    home_country: Country
    international_prefix: Annotated[str, Checked(checks.dial_prefix)]
    decisions_topic: Topic
    rejected_topic: Topic
    partitions: Annotated[int, Between(1, 10_000)]
    record_bytes_max: Annotated[int, Between(256, 64 * 1024 * 1024)]
    batch_records_max: Annotated[int, Between(1, 100_000)]
    batch_wait_ms: Millis
    commit_interval_ms: Millis
    repeat_window_s: Annotated[float, Between(0, 86_400)]
    session_timeout_ms: Millis
    rebalance_timeout_ms: Millis
    topics: dict[Topic, Filled]

    def __post_init__(self) -> None:
        found = [
            Problem((name,), f"must be below rebalance_timeout_ms ({self.rebalance_timeout_ms})")
            for name in ("batch_wait_ms", "commit_interval_ms")
            if getattr(self, name) >= self.rebalance_timeout_ms
        ]
        found += _of_step(lambda: self.source(""))
        if self.delivery == "exactly_once":
            found += _of_step(lambda: self.transact("ringfence"))
        if not self.topics:
            text = 'names no topic to read: write for example calls = "ringfence"'
            found.append(Problem(("topics",), text))
        outputs = (self.decisions_topic, self.rejected_topic)
        if self.decisions_topic == self.rejected_topic:
            found.append(Problem(("rejected_topic",), "must not be decisions_topic as well"))
        found += [
            Problem(("topics", topic), "is written by Ringfence and cannot be read as calls")
            for topic in self.topics
            if topic in outputs
        ]
        _raise(found)

    def source(self, place: str) -> SourceSettings:
        """Settings of `kafka.consumer`; `place` is the worker's, "" where there is only one."""
        return SourceSettings(
            topics=tuple(self.topics),
            group_id=self.group_id,
            instance_id=f"{self.instance_id}{place}" if self.instance_id else "",
            start_at=self.start_at,
            fetch=self.fetch,
            corrupt_batches=self.corrupt_batches,
            leave_on_stop=self.leave_on_stop,
            session_timeout_ms=self.session_timeout_ms,
            rebalance_timeout_ms=self.rebalance_timeout_ms,
        )

    def decisions_source(self, group_id: str, start_at: str) -> SourceSettings:
        """Settings of a sink's source, which reads decisions in a group of its own."""
        return replace(
            self.source(""),
            topics=(self.decisions_topic,),
            group_id=group_id,
            start_at=start_at,
            poll_interval_ms=SINK_POLL_INTERVAL_MS,
        )

    def transact(self, transactional_id: str) -> TransactSettings:
        """Settings of transactions."""
        return TransactSettings(
            group_id=self.group_id,
            transactional_id=transactional_id,
            session_timeout_ms=self.session_timeout_ms,
        )

    def decode(self) -> DecodeSettings:
        """Settings of `calls.decode`."""
        return DecodeSettings(
            record_bytes_max=self.record_bytes_max, check_callee=self.check_callee
        )

    def loop(self, hold_s_max: float) -> LoopSettings:
        """Settings of `calls.loop`."""
        return LoopSettings(
            records_max=self.batch_records_max,
            wait_ms=self.batch_wait_ms,
            commit_interval_ms=self.commit_interval_ms,
            hold_s_max=hold_s_max,
        )

    def names(self, replication_factor: int, more: tuple[str, ...] = ()) -> TopicsSettings:
        """Names of all topics; `more` are those of sinks."""
        return TopicsSettings(
            calls=tuple(self.topics),
            decisions=self.decisions_topic,
            rejected=self.rejected_topic,
            partitions=self.partitions,
            replication_factor=replication_factor,
            more=more,
        )

    def producer_options(self, kafka: KafkaSection) -> dict[str, Any]:
        """Options of the producers of records that come over HTTP or from files.

        A record of up to `record_bytes_max` goes alone if need be. Batches of others stay as small
        as every topic takes that is set up as Kafka is delivered.
        """
        return {
            "enable_idempotence": kafka.idempotent,
            "compression_type": kafka.codec,
            "max_batch_size": min(self.record_bytes_max + OVERHEAD, BATCH_BYTES_MAX),
            "max_request_size": self.record_bytes_max + 2 * OVERHEAD,
        }

    def publish(self, kafka: KafkaSection, limits: TopicLimits) -> PublishSettings:
        """Settings of `calls.publish`."""
        return PublishSettings(
            decisions_topic=self.decisions_topic,
            rejected_topic=self.rejected_topic,
            cloudevents_source=f"/ringfence/{self.group_id}",
            rejected_bytes_max=limits.rejected_bytes_max,
            idempotent=kafka.idempotent,
            compression=kafka.codec,
            batch_bytes_max=max(
                1024, min(BATCH_BYTES_MAX, limits.decision_bytes_max, limits.rejected_bytes_max)
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkSection:
    """`[trunks.<name>]`: country and side of a trunk.

    `international_prefix` precedes international numbers in the switch's records.
    `asserted_identity`: trust in P-Asserted-Identity and its like from there. `sip_code` answers
    blocked calls there; 0: as all.
    """

    country: Country
    ingress: Literal["international", "domestic", "unknown"] = "unknown"
    international_prefix: Annotated[str, Checked(checks.dial_prefix)] = ""
    asserted_identity: Literal["trusted", "untrusted"] = "untrusted"
    sip_code: int = 0

    def __post_init__(self) -> None:
        if self.sip_code and self.sip_code not in PHRASES:
            _raise([Problem(("sip_code",), f"is 603, 607 or 608, not {self.sip_code}")])


@dataclass(frozen=True, slots=True, kw_only=True)
class CircleSection:
    """`[circles.<name>]`: `key_env` is the variable that holds the circle's key, 64 hex digits."""

    key_env: Annotated[str, Checked(checks.variable)]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSection:
    """`[owners.<owner>]`: the contact for removing a number from that owner's lists."""

    contact: Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class BurstSection:
    """`[policy.rules.bursts]`: when short calls of one number are a burst."""

    window_s: Annotated[float, Between(1, 3600)]
    calls: Annotated[int, Between(3, 1000)]
    call_s_max: Annotated[float, Between(0, 60)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesSection(RuleStates):
    """`[policy.rules]`: the rules' states, where they differ, and what they go by."""

    do_not_originate_lists: tuple[ListName, ...]
    home_number_from_abroad_except: tuple[ListName, ...]
    attestation_min: Literal["A", "B", "C"]
    bursts: BurstSection
    countries: dict[Country, dict[RuleName, RuleState]]
    trunks: dict[str, dict[RuleName, RuleState]]

    def __post_init__(self) -> None:
        name = "home_number_from_abroad_except"
        twice = {*self.do_not_originate_lists}.intersection(self.home_number_from_abroad_except)
        text = "also names {}, which do_not_originate_lists says never calls; take it out of one"
        if twice:
            raise Problems([Problem((name,), text.format(one)) for one in sorted(twice)])

    def settings(self) -> RuleSettings:
        """Return the same for `core.policy.rules`."""
        return RuleSettings(
            default=RuleStates(**{rule: getattr(self, rule) for rule in RULES}),
            countries=self.countries,
            trunks=self.trunks,
            do_not_originate_lists=self.do_not_originate_lists,
            home_number_from_abroad_except=self.home_number_from_abroad_except,
            bursts=BurstSettings(self.bursts.window_s, self.bursts.calls, self.bursts.call_s_max),
            attestation_min=self.attestation_min,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StirSection:
    """`[stir]`: verification of PASSporTs, offline, with certificates of a folder."""

    trusted: str
    certificates: str
    fresh_s: Annotated[float, Between(1, 3600)]
    verifications_per_s: Annotated[float, Between(1, 100_000)]
    reload_s: Annotated[float, Between(1, 86_400)]

    def __post_init__(self) -> None:
        if bool(self.trusted) != bool(self.certificates):
            name = "certificates" if self.trusted else "trusted"
            text = "is missing: the file of authorities and the folder of certificates go together"
            _raise([Problem((name,), text)])


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySection:
    """`[policy]`: actions that follow from a match; see `core.policy`."""

    unasked: Literal["allow", "flag"]
    decision_ttl_s: Annotated[int, Between(1, 10 * 365 * 86_400)]
    redress_url: str
    sip_location: Literal["LN", "TN", "RLN", "LPN", "RPN"]
    sip_code: int
    default: ListPolicy
    lists: dict[Annotated[str, Checked(checks.list_name)], ListPolicy]
    rules: RulesSection
    emergency: dict[Country, tuple[Annotated[str, Checked(checks.short)], ...]]

    def __post_init__(self) -> None:
        if self.sip_code not in PHRASES:
            _raise([Problem(("sip_code",), f"is 603, 607 or 608, not {self.sip_code}")])
        parts = urlsplit(self.redress_url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            _raise([Problem(("redress_url",), "must be an address, https://...")])
        try:
            self.sip({})
        except ValueError as error:
            text = str(error).removeprefix("redress_url ")
            _raise([Problem(("redress_url",), text)])

    def sip(self, trunks: Mapping[str, "TrunkSection"]) -> SipAnswerSettings:
        """Return the settings of a block's SIP answer."""
        codes = ((name, trunk.sip_code) for name, trunk in trunks.items())
        return SipAnswerSettings(
            redress_url=self.redress_url,
            location=self.sip_location,
            code=self.sip_code,
            trunks=tuple((name, code) for name, code in codes if code and code != self.sip_code),
        )

    def settings(self) -> PolicySettings:
        """Return the settings of `core.policy`."""
        return PolicySettings(
            default=self.default,
            lists=self.lists,
            rules=self.rules.settings(),
            unasked=Action.FLAG if self.unasked == "flag" else Action.OBSERVE,
            decision_ttl_s=self.decision_ttl_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsSection:
    """`[lists]`: the folder of the last good lists, and how changes are followed."""

    state_dir: Filled
    changes_block_ms: Annotated[int, Between(10, 60_000)]
    reconcile_s: Annotated[float, Between(0.1, 86_400)]
    generations_kept: Annotated[int, Between(1, 100)]
    bases_kept: Annotated[int, Between(2, 100)]
    bases_kept_days: Annotated[float, Between(0, 36_500)]
    rebuild_changes: Annotated[int, Between(0, 900_000)]
    put_back: Literal["failover", "always", "never"]
    prefix_digits_min: dict[Annotated[str, Checked(checks.country_or_others)], PrefixDigits]

    def prefixes(self) -> PrefixRules:
        """Return the least digits of prefixes on lists."""
        countries = dict(self.prefix_digits_min)
        others = countries.pop(checks.OTHERS, PREFIX_DIGITS_MIN)
        return PrefixRules(others, countries)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementsSection:
    """`[agreements]`: the folder of agreements with other countries."""

    dir: str
    reload_s: Annotated[float, Between(0.1, 3600)]

    def folder(self) -> Path | None:
        """Return the folder of agreement files; None: there are none."""
        return Path(self.dir) if self.dir else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeSection:
    """`[exchange]`: our signed repository, its keys, and the life of signatures."""

    dir: Filled
    keys_dir: Filled
    state_dir: Filled
    circles_dir: Filled
    root_days: Annotated[float, Between(1, 3650)]
    targets_days: Annotated[float, Between(1, 3650)]
    list_days: Annotated[float, Between(0.05, 3650)]
    snapshot_days: Annotated[float, Between(0.05, 365)]
    timestamp_hours: Annotated[float, Between(1, 24 * 30)]
    resign_s: Annotated[float, Between(1, 86_400)]
    gather_s: Annotated[float, Between(0, 60)]
    look_s: Annotated[float, Between(1, 3600)]
    kept_hours: Annotated[float, Between(0.05, 24 * 30)]
    http_port: Annotated[int, Between(0, 65_535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerSection:
    """`[enforcement.partners.<COUNTRY>]`: the repository of a country that enforces our lists."""

    url: Filled
    root: Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementSection:
    """`[enforcement]`: how effects of lists are counted, reported to partners, and read from them.

    `sighting_...`: the weight of a partner's finding that a number of ours is no scammer's.
    """

    publish_s: Seconds
    read_s: Seconds
    sighting_confidence: Annotated[int, Between(0, 100)]
    sightings_max: Annotated[int, Between(0, 1_000_000)]
    sighting_days: Annotated[float, Between(0.01, 3650)]
    kept_days: Annotated[int, Between(40, 3660)]
    http_port: Annotated[int, Between(0, 65_535)]
    partners: dict[Annotated[str, Checked(checks.country)], PartnerSection]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppealsSection:
    """`[appeals]`: deadline of an answer, and how long answers are kept."""

    answer_hours: Annotated[float, Between(0.01, 24 * 365)]
    kept_days: Annotated[float, Between(1, 3650)]

    @property
    def answer_s(self) -> int:
        """Deadline of an answer, in seconds."""
        return int(self.answer_hours * 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSection:
    """`[ingest]`: how `ringfence ingest` reads files of records."""

    state_dir: Filled
    look_s: Annotated[float, Between(0.01, 60)]
    remote_look_s: Annotated[float, Between(0.01, 86_400)]
    settle_s: Annotated[float, Between(0, 3600)]
    http_port: Annotated[int, Between(0, 65_535)]
    s3: S3Access
    sftp: SftpAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsSection:
    """`[ops]`: health, logs, kernels, traces and the shutdown of every process."""

    http_host: Filled
    http_port: Annotated[int, Between(0, 65_535)]
    watch: tuple[Annotated[str, Checked(checks.process_url)], ...]
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    kernels: Literal["auto", "off"]
    kernels_dir: str
    lists_max: Annotated[int, Between(1, 100_000)]
    stalled_s: Annotated[float, Between(0.5, 3600)]
    shutdown_s: Annotated[float, Between(0.5, 600)]
    traces: Annotated[str, Checked(checks.maybe(checks.web_url))]
    traces_ratio: Annotated[float, Between(0, 1)]
    runbook_url: Annotated[str, Checked(checks.maybe(checks.web_url))]

    def kernels_folder(self, state_dir: str) -> Path:
        """Return the folder of compiled kernels."""
        return Path(self.kernels_dir or Path(state_dir, FOLDER))


def feed_paths(folder: Path) -> dict[str, Path]:
    """Return the feed files of a folder by their feeds' names. Raises ConfigInvalid."""
    return toml_paths(folder, "[feeds] dir")


def toml_paths(folder: Path, setting: str) -> dict[str, Path]:
    """Return the TOML files of a folder by their names without the ending. Raises ConfigInvalid.

    `setting` names the folder.
    """
    try:
        # Not glob: of a folder that cannot be read it says that it is empty.
        return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix == ".toml"}
    except (FileNotFoundError, NotADirectoryError) as error:
        text = f"there is no such folder: make it, or name yours with {setting}"
        raise ConfigInvalid((f"{folder}: {text}",)) from error
    except OSError as error:
        raise ConfigInvalid((f"{folder}: cannot be read: {error.strerror}",)) from error


def _of_step(build: Callable[[], object]) -> list[Problem]:
    """Return the problems that a step finds in its settings; its messages begin with our key."""
    try:
        build()
    except ValueError as error:
        key, _, text = str(error).removeprefix("calls.").partition(" ")
        return [Problem((key,), text.removeprefix("= "))]
    return []


def _raise(found: list[Problem]) -> None:
    if found:
        raise Problems(found)

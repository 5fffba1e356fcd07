"""Decide calls with the lists, the agreements and the time of the moment."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from stream.calls.call_batch import CallBatch, KeyFields, Outcome
from stream.calls.decide import Decided, Rules, Verify, decide
from stream.calls.decode import decode, from_fields
from stream.calls.deduplicate import Deduplicator
from stream.calls.dialects import has_own_ids
from stream.calls.plausibility.bursts import Bursts
from stream.config.settings import EngineSettings
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.list_scope import Scopes, allowed
from stream.core.policy.policy import Policy, compile_bounded
from stream.edge.sinks.number_policy import NumberPolicy
from stream.kafka.batch import RawBatch
from stream.ops.clock import now_ms, now_s


@dataclass(slots=True)
class Decider:
    """Decide batches with the lists and agreements of the moment.

    `current` and `agreements` give the same value until something changes. Then, and when the next
    agreement begins or ends by `clock_ms`, rules are compiled again. A call costs the same with
    none or with two hundred. `verify` is that of PASSporTs in records.
    """

    settings: EngineSettings
    current: Callable[[], Blocklists]
    agreements: Callable[[], Agreements]
    clock_ms: Callable[[], int] = now_ms
    verify: Verify | None = None
    _seen: Blocklists | None = field(init=False, default=None)
    _agreed: Agreements | None = field(init=False, default=None)
    _from_ms: int = field(init=False, default=0)
    _until_ms: int = field(init=False, default=0)
    _rules: Rules = field(init=False)
    _repeats: Deduplicator = field(init=False)
    _bursts: Bursts | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        calls = self.settings.calls
        # Our own dialect's records are a carrier's mediation's, one a call.
        topics = [
            topic for topic, dialect in calls.topics.items() if not dialect.endswith("ringfence")
        ]
        self._repeats = Deduplicator(calls.repeat_window_s, topics)
        rules = self.settings.policy.rules.settings()
        if rules.is_on("short_bursts"):
            own = [topic for topic, dialect in calls.topics.items() if has_own_ids(dialect)]
            self._bursts = Bursts(rules.bursts, calls.topics, own)

    def __call__(self, batch: CallBatch) -> Outcome:
        """Decide `batch` now, and encode the decisions as JSON."""
        return self.columns(batch).outcome()

    def columns(self, batch: CallBatch) -> Decided:
        """Decide `batch` now."""
        blocklists, agreed, at_ms = self.current(), self.agreements(), self.clock_ms()
        same = agreed is self._agreed and self._from_ms <= at_ms < self._until_ms
        # Lists change every second, and compiling takes milliseconds: only if the rules differ.
        if not same or self._seen is None or not _alike(blocklists, self._seen):
            at_s = at_ms // 1000
            self._rules = rules_for(self.settings, blocklists, agreed, at_s, self.verify)
            from_s, until_s = agreed.unchanged(at_ms // 1000)
            self._from_ms, self._until_ms = from_s * 1000, until_s * 1000
        self._seen, self._agreed = blocklists, agreed
        return decide(batch, blocklists, self._rules, at_ms, self._repeats, self._bursts)


def decoder_for(
    settings: EngineSettings, *, callees: bool = False, attestation: bool = False
) -> Callable[[RawBatch], CallBatch]:
    """Return the decoder of the records of all topics.

    `callees`: read called numbers, even if the settings do not check them. `attestation`: read the
    fields of STIR/SHAKEN, even if no rule uses them.
    """
    how = settings.calls.decode()
    attestation = attestation or bool(settings.policy.rules.settings().of_attestation)
    dialects = {topic: settings.dialect(name) for topic, name in settings.calls.topics.items()}
    return partial(
        decode,
        dialect_of=dialects,
        trunks=settings.trunks_by_name(),
        settings=replace(how, check_callee=how.check_callee or callees, attestation=attestation),
    )


def fields_reader_for(
    settings: EngineSettings,
) -> Callable[[RawBatch, Sequence[KeyFields]], CallBatch]:
    """Return the maker of batches from known fields: see `calls.decode.from_fields`."""
    return partial(
        from_fields,
        trunks=settings.trunks_by_name(),
        check_callee=settings.calls.decode().check_callee,
    )


def rules_for(
    settings: EngineSettings,
    blocklists: Blocklists,
    agreements: Agreements,
    at_s: int,
    verify: Verify | None = None,
) -> Rules:
    """Return all that deciding needs besides batch and lists, at that moment."""
    return Rules(
        policy=_policy(settings, blocklists, agreements, at_s),
        emergency=emergency_for(settings),
        trunks=settings.trunks_by_name(),
        sip=settings.policy.sip(settings.trunks),
        emit_all=settings.calls.emit == "all",
        verify=verify,
    )


def emergency_for(settings: EngineSettings) -> EmergencyNumbers:
    """Return the numbers that are never blocked when called, the configuration's among them."""
    extra = {country: frozenset(texts) for country, texts in settings.policy.emergency.items()}
    return EmergencyNumbers(extra)


def _policy(
    settings: EngineSettings, blocklists: Blocklists, agreements: Agreements, at_s: int
) -> Policy:
    trials, names = blocklists.trials, blocklists.names
    home = settings.calls.home_country
    policy = compile_bounded(
        trials.policy(settings.policy.settings(), names),
        names,
        trials.agreements(agreements),
        home,
        at_s,
    )
    agreed = [bound.may_list for bound in policy.bounds] or [()] * len(names)
    may = [
        allowed(name, scope, home, said)
        for name, scope, said in zip(names, blocklists.scopes, agreed, strict=True)
    ]
    help_ = emergency_for(settings).in_e164()
    return replace(policy, scopes=Scopes.of(may, settings.feeds.own_numbers, help_))


def _alike(one: Blocklists, other: Blocklists) -> bool:
    """Return whether the same policy counts for both."""
    if one is other:  # nearly always, and asked for each batch
        return True
    same = one.names == other.names and one.scopes == other.scopes
    return same and one.trials is other.trials


@dataclass(slots=True)
class CurrentPolicy:
    """Decide about single numbers with the lists and agreements of the moment.

    It returns the same `NumberPolicy` until something changes. It returns one with the same policy
    until lists or agreements change, or an agreement begins or ends.
    """

    settings: EngineSettings
    current: Callable[[], Blocklists]
    agreements: Callable[[], Agreements]
    clock_s: Callable[[], int] = now_s
    _agreed: Agreements | None = field(init=False, default=None)
    _unchanged: tuple[int, int] = field(init=False, default=(0, 0))
    _made: NumberPolicy | None = field(init=False, default=None)

    def __call__(self) -> NumberPolicy:
        """Return the policy of now."""
        blocklists, agreed, at_s = self.current(), self.agreements(), self.clock_s()
        held = self._made
        from_s, until_s = self._unchanged
        same = held is not None and agreed is self._agreed and from_s <= at_s < until_s
        if held is not None and same and blocklists is held.blocklists:
            return held
        if held is not None and same and _alike(blocklists, held.blocklists):
            made = NumberPolicy(blocklists, held.policy)
        else:
            made = NumberPolicy(blocklists, _policy(self.settings, blocklists, agreed, at_s))
            self._agreed, self._unchanged = agreed, agreed.unchanged(at_s)
        self._made = made
        return made

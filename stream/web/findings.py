"""Problems that the figures show, each with its meaning and the step to take. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stream.core.filters.bloom import RATE_MAX
from stream.ops.monitor.dashboard import Overview, ProcessState, ProcessStatus
from stream.ops.monitor.targets import STARTED_BY, ProcessKind
from stream.ops.schema.durations import spelled
from stream.web.live_figures import BEHIND_S, STALE_S

REGISTER: Final = "RegisterLostData"
HELD: Final = "FeedHeld"
FEED_DOWN: Final = "FeedDown"
FEED_FILE: Final = "FeedFileWrong"
OVERDUE: Final = "AppealsOverdue"
HTTP: Final = "HTTP refuses, or is away"
ENFORCEMENT: Final = "EnforcementNotTold"
PUBLISH: Final = "PublishFails"
KEYS: Final = "KeysOld"
WEBHOOK: Final = "WebhookFailing"
SIP: Final = "SIP is flooded, or is not answered"
ENGINE: Final = "EngineDown"
PROCESS: Final = "ProcessDown"
RESTARTS: Final = "RestartLoop"
KAFKA: Final = "KafkaAway"
LAG: Final = "LagGrowing"
STOPPED: Final = "PartitionStopped"
STALE: Final = "ListStale"
SIGNATURE: Final = "SignatureExpires"
SCOPE: Final = "ListOutOfScope"
COARSE: Final = "FiltersTooCoarse"
HEADINGS: Final = (
    *(REGISTER, HELD, FEED_DOWN, FEED_FILE, OVERDUE, HTTP, ENFORCEMENT, PUBLISH, KEYS, WEBHOOK),
    *(SIP, ENGINE, PROCESS, RESTARTS, KAFKA, LAG, STOPPED, STALE, SIGNATURE, SCOPE, COARSE),
)
"""Of deploy/RUNBOOK.md; a test holds them to it."""
_OF_KIND: Final = {
    ProcessKind.ENGINE: ENGINE,
    ProcessKind.FEEDS: FEED_DOWN,
    ProcessKind.EXCHANGE: PUBLISH,
    ProcessKind.ENFORCEMENT: ENFORCEMENT,
    ProcessKind.WEBHOOKS: WEBHOOK,
    ProcessKind.REDIS_SINK: KEYS,
    ProcessKind.SERVE: HTTP,
    ProcessKind.SIP: SIP,
}
_ROLE_LEFT_S: Final = 2 * 86_400


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One problem (`mark` bad), or one thing to look at (warn).

    `means` says what callers or partners notice, `do` is a command or a step, `heading` the
    runbook's.
    """

    mark: str
    what: str
    means: str
    do: str
    heading: str = ""


def findings(seen: Overview) -> tuple[HealthFinding, ...]:
    """Return all problems of a moment, the worst first."""
    found = [*_processes(seen), *_servers(seen), *_calls(seen), *_lists(seen), *_people(seen)]
    return tuple(sorted(found, key=lambda one: one.mark != "bad"))


def _processes(seen: Overview) -> Iterator[HealthFinding]:
    for one in seen.processes:
        started = STARTED_BY.get(one.kind, "")
        heading = _OF_KIND.get(one.kind, PROCESS)
        if one.state is ProcessState.NOT_READY:
            means = f"missing: {'; '.join(one.missing) or 'it does not say what'}"
            yield HealthFinding(
                "warn", f"{one.place.name} is not ready", means, "its log says more", heading
            )
        elif one.state is ProcessState.AWAY:
            since = f" for {spelled(seen.at_s - one.since_s)}" if one.since_s else ""
            what = f"{one.place.name} does not answer{since}"
            yield HealthFinding(
                "bad", what, one.why, f"start it: {started}" if started else "", heading
            )
        elif one.state is ProcessState.UNHEARD and one.kind is ProcessKind.ENGINE:
            means = f"no call is decided by it ({one.why})"
            yield HealthFinding(
                "bad", "the engine was never heard", means, f"start it: {started}", ENGINE
            )
        if one.restarts > 1:
            what = f"{one.place.name} restarted {one.restarts} times"
            yield HealthFinding(
                "warn",
                what,
                "it crashes and the supervisor restarts it",
                "its log says why",
                RESTARTS,
            )


def _servers(seen: Overview) -> Iterator[HealthFinding]:
    if seen.kafka_up is False:
        means = "calls wait undecided; none is lost, and they are decided once it is back"
        yield HealthFinding("bad", "Kafka does not answer", means, "look at the brokers", KAFKA)
    if seen.register_up is False:
        means = "decisions go on from the last good lists; changes wait"
        yield HealthFinding(
            "bad", "the list store (Redis) does not answer", means, "look at it", REGISTER
        )
    if seen.sinks.redis_up is False:
        means = "proxies go on with the keys that they have"
        yield HealthFinding("bad", "the proxies' Redis does not answer", means, "look at it", KEYS)
    for endpoint in seen.sinks.webhooks_failing:
        means = "what it should be told waits"
        yield HealthFinding(
            "warn", f"webhook {endpoint} fails", means, "the sink's log has its answers", WEBHOOK
        )


def _calls(seen: Overview) -> Iterator[HealthFinding]:
    for topic, count in seen.lag.items():
        per_s = seen.calls_by_topic.get(topic) or seen.calls_per_s or 0.0
        wait_s = count / per_s if per_s else 0.0
        if wait_s > BEHIND_S[0]:
            mark = "bad" if wait_s > BEHIND_S[1] else "warn"
            means = f"{count:,} calls, {spelled(wait_s)}: blocks come late"
            yield HealthFinding(
                mark, f"topic {topic} is behind", means, "more workers or partitions", LAG
            )
    if seen.partitions_stopped:
        what = f"{seen.partitions_stopped} partitions have stopped"
        yield HealthFinding(
            "bad", what, "their calls wait", "the engine's log names the record", STOPPED
        )


def _lists(seen: Overview) -> Iterator[HealthFinding]:
    for one in seen.lists:
        if one.out_of_scope:
            what = f"{one.name} matched {one.out_of_scope:,} numbers that it may not name"
            means = "they were only observed; its hashes name other countries' numbers, or ours"
            do = f"ask its owner; ringfence lists show {one.name} says what it may name"
            yield HealthFinding("warn", what, means, do, SCOPE)
        if one.age_s is not None and one.age_s > STALE_S:
            means = f"not compared with the list store for {spelled(one.age_s)}"
            yield HealthFinding(
                "warn", f"{one.name} is old in the engine", means, "its log says why", STALE
            )
    if seen.bare_chance is not None and seen.bare_chance > RATE_MAX:
        what = f"lists without entries match {seen.bare_chance:.1%} of all numbers by chance"
        means = "nothing confirms such a match, and innocent callers are among them"
        do = "ask their owners for fingerprints, or for filters with a smaller error rate"
        yield HealthFinding("warn", what, means, do, COARSE)
    for feed in seen.feeds:
        if feed.held:
            means = "the last good version stays in force"
            what = f"a version of feed {feed.name} waits for a person"
            yield HealthFinding("warn", what, means, f"ringfence feeds held {feed.name}", HELD)
        if feed.failures:
            what = f"feed {feed.name} failed {feed.failures} times"
            do = f"ringfence feeds show {feed.name}"
            yield HealthFinding("warn", what, "its entries end with their time", do, FEED_DOWN)
        if feed.file_wrong:
            what = f"the file of feed {feed.name} is wrong"
            do = "ringfence feeds check"
            yield HealthFinding("warn", what, "it is followed as before", do, FEED_FILE)


def _people(seen: Overview) -> Iterator[HealthFinding]:
    if seen.appeals_overdue:
        late = seen.appeals_overdue
        what = "an appeal is overdue" if late == 1 else f"{late:,} appeals are overdue"
        means = "somebody was promised an answer"
        yield HealthFinding("bad", what, means, "ringfence appeals list --overdue", OVERDUE)
    for role, left_s in seen.roles_left_s.items():
        if left_s < _ROLE_LEFT_S:
            what = f"the signature of role {role} ends in {spelled(max(left_s, 0.0))}"
            mark = "bad" if left_s <= 0 else "warn"
            means = "partners refuse what we publish from then on"
            yield HealthFinding(mark, what, means, "ringfence exchange resign", SIGNATURE)


def state_mark(process: ProcessStatus) -> str:
    """Return the mark of a process' state: one that was never heard may not be wanted."""
    if process.state is ProcessState.READY:
        return "ok"
    return {ProcessState.NOT_READY: "warn", ProcessState.AWAY: "bad"}.get(process.state, "")

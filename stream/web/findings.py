"""Problems that the figures show, each with its meaning and the step to take. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stream.core.filters.bloom import RATE_MAX
from stream.edge.http.languages import gettext as _
from stream.edge.http.languages import lasting, many, ngettext
from stream.edge.http.languages.printed import printed
from stream.ops.monitor.dashboard import Overview, ProcessState, ProcessStatus
from stream.ops.monitor.targets import STARTED_BY, ProcessKind
from stream.web.live_figures import BEHIND_S, STALE_S

STORE_LOST: Final = "RegisterLostData"
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
    *(STORE_LOST, HELD, FEED_DOWN, FEED_FILE, OVERDUE, HTTP, ENFORCEMENT, PUBLISH, KEYS, WEBHOOK),
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
            missing = "; ".join(map(printed, one.missing)) or _("it does not say what")
            means = _("missing: %(what)s", what=missing)
            yield HealthFinding(
                "warn",
                _("%(process)s is not ready", process=one.place.name),
                means,
                _("its log says more"),
                heading,
            )
        elif one.state is ProcessState.AWAY:
            name, since_s = one.place.name, one.since_s
            what = _("%(process)s does not answer", process=name)
            if since_s:
                time = lasting(seen.at_s - since_s)
                what = _("%(process)s does not answer for %(time)s", process=name, time=time)
            yield HealthFinding("bad", what, printed(one.why), _started(started), heading)
        elif one.state is ProcessState.UNHEARD and one.kind is ProcessKind.ENGINE:
            means = _("no call is decided by it (%(why)s)", why=printed(one.why))
            yield HealthFinding(
                "bad", _("the engine was never heard"), means, _started(started), ENGINE
            )
        if one.restarts > 1:
            what = _(
                "%(process)s restarted %(count)s times",
                process=one.place.name,
                count=many(one.restarts),
            )
            yield HealthFinding(
                "warn",
                what,
                _("it crashes and the supervisor restarts it"),
                _("its log says why"),
                RESTARTS,
            )


def _servers(seen: Overview) -> Iterator[HealthFinding]:
    if seen.kafka_up is False:
        means = _("calls wait undecided; none is lost, and they are decided once it is back")
        what = _("Kafka does not answer")
        yield HealthFinding("bad", what, means, _("look at the brokers"), KAFKA)
    if seen.register_up is False:
        means = _("decisions go on from the last good lists; changes wait")
        what = _("the list store (Redis) does not answer")
        yield HealthFinding("bad", what, means, _("look at it"), STORE_LOST)
    if seen.sinks.redis_up is False:
        means = _("proxies go on with the keys that they have")
        what = _("the proxies' Redis does not answer")
        yield HealthFinding("bad", what, means, _("look at it"), KEYS)
    for endpoint in seen.sinks.webhooks_failing:
        what = _("webhook %(endpoint)s fails", endpoint=endpoint)
        means, do = _("what it should be told waits"), _("the sink's log has its answers")
        yield HealthFinding("warn", what, means, do, WEBHOOK)


def _calls(seen: Overview) -> Iterator[HealthFinding]:
    for topic, count in seen.lag.items():
        per_s = seen.calls_by_topic.get(topic) or seen.calls_per_s or 0.0
        wait_s = count / per_s if per_s else 0.0
        if wait_s > BEHIND_S[0]:
            mark = "bad" if wait_s > BEHIND_S[1] else "warn"
            time = lasting(wait_s)
            means = ngettext(
                "%(count)s call, %(time)s: blocks come late",
                "%(count)s calls, %(time)s: blocks come late",
                count,
                count=many(count),
                time=time,
            )
            what = _("topic %(topic)s is behind", topic=topic)
            yield HealthFinding(mark, what, means, _("more workers or partitions"), LAG)
    if seen.partitions_stopped:
        count = seen.partitions_stopped
        what = ngettext("%(num)s partition has stopped", "%(num)s partitions have stopped", count)
        do = _("the engine's log names the record")
        yield HealthFinding("bad", what, _("their calls wait"), do, STOPPED)


def _lists(seen: Overview) -> Iterator[HealthFinding]:
    for one in seen.lists:
        if one.out_of_scope:
            what = ngettext(
                "%(list)s matched %(count)s number that it may not name",
                "%(list)s matched %(count)s numbers that it may not name",
                one.out_of_scope,
                list=one.name,
                count=many(one.out_of_scope),
            )
            means = _("they were only observed; its hashes name other countries' numbers, or ours")
            do = _(
                "ask its owner; ringfence lists show %(list)s says what it may name", list=one.name
            )
            yield HealthFinding("warn", what, means, do, SCOPE)
        if one.age_s is not None and one.age_s > STALE_S:
            means = _("not compared with the list store for %(time)s", time=lasting(one.age_s))
            what = _("%(list)s is old in the engine", list=one.name)
            yield HealthFinding("warn", what, means, _("its log says why"), STALE)
    if seen.bare_chance is not None and seen.bare_chance > RATE_MAX:
        share = f"{seen.bare_chance:.1%}"
        what = _("lists without entries match %(share)s of all numbers by chance", share=share)
        means = _("nothing confirms such a match, and innocent callers are among them")
        do = _("ask their owners for fingerprints, or for filters with a smaller error rate")
        yield HealthFinding("warn", what, means, do, COARSE)
    for feed in seen.feeds:
        if feed.held:
            means = _("the last good version stays in force")
            what = _("a version of feed %(feed)s waits for a person", feed=feed.name)
            yield HealthFinding("warn", what, means, f"ringfence feeds held {feed.name}", HELD)
        if feed.failures:
            what = ngettext(
                "feed %(feed)s failed once",
                "feed %(feed)s failed %(count)s times",
                feed.failures,
                feed=feed.name,
                count=many(feed.failures),
            )
            do = f"ringfence feeds show {feed.name}"
            yield HealthFinding("warn", what, _("its entries end with their time"), do, FEED_DOWN)
        if feed.file_wrong:
            what = _("the file of feed %(feed)s is wrong", feed=feed.name)
            do = "ringfence feeds check"
            yield HealthFinding("warn", what, _("it is followed as before"), do, FEED_FILE)


def _people(seen: Overview) -> Iterator[HealthFinding]:
    if seen.appeals_overdue:
        late = seen.appeals_overdue
        what = ngettext("an appeal is overdue", "%(num)s appeals are overdue", late)
        means = _("somebody was promised an answer")
        yield HealthFinding("bad", what, means, "ringfence appeals list --overdue", OVERDUE)
    for role, left_s in seen.roles_left_s.items():
        if left_s < _ROLE_LEFT_S:
            time = lasting(max(left_s, 0.0))
            what = _("the signature of role %(role)s ends in %(time)s", role=role, time=time)
            mark = "bad" if left_s <= 0 else "warn"
            means = _("partners refuse what we publish from then on")
            yield HealthFinding(mark, what, means, "ringfence exchange resign", SIGNATURE)


def _started(command: str) -> str:
    return _("start it: %(command)s", command=command) if command else ""


def state_mark(process: ProcessStatus) -> str:
    """Return the mark of a process' state: one that was never heard may not be wanted."""
    if process.state is ProcessState.READY:
        return "ok"
    return {ProcessState.NOT_READY: "warn", ProcessState.AWAY: "bad"}.get(process.state, "")

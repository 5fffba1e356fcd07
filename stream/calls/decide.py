"""Calls in, decisions out: the only place where a call is blocked, flagged or let through.

The order (design, section 4): an emergency number called is never blocked; nor is a number on the
allowlist; then what confirmed and unconfirmed lists say, then the plausibility rules, then lists
that could not be asked. Innocent calls, nearly all of them, are never looked at one by one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.calls.batch import CallBatch, RawBatch
from stream.calls.trunks import Trunks
from stream.calls.wire import plain_allows, timestamp
from stream.core.blocklists import Blocklists
from stream.core.call import Ingress, Rejected
from stream.core.decision import (
    VERDICT_OF,
    Action,
    Decision,
    Reason,
    Role,
    SipSettings,
    Verdict,
    decision_ids,
    seed_of,
    sip_answer,
)
from stream.core.emergency import EmergencyNumbers
from stream.core.entry import NEVER, Category
from stream.core.matches import NO_MATCHES
from stream.core.number import Kind, Numbers, region_of
from stream.core.policy import Match, Policy

NO_RULE = "none"
EMERGENCY = "emergency"
ALLOWLIST = "allowlist"
UNASKED = "unasked"
HOME_FROM_ABROAD = "rule:home_number_from_abroad"
INVALID_CALLER = "rule:invalid_caller"


@dataclass(frozen=True, slots=True)
class Rules:
    """All that deciding needs besides the batch and the lists; built once per `Blocklists`."""

    policy: Policy
    emergency: EmergencyNumbers
    trunks: Trunks
    sip: SipSettings
    emit_all: bool


class Counted(NamedTuple):
    """A label set of the decision counter: `list` is "" where no list decided."""

    verdict: Verdict
    rule: str
    list: str
    simulated: bool


@dataclass(slots=True)
class Tally:
    """What happened in one batch, for the metrics; every call is in `decisions` exactly once."""

    decisions: Counter[Counted] = field(default_factory=Counter)
    unconfirmed: Counter[str] = field(default_factory=Counter)
    observed: Counter[str] = field(default_factory=Counter)
    unasked_calls: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one batch leads to: decisions in columns of one length, and records that were no calls.

    `keys` are the Kafka record keys (the deciding number, b"" where there is none), `values` the
    JSON, `ids` the decision ids.
    """

    ids: Sequence[str]
    keys: Sequence[bytes]
    values: Sequence[bytes]
    rejected: Sequence[Rejected]
    tally: Tally


class _Ruling(NamedTuple):
    """What is to be done with one call, and why, before it becomes a `Decision`."""

    verdict: Verdict
    rule: str
    role: Role = Role.CALLER
    matches: Sequence[Match] = ()
    deciding: Match | None = None
    would: Verdict | None = None


def decide(batch: CallBatch, blocklists: Blocklists, rules: Rules, now_ms: int) -> Outcome:
    """Decide every call of `batch` at `now_ms`, milliseconds since the epoch."""
    now_s = now_ms // 1000
    tally = Tally()
    rulings = _rulings(batch, blocklists, rules, now_s, tally)
    for ruling in rulings.values():
        tally.decisions[_counted(ruling, blocklists)] += 1
    innocent = len(batch) - len(rulings)
    if innocent:
        tally.decisions[Counted(Verdict.ALLOW, NO_RULE, "", simulated=False)] += innocent
    published = {
        index: ruling
        for index, ruling in rulings.items()
        if rules.emit_all or ruling.verdict is not Verdict.ALLOW or ruling.would is not None
    }
    indexes = np.fromiter(published, np.int64, len(published))
    keys = [_number(batch, index, ruling.role) for index, ruling in published.items()]
    ids = _ids(batch, indexes, np.array(keys, "S16"))
    values = _Written(batch, blocklists, rules, now_ms).all(ids, keys, published)
    if rules.emit_all and innocent:
        unspoken = np.ones(len(batch), np.bool_)
        unspoken[np.fromiter(rulings, np.int64, len(rulings))] = False
        plain = np.flatnonzero(unspoken)
        callers = batch.callers.e164[plain]
        plain_ids = _ids(batch, plain, callers)
        ids += plain_ids
        keys += callers.tolist()
        values += plain_allows(batch, plain, plain_ids, now_ms)
    return Outcome(ids, keys, values, batch.rejected, tally)


def _rulings(
    batch: CallBatch, blocklists: Blocklists, rules: Rules, now_s: int, tally: Tally
) -> dict[int, _Ruling]:
    """A ruling for every call that anything speaks of; calls absent from it are innocent."""
    stale = rules.policy.stale([now_s - live.synced_at_s for live in blocklists.lists])
    silent = frozenset(stale) | frozenset(blocklists.unusable)
    of_callers = blocklists.match(batch.callers, now_s)
    of_callees = NO_MATCHES if batch.callees is None else blocklists.match(batch.callees, now_s)
    if stale:
        of_callers, of_callees = of_callers.without(silent), of_callees.without(silent)
    by_caller, by_callee = of_callers.by_row(), of_callees.by_row()
    rulings = {}
    for index in sorted(by_caller.keys() | by_callee.keys()):
        found = ((Role.CALLER, by_caller.get(index)), (Role.CALLEE, by_callee.get(index)))
        rulings[index] = _judge(batch, index, found, blocklists, rules, now_s)
        for _, matches in found:
            for match in matches or ():
                if not match.confirmed:
                    tally.unconfirmed[blocklists.lists[match.list].name] += 1
                elif rulings[index].verdict is Verdict.ALLOW:
                    tally.observed[blocklists.lists[match.list].name] += 1
    if rules.policy.settings.rules.any:
        _apply_plausibility(batch, rulings, blocklists, rules, now_s)
    if silent:
        _apply_unasked(batch, rulings, rules, tally)
    return rulings


def _judge(
    batch: CallBatch,
    index: int,
    found: Sequence[tuple[Role, Sequence[Match] | None]],
    blocklists: Blocklists,
    rules: Rules,
    now_s: int,
) -> _Ruling:
    exempt = _exempt(batch, index, blocklists, rules, now_s)
    if exempt is not None:
        return exempt
    best = _Ruling(Verdict.ALLOW, NO_RULE)
    strongest = (False, Action.OBSERVE)
    for role, matches in found:
        if not matches:
            continue
        if role is Role.CALLEE and blocklists.allow.find(_text(batch, index, role), now_s):
            continue
        judged = rules.policy.weigh(matches)
        strength = (not judged.simulated and judged.action > Action.OBSERVE, judged.action)
        if strength > strongest:
            strongest = strength
            verdict = VERDICT_OF[judged.action]
            best = _Ruling(
                Verdict.ALLOW if judged.simulated else verdict,
                f"list:{blocklists.lists[judged.deciding.list].name}",
                role,
                matches,
                judged.deciding,
                verdict if judged.simulated else None,
            )
    return best


def _exempt(
    batch: CallBatch, index: int, blocklists: Blocklists, rules: Rules, now_s: int
) -> _Ruling | None:
    """The ruling of a call that nothing may block: emergency called, or an allowed caller."""
    glance = batch.glances[index]
    country = rules.trunks.country(glance.trunk)
    if rules.emergency.is_emergency(glance.callee, country):
        return _Ruling(Verdict.ALLOW, EMERGENCY)
    caller = _text(batch, index, Role.CALLER)
    if caller and blocklists.allow.find(caller, now_s) is not None:
        return _Ruling(Verdict.ALLOW, ALLOWLIST)
    return None


def _apply_plausibility(
    batch: CallBatch, rulings: dict[int, _Ruling], blocklists: Blocklists, rules: Rules, now_s: int
) -> None:
    """Rule on calls that no list blocks. It looks at each call: only paid where a rule is on."""
    settings = rules.policy.settings.rules
    kinds = batch.callers.kinds
    for index, glance in enumerate(batch.glances):
        before = rulings.get(index)
        if before is not None and before.rule != NO_RULE and before.would is None:
            continue
        action, rule = None, ""
        if settings.invalid_caller is not None and kinds[index] == Kind.INVALID:
            action, rule = settings.invalid_caller, INVALID_CALLER
        elif settings.home_number_from_abroad is not None and kinds[index] == Kind.E164:
            abroad = rules.trunks.ingress(glance.trunk, glance.ingress) is Ingress.INTERNATIONAL
            caller = _text(batch, index, Role.CALLER)
            if abroad and region_of(caller) == rules.trunks.country(glance.trunk):
                action, rule = settings.home_number_from_abroad, HOME_FROM_ABROAD
        if action is not None and action > Action.OBSERVE:
            exempt = _exempt(batch, index, blocklists, rules, now_s)
            rulings[index] = exempt or _Ruling(VERDICT_OF[action], rule)


def _apply_unasked(
    batch: CallBatch, rulings: dict[int, _Ruling], rules: Rules, tally: Tally
) -> None:
    """What follows for E.164 callers that no list speaks of while some list could not be asked."""
    asked = np.flatnonzero(batch.callers.kinds == Kind.E164)
    quiet = [index for index in asked.tolist() if index not in rulings]
    tally.unasked_calls += len(quiet)
    if rules.policy.settings.unasked > Action.OBSERVE:
        for index in quiet:
            country = rules.trunks.country(batch.glances[index].trunk)
            if not rules.emergency.is_emergency(batch.glances[index].callee, country):
                rulings[index] = _Ruling(VERDICT_OF[rules.policy.settings.unasked], UNASKED)


def _counted(ruling: _Ruling, blocklists: Blocklists) -> Counted:
    name = blocklists.lists[ruling.deciding.list].name if ruling.deciding else ""
    return Counted(ruling.verdict, ruling.rule, name, ruling.would is not None)


def _number(batch: CallBatch, index: int, role: Role) -> bytes:
    """The E.164 number of `role` in call `index`, b"" where it is none."""
    numbers = batch.callers if role is Role.CALLER else batch.callees
    return b"" if numbers is None else numbers.e164[index]


def _text(batch: CallBatch, index: int, role: Role) -> str:
    return _number(batch, index, role).decode("ascii")


def _ids(batch: CallBatch, indexes: NDArray[np.int64], numbers: NDArray[np.bytes_]) -> list[str]:
    if not len(indexes):
        return []
    rows = batch.rows[indexes]
    raw = batch.raw
    return decision_ids(_seeds(raw)[rows], raw.offsets[rows], raw.timestamps_ms[rows], numbers)


_seed_of = lru_cache(maxsize=4096)(seed_of)


def _seeds(raw: RawBatch) -> NDArray[np.uint64]:
    seeds = [
        _seed_of(segment.partition.topic, segment.partition.number) for segment in raw.segments
    ]
    lengths = [segment.stop - segment.start for segment in raw.segments]
    return np.repeat(np.array(seeds, np.uint64), lengths)


class _Written:
    """Rulings as the JSON values of their decisions."""

    def __init__(self, batch: CallBatch, blocklists: Blocklists, rules: Rules, now_ms: int) -> None:
        self._batch = batch
        self._blocklists = blocklists
        self._rules = rules
        self._decided_at = timestamp(now_ms)
        self._expires_at_max_s = now_ms // 1000 + rules.policy.settings.decision_ttl_s
        self._encode = msgspec.json.Encoder().encode

    def all(
        self, ids: Sequence[str], numbers: Sequence[bytes], rulings: dict[int, _Ruling]
    ) -> list[bytes]:
        """The values, in the order of `rulings`."""
        return [
            self._encode(self._decision(decision_id, index, ruling, number.decode("ascii")))
            for decision_id, number, (index, ruling) in zip(
                ids, numbers, rulings.items(), strict=True
            )
        ]

    def _decision(self, decision_id: str, index: int, ruling: _Ruling, number: str) -> Decision:
        batch = self._batch
        call = batch.call_of(index)
        blocks = ruling.verdict is Verdict.BLOCK
        started_at_s = call.started_at_s
        return Decision(
            decision_id=decision_id,
            verdict=ruling.verdict,
            simulated=ruling.would is not None,
            rule=ruling.rule,
            number=number or None,
            role=ruling.role,
            call_id=call.call_id,
            caller=_shown(batch.callers, index, call.caller),
            callee=_shown(batch.callees, index, call.callee),
            reasons=[self._reason(match) for match in ruling.matches],
            sip=sip_answer(decision_id, self._rules.sip) if blocks else None,
            called_at=None if started_at_s is None else timestamp(round(started_at_s * 1000)),
            decided_at=self._decided_at,
            expires_at=timestamp(self._expiry_s(ruling) * 1000),
            origin=str(batch.raw.origin(int(batch.rows[index]))),
            would=msgspec.UNSET if ruling.would is None else ruling.would,
        )

    def _expiry_s(self, ruling: _Ruling) -> int:
        entry_s = ruling.deciding.expires_at_s if ruling.deciding is not None else None
        if entry_s is None or entry_s == NEVER:
            return self._expires_at_max_s
        return min(entry_s, self._expires_at_max_s)

    def _reason(self, match: Match) -> Reason:
        live = self._blocklists.lists[match.list]
        return Reason(
            list=live.name,
            category=None if match.category is None else _label(match.category),
            confirmed=match.confirmed,
            confidence=match.confidence,
            generation=live.generation,
            expires_at=timestamp(match.expires_at_s * 1000) if match.expires_at_s else None,
        )


@lru_cache(maxsize=256)
def _label(category: int) -> str:
    """A category's name; one that this version does not know yet is `other`, never a crash."""
    try:
        return Category(category).label
    except ValueError:
        return Category.OTHER.label


def _shown(numbers: Numbers | None, index: int, written: str | None) -> str | None:
    """A number as decisions show it: E.164 where it is one, else as the switch wrote it."""
    e164: bytes = numbers.e164[index] if numbers is not None else b""
    return e164.decode("ascii") or written

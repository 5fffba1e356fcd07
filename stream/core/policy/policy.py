"""From what the lists say of a call to what the network does with it.

The settings say what each list may cause, agreements bound it (`core.bounds`); `compile_policy`
turns them into one row per list of a `Blocklists`, so that deciding looks nothing up by name.
`Policy.weigh` judges the matches of one number and is the only place where block, flag and observe
are chosen between.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from stream.core.model.agreement import owner_of
from stream.core.model.decision import Action
from stream.core.policy.list_scope import NO_SCOPES, Allowed, Outside, Scopes
from stream.core.policy.rules import RuleSettings


@dataclass(frozen=True, slots=True)
class ListPolicy:
    """What one list may cause.

    `action` is the strongest verdict of a confirmed match, `unconfirmed` that of a Bloom hit which
    nothing confirms. An entry below `confidence_min` (0 to 100), or a number that fewer than
    `agree_min` lists hold, is only observed. `simulate` decides without acting. A list not heard of
    for more than `age_s_max` seconds counts as not asked (0: never). Confidence falls to 0 within
    `decay_days` (0: it stays as reported), faster at first the larger `decay_speed` is: see
    `core.confidence`. The defaults are those of MISP's model for phone numbers (`vishing-model`).
    """

    action: Action = Action.BLOCK
    unconfirmed: Action = Action.FLAG
    confidence_min: int = 0
    agree_min: int = 1
    simulate: bool = False
    age_s_max: int = 0
    decay_days: float = 10.0
    decay_speed: float = 2.3

    def __post_init__(self) -> None:
        if not 0 <= self.confidence_min <= 100:
            raise ValueError(f"confidence_min must be 0 to 100, not {self.confidence_min}")
        if self.agree_min < 1:
            raise ValueError(f"agree_min must be at least 1, not {self.agree_min}")
        if self.age_s_max < 0:
            raise ValueError(f"age_s_max must not be negative, not {self.age_s_max}")
        if not 0 <= self.decay_days <= 36_500:
            raise ValueError(f"decay_days must be 0 (off) to 36500, not {self.decay_days}")
        if not 0.01 <= self.decay_speed <= 100:
            raise ValueError(f"decay_speed must be 0.01 to 100, not {self.decay_speed}")


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """The whole policy: `lists` by list name, `default` for every other list.

    `unasked` is what follows for a call when a list could not be asked: OBSERVE allows, FLAG flags.
    """

    default: ListPolicy = field(default_factory=ListPolicy)
    lists: Mapping[str, ListPolicy] = field(default_factory=dict)
    rules: RuleSettings = field(default_factory=RuleSettings)
    unasked: Action = Action.OBSERVE
    decision_ttl_s: int = 86_400

    def __post_init__(self) -> None:
        if self.unasked is Action.BLOCK:
            raise ValueError("unasked may be allow or flag: a missing list must not block everyone")
        if self.decision_ttl_s < 1:
            raise ValueError(f"decision_ttl_s must be positive, not {self.decision_ttl_s}")


class Match(NamedTuple):
    """One list that holds a number (`confirmed`) or may hold it.

    `list` is the list's index in its `Blocklists`; category, confidence and expiry are those of the
    entry and None where the match is unconfirmed. `prefix`: how many digits of the number the
    list's entry has where that is a prefix, else 0. One that is `outside` is only observed, and
    counts for no other.
    """

    list: int
    confirmed: bool
    category: int | None = None
    confidence: int | None = None
    expires_at_s: int | None = None
    prefix: int = 0
    outside: Outside = Outside.NOT


class Stops(NamedTuple):
    """Which rule is named where a bound keeps a list from acting that the settings would let act.

    By what does: the highest action, that of unconfirmed matches, confidence, number of owners;
    `categories` has the numbers of those that are not agreed on. None: that one never does.
    """

    action: str | None = None
    unconfirmed: str | None = None
    confidence: str | None = None
    countries: str | None = None
    categories: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bound:
    """What agreements make of one list in one country at one moment.

    The list's `ListPolicy` is then the stricter of the settings and all clauses; `alone` is what
    the settings say. `agreement` is the id that reasons name; `rule` is what a decision of the list
    names in place of the list. The list acts where at least `countries_min` owners hold the number;
    it counts for others where `corroborates`. `may_list`: the countries that agreements let it
    name.
    """

    alone: ListPolicy
    agreement: str | None = None
    rule: str | None = None
    countries_min: int = 1
    corroborates: bool = True
    may_list: Sequence[Allowed] = ()
    stops: Stops = field(default_factory=Stops)


class Judgement(NamedTuple):
    """What the matches of one number come to.

    `deciding` is the match that caused `action`; with `simulated` the action is what would have
    happened had the list not been on trial. `rule` is what the decision names in place of the
    deciding list: the agreement that lets it act, or that keeps it from acting.
    """

    action: Action
    simulated: bool
    deciding: Match
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings, with one `ListPolicy` per list of one `Blocklists`, in its order.

    `bounds` has what agreements make of each list; it is empty where there are none. `scopes` has
    the numbers that each list may name.
    """

    settings: PolicySettings
    by_list: Sequence[ListPolicy]
    bounds: Sequence[Bound] = ()
    names: tuple[str, ...] = ()
    scopes: Scopes = NO_SCOPES

    def weigh(self, matches: Sequence[Match]) -> Judgement:
        """Judge the matches of one number; at least one. The strongest real action wins.

        A list on trial speaks only where no other acts. Among equals the earlier list decides, so
        that a repeat of the same call reads the same. Where none acts, and one would have without
        agreements or outside of its scope, the judgement names what kept that one from it.
        """
        assert matches, "a number without a match needs no judgement"
        agreeing = sum(match.confirmed and not match.outside for match in matches)
        owners = self._owners(matches)
        real = simulated = Judgement(Action.OBSERVE, False, matches[0])
        for match in matches:
            rule = self.by_list[match.list]
            action = Action.OBSERVE if match.outside else _action(match, rule, agreeing)
            if self.bounds and match.confirmed:
                bound = self.bounds[match.list]
                if owners < bound.countries_min or match.category in bound.stops.categories:
                    action = Action.OBSERVE
            if rule.simulate:
                if action > simulated.action:
                    simulated = Judgement(action, True, match)
            elif action > real.action:
                real = Judgement(action, False, match)
        judged = real if real.action > Action.OBSERVE else simulated
        if judged.action > Action.OBSERVE:
            agreed = self.bounds[judged.deciding.list].rule if self.bounds else None
            return judged._replace(rule=agreed)
        if not self.bounds and not any(match.outside for match in matches):
            return judged
        rules = [bound.alone for bound in self.bounds] if self.bounds else self.by_list
        inside = [match._replace(outside=Outside.NOT) for match in matches]
        alone = Policy(self.settings, rules).weigh(inside)
        if alone.action > Action.OBSERVE:
            deciding = matches[inside.index(alone.deciding)]
            why = self._stopped(deciding)
            if why is None:  # it acts with another beside it, which is outside
                deciding = next(match for match in matches if match.outside)
                why = deciding.outside.label
            return judged._replace(deciding=deciding, rule=why)
        return judged

    def _owners(self, matches: Sequence[Match]) -> int:
        """How many owners' lists certainly hold the number, of those lists that count."""
        return len(
            {
                owner_of(self.names[match.list])
                for match in matches
                if self.bounds
                and match.confirmed
                and not match.outside
                and self.bounds[match.list].corroborates
            }
        )

    def _stopped(self, match: Match) -> str | None:
        """The rule that keeps `match`, which the settings would let act, from acting."""
        if match.outside:
            return match.outside.label
        if not self.bounds:
            return None
        stops, rule = self.bounds[match.list].stops, self.by_list[match.list]
        if not match.confirmed:
            return stops.unconfirmed
        assert match.confidence is not None, "a confirmed match has its entry's confidence"
        if rule.action is Action.OBSERVE:
            return stops.action
        if match.confidence < rule.confidence_min:
            return stops.confidence
        return stops.categories.get(match.category or 0, stops.countries)


def _action(match: Match, rule: ListPolicy, agreeing: int) -> Action:
    if not match.confirmed:
        return min(rule.action, rule.unconfirmed)
    assert match.confidence is not None, "a confirmed match has its entry's confidence"
    if match.confidence < rule.confidence_min or agreeing < rule.agree_min:
        return Action.OBSERVE
    return rule.action


def alone(settings: PolicySettings, name: str) -> ListPolicy:
    """What the settings say of the list `name`."""
    return settings.lists.get(name, settings.default)


def compile_policy(settings: PolicySettings, names: Sequence[str]) -> Policy:
    """The policy for the lists `names`, in that order, without agreements."""
    return Policy(settings, [alone(settings, name) for name in names], names=tuple(names))

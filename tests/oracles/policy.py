"""The policy for one number at a time: `stream.core.policy.policy_columns` is held against it."""

from collections.abc import Sequence
from typing import NamedTuple

from stream.core.model.agreement import owner_of
from stream.core.model.decision import Action
from stream.core.policy.list_scope import Outside
from stream.core.policy.policy import ListPolicy, Match, Policy


class Judgement(NamedTuple):
    """Return the combined result of one number's matches.

    `deciding` is the match that caused `action`; with `simulated` the action is what would have
    happened had the list not been on trial. `rule` is what the decision names in place of the
    deciding list: the agreement that lets it act, or that keeps it from acting.
    """

    action: Action
    simulated: bool
    deciding: Match
    rule: str | None = None


def weigh(policy: Policy, matches: Sequence[Match]) -> Judgement:
    """Judge the matches of one number; at least one. The strongest real action wins.

    A list on trial speaks only where no other acts. Among equals the earlier list decides, so
    that a repeat of the same call reads the same. Where none acts, and one would have without
    agreements or outside of its scope, the judgement names what kept that one from it.
    """
    assert matches, "a number without a match needs no judgement"
    agreeing = sum(match.confirmed and not match.outside for match in matches)
    owners = _owners(policy, matches)
    real = simulated = Judgement(Action.OBSERVE, False, matches[0])
    for match in matches:
        rule = policy.by_list[match.list]
        action = Action.OBSERVE if match.outside else _action(match, rule, agreeing)
        if policy.bounds and match.confirmed:
            bound = policy.bounds[match.list]
            if owners < bound.countries_min or match.category in bound.stops.categories:
                action = Action.OBSERVE
        if rule.simulate:
            if action > simulated.action:
                simulated = Judgement(action, True, match)
        elif action > real.action:
            real = Judgement(action, False, match)
    judged = real if real.action > Action.OBSERVE else simulated
    if judged.action > Action.OBSERVE:
        agreed = policy.bounds[judged.deciding.list].rule if policy.bounds else None
        return judged._replace(rule=agreed)
    if not policy.bounds and not any(match.outside for match in matches):
        return judged
    rules = [bound.alone for bound in policy.bounds] if policy.bounds else policy.by_list
    inside = [match._replace(outside=Outside.NOT) for match in matches]
    alone = weigh(Policy(policy.settings, rules), inside)
    if alone.action > Action.OBSERVE:
        deciding = matches[inside.index(alone.deciding)]
        why = _stopped(policy, deciding)
        if why is None:  # it acts with another beside it, which is outside
            deciding = next(match for match in matches if match.outside)
            why = deciding.outside.label
        return judged._replace(deciding=deciding, rule=why)
    return judged


def _owners(policy: Policy, matches: Sequence[Match]) -> int:
    """Count the owners whose lists certainly hold the number, among the lists that count."""
    return len(
        {
            owner_of(policy.names[match.list])
            for match in matches
            if policy.bounds
            and match.confirmed
            and not match.outside
            and policy.bounds[match.list].corroborates
        }
    )


def _stopped(policy: Policy, match: Match) -> str | None:
    """The rule that keeps `match`, which the settings would let act, from acting."""
    if match.outside:
        return match.outside.label
    if not policy.bounds:
        return None
    stops, rule = policy.bounds[match.list].stops, policy.by_list[match.list]
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

"""Deciding: the order of what speaks for and against a call."""

from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np
import pytest

from stream.calls.call_batch import DecisionLabels, KeyFields, OutOfScope
from stream.calls.decide import decide
from stream.calls.plausibility.bursts import Bursts
from stream.calls.trunks import Trunk, Trunks
from stream.core.filters.blocklists import LiveList, fresh
from stream.core.filters.overlay import EMPTY, Change
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.call import Ingress
from stream.core.model.decision import Action, Verdict
from stream.core.model.entry import Category
from stream.core.policy.list_scope import Allowed, Scopes
from stream.core.policy.policy import ListPolicy, PolicySettings
from stream.core.policy.rules import BurstSettings, RuleSettings, RuleState, RuleStates
from stream.kafka.batch import Partition, Segment
from tests.support.builders import (
    NOW_S,
    bare,
    blocklists,
    call_batch,
    entry,
    hashed,
    live,
    rules_for,
)

LISTED, OTHER, CLEAN, VICTIM = "+447700900101", "+447700900102", "+447700900103", "+66812345678"
NOW_MS = NOW_S * 1000 + 250
TRUNKS = Trunks(
    "TH", {"gb": Trunk("GB", Ingress.DOMESTIC), "border": Trunk("TH", Ingress.INTERNATIONAL)}
)


def call(caller, callee=VICTIM, **more):
    return KeyFields("c-1", caller, callee, **more)


def ids_of(outcome):
    return outcome.ids.astype(str).tolist()


def decided(enforced, *calls, emit_all=False, callees=True, **settings):
    rules = rules_for(enforced, PolicySettings(**settings), TRUNKS, emit_all=emit_all)
    outcome = decide(call_batch(*calls, callees=callees), enforced, rules, NOW_MS).outcome()
    assert len(outcome.ids) == len(outcome.keys) == len(outcome.values) == len(outcome.rows)
    assert sum(outcome.tally.decisions.values()) == len(calls), "every call is counted once"
    return outcome, [msgspec.json.decode(value) for value in filter(None, outcome.values)]


def test_a_listed_caller_is_blocked_and_told_how_to_complain():
    """The decision says which list, which entry, and carries the ready SIP answer."""
    lists = blocklists(live("KH/scam", LISTED, expires_at_s=NOW_S + 60))
    outcome, (decision,) = decided(lists, call(CLEAN), call(LISTED))
    assert outcome.keys.tolist() == [LISTED.encode()]
    assert outcome.rows.tolist() == [1]
    assert outcome.tally.observed == {}
    assert outcome.tally.decisions == {
        DecisionLabels(Verdict.ALLOW, "none", "", False): 1,
        DecisionLabels(Verdict.BLOCK, "list:KH/scam", "KH/scam", False): 1,
    }
    assert decision == {
        "decision_id": ids_of(outcome)[0],
        "verdict": "block",
        "simulated": False,
        "rule": "list:KH/scam",
        "number": LISTED,
        "role": "caller",
        "call_id": "c-1",
        "caller": LISTED,
        "callee": VICTIM,
        "reasons": [
            {
                "list": "KH/scam",
                "agreement": None,
                "category": "call_centre",
                "confirmed": True,
                "confidence": 98,
                "generation": 1,
                "expires_at": "2026-11-24T23:54:48.000Z",
            }
        ],
        "sip": {
            "code": 603,
            "phrase": "Network Blocked",
            "reason": f'SIP;cause=603;text="v=analytics1;url=https://redress.example/d/'
            f'{ids_of(outcome)[0]}";location=TN',
        },
        "called_at": "2026-11-24T23:53:48.000Z",
        "decided_at": "2026-11-24T23:53:48.250Z",
        "expires_at": "2026-11-24T23:54:48.000Z",
        "origin": "calls/3/101",
    }


@pytest.mark.parametrize(
    ("entry_s", "after_s"), [(0, 100), (1, 1), (99, 99), (100, 100), (101, 100)]
)
def test_a_decision_expires_with_its_entry_or_earlier(entry_s, after_s):
    """At the latest after `decision_ttl_s`, by which one without an entry or an end ends too."""
    expires_at_s = NOW_S + entry_s if entry_s else 0
    lists = blocklists(live("KH/scam", LISTED, expires_at_s=expires_at_s))
    states = RuleSettings(RuleStates(invalid_caller=RuleState.BLOCK))
    calls = call(LISTED), call("+1234567890123456")
    _, decisions = decided(lists, *calls, rules=states, decision_ttl_s=100)
    ends = {d["number"]: datetime.fromisoformat(d["expires_at"]).timestamp() for d in decisions}
    assert ends == {LISTED: NOW_S + after_s, None: NOW_S + 100}


def test_numbers_that_bursts_forgot_are_counted_once():
    """The memory of short calls says how many it forgot; the next batch begins from 0."""
    lists = blocklists(live("KH/scam", LISTED))
    rules = rules_for(lists, PolicySettings(), TRUNKS)
    bursts = Bursts(BurstSettings(), ["calls"])
    bursts.forgotten = 7
    batch = call_batch(call(CLEAN))
    tallies = [decide(batch, lists, rules, NOW_MS, bursts=bursts).tally for _ in range(2)]
    assert [tally.bursts_forgotten for tally in tallies] == [7, 0]


def test_a_listed_callee_is_the_victim_who_calls_back():
    """A call to a listed number is blocked, with that number as the deciding one."""
    outcome, (decision,) = decided(blocklists(live("KH/scam", LISTED)), call(CLEAN, LISTED))
    assert (decision["role"], decision["number"]) == ("callee", LISTED)
    assert outcome.keys.tolist() == [LISTED.encode()]
    unchecked, none = decided(
        blocklists(live("KH/scam", LISTED)), call(CLEAN, LISTED), callees=False
    )
    assert (none, ids_of(unchecked)) == ([], [])


def test_of_caller_and_callee_the_stronger_decides():
    """A flagged caller who rings a number that blocks is blocked for the called number."""
    lists = blocklists(live("XA/soft", LISTED), live("XB/hard", OTHER))
    _, (decision,) = decided(
        lists, call(LISTED, OTHER), lists={"XA/soft": ListPolicy(action=Action.FLAG)}
    )
    assert (decision["verdict"], decision["rule"]) == ("block", "list:XB/hard")


@pytest.mark.parametrize("callee", ["191", "1669", "112", "sip:191@host", "+66191"])
def test_an_emergency_number_is_reached_by_whoever_calls(callee):
    """A listed caller's emergency call is allowed, whatever else says."""
    lists = blocklists(live("KH/scam", LISTED))
    outcome, none = decided(
        lists, call(LISTED, callee), rules=RuleSettings(RuleStates(invalid_caller=RuleState.BLOCK))
    )
    assert none == []
    assert outcome.tally.decisions == {DecisionLabels(Verdict.ALLOW, "emergency", "", False): 1}


def test_the_country_of_the_trunk_says_what_an_emergency_number_is():
    """999 is one in Great Britain, on a British trunk."""
    lists = blocklists(live("KH/scam", LISTED))
    _, none = decided(lists, call(LISTED, "999", trunk="gb"))
    assert none == []
    _, (decision,) = decided(lists, call(LISTED, "999", trunk="border"))
    assert decision["verdict"] == "block"


def test_an_allowed_caller_is_never_blocked():
    """Neither for its own number nor for the one it calls; a prefix is enough."""
    allow = Allowlist.of([AllowEntry("+4477009001*", "hospital", "ops", NOW_S)])
    lists = blocklists(live("KH/scam", LISTED, "+66800000001"), allow=allow)
    outcome, none = decided(lists, call(LISTED), call(OTHER, "+66800000001"))
    assert none == []
    assert outcome.tally.decisions == {DecisionLabels(Verdict.ALLOW, "allowlist", "", False): 2}


def test_an_allowed_callee_does_not_protect_a_listed_caller():
    """A wrongly listed hospital can be called; not by a scammer."""
    allow = Allowlist.of([AllowEntry(OTHER, "hospital", "ops", NOW_S)])
    lists = blocklists(live("KH/scam", LISTED, OTHER), allow=allow)
    outcome, decisions = decided(lists, call(CLEAN, OTHER), call(LISTED, OTHER), call(CLEAN))
    assert [(d["verdict"], d["number"]) for d in decisions] == [("block", LISTED)]
    assert outcome.tally.decisions[DecisionLabels(Verdict.ALLOW, "none", "", False)] == 2


def test_a_bare_filters_hit_is_flagged_and_counted():
    """Nothing confirms it, so nobody is blocked by it."""
    lists = blocklists(fresh("XB/bare", b"", bare("XB/bare", [LISTED]), NOW_S))
    outcome, (decision,) = decided(lists, call(LISTED))
    assert (decision["verdict"], decision["sip"]) == ("flag", None)
    assert decision["reasons"][0]["confirmed"] is False
    assert outcome.tally.unconfirmed == {"XB/bare": 1}


def test_a_list_on_trial_allows_and_says_what_it_would_have_done():
    """Simulation publishes verdict allow, simulated true, and the verdict it would cause."""
    lists = blocklists(live("XA/trial", LISTED))
    outcome, (decision,) = decided(
        lists, call(LISTED), lists={"XA/trial": ListPolicy(simulate=True)}
    )
    assert (decision["verdict"], decision["simulated"], decision["would"]) == (
        "allow",
        True,
        "block",
    )
    assert decision["sip"] is None
    assert list(outcome.tally.decisions) == [
        DecisionLabels(Verdict.ALLOW, "list:XA/trial", "XA/trial", True)
    ]


def test_an_observing_list_publishes_nothing_and_is_counted():
    """Observing is for looking at a list's effect in the metrics alone."""
    lists = blocklists(live("XA/seen", LISTED))
    outcome, none = decided(
        lists, call(LISTED), lists={"XA/seen": ListPolicy(action=Action.OBSERVE)}
    )
    assert none == []
    assert outcome.tally.observed == {"XA/seen": 1}


def test_confidence_is_that_of_the_moment():
    """An old report is only observed where certainty is asked for; a second source makes it act
    again, one that calls the number legitimate observed again; without decay it acts all along.
    """
    old = entry(LISTED, reported_at_s=NOW_S - 5 * 86_400, source="police")  # 26 of 100 are left
    more = [
        entry(LISTED, confidence=60, reported_at_s=NOW_S, source="bank"),
        entry(LISTED, confidence=50, reported_at_s=NOW_S, source="u", category=Category.LEGITIMATE),
    ]
    lists = blocklists(live("KH/scam", OTHER))
    for reports, confidence in (([old], None), ([old, more[0]], 70), ([old, *more], None)):
        lists = lists.with_changes("KH/scam", [Change(old.fingerprint, tuple(reports))], 2, NOW_S)
        _, decisions = decided(lists, call(LISTED), default=ListPolicy(confidence_min=50))
        found = [decision["reasons"][0]["confidence"] for decision in decisions]
        assert found == ([] if confidence is None else [confidence])
    steady = ListPolicy(confidence_min=50, decay_days=0)
    _, (decision,) = decided(lists, call(LISTED), default=steady)
    assert decision["reasons"][0]["confidence"] == 50


def test_a_decision_for_every_call_when_told():
    """With emit all, innocent calls get a plain allow, once each, with ids like any other."""
    lists = blocklists(live("KH/scam", LISTED))
    outcome, decisions = decided(
        lists,
        call(CLEAN, "191"),
        call(LISTED),
        KeyFields('quote " and \\ é', None, "1234"),
        call("KBank"),
        emit_all=True,
    )
    by_origin = {decision["origin"]: decision for decision in decisions}
    assert sorted(by_origin) == ["calls/3/100", "calls/3/101", "calls/3/102", "calls/3/103"]
    assert [by_origin[f"calls/3/{n}"]["verdict"] for n in (100, 101, 102, 103)] == [
        "allow",
        "block",
        "allow",
        "allow",
    ]
    odd = by_origin["calls/3/102"]
    assert (odd["call_id"], odd["caller"], odd["callee"]) == ('quote " and \\ é', None, "1234")
    assert by_origin["calls/3/103"]["caller"] == "KBank"
    assert len(set(ids_of(outcome))) == 4
    assert {d["decision_id"] for d in decisions} == set(ids_of(outcome))
    only_blocks, _ = decided(lists, call(CLEAN, "191"), call(LISTED))
    assert set(ids_of(only_blocks)) <= set(ids_of(outcome)), (
        "the id does not depend on what is emitted"
    )


def test_innocent_calls_alone_are_decided_when_told():
    """A batch without any match has a decision for each call, too."""
    _, decisions = decided(blocklists(live("KH/scam", LISTED)), call(CLEAN), emit_all=True)
    assert [(d["verdict"], d["caller"]) for d in decisions] == [("allow", CLEAN)]


def test_an_id_is_that_of_the_records_own_partition():
    """However many partitions a batch has: a record read again has the same id, no other has it."""
    lists = blocklists(live("KH/scam", LISTED))
    places = [Partition("calls", 3), Partition("calls", 4), Partition("other", 3)]

    def ids(*segments):
        batch = call_batch(*[call(LISTED)] * sum(one.stop - one.start for one in segments))
        offsets = np.full(len(batch.raw.offsets), 100)
        raw = replace(batch.raw, segments=segments, offsets=offsets)
        return ids_of(
            decide(replace(batch, raw=raw), lists, rules_for(lists), NOW_MS).outcome()
        )  # fmt: skip

    alone = [ids(Segment(place, 0, 1)) for place in places]
    assert len({one for (one,) in alone}) == 3
    together = ids(*(Segment(place, 2 * at, 2 * at + 2) for at, place in enumerate(places)))
    assert together == [one for (one,) in alone for _ in range(2)]


def test_matches_outside_of_a_lists_scope_are_counted():
    """By list, reason, and whether an entry confirmed them; each match once."""
    hidden = fresh("KH/scam", b"", hashed("KH/scam", [entry(LISTED)], {LISTED}), NOW_S)
    lists = blocklists(hidden, fresh("XB/bare", b"", bare("XB/bare", [LISTED]), NOW_S))
    rules = rules_for(lists)
    scopes = Scopes.of([Allowed(frozenset({66}), "a")] * 2)
    rules = replace(rules, policy=replace(rules.policy, scopes=scopes))
    outcome = decide(call_batch(call(LISTED), call(LISTED)), lists, rules, NOW_MS).outcome()
    assert len(outcome.ids) == 0
    assert outcome.tally.outside == {
        OutOfScope("KH/scam", "country_not_allowed", True): 2,
        OutOfScope("XB/bare", "country_not_allowed", False): 2,
    }


def test_a_rule_that_asks_a_list_gives_its_entry_for_a_reason():
    """Beside calls that other lists block: the decision expires with that entry."""
    lists = blocklists(live("KH/scam", LISTED), live("TH/hotlines", OTHER, expires_at_s=NOW_S + 60))
    rules = RuleSettings(do_not_originate_lists=("TH/hotlines",))
    _, decisions = decided(lists, call(LISTED), call(OTHER), rules=rules)
    found = {d["rule"]: ([one["list"] for one in d["reasons"]], d["expires_at"]) for d in decisions}
    assert found == {
        "list:KH/scam": (["KH/scam"], "2026-11-25T23:53:48.000Z"),
        "rule:do_not_originate": (["TH/hotlines"], "2026-11-24T23:54:48.000Z"),
    }


def test_a_home_number_from_abroad_is_as_configured():
    """A Thai CLI on an international trunk to Thailand is flagged when the rule is on."""
    lists = blocklists(live("KH/scam", LISTED))
    suspect = call(VICTIM, "+66812345679", trunk="border")
    said = call(VICTIM, "+66812345679", ingress="international")
    domestic = call(VICTIM, "+66812345679")
    _, none = decided(lists, suspect, said, domestic)
    assert none == []
    _, decisions = decided(
        lists,
        suspect,
        said,
        domestic,
        rules=RuleSettings(RuleStates(home_number_from_abroad=RuleState.FLAG)),
    )
    assert [(d["verdict"], d["rule"]) for d in decisions] == [
        ("flag", "rule:home_number_from_abroad")
    ] * 2


def test_only_its_own_list_lets_a_home_number_come_from_abroad():
    """An entry on that list, not a filter's perhaps, nor an entry on another list."""
    roaming, seen, perhaps = "+66812345670", "+66812345671", "+66812345672"
    lists = blocklists(
        live("TH/roaming", roaming),
        fresh("TH/guests", b"", bare("TH/guests", [perhaps]), NOW_S),
        live("XA/seen", seen),
    )
    _, decisions = decided(
        lists,
        *(call(one, "+66812345679", trunk="border") for one in (roaming, seen, perhaps)),
        lists={"XA/seen": ListPolicy(action=Action.OBSERVE)},
        rules=RuleSettings(
            RuleStates(home_number_from_abroad=RuleState.FLAG),
            home_number_from_abroad_except=("TH/roaming", "TH/guests"),
        ),
    )
    assert [d["number"] for d in decisions] == [seen, perhaps]


def test_an_impossible_caller_is_as_configured():
    """16 digits are no number; a withheld one and a sender's name are not impossible."""
    lists = blocklists(live("KH/scam", LISTED))
    calls = [call("+1234567890123456"), call(None), call("KBank")]
    _, decisions = decided(
        lists, *calls, rules=RuleSettings(RuleStates(invalid_caller=RuleState.BLOCK))
    )
    assert [(d["verdict"], d["rule"], d["number"]) for d in decisions] == [
        ("block", "rule:invalid_caller", None)
    ]


def test_a_rule_does_not_weaken_a_list():
    """A listed caller who also breaks a rule that only flags stays blocked."""
    lists = blocklists(live("KH/scam", VICTIM))
    _, (decision,) = decided(
        lists,
        call(VICTIM, "+66812345679", trunk="border"),
        rules=RuleSettings(RuleStates(home_number_from_abroad=RuleState.FLAG)),
    )
    assert decision["rule"] == "list:KH/scam"


def test_a_list_that_could_not_be_asked_is_counted_and_the_policy_says_what_follows():
    """No data: calls are allowed and counted; with `unasked = flag` they are flagged."""
    lists = blocklists(LiveList("XA/gone", b"", None, EMPTY, 0, 0), live("XB/two", LISTED))
    outcome, decisions = decided(lists, call(CLEAN), call(LISTED), call(None))
    assert [d["rule"] for d in decisions] == ["list:XB/two"]
    assert outcome.tally.unasked_calls == 1
    _, decisions = decided(lists, call(CLEAN), call(CLEAN, "191"), unasked=Action.FLAG)
    assert [(d["verdict"], d["rule"]) for d in decisions] == [("flag", "unasked")]


def test_an_allowed_caller_is_not_flagged_for_a_list_that_could_not_be_asked():
    """`unasked = flag` stands behind the allowlist, as all that speaks against a call does."""
    allow = Allowlist.of([AllowEntry("+4477009001*", "hospital", "ops", NOW_S)])
    lists = blocklists(LiveList("XA/gone", b"", None, EMPTY, 0, 0), allow=allow)
    outcome, decisions = decided(lists, call(OTHER), call(VICTIM), unasked=Action.FLAG)
    assert [(d["rule"], d["number"]) for d in decisions] == [("unasked", VICTIM)]
    assert outcome.tally.unasked_calls == 2


def test_a_stale_list_is_not_asked():
    """A list not heard of for longer than its limit blocks nobody."""
    lists = blocklists(live("XA/old", LISTED))
    _, none = decided(lists.synced(NOW_S - 61), call(LISTED), default=ListPolicy(age_s_max=60))
    assert none == []
    _, (decision,) = decided(
        lists.synced(NOW_S - 60), call(LISTED), default=ListPolicy(age_s_max=60)
    )
    assert decision["verdict"] == "block"


def test_no_calls_no_decisions():
    """An empty batch is not a special case for anybody."""
    outcome, decisions = decided(blocklists(live("KH/scam", LISTED)), emit_all=True)
    assert (decisions, ids_of(outcome)) == ([], [])

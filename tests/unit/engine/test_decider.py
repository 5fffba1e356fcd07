"""Agreements begin, end and change while calls are decided: at that moment, by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from stream.calls.call_batch import KeyFields
from stream.config.settings import load
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import AgreementKind, Agreements, Terms
from stream.core.model.decision import Action, Verdict
from stream.core.model.entry import Category
from stream.core.policy.rules import RuleState
from stream.engine.decider import CurrentPolicy, Decider, decoder_for
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, blocklists, call_batch, live

GANG, CLEAN, CALLED = "+447700900101", "+447700900199", "+66812345678"
LISTS = blocklists(
    live("CERT/all", "+447700900102"),
    live("KH/scam", GANG, confidence=80),
    live("TH/national", "+447700900103"),
)
ACTION = Action.BLOCK


class Place:
    """A worker's Decider, its lists, agreements and clock in our hands."""

    def __init__(self, *held: Any, lists: Blocklists = LISTS) -> None:
        settings = load([], {})
        self.lists, self.at_s = lists, NOW_S
        self.agreements = Agreements(held, needed=True)
        calls = replace(settings.calls, emit="all")
        self.decide = Decider(
            replace(settings, calls=calls),
            lambda: self.lists,
            lambda: self.agreements,
            lambda: self.at_s * 1000,
        )

    def decided(self, caller: str = GANG, at_s: int = NOW_S) -> Any:
        """The decision on a call from `caller` at that moment."""
        self.at_s = at_s
        batch = call_batch(KeyFields("c-1", caller, "+66812345678", None, None))
        outcome = self.decide(batch)
        (value,) = filter(None, outcome.values)
        decision = msgspec.json.decode(value)
        ((counted, times),) = outcome.tally.decisions.items()
        assert (counted.rule, counted.verdict, times) == (decision["rule"], decision["verdict"], 1)
        return decision


def told(decision: Any) -> tuple[Any, ...]:
    """Verdict, rule, and the agreement that each reason names."""
    reasons = [reason["agreement"] for reason in decision["reasons"]]
    return decision["verdict"], decision["rule"], *reasons


def test_an_agreement_acts_from_its_first_moment_until_its_last():
    """Begun and ended to the second, without a restart; afterwards the list is only observed."""
    place = Place(agreement("th-kh", ["KH/scam"], valid_from_s=NOW_S, valid_until_s=NOW_S + 60))
    block = ("block", "agreement:th-kh", "th-kh")
    observe = ("allow", "no_agreement", None)
    for at_s, expected in (
        (NOW_S - 1, observe), (NOW_S, block), (NOW_S + 59, block), (NOW_S + 60, observe)
    ):  # fmt: skip
        assert told(place.decided(at_s=at_s)) == expected, at_s


def test_a_clock_that_is_set_back_sets_the_agreements_back():
    """The agreements of that moment count, not those compiled last."""
    place = Place(agreement("th-kh", ["KH/scam"], valid_until_s=NOW_S))
    assert place.decided(at_s=NOW_S)["verdict"] == "allow"
    assert place.decided(at_s=NOW_S - 1)["verdict"] == "block"


def test_a_pledge_is_observed_until_it_is_confirmed():
    """The decision's rule names the agreement; once confirmed, the list acts."""
    place = Place(agreement("th-kh", ["KH/scam"], kind=AgreementKind.PLEDGE, confirmed_s=NOW_S + 1))
    assert told(place.decided()) == ("allow", "agreement:th-kh", "th-kh")
    assert told(place.decided(at_s=NOW_S + 1)) == ("block", "agreement:th-kh", "th-kh")


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        (Terms(Action.FLAG), "flag"),
        (Terms(Action.OBSERVE), "allow"),
        (Terms(ACTION, confidence_min=81), "allow"),
        (Terms(ACTION, confidence_min=70), "block"),
        (Terms(ACTION, categories=frozenset({Category.LOAN})), "allow"),
        (Terms(ACTION, categories=frozenset({Category.CALL_CENTRE})), "block"),
        (Terms(ACTION, countries_min=2), "allow"),
    ],
)
def test_each_term_that_weakens_is_named(terms, expected):
    """Action, confidence, category, countries: the decision names the agreement that says so."""
    place = Place(agreement("th-kh", ["KH/scam"], terms=terms))
    assert told(place.decided()) == (expected, "agreement:th-kh", "th-kh")


def test_two_countries_agree():
    """Corroboration counts owners: two lists of one owner are one, an unagreed list is none."""
    two = Terms(ACTION, countries_min=2)
    alone = [live(name, GANG, confidence=80) for name in ("KH/scam", "KH/more")]
    asean = agreement("asean", ["KH/scam", "KH/more", "PH/scam"], terms=two)
    place = Place(asean, lists=blocklists(*alone))
    assert place.decided()["verdict"] == "allow"
    place.lists = blocklists(*alone, live("VN/scam", GANG))
    assert place.decided()["verdict"] == "allow"
    place.lists = blocklists(*alone, live("PH/scam", GANG))
    assert told(place.decided()) == ("block", "agreement:asean", "asean", "asean", "asean")


def test_an_agreement_on_trial_decides_without_acting():
    """A simulated clause says what it would have done, by name."""
    place = Place(agreement("th-kh", ["KH/scam"], terms=Terms(ACTION, simulate=True)))
    decision = place.decided()
    assert (decision["verdict"], decision["would"], decision["simulated"]) == (
        "allow", "block", True
    )  # fmt: skip
    assert decision["rule"] == "agreement:th-kh"


def test_settings_that_are_stricter_decide_by_themselves():
    """Where [policy] allows less than the agreement, the rule is the list's own."""
    place = Place(agreement("th-kh", ["KH/scam"]))
    settings = place.decide.settings
    default = replace(settings.policy.default, action=Action.FLAG)
    place.decide.settings = replace(settings, policy=replace(settings.policy, default=default))
    assert told(place.decided()) == ("flag", "list:KH/scam", "th-kh")


def test_our_own_lists_and_an_organisations_need_no_agreement():
    """They do what [policy] says."""
    place = Place()
    assert told(place.decided("+447700900103")) == ("block", "list:TH/national", None)
    assert told(place.decided("+447700900102")) == ("block", "list:CERT/all", None)
    assert told(place.decided()) == ("allow", "no_agreement", None)


def test_without_agreements_everything_is_as_it_was():
    """No folder of agreements: other countries' lists do what [policy] says."""
    place = Place()
    place.agreements = Agreements()
    assert told(place.decided()) == ("block", "list:KH/scam", None)


def test_changed_files_and_new_lists_count_from_the_next_batch():
    """Another value of either is compiled again; the same value is not."""
    place = Place()
    assert place.decided()["verdict"] == "allow"
    place.agreements = Agreements((agreement("th-kh", ["KH/scam", "PH/scam"]),))
    assert place.decided()["verdict"] == "block"
    rules = place.decide._rules
    place.lists = LISTS.synced(NOW_S + 1)
    assert place.decided()["verdict"] == "block"
    assert place.decide._rules is rules
    place.lists = blocklists(live("PH/scam", GANG))
    assert told(place.decided()) == ("block", "agreement:th-kh", "th-kh")


def test_the_tally_counts_what_agreements_hold_back():
    """The report of a pledge's effect is counted from decisions that name it."""
    place = Place(agreement("th-mm", ["KH/scam"], kind=AgreementKind.PLEDGE))
    batch = call_batch(*(KeyFields(f"c-{n}", GANG, "+66812345678", None, None) for n in range(3)))
    ((counted, times),) = place.decide(batch).tally.decisions.items()
    assert (counted.verdict, counted.rule, counted.list, times) == (
        Verdict.ALLOW, "agreement:th-mm", "KH/scam", 3
    )  # fmt: skip


def test_keys_of_proxies_follow_lists_and_agreements() -> None:
    """The judge of the Redis sink is the same until something changes; the policy in it is the same
    until agreements, or what they say by now, are others: then the sink looks at every key.
    """
    place = Place(agreement("th-kh", ["KH/scam"], valid_until_s=NOW_S + 100))
    judges = CurrentPolicy(
        load([], {}), lambda: place.lists, lambda: place.agreements, lambda: place.at_s
    )
    first = judges()
    assert judges() is first
    gang = np.array([GANG], "S16")
    assert first.numbers(gang, NOW_S)[0].list == "KH/scam"
    place.lists = place.lists.synced(NOW_S + 1)
    second = judges()
    assert second is not first
    assert second.policy is first.policy
    place.at_s = NOW_S + 100
    ended = judges()
    assert ended.policy is not first.policy
    assert not ended.numbers(gang, NOW_S + 100)
    place.agreements = Agreements((agreement("th-kh", ["KH/scam"]),), needed=True)
    assert judges().numbers(gang, NOW_S + 100)


@pytest.mark.parametrize("state", ["off", "flag"])
def test_bursts_are_remembered_where_their_rule_is_on(tmp_path: Path, state: str) -> None:
    """From batch to batch, as [policy.rules] says; without the rule nothing is remembered."""
    own = tmp_path / "own.toml"
    own.write_text(f'[policy.rules]\nshort_bursts = "{state}"\nbursts = {{calls = 4}}\n')
    settings = load([own], {})
    decide = Decider(settings, lambda: LISTS, Agreements, lambda: NOW_S * 1000)
    read = decoder_for(settings)
    flagged = 0
    for offset in range(8):
        record = {"call_id": f"c-{offset}", "caller": "+447700900150", "callee": None}
        segments = (Segment(Partition("calls", 0), 0, 1),)
        value = msgspec.json.encode({**record, "duration_s": 1})
        raw = RawBatch([value], np.array([offset]), np.array([NOW_S * 1000]), segments, 1)
        flagged += len(decide(read(raw)).ids)
    # The first two calls of a window are not counted; the sixth is the fourth that is.
    assert flagged == (3 if state == "flag" else 0)


@pytest.mark.parametrize(
    ("dialect", "record", "verdicts"),
    [
        ("kamailio", {"callid": "same@host", "src_user": CLEAN, "dst_user": CALLED}, {"block"}),
        ("asterisk-vsgroup", {"linkedid": "1.2", "src": CLEAN, "dst": CALLED}, set()),
    ],
)
def test_an_id_that_the_caller_chose_stands_for_few_records(dialect, record, verdicts):
    """A flood under one SIP Call-ID is a burst; many records of a call in Asterisk's queue are
    none.
    """
    settings = load([], {})
    rules = replace(settings.policy.rules, short_bursts=RuleState.BLOCK)
    settings = replace(
        settings,
        calls=replace(settings.calls, topics={"calls": dialect}),
        policy=replace(settings.policy, rules=rules),
    )
    record = record | {"duration": 1, "durationsec": 1}
    count = 400
    raw = RawBatch(
        [msgspec.json.encode(record)] * count,
        np.arange(count),
        NOW_S * 1000 + np.arange(count),
        (Segment(Partition("calls", 0), 0, count),),
        1,
    )
    decide = Decider(settings, lambda: LISTS, lambda: Agreements((), needed=False))
    outcome = decide(decoder_for(settings)(raw))
    found = [msgspec.json.decode(value) for value in filter(None, outcome.values)]
    assert {one["verdict"] for one in found} == verdicts

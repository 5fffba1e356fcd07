"""Promises of the plausibility rules: by trunk and country, on trial, with lists of their own."""

import msgspec
import pytest

from stream.calls.decide import decide
from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.dialects.dialect import SwitchSettings
from stream.calls.plausibility.bursts import Bursts
from stream.calls.trunks import Trunk, Trunks
from stream.core.filters.blocklists import LiveList
from stream.core.filters.overlay import EMPTY
from stream.core.model.call import Ingress
from stream.core.policy.policy import ListPolicy, PolicySettings
from stream.core.policy.rules import BurstSettings, RuleSettings, RuleState, RuleStates
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import DECODING, NOW_S, blocklists, live, rules_for

pytestmark = pytest.mark.usefixtures("both_ways")

HOTLINE, ROAMING, HOME, CLEAN = "+66812345670", "+66812345671", "+66812345678", "+447700900103"
TRUNKS = Trunks(
    "TH",
    {
        "border": Trunk("TH", Ingress.INTERNATIONAL),
        "trial": Trunk("TH", Ingress.INTERNATIONAL),
        "laos": Trunk("LA", Ingress.INTERNATIONAL),
    },
)
LISTS = blocklists(
    live("KH/scam", "+447700900101"), live("TH/dno", HOTLINE), live("TH/roaming", ROAMING)
)
OFF, OBSERVE, SIMULATE, FLAG, BLOCK = RuleState
BY_LISTS = {
    "do_not_originate_lists": ("TH/dno",),
    "home_number_from_abroad_except": ("TH/roaming",),
}


def call(caller, callee="+66812345600", **more):
    """A record of dialect `ringfence`."""
    return {"call_id": "c-1", "caller": caller, "callee": callee, **more}


def decided(*calls, lists=LISTS, emit_all=False, bursts=None, dialect="ringfence", **settings):
    """The decisions about `calls`, without kernels or with them."""
    switches = {"edge": SwitchSettings(trunk="border")}
    values = [msgspec.json.encode(one) for one in calls]
    raw = RawBatch.of(values, Partition("calls", 0), at_ms=NOW_S * 1000)
    batch = decode(raw, {"calls": dialect_named(dialect, {}, switches)}, TRUNKS, DECODING)
    by_list = settings.pop("by_list", {})
    policy = PolicySettings(rules=RuleSettings(**settings), lists=by_list)
    rules = rules_for(lists, policy, TRUNKS, emit_all=emit_all)
    outcome = decide(batch, lists, rules, NOW_S * 1000, None, bursts).outcome()
    return [msgspec.json.decode(value) for value in filter(None, outcome.values)]


def said(decisions):
    """Verdict, would-be verdict and rule of each."""
    return [(one["verdict"], one.get("would"), one["rule"]) for one in decisions]


def test_a_rule_has_its_own_state_on_each_trunk_and_country():
    """The trunk's word, else that of its country, else the default; the country is the trunk's."""
    calls = [
        call("+99912345678", trunk=trunk) for trunk in ("border", "trial", "laos", "unknown", None)
    ]
    assert said(
        decided(
            *calls,
            default=RuleStates(unassigned_country_code=FLAG),
            countries={"LA": {"unassigned_country_code": OFF}},
            trunks={
                "border": {"unassigned_country_code": BLOCK},
                "trial": {"unassigned_country_code": SIMULATE},
            },
        )
    ) == [
        ("block", None, "rule:unassigned_country_code"),
        ("allow", "block", "rule:unassigned_country_code"),
        ("flag", None, "rule:unassigned_country_code"),
        ("flag", None, "rule:unassigned_country_code"),
    ]


def test_a_switch_that_names_no_trunk_has_the_one_of_its_settings():
    """`[switches.edge] trunk` counts where rules differ by trunk."""
    record = {"callid": "c-1", "src_user": HOME, "dst_user": "+66812345600"}
    settings = {"trunks": {"border": {"home_number_from_abroad": BLOCK}}}
    assert said(decided(record, dialect="kamailio:edge", **settings)) == [
        ("block", None, "rule:home_number_from_abroad")
    ]
    assert decided(record, dialect="kamailio", **settings) == []


def test_a_rule_on_trial_speaks_only_where_nothing_acts():
    """A list that acts is heard before it, and a rule that flags; one that observes is not."""
    listed, invalid = call("+447700900101", "+447700900101"), call("+99912345678")
    rules = RuleStates(
        caller_is_callee=SIMULATE, unassigned_country_code=SIMULATE, invalid_caller=FLAG
    )
    assert said(decided(listed, invalid, default=rules)) == [
        ("block", None, "list:KH/scam"),
        ("flag", None, "rule:invalid_caller"),
    ]
    trial = {"KH/scam": ListPolicy(simulate=True)}
    for state in (OBSERVE, SIMULATE):
        found = decided(listed, default=RuleStates(caller_is_callee=state), by_list=trial)
        assert said(found) == [("allow", "block", "list:KH/scam")]
    found = decided(listed, default=RuleStates(caller_is_callee=FLAG), by_list=trial)
    assert said(found) == [("flag", None, "rule:caller_is_callee")]


def test_a_disguised_number_is_looked_up_and_is_invalid_all_the_same():
    """Lists know it by the number that others read in it; nobody honest writes it so."""
    rules = RuleStates(invalid_caller=BLOCK)
    for text in ("abc+447700900101", "+4477~00900101", "sip:+447700900101%00@h", "+447700900101x9"):
        listed, free = call(text), call(text.replace("101", "999"))
        assert said(decided(listed)) == [("block", None, "list:KH/scam")]
        assert said(decided(free)) == []
        assert said(decided(listed, free, default=rules)) == [
            ("block", None, "list:KH/scam"),
            ("block", None, "rule:invalid_caller"),
        ]
    assert said(decided(call("KBank"), call("+99912345"), default=rules)) == [
        ("block", None, "rule:invalid_caller")
    ]


def test_marks_are_rules_of_their_own():
    """+697 and +698 are no unassigned code and not invalid; a roaming number may be from abroad."""
    marked = [
        call("+698812345678", trunk="border"),
        call("+697812345678", trunk="border"),
        call("+6971", trunk="border"),
    ]
    others = RuleStates(
        home_number_from_abroad=BLOCK,
        unassigned_country_code=BLOCK,
        impossible_length=BLOCK,
        invalid_caller=BLOCK,
    )
    assert said(decided(*marked, default=others)) == [
        ("block", None, "rule:home_number_from_abroad")
    ]
    rules = RuleStates(voip_from_abroad_mark=FLAG, roaming_mark=SIMULATE)
    assert said(decided(*marked, default=rules)) == [
        ("allow", "block", "rule:roaming_mark"),
        ("flag", None, "rule:voip_from_abroad_mark"),
        ("flag", None, "rule:voip_from_abroad_mark"),
    ]
    assert said(decided(call("+698812345678", trunk="laos"), default=others)) == [
        ("block", None, "rule:unassigned_country_code")
    ]


def test_a_listed_number_is_found_behind_its_mark():
    """A listed number stays listed while roaming."""
    (decision,) = decided(call("+698812345671"), lists=blocklists(live("TH/scam", ROAMING)))
    assert (decision["rule"], decision["number"]) == ("list:TH/scam", ROAMING)


def test_a_number_that_never_calls_is_blocked_when_it_does_and_may_be_called():
    """The decision names the rule, and the list's entry as its reason; the list itself is none."""
    calls = [call(HOTLINE), call(CLEAN, HOTLINE)]
    (decision,) = decided(*calls, **BY_LISTS)
    assert (decision["verdict"], decision["rule"]) == ("block", "rule:do_not_originate")
    assert [reason["list"] for reason in decision["reasons"]] == ["TH/dno"]
    assert decided(*calls, default=RuleStates(do_not_originate=OFF), **BY_LISTS) == []
    trial = decided(*calls, default=RuleStates(do_not_originate=SIMULATE), **BY_LISTS)
    assert said(trial) == [("allow", "block", "rule:do_not_originate")]
    weak = {"TH/dno": ListPolicy(confidence_min=99)}
    assert decided(*calls, by_list=weak, **BY_LISTS) == []
    assert decided(call(HOTLINE, "191"), **BY_LISTS) == []


def test_who_roams_may_come_from_abroad_as_long_as_it_is_known():
    """On the list: let through. While the list cannot be asked, nobody is stopped."""
    calls = [call(ROAMING, trunk="border"), call(HOME, trunk="border")]
    default = RuleStates(home_number_from_abroad=BLOCK)
    assert [one["number"] for one in decided(*calls, default=default, **BY_LISTS)] == [HOME]
    gone = LiveList("TH/roaming", b"", None, EMPTY, 0, 0)
    for lists in (blocklists(live("KH/scam", CLEAN)), blocklists(gone, live("KH/scam", CLEAN))):
        assert decided(*calls, lists=lists, default=default, **BY_LISTS) == []
        told = decided(*calls, lists=lists, emit_all=True, default=default, **BY_LISTS)
        assert said(told) == [("allow", None, "rule:home_number_from_abroad")] * 2


def test_a_burst_is_ruled_on_where_the_rule_is_on():
    """From the set number of short calls on; calls on trunks where it is off do not count."""
    short = {"duration_s": 1, "stage": "end", "trunk": "border"}
    calls = [call(CLEAN) | short | {"call_id": f"c-{n}"} for n in range(7)]
    bursts = Bursts(BurstSettings(calls=4), ["calls"])
    on = {"trunks": {"border": {"short_bursts": BLOCK}}}
    elsewhere = [one | {"trunk": "laos"} for one in calls]
    assert decided(*elsewhere, bursts=bursts, **on) == []
    found = decided(*calls, bursts=bursts, **on)
    assert said(found) == [("block", None, "rule:short_bursts")] * 4
    assert decided(*calls, **on) == []


def test_a_number_of_which_there_are_two_readings_is_not_invalid():
    """0091 and ten digits on a Thai trunk: India, or a carrier's 009 and the United States."""
    default = RuleStates(
        invalid_caller=BLOCK, impossible_length=BLOCK, unassigned_country_code=BLOCK
    )
    both, none = call("00912025550123"), call("0091202")
    assert said(decided(both, none, default=default))[0][0] == "block"
    assert decided(both, default=default) == []

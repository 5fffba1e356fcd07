"""Deciding in columns and kernels against deciding call by call, on records as switches write them.

`_Oracle` says what the rules mean, for one call, with nothing but the words of the core.
"""

import json
from dataclasses import replace

import msgspec
import numpy as np
import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls import rulings as calls_rulings
from stream.calls.decide import Rules, decide
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.core import kernels
from stream.core.filters.blocklists import LiveList, fresh
from stream.core.filters.overlay import EMPTY
from stream.core.model.agreement import Agreements
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.byte_strings import Texts
from stream.core.model.call import Ingress
from stream.core.model.decision import VERDICT_OF, Action, SipAnswerSettings, Verdict
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.number import Kind, region_of
from stream.core.policy.list_scope import Allowed, Scopes
from stream.core.policy.policy import ListPolicy, PolicySettings, compile_bounded, compile_policy
from stream.core.policy.rules import RULES, RuleSettings, RuleState, RuleStates
from stream.core.stir.attestation import VERSTATS, Attested, read_level, read_verstat
from stream.kafka.batch import Partition, RawBatch, Segment
from tests.oracles.policy import weigh
from tests.support.agreements import agreements
from tests.support.builders import NOW_S, bare, blocklists, entry, hashed, live

NOW_MS = NOW_S * 1000 + 250
BOTH, FIRST, SECOND, BARE, HOSPITAL = (f"+4477009001{n:02d}" for n in range(5))
CLEAN, HOME, UNASSIGNED = "+447700900150", "+66812345678", "+66712345678"
HOTLINE, ABROAD = "+66812345670", "+66812345671"
FIRSTS = [entry(one, expires_at_s=NOW_S + 60, confidence=40) for one in (BOTH, FIRST, HOSPITAL)]
LISTS = blocklists(
    live("TH/hotlines", HOTLINE, BOTH, BARE),
    fresh("TH/roaming", b"", hashed("TH/roaming", [entry(ABROAD)], {ABROAD}), NOW_S),
    fresh("XA/first", b"", hashed("XA/first", FIRSTS, {BOTH, FIRST}), NOW_S),
    live("XB/second", BOTH, SECOND, "+447700900101*", "+4477009001*", confidence=70),
    fresh("XC/bare", b"", bare("XC/bare", [BARE, BOTH]), NOW_S),
    allow=Allowlist.of([AllowEntry(HOSPITAL, "hospital", "ops", NOW_S)]),
)
GONE = blocklists(
    LiveList("TH/roaming", b"", None, EMPTY, 0, 0),
    LiveList("XA/gone", b"", None, EMPTY, 0, 0),
    live("XB/held", BOTH, SECOND),
    allow=Allowlist.of([AllowEntry(HOSPITAL, "hospital", "ops", NOW_S)]),
)
TRUNKS = Trunks("TH", {"gb": Trunk("GB"), "border": Trunk("TH", Ingress.INTERNATIONAL)})
EMERGENCY = EmergencyNumbers({})
SIP = SipAnswerSettings(
    "https://r.example/{decision_id}?a=\\é&again={decision_id}",
    "TN",
    607,
    (("gb", 603), ("border", 608)),
)

ODD_PARTIES = """KBank|sip:+447700900101@host|urn:service:sos|Ünknown|a"b\\c||+1234567890
|+447700900100x|+4477009001000000|tel:+447700900102|+44770090010é|191|+66191|999|0812345678
|+9991234567|+69781234567|+668123|08123456789012|0071234|+8170|+698 0812345671|+69712
|tel:+69781234567|00698812345670"""
parties = st.sampled_from(
    [
        *(BOTH, FIRST, SECOND, BARE, HOSPITAL, CLEAN, HOME, HOTLINE, ABROAD, UNASSIGNED, None),
        *ODD_PARTIES.replace("\n", "").split("|"),
    ]
)
calls = st.fixed_dictionaries(
    {"call_id": st.text(max_size=40) | st.just("c-1"), "caller": parties, "callee": parties},
    optional={
        "started_at": st.sampled_from([NOW_S, NOW_S + 0.25, "2026-11-24T23:53:48Z", "nonsense"])
        | st.integers(0, 99_999_999_999_999),
        "trunk": st.sampled_from(["gb", "border", "unknown", None, 7]),
        "ingress": st.sampled_from(["international", "domestic", "x"]),
        "verstat": st.sampled_from([*VERSTATS, "tn-validation-passed-b", "soon", None, 7]),
        "attestation": st.sampled_from(["A", "B", "C", "partial", "", "D", None]),
    },
)
records = calls.flatmap(
    lambda call: st.sampled_from([True, False]).map(
        lambda ascii_only: json.dumps(call, ensure_ascii=ascii_only).encode("utf-8", "replace")
    )
) | st.sampled_from([b"{}", b"garbage", None])
actions = st.sampled_from(Action)
policies = st.builds(
    ListPolicy,
    action=actions,
    unconfirmed=actions,
    confidence_min=st.sampled_from([0, 50]),
    agree_min=st.sampled_from([1, 2]),
    simulate=st.booleans(),
    age_s_max=st.just(0),
)

may_lists = st.builds(
    Allowed, st.sampled_from([None, frozenset(), frozenset({44}), frozenset({66})]), st.just("a")
)
rule_states = st.sampled_from(RuleState)
some_states = st.dictionaries(st.sampled_from(RULES), rule_states)


def raw_batch(values):
    """Records of two partitions, the second one's offsets far from the first's."""
    half = len(values) // 2
    segments = [Segment(Partition("calls", 3), 0, half), Segment(Partition("c.x", 0), half, -1)]
    offsets = np.arange(len(values)) + 7
    offsets[half:] += 10**12
    stops = (half, len(values))
    return RawBatch(
        values=Texts.of(values),
        offsets=offsets,
        timestamps_ms=np.full(len(values), NOW_MS - 5),
        segments=tuple(
            one._replace(stop=stop)
            for one, stop in zip(segments, stops, strict=True)
            if one.start < stop
        ),
        epoch=1,
    )


def outcome_of(values, check_callee, enforced, rules):
    """The results for records: decisions by place, the calls, rejected and tally.

    The tally without what is the difference: how many calls the scan could vouch for.
    """
    raw = raw_batch(values)
    dialects = {"calls": RINGFENCE, "c.x": RINGFENCE}
    batch = decode(raw, dialects, TRUNKS, DecodeSettings(1 << 20, check_callee, attestation=True))
    outcome = decide(batch, enforced, rules, NOW_MS).outcome()
    columns = [outcome.ids.tolist(), outcome.keys.tolist(), list(outcome.values)]
    tally = replace(outcome.tally, unscanned_calls=0)
    return batch, [*zip(*columns, strict=True)], (outcome.rejected, tally)


class _Oracle:
    """One call after another: (verdict, simulated, rule, number, role, lists that are reasons)."""

    def __init__(self, batch, enforced, rules):
        self.batch, self.lists, self.rules = batch, enforced, rules
        settings = rules.policy.settings.rules
        self.by_rules = {i for i, name in enumerate(enforced.names) if name in settings.lists}
        scopes = rules.policy.scopes
        self.by_caller, self.by_callee = (
            {} if numbers is None else enforced.match(numbers, NOW_S, None, scopes).by_row()
            for numbers in (batch.callers, batch.callees)
        )
        self.roams = self._is_inside("TH/roaming", ABROAD)

    def _is_inside(self, name, number):
        """Return if the list may name that number, which stands on it as a hash."""
        scopes = self.rules.policy.scopes
        if name not in self.lists.names or not scopes.by_list:
            return True
        codes = scopes.by_list[self.lists.names.index(name)].codes
        return codes is None or int(number[1:3]) in codes

    def says(self, call):
        call_fields = self.batch.key_fields[call]
        country = self.rules.trunks.country(call_fields.trunk)
        caller = self.batch.callers.e164[call].decode()
        for_help = EMERGENCY.is_emergency(call_fields.callee, country)
        allowed = bool(caller) and self.lists.allow.find(caller, NOW_S) is not None
        free = "emergency" if for_help else "allowlist" if allowed else "none"
        broken = self._broken(call_fields, call, caller, country)
        listed = [*self._listed(call)]
        if (listed or broken) and free != "none":
            return Action.OBSERVE, False, "caller", free, caller, ()
        (real, action), *rest = max(listed, key=lambda one: one[0], default=((False, 0),))
        state, *rule = broken or (RuleState.OFF,)
        if real or (action and state <= RuleState.SIMULATE):
            return action, not real, *rest
        if broken:
            return state.action, state is RuleState.SIMULATE, "caller", rule[0], caller, rule[1]
        kept = [why for (_, _), *why in listed if why[1] != "none"]
        if kept:
            return Action.OBSERVE, False, *kept[0]
        unasked = self.rules.policy.settings.unasked
        silent = {*self.lists.unusable} - self.by_rules
        if not listed and free == "none" and silent and caller and unasked:
            return unasked, False, "caller", "unasked", caller, ()
        return Action.OBSERVE, False, "caller", "none", caller, ()

    def _listed(self, call):
        for role, numbers, found in (
            ("caller", self.batch.callers, self.by_caller.get(call)),
            ("callee", self.batch.callees, self.by_callee.get(call)),
        ):
            heard = [match for match in found or () if match.list not in self.by_rules]
            if not heard:
                continue
            number = numbers.e164[call].decode()
            if role == "callee" and self.lists.allow.find(number, NOW_S):
                yield (False, 0), role, "none", number, ()
                continue
            one = weigh(self.rules.policy, heard)
            rule = one.rule or f"list:{self.lists.lists[one.deciding.list].name}"
            if one.action is Action.OBSERVE and not one.rule:
                rule = "none"
            reasons = tuple(self.lists.lists[match.list].name for match in heard)
            real = not one.simulated and one.action > Action.OBSERVE
            yield (real, one.action), role, rule, number, reasons

    def _broken(self, call_fields, call, caller, country):
        settings = self.rules.policy.settings.rules
        kind, text = self.batch.callers.kinds[call], self.batch.callers.text(call)
        abroad = TRUNKS.ingress(call_fields.trunk, call_fields.ingress) is Ingress.INTERNATIONAL
        mark = self._mark(call_fields.caller or "") if country == "TH" else ""
        is_disguised = call in self.batch.callers.disguised
        is_invalid = (kind == Kind.INVALID or is_disguised) and not mark
        is_short = kind == Kind.SHORT_CODE and len(text) in (3, 4)
        callees = self.batch.callees
        attested = max(
            read_verstat(call_fields.verstat or ""), read_level(call_fields.attestation or "")
        )
        breaks = {
            "do_not_originate": self._never_calls(call),
            "home_number_from_abroad": abroad
            and caller not in ("", "" if self.lists is GONE or not self.roams else ABROAD)
            and mark != "698"
            and region_of(caller) == country,
            "short_number_from_abroad": abroad and is_short,
            "caller_is_callee": caller and callees is not None and callees.text(call) == caller,
            "voip_from_abroad_mark": mark == "697",
            "roaming_mark": mark == "698",
            "unassigned_country_code": is_invalid and self._why_not(text, country) == "code",
            "impossible_length": is_invalid and self._why_not(text, country) == "length",
            "unassigned_block": caller in (UNASSIGNED, "+668123456789012", "+6681234567"),
            "invalid_caller": is_invalid,
            "attestation_failed": attested is Attested.FAILED,
            "attestation_missing": attested is Attested.MISSING
            or Attested[settings.attestation_min] < attested < Attested.FAILED,
        }
        trunk = call_fields.trunk if call_fields.trunk in TRUNKS.named else None
        found = []
        for name in RULES:
            if breaks.get(name):
                state, names = settings.state(name, trunk, country), ()
                if name == "do_not_originate":
                    most, names = breaks[name]
                    state = min(state, most)
                if name == "home_number_from_abroad" and self.lists is GONE:
                    state = min(state, RuleState.OBSERVE)
                found.append((state, f"rule:{name}", names))
        return max((one for one in found if one[0]), key=lambda one: one[0], default=None)

    def _never_calls(self, call):
        """The state and the names for the lists of hotlines; None: none has the number.

        Where a rule speaks it speaks as strongly as that list may.
        """
        named = self.rules.policy.settings.rules.do_not_originate_lists
        names = self.lists.names
        found = [one for one in self.by_caller.get(call, ()) if names[one.list] in named]
        if not found:
            return None
        judged = weigh(self.rules.policy, found)
        state = {0: RuleState.OBSERVE, 1: RuleState.FLAG, 2: RuleState.BLOCK}[judged.action]
        return min(state, RuleState.SIMULATE) if judged.simulated else state, named

    @staticmethod
    def _mark(text):
        """697 or 698, where a caller's text begins so."""
        digits = text.removeprefix("tel:").removeprefix("+").removeprefix("00")
        return digits[:3] if digits[:3] in ("697", "698") else ""

    @staticmethod
    def _why_not(text, country):
        """The reason why phonenumbers refuses the digits in an invalid text."""
        digits = text.removeprefix("tel:").replace(" ", "")
        if not digits.removeprefix("+").isdecimal() or not digits.isascii():
            return None
        digits = f"+{digits[2:]}" if digits.startswith("00") else digits
        try:
            possible = phonenumbers.is_possible_number(phonenumbers.parse(digits, country))
        except phonenumbers.NumberParseException as error:
            return "code" if error.error_type == error.INVALID_COUNTRY_CODE else "length"
        return None if possible else "length"


@pytest.mark.parametrize("enforced", [LISTS, GONE], ids=["all lists", "one list unusable"])
@given(
    values=st.lists(records, max_size=25),
    by_list=st.lists(policies, min_size=5, max_size=5),
    plausible=st.builds(
        RuleSettings,
        default=st.builds(RuleStates, **dict.fromkeys(RULES, rule_states)),
        attestation_min=st.sampled_from("ABC"),
        countries=st.dictionaries(st.sampled_from(["TH", "GB"]), some_states, max_size=2),
        trunks=st.dictionaries(st.sampled_from(["gb", "border"]), some_states, max_size=2),
        do_not_originate_lists=st.sampled_from([("TH/hotlines",), ()]),
        home_number_from_abroad_except=st.just(("TH/roaming",)),
    ),
    unasked=st.sampled_from([Action.OBSERVE, Action.FLAG]),
    emit_all=st.booleans(),
    check_callee=st.booleans(),
    agreed=st.just(Agreements()) | agreements(["XA/first", "XB/second", "XC/bare"], ["TH"]),
    may_list=st.none() | st.lists(may_lists, min_size=5, max_size=5),
    own=st.sampled_from([(), (BARE,), ("+447700900102*", FIRST)]),
)
def test_columns_and_kernels_decide_as_one_does_by_hand(
    enforced, values, by_list, plausible, unasked, emit_all, check_callee, agreed, may_list, own
):
    """Verdict, rule, role, number and reasons as the oracle says; bytes as msgspec writes them."""
    settings = PolicySettings(
        lists=dict(zip(enforced.names, by_list, strict=False)), rules=plausible, unasked=unasked
    )
    policy = compile_bounded(settings, enforced.names, agreed, "TH", NOW_S)
    if may_list is not None:
        policy = replace(policy, scopes=Scopes.of(may_list[: len(enforced.names)], own))
    rules = Rules(policy, EMERGENCY, TRUNKS, SIP, emit_all)
    batch, decisions, rest = outcome_of(values, check_callee, enforced, rules)
    # The reference has no pass in common with it: it reads and matches callees by themselves.
    with kernels.reference_only(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls_rulings, "FEW", -1)
        _, expected, expected_rest = outcome_of(values, check_callee, enforced, rules)
    assert decisions == expected
    assert rest == expected_rest
    oracle = _Oracle(batch, enforced, rules)
    told = {}
    for call, row in enumerate(batch.rows.tolist()):
        action, simulated, role, rule, number, reasons = oracle.says(call)
        if action > Action.OBSERVE or emit_all:
            verdict = Verdict.ALLOW if simulated else VERDICT_OF[action]
            would = VERDICT_OF[action] if simulated else None
            told[str(batch.raw.origin(row))] = (verdict, would, rule, role, number, reasons)
    assert told == {
        one["origin"]: (
            one["verdict"],
            one.get("would"),
            one["rule"],
            one["role"],
            one["number"] or "",
            tuple(reason["list"] for reason in one["reasons"]),
        )
        for one in (msgspec.json.decode(value) for _, _, value in decisions)
    }


def test_a_reason_names_the_prefix_that_holds_the_number():
    """Of a number listed by a prefix the decision says which, of one listed itself nothing more."""
    rules = Rules(compile_policy(PolicySettings(), LISTS.names), EMERGENCY, TRUNKS, SIP, False)
    calls = [{"call_id": "c", "caller": one, "callee": None} for one in (CLEAN, SECOND)]
    calls += [{"call_id": "c", "caller": None, "callee": FIRST}]
    _, decisions, _ = outcome_of([json.dumps(c).encode() for c in calls], True, LISTS, rules)
    reasons = [msgspec.json.decode(value)["reasons"] for _, _, value in decisions]
    assert [[reason.get("prefix") for reason in one] for one in reasons] == [
        ["+4477009001*"],
        [None],
        [None, "+447700900101*"],
    ]
    assert '"prefix":"+4477009001*"' in bytes(next(iter(decisions))[2]).decode()

"""A replay against a model that looks at one call at a time, with sets and dictionaries alone."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.calls.call_batch import CallBatch
from stream.calls.decode import decode
from stream.calls.dialects.ringfence import RINGFENCE
from stream.calls.rulings import Rules
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunks
from stream.core.filters.blocklists import Blocklists
from stream.core.model.agreement import Agreements
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.decision import Action, SipAnswerSettings
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import ListPolicy, PolicySettings, compile_bounded
from stream.insight.replay import totals as sums_module
from stream.insight.replay.compare import CallChange, Side, compare
from stream.insight.replay.totals import Sums
from stream.kafka.batch import Partition, RawBatch
from tests.support.builders import NOW_S, blocklists, live

NUMBERS = [f"+4477009001{n:02d}" for n in range(8)] + ["+12025550100", "+66812345678"]
ALLOWED = NUMBERS[0]
SETS = [frozenset(), frozenset(NUMBERS[:4]), frozenset(NUMBERS[2:9]), frozenset(NUMBERS)]
ALLOW = Allowlist.of([AllowEntry(ALLOWED, "hospital", "ops", NOW_S)])
LISTS = [blocklists(live("XA/first", *sorted(held)), allow=ALLOW) for held in SETS]
TRUNKS = Trunks("TH")
LONG_S = 60.0
E164 = {"0812345678": "+66812345678"}
"""A called number as it is dialled in Thailand, and the same as everywhere."""

calls = st.fixed_dictionaries(
    {
        "call_id": st.just("c"),
        "caller": st.sampled_from([*NUMBERS, "+447700900999", None]),
        "callee": st.sampled_from([*NUMBERS, "0812345678", "nobody"]),
        "trunk": st.sampled_from(["intl-1", "intl-2", None]),
        "stage": st.sampled_from(["attempt", "end"]),
    },
    optional={"duration_s": st.sampled_from([0, 59, 60, 600])},
)


def side(held: Blocklists, settings: PolicySettings = PolicySettings()) -> Side:  # noqa: B008
    policy = compile_bounded(settings, held.names, Agreements(), "TH", NOW_S)
    sip = SipAnswerSettings("https://r.example/{decision_id}", "TN")
    return Side(held, Rules(policy, EmergencyNumbers({}), TRUNKS, sip, emit_all=False))


SIDES = [side(held) for held in LISTS]


OTHER_POLICIES = [
    side(LISTS[2], PolicySettings(default=each))
    for each in (
        ListPolicy(action=Action.FLAG),
        ListPolicy(confidence_min=50),
        # Reported a minute ago, so nothing is left of it.
        ListPolicy(confidence_min=50, decay_days=0.0001),
    )
]


def batch_of(records: list[dict[str, Any]], *, callees: bool) -> CallBatch:
    raw = RawBatch.of([json.dumps(record).encode() for record in records], Partition("calls", 0))
    return decode(raw, {"calls": RINGFENCE}, TRUNKS, DecodeSettings(65_536, check_callee=callees))


def pieces(records: list[Any], size: int) -> list[list[Any]]:
    return [records[at : at + size] for at in range(0, len(records), size)]


@dataclass
class Model:
    """The meaning of the report's words, call by call."""

    blocked: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    trunks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    long: set[str] = field(default_factory=set)
    called_back: set[str] = field(default_factory=set)

    def take(
        self, records: list[dict[str, Any]], before: frozenset[str], after: frozenset[str]
    ) -> None:
        called = set()
        for one in records:
            caller = one["caller"]
            was, now = (caller in held and caller != ALLOWED for held in (before, after))
            self.blocked.update({"production": was, "candidate": now})
            change = None
            if now and not was:
                change = "newly_blocked"
                called.add((E164.get(one["callee"], one["callee"]), caller))
                if one["stage"] == "end" and one.get("duration_s", -1) >= LONG_S:
                    self.long.add(caller)
            elif was and not now:
                change = "no_longer_blocked"
            elif caller == ALLOWED and caller in after and caller not in before:
                change = "spared_by_allowlist"
            if change is not None:
                self.numbers[change][caller] += 1
                self.trunks[change][one["trunk"] or "none"] += 1
        for one in records:
            callee = E164.get(one["callee"], one["callee"])
            if (one["caller"], callee) in called:
                self.called_back.add(callee)


@given(
    st.lists(calls, min_size=1, max_size=40),
    st.integers(0, len(SETS) - 1),
    st.integers(0, len(SETS) - 1),
    st.integers(1, 15),
)
def test_a_replay_counts_what_a_model_counts_call_by_call(
    records: list[dict[str, Any]], before: int, after: int, size: int
) -> None:
    """Whatever the calls and however they are cut into batches, the figures are exactly those."""
    model, sums = Model(), Sums(TRUNKS, LONG_S)
    model.take(records, SETS[before], SETS[after])
    for piece in pieces(records, size):
        sums.add(compare(batch_of(piece, callees=False), SIDES[before], SIDES[after], NOW_S))
    wanted = sums.wanted()
    for piece in pieces(records, size):
        sums.called_back(batch_of(piece, callees=True), wanted)
    assert sums.calls == len(records)
    assert sums.before[2] == model.blocked["production"]
    assert sums.after[2] == model.blocked["candidate"]
    for change in CallChange:
        found = sums.changes[change]
        counts = {number.decode(): seen.calls for number, seen in found.numbers.items()}
        assert counts == model.numbers[change]
        assert found.calls == sum(model.numbers[change].values())
        assert found.by_trunk == model.trunks[change]
    new = sums.changes[CallChange.NEWLY_BLOCKED].numbers
    assert {number.decode() for number, seen in new.items() if seen.long} == model.long
    assert {n.decode() for n, seen in new.items() if seen.called_back} == model.called_back
    if before == after:
        assert not any(tallied.calls for tallied in sums.changes.values())


@pytest.mark.parametrize("callees", [False, True])
@pytest.mark.parametrize("candidate", OTHER_POLICIES)
def test_matches_are_shared_where_only_the_policy_differs(candidate: Side, callees: bool) -> None:
    """The lists are asked once for both sides; each side gets what it would find by itself."""
    records = [{"call_id": "c", "caller": one, "callee": NUMBERS[9]} for one in NUMBERS]
    batch, production = batch_of(records, callees=callees), SIDES[2]
    once = compare(batch, production, candidate, NOW_S)
    # A batch of the candidate's own has its own matches.
    apart = compare(batch, production, candidate, NOW_S, batch)
    assert once.after.actions.tolist() == apart.after.actions.tolist()
    assert once.before.actions.tolist() == apart.before.actions.tolist()
    weaker = candidate is not OTHER_POLICIES[1]
    assert len(once.changes[CallChange.NO_LONGER_BLOCKED]) == (7 if weaker else 0)


def test_what_is_remembered_is_bounded_and_what_is_not_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the most numbers, pairs and trunks nothing is remembered, every call is counted."""
    monkeypatch.setattr(sums_module, "NUMBERS_MAX", 2)
    monkeypatch.setattr(sums_module, "PAIRS_MAX", 1)
    monkeypatch.setattr(sums_module, "TRUNKS_MAX", 1)
    records = [
        {"call_id": "c", "caller": number, "callee": "+447700900999", "trunk": f"t{place}"}
        for place, number in enumerate(NUMBERS[1:5])
    ]
    sums = Sums(TRUNKS, LONG_S)
    sums.add(compare(batch_of(records, callees=False), SIDES[0], SIDES[3], NOW_S))
    found = sums.changes[CallChange.NEWLY_BLOCKED]
    assert (found.calls, len(found.numbers), found.untracked) == (4, 2, 2)
    assert found.by_trunk == {"t0": 1, "others": 3}
    assert (len(sums.pairs), sums.pairs_left_out) == (1, 1)

"""The judge, held against the engine: who has a key is who would be blocked."""

import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from stream.calls.call_batch import KeyFields
from stream.calls.decide import Rules, decide
from stream.calls.trunks import Trunks
from stream.core.filters.blocklists import Blocklists, fresh
from stream.core.model.agreement import Agreements, Terms
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.decision import Action, SipAnswerSettings
from stream.core.model.entry import Category
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.policy.policy import (
    ListPolicy,
    Policy,
    PolicySettings,
    compile_bounded,
    compile_policy,
)
from stream.core.policy.rules import RuleSettings, RuleState, RuleStates
from stream.edge.sinks.number_policy import NumberPolicy
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.wanted_keys import KeyIndex, of_numbers, of_prefixes
from stream.edge.sinks.wanted_keys import KeyRules as Lives
from tests.support.agreements import agreement
from tests.support.builders import NOW_S, blocklists, call_batch, entry, snapshot

TTL_S = 86_400
RNG = random.Random(7)
NUMBERS = [f"+4477009{n:05d}" for n in RNG.sample(range(10**5), 600)]
PREFIXES = ["+44770090*", "+447700900*", "+4477009001*", "+447700905*", "+4477009999*"]


def _entries(rng: random.Random, count: int):
    picked = rng.sample(NUMBERS, count)
    for number in picked:
        legitimate = rng.random() < 0.2
        yield entry(
            number,
            category=Category.LEGITIMATE if legitimate else Category.LOAN,
            confidence=rng.choice((5, 60, 100)),
            reported_at_s=NOW_S - rng.randrange(0, 12 * 86_400),
            expires_at_s=rng.choice((0, NOW_S - 1, NOW_S + 3600, NOW_S + 10 * TTL_S)),
        )
    for prefix in rng.sample(PREFIXES, 2):
        category = Category.LEGITIMATE if rng.random() < 0.3 else Category.WANGIRI
        yield entry(prefix, category=category, confidence=rng.choice((60, 100)))


def _world(seed: int) -> Blocklists:
    rng = random.Random(seed)
    lists = [
        fresh(name, b"", snapshot(name, list(_entries(rng, 120))), NOW_S - 10)
        for name in ("KH/scam", "MM/scam", "TH/national")
    ]
    texts = [*rng.sample(NUMBERS, 20), *rng.sample(["+44770090012*", "+4477009055*"], 1)]
    allow = Allowlist.of([AllowEntry(text, "ours", "somchai", NOW_S) for text in texts])
    return blocklists(*lists, allow=allow)


def _policies(names: tuple[str, ...]) -> dict[str, Policy]:
    agreed = Agreements(
        (
            agreement("th-kh", ["KH/scam"], terms=Terms(Action.BLOCK, confidence_min=50)),
            agreement("th-mm", ["MM/scam"], terms=Terms(Action.BLOCK, countries_min=2)),
        )
    )
    plain = PolicySettings()
    strict = PolicySettings(
        ListPolicy(confidence_min=40, agree_min=2),
        {"MM/scam": ListPolicy(simulate=True), "KH/scam": ListPolicy(Action.FLAG)},
    )
    stale = PolicySettings(lists={"KH/scam": ListPolicy(age_s_max=5)})
    never_call = RuleSettings(
        do_not_originate_lists=("KH/scam",), home_number_from_abroad_except=("MM/scam",)
    )
    somewhere = replace(
        never_call,
        default=RuleStates(do_not_originate=RuleState.OFF),
        countries={"LA": {"do_not_originate": RuleState.BLOCK}},
    )
    return {
        "plain": compile_policy(plain, names),
        "strict": compile_policy(strict, names),
        "stale": compile_policy(stale, names),
        "never call": compile_policy(replace(plain, rules=never_call), names),
        "never call somewhere": compile_policy(replace(plain, rules=somewhere), names),
        "agreed": compile_bounded(plain, names, agreed, "TH", NOW_S),
    }


def _blocked_by_the_engine(lists: Blocklists, policy: Policy, numbers: list[str]) -> set[str]:
    sip = SipAnswerSettings("https://redress.example/d/{decision_id}", "TN")
    rules = Rules(policy, EmergencyNumbers({}), Trunks("TH"), sip, emit_all=False)
    calls = [KeyFields(f"c-{place}", number, "+6621234567") for place, number in enumerate(numbers)]
    outcome = decide(call_batch(*calls, callees=False), lists, rules, NOW_S * 1000).outcome()
    decisions = [msgspec.json.decode(value) for value in filter(None, outcome.values)]
    return {one["caller"] for one in decisions if one["verdict"] == "block"}


def _proxy(keys: dict[str, str], number: str) -> bool:
    """The rule of a proxy: the number's own key decides, else the longest of its prefixes' keys."""
    asked = [number, *(f"{number[:end]}*" for end in range(len(number), 1, -1))]
    return next((keys[text] for text in asked if text in keys), "allow") == "block"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", [*_policies(("KH/scam", "MM/scam", "TH/national"))])
def test_keys_block_whom_the_engine_blocks(seed: int, name: str) -> None:
    """With everything preloaded, a proxy that reads the keys blocks exactly the callers that the
    engine blocks: expiry, decay, agreements, allowlist, legitimate parts of ranges, all of it.
    """
    lists = _world(seed)
    policy = _policies(lists.names)[name]
    judge, lives, book = (
        NumberPolicy(lists, policy),
        Lives(TTL_S, preload=True, names=NumberIds(b"k" * 16)),
        KeyIndex(10_000),
    )
    around = judge.prefixes(NOW_S)
    allows, blocks, gone = of_prefixes({}, around, lives, NOW_S)
    assert not gone
    known = {
        f"+{code}"
        for live in lists.lists
        for part in judge.known_numbers(live, 64)
        for code in part.tolist()
    }
    texts = sorted(known | set(lists.allow.numbers))
    said = judge.numbers(np.array(texts, "S16"), NOW_S)
    writes = of_numbers(
        book, [(text, said.get(place)) for place, text in enumerate(texts)], around, lives, NOW_S
    )
    keys = {put.text: put.action for put in (*allows, *blocks, *writes.puts)}
    innocent = [f"+4477009{n:05d}" for n in range(0, 10**5, 173)]
    numbers = sorted({*NUMBERS, *innocent})
    engine = _blocked_by_the_engine(lists, policy, numbers)
    assert engine, "the case is about something"
    assert {number for number in numbers if _proxy(keys, number)} == engine

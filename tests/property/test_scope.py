"""The numbers a list may name, checked at match time, against a model of one number at a time."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.core.filters.blocklists import LiveList, fresh
from stream.core.filters.overlay import Change
from stream.core.model.decision import Action
from stream.core.model.entry import Category, Entry
from stream.core.numbers.codes import texts_of
from stream.core.numbers.e164 import Stretches, ordinals_of
from stream.core.numbers.emergency import EmergencyNumbers
from stream.core.numbers.number import region_of
from stream.core.policy.list_scope import (
    CODES,
    NOTHING_KNOWN,
    Allowed,
    Outside,
    Scope,
    Scopes,
    allowed,
    codes_of_countries,
)
from stream.core.policy.policy import Policy, PolicySettings, compile_policy
from stream.core.policy.policy_columns import PolicyColumns, judge
from tests.support.builders import NOW_S, bare, blocklists, entry, hashed, numbers_of
from tests.support.examples import examples

EMERGENCY = EmergencyNumbers({"TH": frozenset({"12345678"})})
OWN = ("+66212345678", "+668999*", "+6621*")
HELP = EMERGENCY.in_e164()
POOL = (
    *("+85523900001", "+85531000002", "+85531000003"),
    *("+66812345671", "+66812345672", "+66899912345", "+66212345678", "+66211111111"),
    *("+12025550101", "+18765550102", "+2710111", "+447700900001", "+6612345678"),
)
NAMES = ("CERT/all", "KH/hashes", "MM/bare", "TH/own", "US/mixed")
KEYS = {"KH/hashes": b"mekong"}
PREFIXES = ("+8553*", "+6689991*", "+120255501*")
EXPIRED = NOW_S  # an entry is over in the second that it names
CATEGORIES = st.sampled_from([Category.CALL_CENTRE, Category.LEGITIMATE, Category.LOAN])
CODES_ASKED = st.frozensets(st.sampled_from([1, 44, 66, 855, 27]), max_size=3)
SCOPES = (
    st.none() | st.just(NOTHING_KNOWN) | st.builds(Scope, st.just("feed"), st.none() | CODES_ASKED)
)


@st.composite
def reports(draw, key, texts=POOL):
    """Entries of a list: any numbers, sources, categories and ends; one a number and source."""
    wanted = draw(
        st.sets(st.tuples(st.sampled_from(texts), st.sampled_from(["a", "b"])), max_size=9)
    )
    return [
        entry(
            text,
            key,
            source=source,
            category=draw(CATEGORIES),
            expires_at_s=draw(st.sampled_from([0, 0, EXPIRED])),
        )
        for text, source in sorted(wanted)
    ]


@st.composite
def worlds(draw):
    """Lists of every kind, with what each says of each number: numbers known, hashes, prefixes."""
    lives: list[LiveList] = []
    known: dict[str, dict[str, list[Entry]]] = {}
    for name in NAMES:
        key, scope = KEYS.get(name, b""), draw(SCOPES)
        if name == "MM/bare":
            members = draw(st.lists(st.sampled_from(POOL), min_size=1, unique=True))
            lives.append(replace(fresh(name, key, bare(name, members), NOW_S), scope=scope))
            known[name] = {}
            continue
        held = draw(reports(key))
        hidden = draw(st.sets(st.sampled_from(POOL))) if name != "TH/own" else set()
        more = draw(reports(key, PREFIXES)) if name in ("TH/own", "US/mixed") else []
        snapshot = hashed(name, [*held, *more], hidden, key)
        model = {one: [e for e in held if e.number == one] for one in POOL}
        seen = {one: [] if one in hidden else entries for one, entries in model.items()}
        live = replace(fresh(name, key, snapshot, NOW_S), scope=scope)
        for text in draw(st.lists(st.sampled_from(POOL), max_size=3, unique=True)):
            said = list(draw(reports(key, (text,))))
            as_hash = draw(st.booleans())
            written = [replace(one, number=None) for one in said] if as_hash else said
            change = Change(entry(text, key).fingerprint, tuple(written))
            live = replace(live, overlay=live.overlay.with_changes([change]))
            seen[text] = [] if as_hash else said
        lives.append(live)
        known[name] = seen
    return blocklists(*lives), known


def model(name, scope, agreed, number, seen, prefix):
    """Why list `name` may not stop `number` by what it says, one question after the other."""
    if prefix:
        return Outside.NOT
    accused = [
        one
        for one in seen.get(number, ())
        if one.category is not Category.LEGITIMATE and one.live(NOW_S)
    ]
    if accused:
        return Outside.NOT
    if EMERGENCY.is_emergency(number, None):
        return Outside.EMERGENCY
    for text in OWN:
        if number == text or (text.endswith("*") and number.startswith(text[:-1])):
            return Outside.OWN
    owner = name.partition("/")[0]
    codes = None if owner in ("CERT", "TH") else codes_of_countries({owner})
    limits = [codes] if scope is None else [scope.codes]
    for said in [*limits, *(one.codes for one in agreed)]:
        if said is not None and not any(number.startswith(f"+{code}") for code in said):
            return Outside.COUNTRY
    return Outside.NOT


AGREED = st.lists(st.builds(Allowed, CODES_ASKED, st.just("a")), max_size=2)


@given(worlds(), st.lists(AGREED, min_size=len(NAMES), max_size=len(NAMES)))
@examples(50)
def test_a_match_is_outside_where_the_model_says(world, agreed):
    """Of every number on every list: bare, hashed, mixed, changed since, by number or by prefix.

    What is outside acts on nobody, and what is not acts as before.
    """
    lists, known = world
    may = [
        allowed(name, scope, "TH", said)
        for name, scope, said in zip(lists.names, lists.scopes, agreed, strict=True)
    ]
    scopes = Scopes.of(may, OWN, HELP)
    asked = numbers_of(POOL)
    without = lists.match(asked, NOW_S)
    found = lists.match(asked, NOW_S, None, scopes)
    assert all(
        np.array_equal(one, other)
        for one, other in zip(without.columns[:-1], found.columns[:-1], strict=True)
    )
    assert not without.outside.any()
    for row, matches in found.by_row().items():
        for match in matches:
            name = lists.names[match.list]
            wanted = model(
                name,
                lists.scopes[match.list],
                agreed[match.list],
                POOL[row],
                known[name],
                match.prefix,
            )
            assert match.outside is wanted, (name, POOL[row])
    plain = compile_policy(PolicySettings(), lists.names)
    policy = Policy(plain.settings, plain.by_list, names=plain.names, scopes=scopes)
    acted = judge(found, PolicyColumns.of(policy))
    inside = found.at(np.flatnonzero(found.outside == 0))
    alone = judge(inside, PolicyColumns.of(plain))
    acts = {int(row): int(action) for row, action in zip(alone.rows, alone.actions, strict=True)}
    for row, action in zip(acted.rows.tolist(), acted.actions.tolist(), strict=True):
        assert action == acts.get(row, Action.OBSERVE)


@given(st.lists(st.sampled_from(["+6621*", "+662*", "+66212345678", "+1*", "+855239000*"])))
def test_stretches_hold_what_begins_like_them(texts):
    """However they overlap: a number is held by one that is it, or a prefix of it."""
    asked = [*POOL, "+6620000000", "+85523900099", "+999123456789012"]
    held = Stretches.of(texts).hold(_ordinals(asked))
    expected = [
        any(one == text or (text[-1] == "*" and one.startswith(text[:-1])) for text in texts)
        for one in asked
    ]
    assert held.tolist() == expected


@given(st.integers(1, 10**15 - 1), st.frozensets(st.sampled_from(CODES), max_size=9))
def test_a_numbers_country_is_told_by_its_first_digits(digits, codes):
    """Any number that the engine takes for one is of the calling code that phonenumbers says."""
    (text,) = texts_of(np.array([digits], np.uint64)).tolist()
    number = numbers_of([text.decode()])
    if not number.e164[0]:
        return
    scopes = Scopes.of([Allowed(codes, "a")])
    outside = scopes.outside(number.e164, np.zeros(1, np.int64))[0]
    named = any(text.decode().startswith(f"+{code}") for code in codes)
    assert (outside == Outside.NOT) == named


def test_the_numbers_for_help_are_those_of_the_gate():
    """A number in E.164 that the gate takes for an emergency number is one at match time too."""
    assert {one for one in {*HELP, *POOL} if EMERGENCY.is_emergency(one, None)} == HELP
    assert "+2710111" in HELP
    assert "+6612345678" in HELP


def test_a_list_without_a_feeds_word_names_its_own_country():
    """So may another country's; ours, an organisation's, and one of no country, everybody."""
    assert allowed("KH/scam", None, "TH").codes == frozenset({855})
    for name in ("TH/own", "CERT/all", "XX/made"):
        assert allowed(name, None, "TH").codes is None
    assert allowed("KH/scam", Scope("kh", None), "TH").codes is None
    assert allowed("CERT/all", NOTHING_KNOWN, "TH").codes == frozenset()
    agreed = Allowed(frozenset({66}), "agreement:a")
    both = allowed("KH/scam", Scope("kh", frozenset({855, 66})), "TH", [agreed])
    assert both == Allowed(frozenset({66}), "feed kh, agreement:a")
    assert region_of("+85523900001") == "KH"


def _ordinals(texts):
    return ordinals_of(np.array(texts, "S16"))

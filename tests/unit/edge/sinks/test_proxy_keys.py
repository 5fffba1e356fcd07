"""Which key is written, renewed and deleted: without a Redis."""

import msgspec
import pytest

from stream.core.filters.overlay import Change
from stream.core.model.allowlist import AllowEntry, Allowlist
from stream.core.model.decision import Decision, Reason
from stream.core.policy.policy import PolicySettings, compile_policy
from stream.edge.sinks.decision_records import RecordOutcome, read_blocks
from stream.edge.sinks.number_policy import NOTHING, Blocked, NumberPolicy, list_changes
from stream.edge.sinks.preload_ids import NumberIds
from stream.edge.sinks.wanted_keys import KeyIndex, KeyKind, KeyRules, of_numbers, of_prefixes
from tests.support.builders import NOW_S, blocklists, entry, fingerprint_of, live

ONE, TWO, THREE = "+447700900101", "+447700900102", "+447700900103"
DAY = 86_400
NAMES = NumberIds(b"k" * 16)
RULES, PRELOAD = KeyRules(DAY, preload=False, names=NAMES), KeyRules(DAY, preload=True, names=NAMES)
WHY = Blocked("KH/scam", "loan", 0)


def decision(**fields) -> bytes:
    """A block of ONE by a list, as a worker writes it."""
    reason = Reason(
        list="KH/scam",
        category="loan",
        confirmed=True,
        confidence=90,
        generation=4,
        expires_at=None,
    )
    plain = {
        "decision_id": "D1",
        "verdict": "block",
        "simulated": False,
        "rule": "list:KH/scam",
        "number": ONE,
        "role": "caller",
        "call_id": "c",
        "caller": ONE,
        "callee": None,
        "reasons": [reason],
        "sip": None,
        "called_at": None,
        "decided_at": "2026-11-24T23:53:48.250Z",
        "expires_at": "2026-11-25T23:53:48.000Z",
        "origin": "calls/0/1",
    }
    return msgspec.json.encode(Decision(**{**plain, **fields}))


def test_a_block_by_a_list_is_read_whole() -> None:
    """Number, id, category, list, both times, and how new the lists of the worker were."""
    (block,) = read_blocks([decision()], NOW_S).by_number.values()
    times = (NOW_S + DAY, NOW_S * 1000 + 250)
    assert block == ((ONE, "block", "loan", "KH/scam", "D1", *times), [("KH/scam", 4)])


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (decision(verdict="flag"), RecordOutcome.NO_BLOCK),
        (decision(verdict="allow", simulated=True, would="block"), RecordOutcome.NO_BLOCK),
        (decision(rule="rule:home_number_from_abroad", reasons=[]), RecordOutcome.NO_LIST),
        (decision(number=None), RecordOutcome.NO_LIST),
        (decision(expires_at="2026-11-24T23:53:48.000Z"), RecordOutcome.EXPIRED),
        (decision(number="+1*"), RecordOutcome.UNREADABLE),
        (decision(number="bl:meta"), RecordOutcome.UNREADABLE),
        (b"{", RecordOutcome.UNREADABLE),
        (b"\xff", RecordOutcome.UNREADABLE),
        (None, RecordOutcome.UNREADABLE),
    ],
)
def test_what_is_no_block_by_a_list_is_never_a_key(
    value: bytes | None, seen: RecordOutcome
) -> None:
    """Flags, trials, plausibility rules (which would silence the number's owner), what is over,
    and any bytes at all.
    """
    blocks = read_blocks([value], NOW_S)
    assert (blocks.by_number, blocks.others) == ({}, {seen: 1})


@pytest.mark.parametrize(
    "decided_at",
    [
        "2026-11-24T23:53:48.250Z",
        "2026-11-25T06:53:48.25+07:00",
        f"2026-11-24T23:53:48.25{'0' * 90}Z",
    ],
)
def test_a_moment_is_read_in_any_form(decided_at: str) -> None:
    """Those of workers are remembered; another writer's may be of any length, and none is kept."""
    from stream.core.model import moments

    for _ in range(2):
        (block,) = read_blocks([decision(decided_at=decided_at)], NOW_S).by_number.values()
        assert block.put.decided_at_ms == NOW_S * 1000 + 250
    held = moments._read_ms.cache_info().currsize
    assert moments.read_ms("x" * 1_000_000) is None
    assert moments._read_ms.cache_info().currsize == held


def test_a_block_by_several_lists_names_the_deciding_one() -> None:
    """All of them are remembered, with how new they were."""
    reasons = [
        Reason(
            list=name, category=None, confirmed=True, confidence=90, generation=4, expires_at=None
        )
        for name in ("VN/scam", "KH/scam")
    ]
    (block,) = read_blocks([decision(reasons=reasons)], NOW_S).by_number.values()
    assert (block.put.list, block.put.reason) == ("KH/scam", "unconfirmed")
    assert block.lists == [("VN/scam", 4), ("KH/scam", 4)]


def test_of_several_blocks_of_a_number_the_newest_counts() -> None:
    """In whatever order they come."""
    older = decision(decision_id="D0", decided_at="2026-11-24T23:53:40.000Z")
    for values in ([older, decision()], [decision(), older]):
        blocks = read_blocks(values, NOW_S)
        assert (blocks.by_number[ONE].put.decision_id, blocks.older) == ("D1", 1)


def test_what_is_not_blocked_any_more_loses_its_key() -> None:
    """A decided key goes; a number without one needs nothing."""
    book = KeyIndex(100)
    book.put(ONE, KeyKind.DECIDED, NOW_S + DAY)
    writes = of_numbers(book, [(ONE, None), (TWO, None)], {}, RULES, NOW_S)
    assert (writes.puts, writes.drops) == ([], [ONE])
    writes.entered(book)
    assert ONE not in book


def test_inside_a_blocked_range_it_becomes_an_exception() -> None:
    """Deleting the number's key would leave it to the range's: it is allowed by name, for longer
    than any block lives.
    """
    book = KeyIndex(100)
    book.put(ONE, KeyKind.DECIDED, NOW_S + DAY)
    around = {"+4477009001": WHY}
    writes = of_numbers(book, [(ONE, None)], around, RULES, NOW_S)
    assert [(put.text, put.action) for put in writes.puts] == [(ONE, "allow")]
    assert writes.puts[0].expires_at_s > NOW_S + DAY
    writes.entered(book)
    assert book.get(ONE) == (KeyKind.SPARED, NOW_S + 2 * DAY)
    assert of_numbers(book, [(ONE, None)], {}, RULES, NOW_S).drops == [ONE]


def test_preloaded_keys_are_renewed_at_half_of_their_life() -> None:
    """They end soon after a sink that died, and never while one runs; an entry's own end counts."""
    book = KeyIndex(100)
    first = of_numbers(book, [(ONE, WHY)], {}, PRELOAD, NOW_S)
    assert first.puts[0].expires_at_s == NOW_S + DAY
    first.entered(book)
    assert not of_numbers(book, [(ONE, WHY)], {}, PRELOAD, NOW_S + DAY // 3).puts
    assert of_numbers(book, [(ONE, WHY)], {}, PRELOAD, NOW_S + DAY * 2 // 3).puts
    sooner = WHY._replace(expires_at_s=NOW_S + 60)
    (put,) = of_numbers(book, [(ONE, sooner)], {}, PRELOAD, NOW_S).puts
    assert put.expires_at_s == NOW_S + 60
    assert first.puts[0].decision_id == put.decision_id
    assert NAMES.text(put.decision_id) == ONE


def test_preloading_leaves_a_tenth_of_the_keys_to_calls() -> None:
    """At the cap calls that were decided still get keys; what is left out is counted."""
    book = KeyIndex(10)
    numbers = [f"+4477009001{n:02d}" for n in range(12)]
    writes = of_numbers(book, [(number, WHY) for number in numbers], {}, PRELOAD, NOW_S)
    assert (len(writes.puts), writes.capped) == (9, 3)
    writes.entered(book)
    assert book.takes(numbers[10])
    assert not book.takes(numbers[10], coming=1)
    assert book.takes(numbers[0], coming=100), "its key is there already"


def test_a_prefix_has_a_key_and_its_exceptions() -> None:
    """An allowed part of a blocked range is an exception; what is gone is deleted."""
    lists = blocklists(
        live("KH/scam", ONE, "+44770090*"),
        allow=Allowlist.of([AllowEntry("+4477009009*", "ours", "somchai", NOW_S)]),
    )
    around = NumberPolicy(lists, compile_policy(PolicySettings(), lists.names)).prefixes(NOW_S)
    allows, blocks, gone = of_prefixes({}, around, RULES, NOW_S)
    assert [(put.text, put.action) for put in allows] == [("+4477009009*", "allow")]
    assert [(put.text, put.action, put.list) for put in blocks] == [
        ("+44770090*", "block", "KH/scam")
    ]
    assert [NAMES.text(put.decision_id) for put in blocks] == ["+44770090*"]
    assert not gone


def test_the_book_counts_and_forgets() -> None:
    """By kind, through changes of kind and expiry."""
    book = KeyIndex(100)
    book.put(ONE, KeyKind.DECIDED, NOW_S + 5)
    book.put(ONE, KeyKind.PRELOADED, NOW_S + 5)
    book.put(TWO, KeyKind.SPARED, NOW_S + 50)
    assert [book.count(kind) for kind in KeyKind] == [0, 1, 1]
    assert set(book.beginning(frozenset({"+4477009001"}))) == {ONE, TWO}
    assert not set(book.beginning(frozenset()))
    book.forget_expired(NOW_S + 5)
    assert (len(book), ONE in book, TWO in book) == (1, False, True)
    book.drop(TWO)
    book.drop(TWO)
    assert len(book) == 0


def test_a_difference_names_the_numbers() -> None:
    """Adds, removals of what the snapshot knows, allow entries; equal lists differ in nothing."""
    before = blocklists(live("KH/scam", ONE, TWO))
    same = before.synced(NOW_S + 5)
    assert list_changes(before, before) == list_changes(before, same) == NOTHING
    changes = [Change(fingerprint_of(ONE), ()), Change(fingerprint_of(THREE), (entry(THREE),))]
    after = before.with_changes("KH/scam", changes, 2, NOW_S)
    assert list_changes(before, after).numbers == {ONE, THREE}
    allow = Allowlist.of([AllowEntry(t, "x", "y", NOW_S) for t in (TWO, "+4477009*")])
    found = list_changes(before, before.with_allow(allow))
    assert (set(found.numbers), set(found.allowed)) == ({TWO}, {"+4477009"})
    assert found.prefixes


def test_what_a_difference_can_not_name_is_everything() -> None:
    """Another snapshot, other lists, a change known by its fingerprint alone."""
    before = blocklists(live("KH/scam", ONE))
    assert list_changes(before, blocklists(live("KH/scam", ONE))).everything
    assert list_changes(before, blocklists(live("KH/scam", ONE), live("TH/x", TWO))).everything
    unknown = before.with_changes("KH/scam", [Change(7, ())], 2, NOW_S)
    assert list_changes(before, unknown).everything
    prefix = before.with_changes("KH/scam", [Change(8, (entry("+44770090*"),))], 2, NOW_S)
    assert list_changes(before, prefix).prefixes
    assert not list_changes(before, prefix).numbers

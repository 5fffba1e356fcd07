"""Whatever stands in Redis or in the decisions topic is read as a value, and nobody ends by it."""

import json
from datetime import date

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.filters.blocklists import fresh
from stream.core.filters.overlay import Change
from stream.core.model.allowlist import AllowEntry
from stream.core.model.enforcement_document import CallOutcome
from stream.core.model.errors import ListStoreLost
from stream.core.numbers.number import Kind, Numbers
from stream.edge.http.decision_store import decisions_to_store, packed, unpacked
from stream.edge.sinks.cloud_event import CloudEvent, read_event
from stream.edge.sinks.decision_records import BlockBatch, read_blocks
from stream.enforcement.decision_counter import DecisionTally
from stream.kafka.decision_history import decision_in as of_any
from stream.lists.snapshot.build import columns_from
from stream.lists.store import enforcement_store
from stream.lists.store.audit_entries import told_of_version
from stream.lists.store.enforcement_counts import CountPosition
from stream.lists.store.heads import AllowHead, ListHead
from stream.lists.store.promotions import trials_of
from stream.lists.store.store_codec import (
    Followed,
    Op,
    Step,
    allow_entry,
    allow_head,
    allow_of,
    base_of,
    change_of,
    followed,
    list_head,
    numbered_of,
    step,
)
from stream.ops.skipped_records import Skipped, is_newer
from tests.support.builders import NOW_S, blocklists, snapshot

DEEP = b'{"x":' + b"[" * 100_000
VALUES = (
    st.none() | st.binary(max_size=40) | st.sampled_from([b"1", b"12", b"-1", b"add", b"0" * 40])
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["+66812345678", "0123456789abcdef", "call_centre", "KH/scam", "block"])
    | st.sampled_from(
        ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-27T10:00:00Z"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
ENTRY = json.loads(
    '{"fingerprint":"0123456789abcdef","number":"+66812345678","category":"loan","source":"x",'
    '"reported_at":5,"expires_at":0,"confidence":7,"more":[]}'
)
DECISION = json.loads(
    '{"decision_id":"4F7K2M9QX1RZC","verdict":"block","simulated":false,"rule":"list:KH/scam",'
    '"number":"+85523900123","role":"caller","call_id":"c","caller":"+85523900123","callee":null,'
    '"reasons":[{"list":"KH/scam","agreement":null,"category":"loan","confirmed":true,'
    '"generation":4,"expires_at":null}],"called_at":null,"decided_at":"2026-11-27T10:00:00Z",'
    '"expires_at":"2026-11-28T10:00:00Z","repeats":null}'
)

ALLOWED = {
    "text": "+66812345678", "reason": "r", "actor": "a", "added_at": 1, "expires_at": 0,
    "appeal": "",
}  # fmt: skip
TURNED = {"standing": "force", "at_s": 1, "actor": "a", "reason": "r", "figures": {}}
TARGETS = ["list:KH/scam", "rule:x", "agreement:a", "?"]
FIELDS = [b"list", b"generation", b"op", b"payload", b"chain", b"version"]


@st.composite
def spoilt(draw, whole):
    """JSON of the right shape with a few fields that are not, or cut, or any bytes at all."""
    fields = draw(st.lists(st.sampled_from(sorted(whole)), max_size=3, unique=True))
    value = {**whole, **{name: draw(JSON) for name in fields}}
    for name in draw(st.lists(st.sampled_from(sorted(whole)), max_size=1)):
        del value[name]
    data = json.dumps(value).encode("utf-8", "surrogatepass")
    return draw(
        st.sampled_from([data, data, data, data[: len(data) // 2], data + b"\xff", b"\xff"])
    )


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES.filter(lambda value: value is not None)))
def test_an_item_of_the_change_stream_is_a_step_or_skipped(fields):
    """Any fields at all; and a follower is behind the item in each case."""
    found = step((b"7-1", fields))
    assert isinstance(found, Step | Skipped)
    assert str(found)
    read = followed([(b"7-1", fields)], "3-0")
    assert isinstance(read, Followed)
    assert read.last_id == "7-1"
    assert len(read.steps) == isinstance(found, Step)
    if isinstance(found, Step):
        assert 0 <= found.generation < 10**18
        change_of(found.op, found.payload)


@given(st.binary(max_size=20), st.lists(VALUES, max_size=9), JSON)
def test_a_head_is_one_or_skipped(name, fields, changes):
    """Any fields of a list's head, and of the allowlist's."""
    assert isinstance(list_head(name, fields, changes), ListHead | Skipped)
    pair = [*fields, None, None][:2]
    assert isinstance(allow_head(pair), AllowHead | Skipped)


@given(spoilt(ENTRY), st.sampled_from([*Op, "teleport"]))
@example(DEEP, Op.ADD)
def test_a_change_that_is_read_can_be_enforced_and_built(payload, op):
    """A payload is a change that every column takes, or None."""
    found = change_of(op, payload)
    numbered_of(b"7 add " + payload)
    base_of(payload)
    assert found is None or isinstance(found, Change)
    if found is None:
        return
    lists = blocklists(fresh("TH/x", b"", snapshot("TH/x", []), NOW_S))
    made = lists.with_changes("TH/x", [found], 9, NOW_S)
    asked = Numbers(np.array(["+66812345678"], "S16"), np.full(1, Kind.E164, np.uint8))
    made.match(asked, NOW_S)
    columns_from(found.entries)


@given(st.binary(max_size=20) | st.just(b"+66812345678"), spoilt(ALLOWED))
@example(b"+66812345678", DEEP)
def test_an_allow_entry_spares_whom_its_key_names(text, value):
    """Read or not, an entry whose key is a number spares that number and no other."""
    allow_of(value)
    found = allow_entry(text, value)
    assert found is None or isinstance(found, AllowEntry)
    if found is not None:
        assert found.text == text.decode()
    elif text == b"+66812345678":
        pytest.fail("a number that was allowed is spared no more")


@given(st.dictionaries(st.sampled_from(TARGETS), spoilt(TURNED), max_size=4))
@example({"list:KH/scam": DEEP})
def test_trials_are_read_or_unread(records):
    """Each record is a promotion or demotion, unread, or of a kind that is not known."""
    read = trials_of(records, 5)
    assert not read.unread.keys() & read.trials.turned.keys()
    known = {str(target) for target in (*read.unread, *read.trials.turned)}
    assert known == records.keys() - {"?"}
    assert read.over(read.trials).turned.keys() == read.trials.turned.keys() | read.unread.keys()


@given(spoilt(DECISION))
@example(DEEP)
def test_a_record_of_the_decisions_topic_ends_nobody_who_reads_it(value):
    """Sinks, stores of decisions by id, counters, `why` and appeals go on."""
    assert isinstance(read_blocks([value], NOW_S), BlockBatch)
    assert isinstance(read_event(value), CloudEvent | None)
    assert all(unpacked(packed(one)) for one in decisions_to_store([value]))
    of_any(value)
    tally = DecisionTally("TH", lambda _: b"")
    batch, passed = tally.batch([value], set(), date(2026, 11, 28))
    assert len(batch.ids) + passed.unreadable + passed.repeated + passed.too_old <= 1
    assert all(outcome in frozenset(CallOutcome) for _, outcome in batch.calls)


@given(spoilt({"version": "a", "gained": 1, "lost": 1, "updated": 0, "findings": ["x"]}))
@example(DEEP)
def test_the_detail_of_an_audit_entry_is_told_whatever_it_is(detail):
    """The audit's page shows what stands there."""
    text = detail.decode(errors="replace")
    assert isinstance(told_of_version(text), str)


@given(st.lists(st.none() | st.binary(max_size=20), min_size=2, max_size=2))
def test_progress_is_read_or_refused(held):
    """The position of counted decisions is never guessed."""
    try:
        found = enforcement_store._progress(held, "decisions/0")
    except ListStoreLost:
        assert held != [None, None]
    else:
        assert isinstance(found, CountPosition)


@given(st.text(max_size=60))
def test_any_version_is_compared(version):
    """A version that is none is not newer than this one, unless it begins like one."""
    assert is_newer(version) in (True, False)
    assert not is_newer("")
    assert is_newer("99.1")
    assert not is_newer("0.0.9")

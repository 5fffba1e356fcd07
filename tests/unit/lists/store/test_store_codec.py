"""The values of the list store."""

from dataclasses import replace

import pytest

from stream.core.filters.overlay import Change
from stream.core.model.allowlist import AllowEntry
from stream.core.model.entry import Category
from stream.lists.store.store_codec import (
    Op,
    Step,
    allow_json,
    allow_of,
    chain_after,
    change_of,
    entries_json,
    numbered_of,
    removal_json,
)
from tests.support.builders import entry

ONE = entry("+66812345678", category=Category.PARCEL, confidence=70, expires_at_s=99)


def test_entries_and_removals_come_back():
    """An add carries the whole entry, a removal its fingerprint."""
    assert change_of("add", entries_json((ONE,))) == Change(ONE.fingerprint, (ONE,))
    removal = removal_json(ONE.fingerprint, ONE.number)
    assert change_of("remove", removal) == Change(ONE.fingerprint, ())
    numbered = numbered_of(b"12 add " + entries_json((ONE,)))
    assert numbered is not None
    assert (numbered.generation, numbered.change.entries) == (12, (ONE,))


def test_all_reports_of_a_number_come_back():
    """An add carries every report; one alone is written as before there could be several."""
    other = replace(ONE, source="bank", category=Category.LEGITIMATE, confidence=20)
    assert change_of("add", entries_json((ONE, other))) == Change(ONE.fingerprint, (ONE, other))
    assert entries_json((ONE,)) == (
        b'{"fingerprint":"%016x","number":"+66812345678","category":"parcel","source":"test",'
        b'"reported_at":%d,"expires_at":99,"confidence":70}'
    ) % (ONE.fingerprint, ONE.reported_at_s)


def test_a_category_of_a_later_version_is_other():
    """A worker of this version goes on when a later one writes categories that it does not know."""
    payload = entries_json((ONE,)).replace(b"parcel", b"deepfake")
    change = change_of("add", payload)
    assert change is not None
    assert [entry.category for entry in change.entries] == [Category.OTHER]


@pytest.mark.parametrize("payload", [b"", b"{}", b"\xff", b'{"fingerprint":"zz","number":null}'])
def test_what_can_not_be_read_is_none(payload):
    """Any bytes at all end as a change or as None."""
    assert change_of("add", payload) is None
    assert change_of("remove", payload) is None
    assert numbered_of(b"7 add " + payload) is None
    assert allow_of(payload) is None


def test_allow_entries_come_back():
    """An allow entry keeps who, why and until when."""
    held = AllowEntry("+662123*", "hospital", "somchai", 5, 10)
    assert allow_of(allow_json(held)) == held


def test_a_step_follows_only_the_one_before_it():
    """A chain differs as soon as one step, its order or its text does."""
    payload = entries_json((ONE,))
    chain = chain_after("", 1, Op.ADD, payload)
    step = Step("1-0", "TH/national", 1, Op.ADD, payload, chain)
    assert step.follows("")
    assert not step.follows("x")
    assert chain_after("", 2, Op.ADD, payload) != chain
    assert chain_after("", 1, Op.REMOVE, payload) != chain
    assert chain_after("", 1, Op.ADD, payload + b" ") != chain

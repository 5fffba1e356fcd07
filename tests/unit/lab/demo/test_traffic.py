import json
from collections import Counter

import numpy as np
import pytest

from stream.calls.decode import decode
from stream.calls.dialects import dialect_named
from stream.calls.settings import DecodeSettings
from stream.calls.trunks import Trunk, Trunks
from stream.kafka.batch import Partition, RawBatch, Segment
from stream.lab.demo.traffic import (
    TOO_LARGE_BYTES,
    Expected,
    RecordKind,
    expected_of,
    garbage,
    make_traffic,
)
from stream.lab.demo.world import COUNTRIES, build_world

NOW_S = 1_764_000_000
COUNT = 20_000


@pytest.fixture(scope="module")
def world():
    return build_world(seed=1, numbers_per_list=2_000)


@pytest.fixture(scope="module")
def traffic(world):
    return make_traffic(world, COUNT, seed=3, now_s=NOW_S, series="t")


@pytest.fixture(scope="module")
def decoded(traffic):
    """The traffic as the product's own decoder reads it."""
    values = [record.value for record in traffic.records]
    raw = RawBatch(
        values,
        np.arange(COUNT, dtype=np.int64),
        np.full(COUNT, NOW_S * 1000, np.int64),
        (Segment(Partition("calls", 0), 0, COUNT),),
        epoch=0,
    )
    trunks = Trunks("TH", {country.trunk: Trunk(country.iso) for country in COUNTRIES})
    settings = DecodeSettings(record_bytes_max=262_144, check_callee=True)
    return decode(raw, {"calls": dialect_named("ringfence", {})}, trunks, settings)


def test_traffic_has_every_kind_and_is_the_same_for_the_same_seed(world, traffic):
    """Every kind of call is in it; one seed gives the very same bytes again."""
    assert set(traffic.truth.kinds) == set(RecordKind)
    assert traffic.truth.kinds.total() == len(traffic.records) == COUNT
    again = make_traffic(world, COUNT, seed=3, now_s=NOW_S, series="t")
    assert again.records == traffic.records
    assert again.truth == traffic.truth


def test_the_truth_is_worked_out_from_the_plain_sets(world):
    """Emergency first, then the allowlist, then the strongest list of caller or callee."""
    innocent = world.people["TH"][0]
    (thai, flagged) = (world.lists["TH/national"][-300], world.lists["VN/spam"][500])
    assert expected_of(world, innocent, innocent, emergency=False) is None
    assert expected_of(world, None, innocent, emergency=False) is None
    assert expected_of(world, thai, "191", emergency=True) is None
    assert expected_of(world, world.allowed[0], innocent, emergency=False) is None
    assert expected_of(world, world.bank[0], innocent, emergency=False) is None
    assert expected_of(world, innocent, world.bank[0], emergency=False) is None
    holders = frozenset(world.holders[thai])
    assert expected_of(world, thai, innocent, emergency=False) == Expected("block", holders)
    assert expected_of(world, innocent, thai, emergency=False) == Expected("block", holders)
    by_caller = expected_of(world, flagged, innocent, emergency=False)
    assert by_caller == Expected("flag", frozenset({"VN/spam"}))
    assert expected_of(world, flagged, thai, emergency=False) == Expected("block", holders)


def test_the_truth_agrees_with_what_a_reader_of_the_bytes_would_say(world, traffic, decoded):
    """From the written records alone, read by the product's decoder, the same calls are due."""
    trunks = {country.trunk: country for country in COUNTRIES}
    due: Counter[str] = Counter()
    for at, told in enumerate(decoded.key_fields):
        home = trunks[told.trunk]
        caller, callee = decoded.callers.text(at), decoded.callees.text(at)
        expected = expected_of(
            world, caller or None, callee, emergency=told.callee == home.emergency
        )
        if expected is not None:
            assert traffic.truth.expected[told.call_id] == expected
            due[told.call_id] += 1
    assert due.keys() == traffic.truth.expected.keys()
    assert {call_id: n for call_id, n in due.items() if n > 1} == traffic.truth.copies


def test_garbage_is_rejected_and_nothing_else_is(traffic, decoded):
    """The decoder refuses exactly the records that the truth calls no calls, bytes unchanged."""
    assert Counter(each.value for each in decoded.rejected) == traffic.truth.garbage
    assert len(decoded) == COUNT - traffic.truth.rejected


def test_garbage_comes_in_many_sorts():
    """Bad records are of many sorts, and one of them is too large."""
    made = [garbage(n, "t") for n in range(40)]
    assert None in made
    assert b"" in made
    assert max(len(value or b"") for value in made) > TOO_LARGE_BYTES


def test_a_withheld_number_is_written_in_several_ways(traffic):
    """Anonymous callers appear as null and in the spellings of switches."""
    callers = {json.loads(record.value)["caller"] for record in traffic.records if record.call_id}
    unnumbered = {caller for caller in callers if caller is None or caller[0] in "aRs"}
    withheld = {caller for caller in unnumbered if caller is None or "+" not in caller}
    assert withheld == {None, "anonymous", "Restricted", "sip:anonymous@anonymous.invalid"}


def test_two_traffics_have_no_record_in_common(world, traffic):
    """Truths of different series are put together without mixing anything up."""
    other = make_traffic(world, 5_000, seed=3, now_s=NOW_S, series="u")
    both = traffic.truth | other.truth
    assert len(both.expected) == len(traffic.truth.expected) + len(other.truth.expected)
    assert both.rejected == traffic.truth.rejected + other.truth.rejected
    for verdict in ("block", "flag"):
        parts = traffic.truth.decisions(verdict) + other.truth.decisions(verdict)
        assert both.decisions(verdict) == parts

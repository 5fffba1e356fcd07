"""BER within bounds, and records cut out of the files that mediation gets."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stream.calls.submitted_records import Framing, RecordSplitter, framing_of, records_in
from stream.core.model.ber import (
    Cut,
    Damaged,
    Element,
    begins_ber,
    element_at,
    elements,
    next_unit,
    whole_element,
)

GOLDEN = Path(__file__).parents[3] / "golden"
FILES = {name: (GOLDEN / "ber" / f"{name}.ber").read_bytes() for name in (
    "bare", "ts32297", "tap3-batch"
)}  # fmt: skip
SAMPLES = {
    path.parent.name: path.read_bytes()
    for path in sorted((GOLDEN / "cdr" / "3gpp-ber").glob("*/input.ber"))
}
THREE = [SAMPLES[name] for name in ("mo", "mt", "incoming-gateway")]
RECORDS = {"bare": THREE, "ts32297": THREE, "tap3-batch": [SAMPLES["tap3-mo"], SAMPLES["tap3-mt"]]}


def test_an_element_is_read_with_and_without_length() -> None:
    """Short, long and absent lengths; tags of several bytes; what lies within."""
    assert element_at(b"\x80\x01x", 0, 3) == Element(0x80, 0, 2, 3, 3)
    assert element_at(b"\xbf\x81\x05\x81\x01x", 0, 6) == Element(0xA0, 133, 5, 6, 6)
    data = b"\xa0\x80\xa1\x80\x80\x01x\0\0\0\0"
    outer = whole_element(data)
    (inner,) = elements(data, outer)
    assert (outer.is_constructed, outer.kind, inner.number, inner.end) == (True, 2, 1, 7)
    assert [one.number for one in elements(data, inner)] == [0]
    assert whole_element(b"\x80\x01x\0\xff").behind == 3


@pytest.mark.parametrize(
    "data",
    [
        b"\xbf" + b"\xff" * 200_000,
        b"\xa0\xfe" + b"\xff" * 126,
        b"\x80\x80\0\0",
        b"\xa0\x80" * 100_000,
        b"\xa0\x03\x80\x05x",
        b"\x80\x01x more",
        b"\xa0\x84\xff\xff\xff\xff",
        b"\xa0",
        b"",
    ],
)
def test_hostile_bytes_end_at_once(data: bytes) -> None:
    """Tags and lengths without end, nesting, and elements longer than what holds them."""
    with pytest.raises(Damaged):
        list(elements(data, whole_element(data)))


@given(st.binary(max_size=300))
def test_any_bytes_are_an_element_or_a_reason(data: bytes) -> None:
    """Nothing else comes of them, and no element ends behind the bytes."""
    try:
        element = element_at(data, 0, len(data))
        inside = list(elements(data, element)) if element.is_constructed else []
    except (Cut, Damaged):
        return
    assert element.start <= element.end <= element.behind <= len(data)
    assert all(element.start < one.behind <= element.end for one in inside)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("step", [1, 7, 64, 100_000])
def test_each_record_of_a_file_is_cut_out(name: str, step: int) -> None:
    """Bare with filling, behind the headers of TS 32.297, in a batch of TAP3, in any pieces; the
    place of each is where its bytes are, and reading goes on from any of them.
    """
    data = FILES[name]
    assert framing_of(data) is Framing.BER
    splitter = RecordSplitter(0, 1, 10_000, Framing.BER)
    found = []
    for start in range(0, len(data), step):
        found += splitter.feed(data[start : start + step])
    assert splitter.rest() == []
    assert [one.value for one in found] == RECORDS[name] == records_in(data)
    assert [one.number for one in found] == [*range(1, len(found) + 1)]
    for one in found:
        assert data[one.at : one.at + one.size] == one.value
    second = RecordSplitter(found[0].at + found[0].size, 2, 10_000, Framing.BER)
    assert [one.value for one in second.feed(data[second.at :])] == RECORDS[name][1:]


@pytest.mark.parametrize("step", [1, 50, 1000])
def test_headers_of_records_may_hold_elements_without_length(step: int) -> None:
    """Behind filling too; the header's length and the element's end are the same."""
    record = SAMPLES["indefinite"]
    data = (b"\0\0" + len(record).to_bytes(2) + b"\xe0\x25\x01" + record) * 3
    splitter = RecordSplitter(1000, 1, 10_000, Framing.BER)
    found = []
    for start in range(0, len(data), step):
        found += splitter.feed(data[start : start + step])
    assert [one.value for one in found] == [record] * 3


def test_a_record_that_is_too_long_passes_by() -> None:
    """Its beginning is kept with its size, and what comes behind it is read."""
    long = b"\xa0\x83\x03\x0d\x40" + b"x" * 200_000
    data = THREE[0] + long + THREE[1]
    for step in (999, 1_000_000):
        splitter = RecordSplitter(0, 1, 1000, Framing.BER)
        found = []
        for start in range(0, len(data), step):
            found += splitter.feed(data[start : start + step])
        assert [(one.size, len(one.value)) for one in found[1:2]] == [(200_005, 1000)]
        assert (found[0].value, found[2].value) == (THREE[0], THREE[1])


def test_what_is_no_record_is_kept_as_one() -> None:
    """From the first byte that cannot be read on, the file is one record, bounded in memory."""
    splitter = RecordSplitter(0, 1, 1000, Framing.BER)
    found = splitter.feed(THREE[0] + b"garbage, and no more BER" * 40_000)
    found += splitter.feed(b"\xa0\x80" * 200_000)
    (last,) = splitter.rest()
    assert [one.value for one in found] == THREE[:1]
    assert (last.value[:7], len(last.value), last.size) == (b"garbage", 1000, 1_360_000)


def test_an_element_without_an_end_fills_no_memory() -> None:
    """A batch whose end never comes is given up after what may be held."""
    splitter = RecordSplitter(0, 1, 1000, Framing.BER)
    for _ in range(20):
        assert splitter.feed(b"\xa0\x80" + b"\x80\x02ab" * 5000) == []
    (last,) = splitter.rest()
    assert (last.size, len(last.value)) == (400_040, 1000)


@given(st.sampled_from(sorted(FILES)), st.data(), st.sampled_from([1, 50, 100_000]))
def test_a_damaged_byte_costs_its_own_record_alone(name: str, draw: st.DataObject, step: int):
    """A wrong tag or length, of a record or of a header, in any pieces. Each record has its place;
    where the head of a batch is taken for a record, it is kept with all that is in it.
    """
    data = bytearray(FILES[name] * 3)
    place = draw.draw(st.integers(0, len(data) - 1))
    assume(name != "tap3-batch" or place % len(FILES[name]))  # it may say that no calls follow
    data[place] = draw.draw(st.one_of(st.integers(0, 255), st.sampled_from([0x7F, 0x80, 0x84])))
    splitter, found = RecordSplitter(0, 1, 1000, Framing.BER), []
    for start in range(0, len(data), step):
        found += splitter.feed(bytes(data[start : start + step]))
    found += splitter.rest()
    assert all(data[one.at : one.at + one.size] == one.value for one in found)
    lost = Counter(RECORDS[name] * 3) - Counter(one.value for one in found)
    kept = [record for record in lost.elements() if any(record in one.value for one in found)]
    assert lost.total() - len(kept) <= 1, lost


def test_what_a_length_takes_too_much_of_is_kept() -> None:
    """A length of 2 GB at the start: its own record is one, and the others are read."""
    damaged = THREE[0][:1] + b"\x84\x7f\xff\xff\xff" + THREE[0][2:]
    assert records_in(b"".join([THREE[1], damaged, *THREE])) == [THREE[1], damaged, *THREE]


def test_other_files_are_not_taken_for_ber() -> None:
    """Text that begins with the letter of a tag, an archive, a short file, nothing."""
    for data in (
        b"a,b,c\n1,2,3\n",
        b"1,2\n",
        b"0,\x80",
        b"PK\3\4" + b"\0" * 60,
        b"",
        b"\xa0",
        b"{}",
    ):
        assert not begins_ber(data)
        assert framing_of(data) is not Framing.BER
    assert next_unit(b"\xa0", 0, 100, first=True) is None

"""JSON documents are walked an object at a time, wherever their bytes are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.feeds.formats.json_objects import DEPTH_MAX, Document
from stream.feeds.formats.rows import InputUnreadable

KB = 1 << 10
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def cut(data: bytes, piece: int) -> list[bytes]:
    return [data[at : at + piece] for at in range(0, len(data), piece)]


def elements_of_members(data: bytes) -> list[bytes]:
    document = Document([data], KB)
    return [raw for _ in document.members() for raw in document.elements()]


@given(st.lists(values, max_size=6), st.integers(1, 30), st.booleans(), st.sampled_from([None, 2]))
def test_elements_are_what_json_says(wanted, piece, ascii_only, indent):
    """Whatever stands in an array, its elements come out as they are, however it was read."""
    data = json.dumps(wanted, ensure_ascii=ascii_only, indent=indent).encode()
    document = Document(cut(data, piece), 64 * KB)
    assert [json.loads(raw) for raw in document.elements()] == wanted
    assert not document.peek()


@given(st.dictionaries(st.text(), values, max_size=6), st.integers(1, 30))
def test_members_are_what_json_says(wanted, piece):
    """The keys of an object come in their order, each followed by its value."""
    document = Document(cut(json.dumps(wanted).encode(), piece), 64 * KB)
    assert {key: json.loads(document.value()) for key in document.members()} == wanted


def test_documents_may_follow_each_other():
    """Pages that were written one after the other are read as such; a byte order mark is none."""
    document = Document([b'\xef\xbb\xbf{"a": [1]}\n', b'\n{"a":[2, 3]}'], KB)
    found = []
    while document.peek():
        for _ in document.members():
            found += list(document.elements())
    assert found == [b"1", b"2", b"3"]


@pytest.mark.parametrize(
    "data", [b'{"a": [{"b": "x', b'{"a": [{"b": ', b'{"a": [1,', b'{"a"', b"{"]
)
def test_a_cut_document_is_refused(data):
    """Half a body is no list: the message says that it was cut."""
    with pytest.raises(InputUnreadable, match="cut"):
        elements_of_members(data)


@pytest.mark.parametrize(
    "data", [b"<html>", b"{1: 2}", b'{"a" 1}', b'{"a": [1 2]}', b'{"\\ud800": []}']
)
def test_what_is_no_json_is_refused_with_its_place(data):
    """A login page, or a document that was damaged, is refused; the message says where."""
    with pytest.raises(InputUnreadable, match="not JSON at byte"):
        elements_of_members(data)


def test_deep_nesting_is_refused():
    """A million brackets become one refusal, not a million frames."""
    document = Document(cut(b"[" * 10**6, KB), 1 << 30)
    with pytest.raises(InputUnreadable, match=str(DEPTH_MAX)):
        list(document.elements())


def test_an_object_beyond_its_limit_is_refused():
    """One object cannot fill memory, whatever it consists of."""
    endless = (b'[{"a": "' if at == 0 else b"x" * KB for at in range(1 << 20))
    with pytest.raises(InputUnreadable, match="more than 4 kB"):
        list(Document(endless, 4 * KB).elements())
    exact = b'[{"a": "' + b"x" * (4 * KB - 9) + b'"}]'
    assert len(next(Document([exact], 4 * KB).elements())) == 4 * KB
    for piece in (100, 3 * KB, 9 * KB):
        longer = cut(exact.replace(b"x", b"xx", 1), piece)
        with pytest.raises(InputUnreadable, match="more than 4 kB"):
            list(Document(longer, 4 * KB).elements())

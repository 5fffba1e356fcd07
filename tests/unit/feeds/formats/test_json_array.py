"""JSON arrays, alone or wrapped: each element is a row, read whole or rejected."""

import json

import pytest

from stream.feeds.formats.json_array import ELEMENT_BYTES_MAX, arrays_in, read
from stream.feeds.formats.rows import InputUnreadable, Rows


def rows(text: str, items: str = "", size: int = 7, **columns: str | int) -> Rows:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    (found,) = read(iter(pieces), items, columns)
    return found


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("document", "items"),
    [
        ('[{"number": "+447700900123"}]', ""),
        ('{"data": [{"number": "+447700900123"}]}', "data"),
        ('{"a": [1, {"b": "]"}], "data": {"x": {"y": [{"number": "+447700900123"}]}}}', "data.x.y"),
        (
            '{"data": [], "n": 1e3, "more": {"data": [1]}, "data": [{"number": "+447700900123"}]}',
            "data",
        ),
    ],
)
def test_the_array_is_found_wherever_it_is(document, items, size):
    """The path leads to the array, whatever stands around it and however the file is cut."""
    assert rows(document, items, size).number == ["+447700900123"]


def test_fields_at_their_paths():
    """Paths and places find texts and numbers; ranges are of two fields."""
    text = '[{"a": {"b": 447700900123}, "to": "+447700900125", "n": 50}]'
    found = rows(text, number="a.b", number_to="to", confidence="n")
    assert found.number == ["447700900123 to +447700900125"]
    assert list(found.confidence or ()) == ["50"]
    assert rows('[["x", "+447700900123"]]', number=2).number == ["+447700900123"]
    assert rows('["+447700900123", 447700900124]').number == ["+447700900123", "447700900124"]


def test_members_of_an_object_are_rows():
    """A star at the path's end reads members; `@key` is the name, `.` a single value."""
    text = '{"x": {"+447700900123": "loan", "+447700900124": {"category": "parcel"}}, "y": 1}'
    found = rows(text, "x.*")
    assert list(found.number) == ["+447700900123", "+447700900124"]
    assert list(found.category or ()) == [None, "parcel"]
    found = rows(text, "x.*", number="@key", category=".")
    assert list(found.category or ()) == ["loan", None]
    assert found.originals[0] == '+447700900123: "loan"'
    with pytest.raises(InputUnreadable, match="no object at"):
        rows(text, "y.*")


@pytest.mark.parametrize(
    "element",
    ["null", "true", '{"number": ["+447700900123"]}', '{"number": {"a": 1}}', "{x}", "7."],
)
def test_what_is_no_row_is_rejected_whole(element):
    """An element of another kind is counted with its place, and the others are read."""
    found = rows(
        f'[{{"number": "+447700900123"}}, {element}, {{"number": "+447700900124"}}]', size=9
    )
    assert found.number == ["+447700900123", "+447700900124"]
    assert [row.line for row in found.unreadable] == [2]


def test_single_values_are_no_rows_where_columns_are_named():
    """Bare values among objects are rejected if the numbers are said to be in a field."""
    found = rows('["+447700900123", {"phone": "+447700900124"}]', number="phone")
    assert found.number == ["+447700900124"]
    assert len(found.unreadable) == 1


@pytest.mark.parametrize(
    ("document", "items", "why"),
    [
        ('{"data": [1]}', "", "it is no array"),
        ('{"data": {"x": 1}}', "data", "no array at 'data'"),
        ("[1]", "data", "no array at"),
        ('[{"number": "+447700900123"}', "", "was cut"),
        ("[1] [2]", "", "something follows"),
        ("", "", "it is no array|was cut|not JSON"),
        ("[" * 100, "", "nested"),
        (json.dumps(["x" * ELEMENT_BYTES_MAX]), "", "more than"),
    ],
)
def test_other_documents_are_refused(document, items, why):
    """A document without the array, or one that is cut, gives nothing."""
    with pytest.raises(InputUnreadable, match=why):
        rows(document, items, 1 << 16)


def test_other_parts_of_any_size_are_passed_over():
    """Text before the array may be large; only an element is bounded."""
    text = json.dumps({"log": ["x" * 1000] * 5000, "data": ["+447700900123"]})
    assert rows(text, "data", 1 << 16).number == ["+447700900123"]


def test_arrays_of_a_cut_head():
    """Detection finds the arrays of the first bytes, and stops where they end."""
    text = '{"tags": ["x"], "data": {"list": [{"number": "1"}, {"number": "2"}, {"num'
    found = arrays_in(text.encode(), 10)
    assert {path: len(elements) for path, elements in found.items()} == {"tags": 1, "data.list": 2}
    assert arrays_in(b"{", 10) == arrays_in(b"\xff", 10) == arrays_in(b"[]", 10) == {}

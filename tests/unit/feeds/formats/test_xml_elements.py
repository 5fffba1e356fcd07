"""XML by path: each element is a row, read whole or rejected; nothing grows, nothing is fetched."""

import pytest

from stream.feeds.formats import xml_elements
from stream.feeds.formats.rows import InputUnreadable, Rows
from stream.feeds.formats.xml_elements import elements_in, read


def rows(text: str, items: str = "list.entry", size: int = 7, **columns: str | int) -> Rows:
    data = text.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    (found,) = read(iter(pieces), items, columns or {"number": "number"})
    return found


def entry(inner: str) -> str:
    return f"<list><entry>{inner}</entry></list>"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_children_attributes_and_own_text(size):
    """A field is a child's text, an attribute, or the element's own text."""
    text = (
        "<?xml version='1.0'?><x:list xmlns:x='u'><x:entry kind='loan'> +447700900123 <a b='7'/>"
        "<number>+447700900124</number></x:entry></x:list>"
    )
    assert rows(text, size=size).number == ["+447700900124"]
    assert rows(text, size=size, number=".").number == ["+447700900123"]
    found = rows(text, size=size, number="number", category="@kind", confidence="a.@b")
    assert list(found.category or ()) == ["loan"]
    assert list(found.confidence or ()) == ["7"]
    assert rows(text, "list.entry.number", size, number=".").number == ["+447700900124"]


def test_texts_are_joined_and_unescaped():
    """CDATA, character references and comments within a text are one text."""
    text = entry("<number>+4477<!-- x -->00<![CDATA[900]]>&#49;23</number>")
    assert rows(text, size=1).number == ["+447700900123"]


def test_a_field_that_is_there_twice_rejects_its_row():
    """Of a contact with two numbers none is listed: half a row is worse than none."""
    text = (
        "<list><entry><number>1</number><number>2</number></entry>"
        "<entry><number>+447700900123</number></entry></list>"
    )
    found = rows(text)
    assert found.number == ["+447700900123"]
    assert [(row.line, row.detail) for row in found.unreadable] == [
        (1, "number is there more than once")
    ]


def test_long_elements_are_rejected(monkeypatch):
    """An element of more text than any entry has is a rejected row."""
    monkeypatch.setattr(xml_elements, "CHARS_MAX", 100)
    found = rows(entry("<note>" + "x" * 101 + "</note><number>+447700900123</number>"), size=50)
    assert not found.number
    assert len(found.unreadable) == 1


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (
            "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><list><entry>&b;</entry></list>",
            "document type",
        ),
        ("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><list/>", "document type"),
        ("<list><entry>&other;</entry></list>", "undefined entity"),
        ("<list><entry>", "no element found"),
        ("<list></entry>", "mismatched tag"),
        ("<list/><list/>", "junk after"),
        ("", "no element found"),
        ("<list><other/></list>", "has no element 'list.entry'"),
        ("<a>" * 100, "nested more than"),
        ("<list><entry a='" + "x" * 3_000_000 + "'/></list>", "more than 1024 kB"),
        ("<list><!--" + "x" * 3_000_000 + "--></list>", "more than 1024 kB"),
    ],
)
def test_hostile_and_damaged_documents_are_refused(document, why):
    """Document types, entities, depth and endless tags end the reading of the whole file."""
    with pytest.raises(InputUnreadable, match=why):
        rows(document, size=1 << 20)


def test_the_path_has_to_be_said():
    """Without a path no element is a row."""
    with pytest.raises(InputUnreadable, match="items"):
        list(read(iter([b"<a/>"]), "", {}))


def test_elements_of_a_cut_head():
    """Detection finds what comes often in the first bytes."""
    text = b"<list v='1'><entry><number>1</number></entry><entry><number>2</number></entry><en"
    found = elements_in(text, 10, 10)
    assert found["list.entry"] == [{"number": "1"}, {"number": "2"}]
    assert found["list.entry.number"] == [{".": "1"}, {".": "2"}]
    assert elements_in(b"no xml", 10, 10) == {}

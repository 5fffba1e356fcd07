"""MISP events as PyMISP writes them."""

import json
from typing import Any

import pytest
from pymisp import MISPEvent, MISPObject, MISPOrganisation

from stream.feeds.formats import misp
from stream.feeds.formats.rows import InputUnreadable, Rows


def event(**told) -> MISPEvent:
    made = MISPEvent()
    made.info, made.timestamp = "Vishing", 1_795_132_800
    made.Orgc = MISPOrganisation()
    made.Orgc.name, made.Orgc.uuid = "CIRCL", "55f6ea5e-2c60-40e5-964f-47a8950d210f"
    made.add_attribute("phone-number", "+447700900123", **({"to_ids": True} | told))
    return made


def read(text: str, **options: Any) -> Rows:
    (rows,) = misp.read([[text.encode()]], **options)
    return rows


def wrapped(made: MISPEvent) -> str:
    return json.dumps({"Event": json.loads(made.to_json())})


@pytest.mark.parametrize(
    "form",
    [
        lambda made: made.to_json(),
        wrapped,
        lambda made: f"[{made.to_json()}]",
        lambda made: f"[{wrapped(made)}]",
        lambda made: f'{{"response": [{wrapped(made)}]}}',
        lambda made: json.dumps(made.to_feed()),
    ],
)
def test_however_the_event_is_wrapped(form):
    """One event, a list of them, the answer of a search, a feed's file: the same row."""
    rows = read(form(event()))
    assert (list(rows.number), list(rows.source or ())) == (["+447700900123"], ["CIRCL"])


@pytest.mark.parametrize(
    ("seen", "reported"),
    [
        ({"first_seen": "2025-06-01T00:00:00+00:00"}, "1795132800"),
        ({"last_seen": "2026-11-18T00:00:00+00:00"}, "2026-11-18T00:00:00+00:00"),
    ],
)
def test_a_report_is_as_old_as_misp_counts_it(seen, reported):
    """By when it was seen last, else by its last edit (MISP's DecayingModelBase), not the first."""
    rows = read(event(timestamp=1_795_132_800, **seen).to_json())
    assert rows.reported_at == (reported,)


def test_what_is_not_for_detection_is_passed_over():
    """`to_ids` false is no row, unless the feed says so; it is counted."""
    text = event(to_ids=False).to_json()
    assert (len(read(text)), read(text).passed_over) == (0, 1)
    assert list(read(text, unconfirmed=True).number) == ["+447700900123"]


def test_deletion_is_a_removal():
    """A deleted attribute, or one of a deleted object, takes its report off."""
    assert read(event(deleted=True, to_ids=False).to_json()).removed == [True]
    made, held = event(), MISPObject("phone-number", strict=False)
    held.deleted = True
    held.add_attribute("phone-number", value="+447700900124", type="phone-number", to_ids=True)
    made.add_object(held)
    assert read(made.to_json()).removed == [False, True]


def test_who_was_called_is_never_listed():
    """Numbers that an object says received the message are victims'."""
    made, held = MISPEvent(), MISPObject("short-message-service", strict=False)
    made.info = "x"
    held.add_attribute("from", value="+447700900123", type="phone-number", to_ids=True)
    held.add_attribute("to", value="+447700900124", type="phone-number", to_ids=True)
    made.add_object(held)
    assert list(read(made.to_json()).number) == ["+447700900123"]


def sighted(*sightings: dict[str, object]) -> Rows:
    made = json.loads(event(last_seen="2026-11-21T00:00:00Z").to_json())
    made["Attribute"][0]["Sighting"] = list(sightings)
    return read(json.dumps(made))


def test_sightings():
    """Seen makes a report young, a false positive is its organisation's objection, an end ends."""
    by = {"Organisation": {"name": "Telco"}}
    seen = sighted({"type": "0", "date_sighting": "1795400000", **by})
    assert (list(seen.reported_at or ()), list(seen.source or ())) == (["1795400000"], ["CIRCL"])
    wrong = sighted({"type": "1", "date_sighting": "1795400000", **by})
    assert list(wrong.category or ()) == [None, "legitimate"]
    assert list(wrong.source or ()) == ["CIRCL", "Telco"]
    nameless = sighted({"type": "1", "date_sighting": "1795400000"})
    assert list(nameless.source or ()) == ["CIRCL", "anonymous"]
    over = sighted({"type": "2", "date_sighting": "1795400000", **by})
    assert list(over.expires_at or ()) == ["1795400000"]
    old = sighted({"type": "0", "date_sighting": "1700000000"})
    assert list(old.reported_at or ()) == ["2026-11-21T00:00:00+00:00"]


def test_tags_say_category_and_confidence():
    """Tags of the attribute go before the event's; MISP's own confidence tag is a number."""
    made = event()
    made.add_tag("fraud:a")
    made.attributes[0].add_tag('misp:confidence-level="fairly-confident"')
    made.attributes[0].add_tag("fraud:b")
    rows = read(made.to_json())
    assert rows.confidence == ("50",)
    assert rows.tags == [
        ['misp:confidence-level="fairly-confident"', "fraud:b", "fraud:a", "Person"]
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        '{"message": "Authentication failed"}',
        '{"Event": {"info": "x"',
        "[7]",
        "{} {}",
    ],
)
def test_what_is_no_event_is_refused(text):
    """A login page, an error, half an event are refused as a whole."""
    with pytest.raises(InputUnreadable):
        read(text)


def test_an_event_of_too_many_objects_is_refused(monkeypatch):
    """Small objects take more memory than bytes: their number is bounded before they are made."""
    monkeypatch.setattr(misp, "EVENT_OBJECTS_MAX", 100)
    with pytest.raises(InputUnreadable, match="100 objects"):
        read('{"info": "x", "Attribute": [' + "{}," * 100 + "{}]}")

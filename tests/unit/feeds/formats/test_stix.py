"""STIX 2.1 as stix2 writes it, and its patterns, read as the numbers they mean or not at all."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from stix2.v21.bundle import Bundle
from stix2.v21.sdo import Identity, Indicator
from stix2patterns.v21.pattern import Pattern

from stream.feeds.formats import stix
from stream.feeds.formats.rows import InputUnreadable, Rows, Wrong
from stream.feeds.formats.stix import Meaning, read_pattern
from stream.feeds.parse import Defaults, Parser

THEN = datetime(2026, 11, 20, tzinfo=UTC)
DESK = Identity(name="Desk", identity_class="organization", created=THEN, modified=THEN)


def indicator(number: str, **told) -> Indicator:
    pattern = f"[phone-number:value = '{number}']"
    told = {"pattern": pattern, "pattern_type": "stix", "valid_from": THEN} | told
    return Indicator(created_by_ref=DESK.id, **told)


def read(*texts: str, piece: int = 100) -> Rows:
    data = "".join(texts).encode()
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    (rows,) = stix.read(lambda: pieces)
    return rows


def test_an_identity_may_come_after_what_it_said():
    """The owner of a report is found wherever the bundle has its identity."""
    for order in ([DESK, indicator("+447700900123")], [indicator("+447700900123"), DESK]):
        rows = read(Bundle(objects=order).serialize())
        assert (list(rows.number), list(rows.source or ())) == (["+447700900123"], ["Desk"])


@pytest.mark.parametrize("order", [1, -1])
def test_of_several_versions_of_an_indicator_the_newest_counts(order):
    """Wherever it stands: one that it revoked is gone, and so is a number that it has no more."""
    first, other = indicator("+447700900123"), indicator("+447700900125")
    revoked = first.new_version(revoked=True)
    moved = other.new_version(pattern="[phone-number:value = '+447700900126']")
    again = moved.new_version(confidence=9)
    rows = read(Bundle(objects=[first, other, revoked, moved, again][::order]).serialize())
    assert sorted(zip(rows.number, rows.removed or (), strict=True)) == [
        ("+447700900123", True),
        ("+447700900126", False),
    ]
    assert rows.passed_over == 3
    without = json.loads(Bundle(objects=[first, other]).serialize())
    for one in without["objects"]:
        del one["id"]
    assert list(read(json.dumps(without)).number) == ["+447700900123", "+447700900125"]


@pytest.mark.parametrize("order", [1, -1])
def test_a_number_is_gone_when_no_observation_of_it_is_left(order):
    """Of versions of one the newest counts, of several that which is not revoked."""

    def observed(name, modified, **told):
        told |= {"last_observed": modified, "object_refs": [number["id"]]}
        return {"type": "observed-data", "id": name, "modified": modified, **told}

    number = {"type": "phone-number", "id": "phone-number--1", "value": "+447700900123"}
    first = observed("observed-data--1", "2026-11-20T00:00:00Z")
    revoked = observed("observed-data--1", "2026-11-22T00:00:00Z", revoked=True)
    other = observed("observed-data--2", "2026-11-21T00:00:00Z")
    for held, removed in (((first, revoked), True), ((revoked, other), False)):
        objects = [number, *held[::order]]
        rows = read(json.dumps({"type": "bundle", "objects": objects}))
        assert (list(rows.number), rows.removed) == (["+447700900123"], [removed])


def test_confidence_times_and_words_are_taken():
    """Confidence, validity, types and labels of an indicator are its row's."""
    one = indicator(
        "+447700900123",
        confidence=85,
        valid_until=THEN + timedelta(days=9),
        indicator_types=["malicious-activity"],
        labels=["vishing"],
    )
    rows = read(Bundle(objects=[one]).serialize())
    assert rows.confidence == ("85",)
    assert rows.reported_at == ("2026-11-20T00:00:00Z",)
    assert rows.expires_at == ("2026-11-29T00:00:00Z",)
    assert rows.tags == [("malicious-activity", "vishing")]
    assert rows.removed == [False]


@pytest.mark.parametrize("name", ["score", "x_opencti_score", "confidence"])
def test_the_score_of_a_number_of_opencti_is_its_confidence(name):
    """OpenCTI's TAXII server and exports write `score` (its stix-2-1-converter.ts)."""
    number = {"type": "phone-number", "id": "phone-number--1", "value": "+447700900123", name: 20}
    rows = read(json.dumps({"type": "bundle", "objects": [number]}))
    assert rows.confidence == ("20",)


def test_what_is_not_valid_yet_does_not_hold():
    """A `valid_from` that lies ahead is no wrong clock: the row is rejected, not clamped."""
    now_s = int(THEN.timestamp())
    ahead = indicator("+447700900123", valid_from=THEN + timedelta(hours=1))
    rows = read(Bundle(objects=[ahead, indicator("+447700900124")]).serialize())
    parsed = Parser(Defaults("feed", now_s, now_s=now_s, future="clamp")).parse(rows)
    assert parsed.numbers.tolist() == [b"+447700900124"]
    assert [row.wrong for row in parsed.rejected] == [Wrong.FUTURE]


def test_a_revoked_indicator_takes_its_number_off():
    """`revoked` is a removal, not a report."""
    rows = read(Bundle(objects=[indicator("+447700900123", revoked=True)]).serialize())
    assert rows.removed == [True]


def test_pages_of_taxii_are_one_file():
    """Envelopes written one after the other are read; a name on page two counts on page one."""
    one, two = indicator("+447700900123").serialize(), DESK.serialize()
    rows = read(f'{{"more": true, "objects": [{one}]}}\n', f'{{"objects": [{two}]}}\n', "{}\n")
    assert list(rows.source or ()) == ["Desk"]


def test_an_object_that_is_none_is_a_rejected_row():
    """One broken object costs itself, and is named by its place."""
    good = indicator("+447700900123").serialize()
    rows = read(f'{{"objects": [7, {{"type": "indicator", "pattern": 7}}, {good}]}}')
    assert [row.line for row in rows.unreadable] == [1, 2]
    assert list(rows.number) == ["+447700900123"]


@pytest.mark.parametrize("text", ["", "[]", "<html><title>Log in</title>", '{"objects": [', "7"])
def test_what_is_no_stix_is_refused(text):
    """An empty file, a login page, half a bundle are refused as a whole."""
    with pytest.raises(InputUnreadable):
        read(text)


BUNDLE = Bundle(id="bundle--3f3d7eb1-7dec-4bc5-b346-ae619eab3850").serialize()


@pytest.mark.parametrize("text", ["{}", '{"objects": []}', BUNDLE], ids=["{}", "objects", "Bundle"])
def test_an_empty_collection_is_no_rows(text):
    """A server with nothing to say has no rows; whether that may be is the gate's to say."""
    assert len(read(text)) == 0


V = "phone-number:value"
ONE = f"[{V} = '+447700900123']"


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        (ONE, ["+447700900123"]),
        ("[ phone-number:number = '+447700900123' ]", ["+447700900123"]),
        (f"[{V} = '1' OR {V} = '2'] OR [{V} = '3']", ["1", "2", "3"]),
        (f"[{V} = '1' OR ipv4-addr:value = '198.51.100.1']", ["1"]),
        (rf"[{V} = 'a\'b\\c']", [r"a'b\c"]),
        ("[domain-name:value = 'example.net']", []),
        ("[file:hashes.'SHA-256' = 'aa' AND file:size > 3]", []),
    ],
)
def test_equality_and_or_are_numbers(pattern, numbers):
    """Each number of a pattern that is equality, joined by OR, is read; other things are none."""
    Pattern(pattern)  # the standard's own grammar knows it
    assert read_pattern(pattern) == Meaning(tuple(numbers))


@pytest.mark.parametrize(
    "pattern",
    [
        f"[{V} = '1' AND ipv4-addr:value = '198.51.100.1']",
        "[phone-number:number = '1' AND phone-number:country = 'GB']",
        f"[{V} LIKE '+4477%']",
        f"[{V} MATCHES '^\\\\+44']",
        f"[{V} IN ('1', '2')]",
        f"[NOT {V} = '1']",
        f"[{V} != '1']",
        f"[{V} > '1']",
        f"{ONE} AND {ONE}",
        f"{ONE} FOLLOWEDBY {ONE}",
        f"{ONE} WITHIN 300 SECONDS",
        f"{ONE} REPEATS 5 TIMES",
        f"({ONE} OR {ONE})",
        f"[{V} = 447700900123]",
        f"[{V} = '1'",
        f"[{V} = '1']]",
        f"[{V}] = '1'",
        f"{V}",
        f"[{V} = '1' OR]",
        f"[{V} = '" + "1" * 70_000 + "']",
    ],
)
def test_anything_else_about_numbers_is_not_guessed(pattern):
    """A pattern that says more, or is broken, is never read as if it said less."""
    assert read_pattern(pattern) == Meaning((), readable=False)

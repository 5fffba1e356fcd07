"""Promises of the scan: what it finds is what the fallback decoder finds, and nothing beyond."""

import mmap
import random
from dataclasses import replace

import numpy as np
import pytest

from stream.calls.call_batch import FIELDS, SIGNED
from stream.calls.decode import decode
from stream.calls.dialects.dialect import FieldLayout
from stream.calls.dialects.json_form import DEPTH_MAX
from stream.calls.key_fields import cell_plan_of, plan_of
from stream.core import kernels
from stream.core.model.byte_strings import PADDING, Texts
from stream.core.numbers.caller_readings import read_caller
from stream.core.numbers.e164 import is_canonical
from stream.core.numbers.number import _USUAL_URI
from stream.kafka.batch import Partition, Segment
from tests.fuzz.csv_records import mutants as csv_mutants
from tests.fuzz.json_records import mutants
from tests.fuzz.scan import ALL, CSV_DIALECTS, DIALECTS, SETTINGS, TRUNKS, compare, decoded
from tests.support.builders import raw_of
from tests.support.guarded_memory import guarded

pytestmark = pytest.mark.skipif(not kernels.compiled(), reason="there are no kernels here")

CALL = '"call_id":"c","caller":"+66812345678","callee":null'
VOUCHED = {
    "space everywhere": ' {\n"call_id" : "c",\t"caller":\r"+66812345678" , "callee":null } ',
    "Thai letters": f'{{{CALL},"name":"สมชาย ใจดี","เส้น":1}}',
    "escapes": rf'{{{CALL},"name":"a\"b\\\/\b\f\n\r\t\u0e2a\ud83d\ude00"}}',
    "any numbers": f'{{{CALL},"n":[0,-0,1.5,-1e5,2E-7,1e999,{"9" * 500}]}}',
    "words": f'{{{CALL},"w":[true,false,null]}}',
    "nesting": f'{{{CALL},"x":{{"caller":{{"caller":[[],{{}},[{{}}]]}}}}}}',
    "long texts": f'{{{CALL},"{"k" * 200}":"{"v" * 200}"}}',
    "many values": f'{{{CALL},"x":[{",".join(map(str, range(200)))}]}}',
    "the name of a field as a value": f'{{{CALL},"x":"caller"}}',
}
LEFT = {
    "an escape in a field": '{"call_id":"c","caller":"\\u002b66812345678","callee":null}',
    "an escape in a key": f'{{{CALL},"n\\u0061me":1}}',
    "Thai letters in a field": '{"call_id":"c","caller":"สมชาย","callee":null}',
    "an optional field of a wrong type": f'{{{CALL},"trunk":7}}',
    "an optional field twice": f'{{{CALL},"trunk":"a","trunk":"b"}}',
    "very deep": f'{{{CALL},"x":{"[" * 100}{"]" * 100}}}',
}


LINE = (
    '"",+447700900101,"0812345678",x,"{name}",PJSIP/uk-0000002a,,Dial,"a,b",2026-11-25 15:02:03,,'
    '2026-11-25 15:02:20,17,0,"{word}",3,{id}'
)
USUAL = {"name": "", "word": "NO ANSWER", "id": "1795593723.42"}
VOUCHED_LINES = {
    "as the sample": {},
    "quotes in a name": {"name": '""Ann"" <7>'},
    "Thai letters": {"name": "สมชาย ใจดี"},
    "escapes": {"name": "a\\b"},
    "a line's end": {"id": '1795593723.42,""\r\n'},
    "the machine's name": {"id": "bkk-1-1795593723.42"},
    "newcdrcolumns": {"id": '1795593723.43,note,"",1795593723.42,7'},
    "newcdrcolumns without linkedid": {"id": '1795593723.42,note,"","",7'},
}
LEFT_LINES = {
    "a short id": {"id": "1.2"},
    "another number for a word": {"word": "NOANSWER"},
    "an id with quotes": {"id": 'x,,,"call-""1234567""",7'},
}

CHANNEL = (
    '{"variables":{"call_uuid":"c-1","uuid":"c-2","sip_from_user":"%2B6681"},"callflow":'
    '[{"caller_profile":{"ani":"7","caller_id_number":"+447700900101","network_addr":"uk",'
    '"destination_number":"+66812345678"},"times":[{"a":[]},{}]}],"app_log":[[{}],{}]}'
)
LEFT_CHANNELS = {
    "two profiles": ("]}],", ']},{"caller_profile":{"caller_id_number":"8"}}],'),
    "no profile": ('"callflow":', '"callflow":[],"x":'),
    "an array in the array": ('"callflow":[', '"callflow":[[],'),
    "nothing but a word": ('"callflow":[', '"callflow":["x"],"x":['),
    "callflow again": ('"app_log"', '"callflow":[],"app_log"'),
    "an array for the profile": ('"caller_profile":', '"caller_profile":[],"x":'),
    "the same number twice": ("+447700900101", "+66812345678"),
    "no caller": ("+447700900101", ""),
    "null for the called number": ('"+66812345678"', "null"),
    "no id of the call": ('"c-1"', '""'),
    "an encoded id": ("c-1", "c%2D1"),
    "an encoded verstat": ('"uuid"', '"sip_verstat":"TN%20","uuid"'),
}


CHARGING = (
    '{"@timestamp":"t","Bx_moCall":{"servedMSISDN":"66812345678","callingNumber":{"ton":1,"digits":'
    '"447700900101"},"calledNumber":{"natureOfAddress":"national","address":"0812345678"},'
    '"recordingEntity":{"address":66810000000},"mscIncomingTKGP":{"tkgpNumber":7},'
    '"callReference":729081236,"x":[{"Bx_mtCall":1}]}}'
)
IMS = (
    '{"Bx_as":{"sIP-Method":"INVITE","list-Of-Calling-Party-Address":[{"sIP-URI":'
    '"sip:+447700900101@ims.example"},{"tEL-URI":"tel:+1"},7],"called-Party-Address":'
    '{"tEL-URI":"tel:0812345678;phone-context=+66"},"iMS-Charging-Identifier":"icid-1"}}'
)
IN_PARTS = {
    "as the sample": (CHARGING, "", "", ("66810000000/729081236", "+447700900101", "0812345678")),
    "an id of the network": (
        CHARGING, '"x"', '"networkCallReference":18446744073709551615,"x"',
        ("18446744073709551615", "+447700900101", "0812345678"),
    ),
    "no exchange": (
        CHARGING, '"address":66810000000', '"address":null',
        ("729081236", "+447700900101", "0812345678"),
    ),
    "the served number calls": (
        CHARGING, '"447700900101"', "null", ("66810000000/729081236", "+66812345678", "0812345678")
    ),
    "a national caller": (
        CHARGING, '"ton":1', '"ton":"2"', ("66810000000/729081236", "447700900101", "0812345678")
    ),
    "an international number that has signs": (
        CHARGING, '"447700900101"', '"+4477"', ("66810000000/729081236", "+4477", "0812345678")
    ),
    "to the served number": (
        CHARGING, "Bx_moCall", "mtCallRecord",
        ("66810000000/729081236", "+447700900101", "+66812345678"),
    ),
    "an IMS node": (
        IMS, "", "",
        ("icid-1", "sip:+447700900101@ims.example", "tel:0812345678;phone-context=+66"),
    ),
}  # fmt: skip
NOT_IN_PARTS = {
    "two records": (CHARGING, '"@timestamp":"t"', '"moCallRecord":{}'),
    "a record of no call in front": (CHARGING, '"@timestamp":"t"', '"moSMSRecord":null'),
    "a record of no call": (CHARGING, "Bx_moCall", "Bx_moSMS"),
    "digits twice": (CHARGING, '"ton":1', '"ton":1,"address":"447700900102"'),
    "two types of number": (CHARGING, '"ton":1', '"ton":1,"natureOfAddress":2'),
    "a number that is a text": (CHARGING, '{"address":66810000000}', '"66810000000"'),
    "a fraction": (CHARGING, "729081236", "7290812.36"),
    "a negative number": (CHARGING, "729081236", "-729081236"),
    "a long integer": (CHARGING, "729081236", "9" * 30),
    "a leading zero": (CHARGING, "729081236", "07"),
    "no id": (CHARGING, '"callReference"', '"y"'),
    "no called number": (CHARGING, '"calledNumber"', '"y"'),
    "another method": (CHARGING, '"x"', '"sIP-Method":"BYE","x"'),
    "a name before the number": (IMS, "sip:+447700900101@", "sip:alice@"),
    "nothing before the number": (IMS, '{"sIP-URI":"sip:+447700900101@ims.example"}', "{}"),
    "two URIs of one party": (IMS, '"tel:0812345678', '"tel:0812345678","sIP-URI":"sip:a@b'),
    "a number without a scheme": (IMS, '{"tEL-URI":"tel:08', '{"iSDN-E164":"66812345678","y":"08'),
    "an id of the exchange": (IMS, '"sIP-Method"', '"callReference":7,"sIP-Method"'),
}


def odd_calls(batch) -> list[int]:
    """The calls that the scan left to the fallback decoder."""
    assert batch.located is not None
    assert batch.unscanned == len(batch.located.fallback)
    return list(batch.located.fallback)


@pytest.mark.parametrize("text", VOUCHED.values(), ids=VOUCHED)
def test_what_is_usual_is_vouched_for(text):
    """Alone and after its like; a switch that writes so is never read the slow way."""
    batch = decoded([text.encode()] * 3, "ringfence")
    assert (len(batch), odd_calls(batch)) == (3, [])
    assert {batch.key_fields[index].caller for index in range(3)} == {"+66812345678"}


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
def test_what_is_odd_is_a_call_all_the_same(text):
    """The fallback decoder reads it; the calls around it are located."""
    usual = f"{{{CALL}}}".encode()
    batch = decoded([usual, text.encode(), usual], "ringfence")
    assert odd_calls(batch) == [1]
    compare([usual, text.encode(), usual], "ringfence")


@pytest.mark.parametrize("cells", VOUCHED_LINES.values(), ids=VOUCHED_LINES)
def test_usual_lines_of_csv_are_vouched_for(cells):
    """No cell is copied: each field lies where the line has it."""
    line = LINE.format_map(USUAL | cells).encode()
    batch = decoded([line] * 3, "asterisk-csv")
    assert (len(batch), odd_calls(batch)) == (3, [])
    told = batch.key_fields[2]
    assert (told.caller, told.callee, told.trunk) == ("+447700900101", "0812345678", "uk")
    assert told.call_id.endswith("1795593723.42")
    compare([line] * 3, "asterisk-csv")


@pytest.mark.parametrize("cells", LEFT_LINES.values(), ids=LEFT_LINES)
def test_unusual_lines_of_csv_are_calls_all_the_same(cells):
    """The fallback decoder reads them; the calls around are located."""
    usual, odd = LINE.format_map(USUAL).encode(), LINE.format_map(USUAL | cells).encode()
    assert odd_calls(decoded([usual, odd, usual], "asterisk-csv")) == [1]
    compare([usual, odd, usual], "asterisk-csv")


@pytest.mark.parametrize("change", [("", ""), ("[{", "{", "}],", "},")], ids=["array", "object"])
def test_a_channel_with_one_profile_is_vouched_for(change):
    """In an array, as FreeSWITCH writes it now, or alone, as it did."""
    text = CHANNEL
    for old, new in zip(change[::2], change[1::2], strict=True):
        text = text.replace(old, new, 1)
    batch = decoded([text.encode()] * 3, "freeswitch")
    assert (len(batch), odd_calls(batch)) == (3, [])
    told = batch.key_fields[2]
    assert (told.call_id, told.caller, told.trunk) == ("c-1", "+447700900101", "uk")
    compare([text.encode()] * 3, "freeswitch")


@pytest.mark.parametrize("change", LEFT_CHANNELS.values(), ids=LEFT_CHANNELS)
def test_a_channel_that_says_its_parties_elsewhere_is_left(change):
    """The fallback decoder says who calls whom, beside records whose shape is known."""
    usual, unusual = change
    odd = CHANNEL.replace(usual, unusual, 1)
    assert odd != CHANNEL
    values = [each.encode() for each in (CHANNEL, CHANNEL, odd, CHANNEL)]
    batch = decoded(values, "freeswitch")
    assert odd_calls(batch) == [2] * (len(batch) == 4)
    compare(values, "freeswitch")


@pytest.mark.parametrize(("record", "old", "new", "told"), IN_PARTS.values(), ids=IN_PARTS)
def test_fields_in_parts_are_written_together(record, old, new, told):
    """A number gets its `+` by its type, an id its exchange; other dialects are beside them."""
    text = record.replace(old, new, 1).encode()
    batch = decoded([text] * 3, "3gpp")
    assert (len(batch), odd_calls(batch)) == (3, [])
    for one in batch.key_fields:
        assert (one.call_id, one.caller, one.callee) == told
        assert one.trunk == (None if record is IMS else "7")
    compare([text] * 3, "3gpp")


@pytest.mark.parametrize(("record", "old", "new"), NOT_IN_PARTS.values(), ids=NOT_IN_PARTS)
def test_parts_that_are_unusual_are_left(record, old, new):
    """The fallback decoder says whether it is a call, beside records whose shape is known."""
    odd = record.replace(old, new, 1)
    assert odd != record
    values = [each.encode() for each in (record, record, odd, record)]
    batch = decoded(values, "3gpp")
    assert odd_calls(batch) == [2] * (len(batch) == 4)
    compare(values, "3gpp")


def test_a_caller_without_digits_lies_in_the_buffer_too():
    """Its place was that in the records, which may lie behind the end of what is written."""
    received = CHARGING.replace("Bx_moCall", "mtCallRecord", 1)
    withheld = received.replace("447700900101", "", 1).encode()
    assert len(decoded([withheld] * 3, "3gpp")) == 3
    compare([withheld] * 3, "3gpp")


def test_a_batch_may_have_fields_in_parts_and_others():
    """Topics of two dialects in one batch, and records that are left: each has its own fields."""
    values = [f"{{{CALL}}}", CHARGING, '{"call_id":"é","caller":null,"callee":null}', IMS, "{}"]
    raw = raw_of(*(value.encode() for value in values))
    topics = ("calls", "charging", "calls", "charging", "charging")
    segments = tuple(Segment(Partition(topic, 0), row, row + 1) for row, topic in enumerate(topics))
    batch = decode(
        replace(raw, segments=segments), {"calls": ALL["ringfence"], "charging": ALL["3gpp"]},
        TRUNKS, SETTINGS,
    )  # fmt: skip
    assert batch.rows.tolist() == [0, 1, 2, 3]
    assert odd_calls(batch) == [2]
    assert [one.call_id for one in batch.key_fields] == [
        "c", "66810000000/729081236", "é", "icid-1",
    ]  # fmt: skip
    assert batch.key_fields[0].caller == "+66812345678"
    assert batch.callers.e164.tolist() == [b"+66812345678", b"+447700900101", b"", b"+447700900101"]


@pytest.mark.parametrize("dialect", CSV_DIALECTS)
def test_broken_lines_are_the_same_calls_both_ways(dialect):
    """Fields, rejects with reasons, numbers: most of the good ones by scan."""
    values = list(csv_mutants(dialect, 7, 4_000))
    calls = len(decoded(values, dialect))
    assert 500 < calls / 2 < compare(values, dialect) < calls


def test_as_many_brackets_as_json_may_not_have_make_no_short_line_deep():
    """A line is read the same alone and beside a long one that is odd."""
    line, odd = (
        LINE.format_map(USUAL).replace(",x,", f",{'[' * count},").encode() for count in (201, 500)
    )
    assert len(line) < 2 * DEPTH_MAX
    assert len(decoded([line], "asterisk-csv")) == 1
    assert decoded([line, odd], "asterisk-csv").rows.tolist() == [0]
    compare([line, odd], "asterisk-csv")


@pytest.mark.parametrize("dialect", CSV_DIALECTS)
def test_no_byte_is_read_behind_the_padding_of_lines(dialect):
    """Each line ends where the memory ends, but for the padding that every buffer has."""
    from stream.core.kernels.csv_scan import scan_cells
    from stream.core.kernels.json_fields import FoundFields

    plan = cell_plan_of(CSV_DIALECTS[dialect].layout)
    rng, odd = random.Random(3), 0
    memory = guarded(4 * mmap.PAGESIZE)
    memory[-PADDING:] = np.frombuffer(b'"1' * (PADDING // 2), np.uint8)
    for value in csv_mutants(dialect, 11, 3_000):
        cut = (value or b"")[: rng.randrange(len(value or b"") + 1) if rng.random() < 0.5 else None]
        start = len(memory) - PADDING - len(cut)
        memory[start : start + len(cut)] = np.frombuffer(cut, np.uint8)
        texts = Texts(memory, np.array([start]), np.array([len(cut)]))
        found = FoundFields(
            np.zeros((5, 1), np.int64), np.zeros((5, 1), np.int64), np.zeros(1, np.uint8)
        )
        here = scan_cells(texts, 0, 1, plan, 2_000, DEPTH_MAX, found)
        alone = FoundFields(found.starts.copy(), found.sizes.copy(), found.odd.copy())
        assert scan_cells(Texts.of([cut]), 0, 1, plan, 2_000, DEPTH_MAX, alone) == here
        assert found.sizes.tolist() == alone.sizes.tolist()
        odd += here
    assert 300 < odd < 2_700, "neither all nor none were right"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_broken_records_are_the_same_calls_both_ways(dialect):
    """Fields, rejects with reasons, numbers: of 10,000 records, half of the good ones by scan."""
    values = list(mutants(7, 10_000))
    calls = len(decoded(values, dialect))
    assert calls / 2 < compare(values, dialect) <= calls


@pytest.mark.parametrize("sip", ["[]", "[{}]", "null", "7", '"x"', "{}", '{"trunk":[]}'])
def test_what_should_be_an_object_may_be_anything(sip):
    """A value of another kind on the way to an optional field means what it means to msgspec."""
    record = '{"call_id":"c","from":{"number":"1"},"to":{"number":"2"},"ingress":"domestic","sip":'
    compare([f"{record}{sip}}}".encode()] * 2, "nested")


def test_a_shape_is_kept_only_where_there_is_room_for_it():
    """One piece too many would be written over the next shape, or behind the last."""
    from stream.core.kernels import json_shapes

    rng = np.random.default_rng(3)
    for count in (0, 1, 40, 62, 63, 64, 200):
        for longest in (1, 64, *[65] * 20, 200):
            texts = rng.integers(0, longest, count + 1, endpoint=True)
            starts = np.cumsum(texts)[:-1] + np.arange(count)  # each value is of one byte
            values = json_shapes.Values(starts, starts + 1, np.full(count, -1))
            pieces = sum(max(1, -(-int(text) // 64)) for text in texts)
            end = int(texts.sum()) + count
            has_room = json_shapes._has_room
            room = getattr(has_room, "py_func", has_room)(0, end, count, values)
            assert room == (pieces <= json_shapes.PIECES)


@pytest.mark.parametrize("place", range(66))
def test_every_byte_counts(place):
    """A wrong byte anywhere, also where a record of the same shape has been seen, is found."""
    good = f'{{{CALL},"x":["a",1,true]}}'.encode()
    for wrong in b'\0\xff"\\{}':
        bad = good[:place] + bytes([wrong]) + good[place + 1 :]
        compare([good, good, bad, good], "ringfence")


def test_a_record_cut_anywhere_is_none_whatever_follows_it():
    """The next record lies right behind: its bytes never complete the one before."""
    good = f'{{{CALL},"x":["a",-1.5e-7,true,null,"\\ud83d\\ude00 สม"],"y":{{}}}}'.encode()
    cuts = [good, *(good[:size] for size in range(len(good)))]
    batch = decoded(Texts.of([text for cut in cuts for text in (cut, good)]), "ringfence")
    assert batch.rows.tolist() == [0, *range(1, 2 * len(cuts), 2)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_byte_is_read_behind_the_padding(dialect):
    """Each record ends where the memory ends, but for the padding that every buffer has."""
    from stream.core.kernels.json_fields import FoundFields
    from stream.core.kernels.json_scan import scan

    layout = DIALECTS[dialect].layout
    plan = plan_of(layout, (*FIELDS, *SIGNED)) if layout else None
    assert plan is not None
    found = FoundFields(
        np.zeros((8, 2), np.int64), np.zeros((8, 2), np.int64), np.zeros(2, np.uint8)
    )
    rng, odd, before = random.Random(3), 0, b""
    memory = guarded(4 * mmap.PAGESIZE)
    memory[-PADDING:] = np.frombuffer(b'"1' * (PADDING // 2), np.uint8)
    for value in mutants(11, 6_000):
        if value is None or len(before) + len(value) > len(memory) - PADDING:
            continue
        cut = value[: rng.randrange(len(value) + 1)] if rng.random() < 0.5 else value
        start = len(memory) - PADDING - len(cut)
        memory[start - len(before) : start + len(cut)] = np.frombuffer(before + cut, np.uint8)
        starts = np.array([start - len(before), start])
        texts = Texts(memory, starts, np.array([len(before), len(cut)]))
        odd += scan(texts, 0, 2, plan, SETTINGS.record_bytes_max, 1000, found)
        before = value if rng.random() < 0.3 else before
    assert 3_000 < odd < 12_000, "neither all nor none were right"


def number_texts(seed: int, count: int) -> list[str | None]:
    """Numbers, URIs, and what is nearly one."""
    rng = random.Random(seed)
    texts: list[str | None] = [
        None,
        "",
        "+",
        "+6681234567:",
        "+668123456/8",
        "+66812345678 ",
        "sip:",
    ]
    for _ in range(count):
        digits = "".join(rng.choices("0123456789", k=rng.choice((*range(20), 10, 11, 12))))
        text = rng.choice(["+", "+", "+66", "+1", "+44", "00", ""]) + digits
        if rng.random() < 0.5:
            scheme = rng.choice(["sip:", "sips:", "tel:", "SIP:", "sip", "fax:", "<sip:"])
            text = (
                scheme + text + rng.choice(["", "@h", ";user=phone", ">", "a@h", "@h" * 70 + "<"])
            )
        texts.append(text)
    return texts


def test_numbers_are_read_from_the_bytes_as_from_the_text():
    """The kernel takes what the table of plans allows, of any length, next to any bytes."""
    from stream.core.kernels.e164_text import read_e164

    texts = number_texts(5, 20_000)
    held = Texts.of([None if text is None else text.encode() for text in texts])
    e164, kinds = read_e164(held)
    assert kinds.sum() > 1_000
    for text, written, kind in zip(texts, e164.tolist(), kinds.tolist(), strict=True):
        number = text or ""
        usual = _USUAL_URI.match(number)
        if usual and "<" not in number:
            number = f"+{usual[1]}"
        good = number[:1] == "+" and is_canonical(number[1:])
        assert (written, kind) == ((number.encode(), 1) if good else (b"", 0)), text


def test_a_text_that_is_remembered_is_read_as_the_first_time(monkeypatch):
    """By its text, country and prefix; one that hides a number, or is none, is read each time."""
    from stream.core.numbers import number

    monkeypatch.setattr(number, "_KNOWN", {})
    monkeypatch.setattr(number, "CACHE_SIZE", 40)
    said = [*(text for text in number_texts(6, 300) if text), "0812345678", "abc0812345678"]
    texts = Texts.of([text.encode() for text in said])
    regions = ("TH", "GB", None)
    for turn in range(3):

        def region_of(row: int, turn: int = turn) -> str | None:
            return regions[(row + turn) % 3]

        def prefix_of(row: int) -> str:
            return "009" if row % 2 else ""

        for read in (number.parse, read_caller):
            found = number.parse_texts(texts, {}, region_of, prefix_of, read)
            alone = number.parse_many(said, region_of, prefix_of, read)
            assert found.e164.tolist() == alone.e164.tolist()
            assert found.kinds.tolist() == alone.kinds.tolist()
            assert (found.other_texts, found.disguised) == (alone.other_texts, alone.disguised)
    assert all(len(known) <= 40 + len(said) for known in number._KNOWN.values())
    asked: list[object] = []

    def read_noted(text: str | None, region: str | None, prefix: str) -> number.Number:
        asked.append((text, region, prefix))
        return number.parse(text, region, prefix)

    one = Texts.of([b"0812345678", b"abc"])
    for _ in range(2):
        number.parse_texts(one, {}, lambda _: "TH", None, read_noted)
    assert asked == [("0812345678", "TH", ""), ("abc", "TH", ""), ("abc", "TH", "")]


def test_numbers_are_read_without_a_byte_behind_the_padding():
    """Each text ends where the memory ends, but for the padding."""
    from stream.core.kernels.e164_text import read_e164

    memory = guarded(mmap.PAGESIZE)
    memory[-PADDING:] = ord("1")
    for text in number_texts(9, 2_000):
        size = len(text or "")
        start = len(memory) - PADDING - size
        memory[start : start + size] = np.frombuffer((text or "").encode(), np.uint8)
        texts = Texts(memory, np.array([start]), np.array([size]))
        alone = read_e164(Texts.of([(text or "").encode()]))
        assert read_e164(texts)[0].tolist() == alone[0].tolist()


def test_no_number_is_written_behind_its_room():
    """A record that has no room for its fields is left, and not a byte behind the end changes."""
    from stream.core.kernels.charging_fields import PartRows, write_fields
    from stream.core.kernels.json_fields import FoundFields
    from stream.core.kernels.json_scan import scan

    texts = Texts.of([CHARGING.encode()] * 4)
    layout = ALL["3gpp"].layout
    plan = plan_of(layout) if isinstance(layout, FieldLayout) else None
    assert plan is not None
    for room in range(0, 400, 3):
        found = FoundFields(
            np.zeros((15, 4), np.int64), np.full((15, 4), -1), np.zeros(4, np.uint8)
        )
        assert scan(texts, 0, 4, plan, 2_000, 1_000, found) == 0
        memory = guarded(mmap.PAGESIZE)
        out = memory[len(memory) - room - PADDING :]
        end = write_fields(texts.data, found, 0, 4, 5, PartRows(*range(5, 15)), out, 0)
        assert end <= room
        odd = found.odd.tolist()
        assert odd == sorted(odd), "those that come first have room"
        assert (sum(odd) < 4) == (end > 0)
    assert odd == [0] * 4


def test_columns_may_be_views():
    """The columns of records may be cut out of a table."""
    texts = Texts.of([f"{{{CALL}}}".encode()] * 5)
    table = np.stack([texts.starts, texts.sizes], axis=1)
    batch = decoded(Texts(texts.data, table[:, 0], table[:, 1]), "ringfence")
    assert (len(batch), odd_calls(batch)) == (5, [])


def test_constants_of_a_mapping_are_in_every_call():
    """Calls of two dialects in one batch: each has what its own configuration says."""
    batch = decoded(list(mutants(1, 200)), "given")
    assert {told.ingress for told in batch.key_fields} == {"domestic"}
    located = batch.located
    assert located is not None
    assert {located.text("ingress", index) for index in range(len(batch))} == {"domestic"}
    assert [located.text(name, 0) for name in FIELDS] == [
        getattr(batch.key_fields[0], name) for name in FIELDS
    ]
